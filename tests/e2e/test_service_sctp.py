"""SCTP through services, spoken by a stack of its own (usrsctp over raw sockets, for not every kernel has SCTP): the whole
handshake, messages there and back in order, and the shutdown. The port changes on the way, so that each packet's CRC32c has
to be made anew (RFC 9260 6.8), which either end checks: what is wrong there is never answered."""
import contextlib
import socket
import struct
from pathlib import Path

import pytest

from test_host import NODE, Machine, Space
from viaduct import hosts, manifests, pods, process

both_families = pytest.mark.parametrize("family", hosts.FAMILIES, ids=["ipv4", "ipv6"])
PROGRAMS = Path("/usr/lib/usrsctp")
SUBNETS = {"servers": {4: "10.86.1.0/24", 6: "fd00:86:1::/64"}, "clients": {4: "10.86.2.0/24", 6: "fd00:86:2::/64"}}
CLUSTER = {4: "10.96.0.38", 6: "fd00:96::38"}
ECHO = 7  # where echo_server listens
PORTS = [manifests.port(3868, ECHO, protocol="SCTP", nodePort=30868)]
IPPROTO_SCTP = 132


class Echo:
    """usrsctp's echo server in a pod."""

    def __init__(self, cluster, number):
        self.host = cluster.pod("servers", f"sctp-{number}")
        self.log = cluster.directory / f"sctp-{number}.log"
        self.process = self.host.space.start("stdbuf", "-oL", PROGRAMS / "echo_server", log=self.log)
        # A raw socket: there is no port that could be seen to listen.
        self.process.wait_for(lambda: len(self.host.space.output("ss", "-Hanw").splitlines()) > 1, 20, "its raw sockets")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

    def senders(self):
        """The addresses of those whose messages it has got."""
        words = [line.split(" received from ")[1].split()[0] for line in self.process.text().splitlines()
                 if line.startswith("Msg of length")]
        return {word.rpartition(":")[0].removeprefix("::ffff:") for word in words}


