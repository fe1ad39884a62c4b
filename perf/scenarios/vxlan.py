"""VXLAN over IPv4: frames of a bridge are encapsulated one way and opened the other."""
from bench import network

from . import bars, packets

SUMMARY = "60-byte frames into a VXLAN tunnel one way and out of it the other, one worker"
BARS = [bars.Bar("testpmd", {1000: 0.70, 1_000_000: 0.50}), bars.Bar("ovs", {1_000_000: 1.0})]


def measure(session):
    return bars.judge(packets.measure(session, "vxlan", network.VXLAN, network.ENCAPSULATED), BARS)
