"""Switching: 60-byte frames between two vhost-user ports of one bridge, one datapath CPU."""
from . import bars, packets

SUMMARY = "60-byte frames between two vhost-user ports of a bridge, one worker"
BARS = [bars.Bar("testpmd", {1000: 0.88, 1_000_000: 0.88})]


def measure(session):
    return bars.judge(packets.measure(session, "l2"), BARS)
