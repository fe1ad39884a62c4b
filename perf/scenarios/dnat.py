"""Destination NAT: to an address and port of the router's, translated to one backend, and back."""
from bench import network

from . import bars, packets

SUMMARY = "60-byte frames to an address that is another's, and its answers, one worker"
BARS = [bars.Bar("testpmd", {1000: 0.70, 1_000_000: 0.50}), bars.Bar("ovs", {1_000_000: 6.0})]


def measure(session):
    return bars.judge(packets.measure(session, "dnat", network.DNAT, network.FORWARDED), BARS)
