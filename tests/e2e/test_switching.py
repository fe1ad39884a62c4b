"""Linux's own network stack as the neighbours of a bridge: kernel interfaces in namespaces, with what
`ping`, `ip` and packet sockets can show of VLANs, large frames, floods, moves, links and wrong frames."""
import contextlib
import os
import select
import socket
import struct
import time

import pytest

from viaduct import pods, process

ETHERTYPE = 0x88b5  # IEEE 802: for experiments
BROADCAST = "ff:ff:ff:ff:ff:ff"
_CLONE_NEWNET = 0x40000000


class Neighbour:
    """A namespace with one interface of the bridge."""

    def __init__(self, space, number):
        self.space, self.number = space, number
        self.name, self.interface = f"tap{number}", f"eth{number}"
        self.mac, self.address = f"02:00:00:00:70:{number:02x}", f"10.70.0.{number}"

    def port(self, bridge="br0", **settings):
        return {"name": self.name, "kind": "tap", "ifname": self.interface, "netns": self.space.path,
                "mac": self.mac, "bridge": bridge, **settings}

    def up(self):
        self.space.run("ip", "addr", "add", f"{self.address}/24", "dev", self.interface)
        self.space.run("ip", "link", "set", self.interface, "up")
        return self

    @contextlib.contextmanager
    def packets(self):
        """A packet socket on the interface, for frames of the test's ethertype and all else as it comes."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            with open(self.space.path) as there:
                _setns(there.fileno())
            try:
                opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
                tagged = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            finally:
                _setns(own)
        finally:
            os.close(own)
        tagged.close()
        with opened:
            opened.bind((self.interface, ETHERTYPE))
            opened.setblocking(False)
            yield opened


def _setns(fd):
    if process._libc.setns(fd, _CLONE_NEWNET) != 0:
        raise process.Failed("setns was refused")


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def frame(target, source, payload=b"x" * 46, tags=()):
    """`tags`: VLAN ids, the outermost first."""
    tagged = b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags)
    return mac_bytes(target) + mac_bytes(source) + tagged + struct.pack("!H", ETHERTYPE) + payload


def received(packet_socket, timeout=0.0):
    """All that has come, having waited at most `timeout` seconds for the first."""
    frames = []
    if select.select([packet_socket], [], [], timeout)[0]:
        with contextlib.suppress(BlockingIOError):
            while True:
                frames.append(packet_socket.recv(65536))
    return frames


@pytest.fixture
def make_bridge(make_node, make_netns):
    """make_bridge(settings of each port, **settings of the bridge) -> (node, neighbours that are up)."""

    def make(ports, node_options=None, **settings):
        node = make_node(**(node_options or {}))
        neighbours = [Neighbour(make_netns(f"n{number}"), number) for number in range(1, len(ports) + 1)]
        pods.change(node, {"bridges": [{"name": "br0", **settings}], "ports": [
            each.port(**options) for each, options in zip(neighbours, ports)]})
        for each in neighbours:
            each.up()
        return node, neighbours

    return make


def test_jumbo_frames(make_bridge):
    """A whole frame of 9000 bytes goes through a small packet buffer's worth of several; one byte more is
    refused by the kernel, one port that takes less drops what is too big for it."""
    node, (first, second, small) = make_bridge([{"mtu": 9000}, {"mtu": 9000}, {"mtu": 1500}])
    first.space.ping(second.address)
    first.space.run("ping", "-n", "-c5", "-i0.05", "-s8972", "-Mdo", "-W5", second.address)
    first.space.ping(small.address)
    refused = first.space.run("ping", "-n", "-c2", "-i0.05", "-s8972", "-Mdo", "-W1", small.address,
                              check=False)
    assert refused.returncode != 0
    assert pods.drops(node, small.name, "tx").get("too_big", 0) >= 2
    node.check_ledger()


def test_floods_reach_the_bridge_and_nothing_else(make_bridge, make_netns):
    node, (first, second, third) = make_bridge([{}, {}, {}])
    stranger = Neighbour(make_netns("stranger"), 9)
    pods.change(node, {"bridges": [{"name": "br1"}], "ports": [stranger.port(bridge="br1")]})
    stranger.up()
    with contextlib.ExitStack() as stack:
        sender, *others = [stack.enter_context(each.packets()) for each in (first, second, third, stranger)]
        for target in (BROADCAST, "01:00:5e:00:00:05", "02:00:00:00:99:99"):
            sender.send(frame(target, first.mac))
            for other in others[:2]:
                got = received(other, 5)
                assert len(got) == 1 and got[0] == frame(target, first.mac), (target, got)
        assert received(others[2]) == []
        # Not back to where it came from: a packet socket would show it as one that came in.
        assert [each for each in received(sender) if each[:6] != mac_bytes(BROADCAST)] == []
        # Once an address is learned, nobody else sees what is sent to it.
        others[0].send(frame(BROADCAST, second.mac))
        received(others[1], 5)
        sender.send(frame(second.mac, first.mac))
        assert len(received(others[0], 5)) == 1
        assert received(others[1]) == []


def test_reserved_groups_and_wrong_sources_are_counted(make_bridge):
    """What a kernel interface lets through that a bridge must not forward. Frames without a whole header, or
    longer than the MTU, do not pass the interface itself."""
    node, (first, second) = make_bridge([{}, {}])
    with first.packets() as sender, second.packets() as watcher:
        for _ in range(3):
            sender.send(frame("01:80:c2:00:00:0e", first.mac))
        for _ in range(4):
            sender.send(frame(BROADCAST, "03:00:00:00:00:01"))
        for _ in range(5):
            sender.send(frame(BROADCAST, "00:00:00:00:00:00"))
        pods.wait_drop(node, first.name, "reserved_multicast", 3)
        pods.wait_drop(node, first.name, "bad_source", 9)
        assert received(watcher) == []
    counted = pods.drops(node, first.name)
    assert counted["bad_source"] == 9
    node.check_ledger()


def test_access_ports_and_trunks(make_bridge):
    """Two access ports of VLAN 10, one of 20, a trunk of both with native VLAN 30."""
    node, (ten, ten_too, twenty, trunk) = make_bridge(
        [{"vlan": {"untagged": 10}}, {"vlan": {"untagged": 10}}, {"vlan": {"untagged": 20}},
         {"vlan": {"untagged": 30, "tagged": ["10", "20"]}}], vlan_filtering=True)
    ten.space.ping(ten_too.address)
    lost = ten.space.run("ping", "-n", "-c1", "-W1", twenty.address, check=False)
    assert lost.returncode != 0
    with ten.packets() as sender, twenty.packets() as stranger, trunk.packets() as wide:
        wide.send(frame(BROADCAST, trunk.mac, tags=[10]))
        assert received(sender, 5) == [frame(BROADCAST, trunk.mac)]
        wide.send(frame(BROADCAST, trunk.mac, tags=[20]))
        assert received(stranger, 5) == [frame(BROADCAST, trunk.mac)]
        assert received(sender) == []
        wide.send(frame(BROADCAST, trunk.mac, tags=[40]))
        wide.send(frame(BROADCAST, trunk.mac, tags=[4095]))
        wide.send(frame(BROADCAST, trunk.mac))  # native, of which nobody else is
        pods.wait_drop(node, trunk.name, "vlan_not_allowed", 1)
        pods.wait_drop(node, trunk.name, "bad_vlan", 1)
        pods.wait_drop(node, trunk.name, "no_output", 1)
        sender.send(frame(BROADCAST, ten.mac, tags=[20]))
        pods.wait_drop(node, ten.name, "vlan_not_allowed", 1)
        assert received(stranger) == []
    node.check_ledger()


def test_trunk_against_a_kernel_vlan_interface(make_bridge):
    node, (access, trunk) = make_bridge([{"vlan": {"untagged": 10}}, {"vlan": {"tagged": ["10-11"]}}],
                                        vlan_filtering=True)
    made = trunk.space.run("ip", "link", "add", "link", trunk.interface, "name", "v10", "type", "vlan", "id",
                           "10", check=False)
    if made.returncode != 0:
        pytest.skip(f"the kernel has no VLAN interfaces (8021q): {made.stderr.strip()}")
    trunk.space.run("ip", "addr", "flush", "dev", trunk.interface)
    trunk.space.run("ip", "addr", "add", f"{trunk.address}/24", "dev", "v10")
    trunk.space.run("ip", "link", "set", "v10", "up")
    access.space.ping(trunk.address)
    trunk.space.ping(access.address)


def test_an_address_moves_between_ports(make_bridge):
    node, (first, second, third) = make_bridge([{}, {}, {}])
    roaming = "02:00:00:00:aa:01"

    def place():
        entries = node.dataplane_api("GET", "/v1/fdb").body["fdb"]
        return [entry["port"] for entry in entries if entry["mac"] == roaming]

    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(each.packets()) for each in (first, second, third)]
        for here, there in ((0, 1), (1, 0), (0, 1)):
            sockets[here].send(frame(BROADCAST, roaming))
            wanted = (first, second)[here].name
            process.wait_until(lambda: place() == [wanted], 5, f"{roaming} to be at {wanted}")
            for each in sockets:
                received(each, 0.2)
            sockets[2].send(frame(roaming, third.mac))
            assert len(received(sockets[here], 5)) == 1
            assert received(sockets[there]) == []


def test_link_down_and_up(make_bridge):
    """A port that its owner takes down gets nothing, and what was learned there is forgotten."""
    node, (first, second) = make_bridge([{}, {}])
    first.space.ping(second.address)
    second.space.run("ip", "link", "set", second.interface, "down")
    pods.wait_link(node, second.name, "down")
    process.wait_until(lambda: second.mac not in str(node.dataplane_api("GET", "/v1/fdb").body), 5,
                       "its address to be forgotten")
    assert first.space.run("ping", "-n", "-c1", "-W1", second.address, check=False).returncode != 0
    second.space.run("ip", "link", "set", second.interface, "up")
    pods.wait_link(node, second.name)
    first.space.ping(second.address)
    # Administratively, from our side.
    pods.change(node, {"ports": [second.port(up=False)]})
    assert first.space.run("ping", "-n", "-c1", "-W1", second.address, check=False).returncode != 0
    pods.change(node, {"ports": [second.port()]})
    first.space.ping(second.address)
    node.check_ledger()


def test_hundreds_of_ports_come_and_go(make_bridge, directory):
    """200 ports whose pods are not there yet, by tens, on the bridge of two who ping each other."""
    node, (first, second) = make_bridge([{}, {}])
    with pods.Ping(first.space, second.address, directory / "ping.log", interval=0.02):
        for _ in range(2):
            for ten in range(20):
                pods.change(node, {"ports": [
                    {"name": f"pod{ten}.{number}", "kind": "vhost-user", "bridge": "br0",
                     "path": str(directory / f"{ten}.{number}.sock")} for number in range(10)]})
            assert len(pods.ports(node)) == 202
            for ten in range(20):
                pods.change(node, delete={"ports": [f"pod{ten}.{number}" for number in range(10)]})
            assert len(pods.ports(node)) == 2
    node.check_ledger()


def test_port_without_buffers_is_refused(make_bridge, directory):
    """In words, before anything suffers, and nothing of the transaction is applied."""
    node, (first, second) = make_bridge([{}, {}], node_options={
        "dataplane_options": ("--packet-buffers", "1024")})
    info = node.dataplane_api("GET", "/v1/info").body
    wanted = [{"name": f"pod{number}", "kind": "vhost-user", "bridge": "br0", "queues": 8, "mtu": 9000,
               "path": str(directory / f"{number}.sock")} for number in range(8)]
    answer = node.dataplane_api("POST", "/v1/transactions", {"put": {"ports": wanted}})
    assert answer.status == 400
    assert "packet buffers" in answer.body["error"] and "are left" in answer.body["error"], answer
    assert len(pods.ports(node)) == 2
    after = node.dataplane_api("GET", "/v1/info").body
    assert after["packet_buffers_reserved"] == info["packet_buffers_reserved"]
    first.space.ping(second.address)


def test_pods_survive_the_dataplane(make_node, make_netns, directory):
    """kill -9: the interfaces of tap pods stay as they are in their namespaces, and carry on."""
    node = make_node()
    first, second = pods.Attached(node, make_netns, directory).taps()
    first.space.ping(second.address)
    state = first.space.output("ip", "-o", "addr", "show", "dev", "eth0")
    node.kill_dataplane()
    began = time.monotonic()
    node.start_dataplane(wait=False)
    process.wait_until(
        lambda: first.space.run("ping", "-n", "-c1", "-W0.1", second.address, check=False).returncode == 0, 5,
        "an answer after the restart")
    print(f"from the restart to the first answer: {time.monotonic() - began:.2f} s")
    assert first.space.output("ip", "-o", "addr", "show", "dev", "eth0") == state
