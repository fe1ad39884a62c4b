"""New connections a second through one service with ten endpoints, then through ten thousand such services, beside plain
new flows that are only routed, in the same run. Each flow sends one frame, and those count that reach an endpoint."""
import functools

from bench import network, report
from bench.session import say

from . import bars, packets

SUMMARY = "connections that begin in a second through a service with 10 endpoints, and through 10,000, one worker"
FLOWS = 1_000_000
ROUTED, ONE, MANY = "routed", "one-service", "many-services"
ARGUMENTS = ("--once", "--one-way")
BARS = [bars.Bar(ROUTED, {FLOWS: 0.85}), bars.Bar("ovs", {FLOWS: 3})]
BARS_MANY = [bars.Bar(ONE, {FLOWS: 0.7})]


def measure(session):
    chosen = packets.choose(session, "connections", "service", limits=False)
    counts, runs = session.arguments.flows or [FLOWS], session.runs(5, 3)
    devices = {name: (peer.service, network.DNAT, network.BALANCED) for name, peer in chosen.items()}
    if viaduct := chosen.get(report.FIRST):
        devices |= {
            ROUTED: (viaduct.route, network.ROUTE, network.ROUTED),
            MANY: (functools.partial(viaduct.service, count=network.SERVICES), network.SERVICES_ALL, network.BALANCED_ALL)}
    rows = []
    for count in counts:
        figures = {name: packets.Figures() for name in devices}
        # A device of its own for each run: its table is empty.
        for run, name, (make, arguments, expect), directory in packets.in_turns(session, devices, runs):
            (measurement,), waited, cycles = packets.measure_once(make, directory, [count], 1, 0, [*arguments, *ARGUMENTS])
            packets.check_sample(name, "connections", measurement, expect)
            figures[name].add(measurement, waited, cycles)
            say(f"connections run {run} of {runs}, {name}: {measurement['mpps']:.3f} M of {count:,} a second")
        one = {name: each for name, each in figures.items() if name != MANY}
        rows += bars.judge([row("connections", count, one)], BARS)
        if MANY in figures:
            rows += bars.judge([row(f"connections, {network.SERVICES:,} services", count,
                                   {report.FIRST: figures[MANY], ONE: figures[report.FIRST]})], BARS_MANY)
    return rows


def row(name, count, figures):
    return report.Row(name, count, "million new connections a second", {peer: each.mpps for peer, each in figures.items()},
                      {peer: each.notes(there_and_back=False) for peer, each in figures.items()})
