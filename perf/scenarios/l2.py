"""Switching: 60-byte frames between two vhost-user ports of one bridge, one datapath CPU."""
from . import packets

SUMMARY = "60-byte frames between two vhost-user ports of a bridge, one worker"
BAR = 0.88


def measure(session):
    rows = packets.measure(session, "l2")
    for row in rows:
        row.bar = f"bar: viaduct/testpmd at least {BAR}"
    return rows
