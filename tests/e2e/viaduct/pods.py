"""Pods plugged in through the CNI plugin, ports put in through control's API, and traffic whose loss is
counted: what the end-to-end tests of the dataplane are built of."""
import re
import signal
from pathlib import Path

from . import process, testpmd

_SENT = re.compile(r"(\d+) packets transmitted")
_ANSWER = re.compile(r"bytes from .*icmp_seq=(\d+)")


class Pod:
    """A pod's interface, added by the plugin as a runtime adds it. `space`: its namespace (Netns)."""

    def __init__(self, node, space, container, network):
        self.node, self.space, self.container, self.network = node, space, container, network
        outcome = node.cni("ADD", network, container, space.path)
        if outcome.status != 0:
            raise process.Failed(f"ADD of {container}: {outcome}\n{node.logs()}")
        self.address = outcome.output["ips"][0]["address"].partition("/")[0]
        described = attachment(node, container)
        self.port, self.mac = described["port"], described["mac"]
        self.socket = Path(described["socket_path"]) if "socket_path" in described else None

    def delete(self):
        outcome = self.node.cni("DEL", self.network, self.container, self.space.path)
        if outcome.status != 0:
            raise process.Failed(f"DEL of {self.container}: {outcome}")

    def testpmd(self, log, **options):
        """The application of a vhost-user pod, not started; it listens where the description says so."""
        return testpmd.pod(self.socket, log, mac=self.mac, name=self.container, **options)


def attachment(node, container):
    listed = node.api("GET", "/v1/attachments").body["attachments"]
    return next(each for each in listed if each["container"] == container)


def network(node, subnet, name="vd", **settings):
    return node.network(name, ipam={"type": "viaduct", "ranges": [[{"subnet": subnet}]]}, **settings)


class Attached:
    """Any number of pods of a node, each in a namespace of its own, and the first tap pair's ping."""

    def __init__(self, node, make_netns, directory):
        self.node, self.make_netns, self.directory = node, make_netns, directory
        self.count = 0

    def pod(self, settings, label="pod"):
        self.count += 1
        return Pod(self.node, self.make_netns(label), f"{label}-{self.count}", settings)

    def taps(self, count=2, subnet="10.66.0.0/24", name="taps", **settings):
        settings = {"bridge": "br-taps", **settings}
        return [self.pod(network(self.node, subnet, name, **settings), "tap") for _ in range(count)]

    def dpdk(self, count=2, subnet="10.67.0.0/24", name="dpdk", **settings):
        # Their applications send from whatever addresses they like.
        settings = {"bridge": "br-dpdk", "interface": "vhost-user", "antiSpoofing": False, **settings}
        return [self.pod(network(self.node, subnet, name, **settings), "dpdk") for _ in range(count)]

    def bystanders(self):
        """Two tap pods on a bridge of their own that ping each other: nothing a test does may be felt
        there."""
        first, second = self.taps(subnet="10.65.0.0/24", name="bystanders", bridge="br-bystanders")
        return Ping(first.space, second.address, self.directory / "bystanders.log")


class Ping:
    """Pings twenty times a second for as long as a `with` lasts, and fails at its end if one was lost. The
    last may be on its way when it ends."""

    def __init__(self, space, address, log, interval=0.05):
        self.space, self.address = space, address
        command = space.command("ping", "-n", "-i", interval, "-W", 5, address)
        self.process = process.Process(command, log, "ping")

    def __enter__(self):
        self.space.ping(self.address, count=1)
        self.process.start()
        return self

    def __exit__(self, kind, *_):
        # nsenter becomes the command: the pid is ping's own.
        if self.process.alive():
            self.process.child.send_signal(signal.SIGINT)
            self.process.wait_end(20)
        sent = int(_SENT.search(self.process.text())[1])
        answered = {int(number) for number in _ANSWER.findall(self.process.text())}
        lost = [number for number in range(1, sent) if number not in answered]
        if kind is None and (sent < 2 or lost):
            raise process.Failed(f"of {sent} pings these were lost: {lost}\n{self.process.tail()}")


def change(node, put=None, delete=None):
    """A change of the configuration, as a person makes it; Failed if it is refused."""
    answer = node.api("POST", "/v1/config/changes", {"put": put or {}, "delete": delete or {}})
    if answer.status != 200:
        raise process.Failed(f"the change was refused: {answer}")
    return answer.body


def ports(node):
    """{name: the port's state and counters}."""
    return {port["name"]: port for port in node.dataplane_api("GET", "/v1/ports").body["ports"]}


def port(node, name):
    return ports(node)[name]


def drops(node, name, side="rx"):
    """{reason: count} of one port, the reasons that occurred."""
    counted = port(node, name)["counters"][f"{side}_drops"]
    return {reason: count for reason, count in counted.items() if count}


def wait_drop(node, name, reason, at_least, side="rx", timeout=10):
    return process.wait_until(lambda: drops(node, name, side).get(reason, 0) >= at_least, timeout,
                              f"{at_least} frames of {name} dropped as {side} {reason}",
                              tell=lambda: f"it has {drops(node, name, side)}")


def wait_link(node, name, state="up", timeout=20):
    return process.wait_until(lambda: port(node, name)["link"] == state, timeout,
                              f"the link of {name} to be {state}", tell=lambda: f"{ports(node).get(name)}")
