"""The world outside a node: a namespace behind a veth whose near end a node drives as its uplink, by DPDK's
net_af_packet."""
import itertools
import json

from . import process

_NUMBERS = itertools.count(1)


class Outside:
    """`space`: the namespace, in which the far end is eth0; the near end is in the node's namespace."""

    def __init__(self, node, space, queues=1):
        self.node, self.space, self.queues = node, space, queues
        self.number = next(_NUMBERS)
        self.near = f"up{self.number}"
        self.connect()

    def connect(self):
        self.node.namespace.run("ip", "link", "add", self.near, "type", "veth", "peer", "name", "eth0", "netns",
                                self.space.name)
        self.node.namespace.run("ip", "link", "set", self.near, "up")
        # A packet socket takes neither segments to be cut nor checksums to be filled in.
        self.space.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off")
        self.space.run("ip", "link", "set", "eth0", "up")
        return self

    def disconnect(self):
        self.node.namespace.run("ip", "link", "delete", self.near)

    def port(self, bridge, name="uplink", **settings):
        queues = f",qpairs={self.queues}" if self.queues > 1 else ""
        return {"name": name, "kind": "uplink", "bridge": bridge, "queues": self.queues,
                "device": f"net_af_packet{self.number},iface={self.near}{queues}", **settings}

    def address(self, *addresses, device="eth0"):
        for address in addresses:
            family = ["nodad"] if ":" in address else []
            self.space.run("ip", "addr", "add", address, "dev", device, *family)
        return self


def bits_a_second(client, server, address, log, seconds=1, reverse=False):
    """What iperf3 receives over one TCP connection from the namespace `client` to `server`, or back."""
    listening = server.start("iperf3", "-s", "-1", log=log)
    try:
        process.wait_until(lambda: ":5201" in server.output("ss", "-Hltn"), 10, "iperf3 to listen")
        words = ["iperf3", "-c", address, "-t", seconds, "-J"] + ["-R"] * reverse
        done = client.run(*words, timeout=60)
    finally:
        listening.stop()
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
