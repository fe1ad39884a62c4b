"""Source NAT: a network behind a pool of 64 addresses, all of it to one address and port, and back."""
from bench import network

from . import bars, packets

SUMMARY = "60-byte frames of a network behind a pool of addresses, and their answers, one worker"
BARS = [bars.Bar("testpmd", {1000: 0.70, 1_000_000: 0.50}), bars.Bar("ovs", {1_000_000: 6.0})]


def measure(session):
    return bars.judge(packets.measure(session, "masquerade", network.MASQUERADE, network.MASQUERADED), BARS)
