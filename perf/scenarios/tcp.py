"""Bulk TCP between two ordinary pods of a node, by iperf3, both families, one and eight connections."""
import json

from bench import report
from peers import pods as pod_pairs
from viaduct import process

from .bars import Bar, judge

SUMMARY = "iperf3 between two ordinary pods, against a kernel bridge with veth"
CONNECTIONS = (1, 8)
BARS = [Bar("bridge", {1: 0.9})]


def gigabits(client, server, address, connections, seconds, directory):
    """As the server received them."""
    listening = server.start("iperf3", "-s", "-1", "-p", 5201, log=directory / "iperf3.log")
    try:
        process.wait_until(lambda: ":5201" in server.output("ss", "-Hltn"), 10, "iperf3 to listen")
        answer = client.output("iperf3", "-c", address, "-t", seconds, "-O", 1, "-P", connections, "-J",
                               timeout=seconds + 30)
    finally:
        listening.stop()
    return json.loads(answer)["end"]["sum_received"]["bits_per_second"] / 1e9


def measure(session):
    seconds = max(2, int(session.seconds(5, 2)))

    def once(client, server, directory):
        return {(f"IPv{family}", connections): gigabits(client.space, server.space, server.addresses[family], connections,
                                                        seconds, directory)
                for family in (4, 6) for connections in CONNECTIONS}

    found = pod_pairs.measure(session, "tcp", session.runs(3, 1), once)
    return judge([report.Row(f"tcp over {family}", connections, "Gbit/s", figures)
                  for (family, connections), figures in found.items()], BARS)
