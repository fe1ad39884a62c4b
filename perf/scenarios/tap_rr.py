"""One byte there and back over TCP between two ordinary pods: with workers that poll and with workers that sleep."""
import json

import peers
from bench import report, session as sessions
from bench.session import say
from peers import pods as pod_pairs
from viaduct import process, workdir

from .bars import Most, judge

SUMMARY = "one-byte round trips between two ordinary pods, against a kernel bridge with veth"
PORT = 5301
# What is Viaduct's is told apart by how its workers wait.
POLLS = {"viaduct": ("sleeping", "polling"), "bridge": ("",)}
BARS = [Most("bridge", 1.3)]


def round_trips(client, server, address, seconds, directory):
    program = workdir.build_directory() / "perf/viaduct-roundtrip"
    answering = server.start(program, "serve", PORT, log=directory / "roundtrip.log")
    try:
        answering.wait_log("listening", 10)
        return json.loads(client.output(program, "ask", address, PORT, seconds, timeout=seconds + 30))
    finally:
        answering.stop()


def measure(session):
    if reason := sessions.built("perf/viaduct-roundtrip"):
        raise process.Failed(reason)
    chosen = session.choose_peers(peers.for_scenario("cni"), "tap-rr")
    seconds, runs = session.seconds(3, 1), session.runs(5, 2)
    found = {}
    for run in range(1, runs + 1):
        for name, peer in chosen.items():
            for poll in POLLS[name]:
                options = {"poll": "busy"} if poll == "polling" else {}
                with pod_pairs.pair(peer, session.make_directory(name), **options) as (client, server):
                    figures = {family: round_trips(client.space, server.space, server.addresses[family], seconds,
                                                   session.make_directory("roundtrip")) for family in (4, 6)}
                for family, figure in figures.items():
                    for waiting in [poll] if poll else ("sleeping", "polling"):
                        for quantity in ("p50", "p99"):
                            found.setdefault((family, waiting, quantity), {}).setdefault(name, []).append(figure[quantity])
                say(f"tap-rr run {run} of {runs}, {name} {poll}: p50 " + ", ".join(
                    f"IPv{family} {figure['p50']:.1f} us" for family, figure in figures.items()))
    rows = [report.Row(f"tap-rr IPv{family}, workers {waiting}, {quantity}", None, "us", figures)
            for (family, waiting, quantity), figures in found.items()]
    judge([row for row in rows if row.scenario.endswith("p50")], BARS)
    return rows