class Association:
    """usrsctp's client: a line is a message."""

    def __init__(self, host, address, port, log):
        self.log, self.sent = log, 0
        self.process = host.space.start("stdbuf", "-oL", PROGRAMS / "client", address, port, 0, 0, 0, log=log, stdin=True)
        self.process.wait_log("SCTP_COMM_UP", 20)

    def exchange(self, count):
        lines = [f"message {number} {'x' * 40}" for number in range(self.sent, self.sent + count)]
        self.sent += count
        start = self.process.size()
        self.process.send("".join(f"{line}\n" for line in lines))
        self.process.wait_for(lambda: self.process.text(start).count("message ") == count, 20, f"{count} messages to be echoed")
        got = [line for line in self.process.text(start).splitlines() if line.startswith("message ")]
        assert got == lines

    def end(self):
        self.process.child.stdin.close()

    def wait_for_shutdown(self):
        self.process.wait_log("SCTP_SHUTDOWN_COMP", 20)
        self.process.wait_end(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()


class Cluster:
    """A node with an uplink, a client pod and a service; servers come when they are made."""

    def __init__(self, node, make_netns, directory, followed):
        self.node, self.make_netns, self.directory, self.manifests = node, make_netns, directory, followed
        self.machine = Machine(node, make_netns("outside"))
        self.machine.take()
        self.manifests.write("diameter", manifests.service("diameter", CLUSTER.values(), *PORTS, type="NodePort"))
        self.clients = {"pod": self.pod("clients", "client"), "host": self.machine.host, "outside": self.machine.outside}

    def pod(self, network, name):
        settings = self.node.network(network, bridge=f"br-{network}", isDefaultGateway=True, ipam={
            "type": "viaduct", "ranges": [[{"subnet": subnet}] for subnet in SUBNETS[network].values()]})
        space = self.make_netns(name)
        pods.Pod(self.node, space, name, settings)
        texts = [each["address"].partition("/")[0] for each in pods.attachment(self.node, name)["addresses"]]
        return Space(space, dict(zip(hosts.FAMILIES, texts)))

    def endpoints(self, *states):
        """[(server, conditions)]."""
        self.manifests.write("slices", *(manifests.endpoint_slice("diameter", family, PORTS, [
            (server.host.address[family], conditions) for server, conditions in states]) for family in hosts.FAMILIES))
        wanted = {address: conditions == manifests.DRAINING for server, conditions in states
                  for address in server.host.address.values()}
        process.wait_until(lambda: manifests.backends(self.node, "diameter", PORTS[0]["name"]) == wanted, 10, "the endpoints")

    def associate(self, client, family, number=0):
        place = (NODE[family], PORTS[0]["nodePort"]) if client == "outside" else (CLUSTER[family], PORTS[0]["port"])
        return Association(self.clients[client], *place, self.directory / f"client-{client}-{family}-{number}.log")


@pytest.fixture
def cluster(make_node, make_netns, directory):
    if not (PROGRAMS / "echo_server").exists():
        pytest.skip("needs libusrsctp-examples: configs/install-packages test")
    followed = manifests.Directory(directory / "manifests")
    node = make_node(control_options=["--manifests", followed.path, "--node-name", "node-a"])
    yield Cluster(node, make_netns, directory, followed)
    process.run(["umount", "-l", node.run_dir / "uplinks.netns"], check=False)


def shut_down(associations, messages):
    """All of them, after so many messages more: the client's program takes a second to end."""
    for association in associations:
        association.exchange(messages)
        association.end()
    for association in associations:
        association.wait_for_shutdown()


@both_families
def test_messages_there_and_back(cluster, family):
    """Of a pod, the host and the outside; the servers see who asks."""
    with Echo(cluster, 0) as first, Echo(cluster, 1) as second:
        cluster.endpoints((first, manifests.READY), (second, manifests.READY))
        with contextlib.ExitStack() as stack:
            shut_down([stack.enter_context(cluster.associate(client, family, number))
                       for client in cluster.clients for number in range(6)], messages=50)
        assert first.senders() and second.senders()
        assert first.senders() | second.senders() == {host.address[family] for host in cluster.clients.values()}
    drops = {name: pods.drops(cluster.node, name) for name in pods.ports(cluster.node)}
    assert not any("bad_checksum" in each for each in drops.values()), drops


@both_families
def test_an_association_outlives_changes(cluster, family):
    """Its server drains while another takes over, and control is killed and comes back."""
    with Echo(cluster, 0) as first, Echo(cluster, 1) as second:
        cluster.endpoints((first, manifests.READY))
        with cluster.associate("pod", family) as near, cluster.associate("outside", family) as far:
            near.exchange(10)
            far.exchange(10)
            cluster.endpoints((first, manifests.DRAINING), (second, manifests.READY))
            cluster.node.kill_control()
            near.exchange(10)
            far.exchange(10)
            cluster.node.start_control()
            cluster.node.wait_in_sync()
            near.exchange(10)
            with cluster.associate("pod", family, 1) as fresh:
                shut_down([near, far, fresh], messages=10)
            assert second.senders()


def test_a_wrong_checksum_is_not_mended(cluster):
    """An INIT whose CRC32c is not its own: were it made anew, the server would believe what was damaged on the way."""
    with Echo(cluster, 0) as server:
        cluster.endpoints((server, manifests.READY))
        client = cluster.clients["pod"]
        init = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65536, 1, 1, 7)
        with hosts.inside(client.space):
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_SCTP)
        with raw:
            raw.sendto(struct.pack("!HHII", 40000, PORTS[0]["port"], 0, 0xdeadbeef) + init, (CLUSTER[4], 0))
        port = pods.attachment(cluster.node, "client")["port"]
        pods.wait_drop(cluster.node, port, "bad_checksum", 1)
        assert not server.senders()
