"""Routing: both ways through a router with an interface, a neighbour and a route on each side."""
from bench import network

from . import bars, packets

SUMMARY = "60-byte frames routed between two networks, one worker"
BARS = [bars.Bar("testpmd", {1000: 0.75, 1_000_000: 0.60})]


def measure(session):
    return bars.judge(packets.measure(session, "route", network.ROUTE, network.ROUTED), BARS)
