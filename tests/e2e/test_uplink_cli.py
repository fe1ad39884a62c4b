"""`viaduct uplink` as a person uses it, on what a machine without a network card has."""
import socket
import struct

import pytest

from viaduct import hosts, outside, pods, process


def tap(space, bridge, name="pod", **settings):
    return {"name": name, "kind": "tap", "ifname": "eth0", "netns": space.path, "bridge": bridge, **settings}


def up(space, address):
    space.run("ip", "addr", "add", address, "dev", "eth0")
    space.run("ip", "link", "set", "eth0", "up")


def ok(node, *words):
    return node.cli(*words, json=False)


def refused(node, *words):
    done = node.cli(*words, json=False, check=False)
    assert done.returncode != 0 and len(done.stderr.strip().splitlines()) == 1, done
    return done.stderr


def test_from_an_interfaces_name_to_a_way_out(node, make_netns, make_outside):
    pod, world = make_netns("pod"), make_outside(node)
    ok(node, "bridge", "add", "br0")
    pods.change(node, {"ports": [tap(pod, "br0")]})
    up(pod, "10.80.0.1/24")
    world.address("10.80.0.2/24")
    assert pods.ports(node).keys() == {"pod"}
    assert "+ port" in ok(node, "uplink", "add", world.near, "bridge", "br0", "--dry-run")
    assert pods.ports(node).keys() == {"pod"}
    ok(node, "uplink", "add", world.near, "bridge", "br0", "mtu", "1400", "--comment", "the cable")
    pod.ping("10.80.0.2")
    shown = ok(node, "uplink")
    assert f"{world.near}: net_af_packet_{world.near},iface={world.near} bridge br0 mtu 1400" in shown, shown
    assert "state UP" in shown
    assert f"on interface {world.near}" in ok(node, "link", "show", world.near)
    listed = node.cli("uplink", "show", world.near)["uplinks"]
    assert listed[0]["link"] == "up" and listed[0]["devices"][0]["interface"] == world.near
    assert world.near in ok(node, "port", "show")
    ok(node, "uplink", "del", world.near)
    assert pods.ports(node).keys() == {"pod"}

    # Twice, by other names and with two queues; what the host has on it is said.
    node.namespace.run("ip", "addr", "add", "192.0.2.1/24", "dev", world.near)
    done = node.cli("uplink", "add", world.near, "name", "wan", "queues", "2", "bridge", "br0", json=False, check=False)
    assert done.returncode == 0 and "note: interface" in done.stderr and "192.0.2.1/24" in done.stderr, done
    assert len(pods.port(node, "wan")["queues"]) == 2
    pod.ping("10.80.0.2")


def test_what_cannot_be_is_refused_in_one_sentence(node, make_outside):
    world, other = make_outside(node), make_outside(node)
    ok(node, "bridge", "add", "br0")
    there = f"{world.near}, {other.near}" if world.near < other.near else f"{other.near}, {world.near}"
    assert f"nowhere is no interface of this node ({there})" in refused(node, "uplink", "add", "nowhere")
    assert "as many channels as queues" in refused(node, "uplink", "add", world.near, "driver", "af_xdp", "queues", "4")
    assert "is no PCI device of this node" in refused(node, "uplink", "add", "0000:fe:1f.6")
    assert "no PCI device's interface" in refused(node, "uplink", "add", world.near, "driver", "vfio-pci")
    assert "its own driver" in refused(node, "uplink", "add", "net_pcap0,iface=lo", "driver", "af_xdp")
    assert "net_nosuch0 cannot be opened" in refused(node, "uplink", "add", "net_nosuch0")
    assert "nosuch" in refused(node, "uplink", "add", world.near, "bridge", "nosuch")
    assert "at most 1500" in refused(node, "uplink", "add", world.near, "mtu", "9000")
    assert "loopback" in refused(node, "uplink", "add", "lo")
    assert "uplink nowhere is not there" in refused(node, "uplink", "del", "nowhere")
    assert "does not exist" in refused(node, "uplink", "show", "nowhere")
    assert "af_xdp" in refused(node, "uplink", "add", world.near, "driver", "e1000")
    for words in ([], ["add"], ["add", world.near, "gro"], ["add", world.near, "gro", "maybe"], ["del"]):
        if words:
            assert node.cli("uplink", *words, json=False, check=False).returncode == 2, words
    assert pods.ports(node) == {}
    ok(node, "uplink", "add", world.near, "name", "wan")
    assert f'wants device net_af_packet_{world.near}, which port "wan" has' in \
        refused(node, "uplink", "add", world.near)
    assert f'wants interface {world.near}, which port "wan" has' in \
        refused(node, "uplink", "add", f"net_af_packet9,iface={world.near}")
    assert "exists already" in refused(node, "uplink", "add", other.near, "name", "wan")
    assert pods.ports(node).keys() == {"wan"}


def test_two_on_one_bridge_and_two_on_two(node, make_netns, make_outside):
    first, second = make_outside(node), make_outside(node)
    pods_of = {bridge: make_netns(bridge) for bridge in ("br1", "br2")}
    for bridge, space in pods_of.items():
        ok(node, "bridge", "add", bridge)
        pods.change(node, {"ports": [tap(space, bridge, name=f"pod-{bridge}")]})
        up(space, "10.80.0.1/24")
    first.address("10.80.0.2/24")
    second.address("10.80.0.3/24")
    # One bridge: Viaduct is the switch between two cables, and its pod is behind both.
    ok(node, "uplink", "add", first.near, "bridge", "br1", "name", "one")
    ok(node, "uplink", "add", second.near, "bridge", "br1", "name", "two")
    first.space.ping("10.80.0.3")
    pods_of["br1"].ping("10.80.0.2")
    pods_of["br1"].ping("10.80.0.3")
    # Two: each its own network, with the same addresses.
    ok(node, "port", "set", "two", "bridge", "br2")
    second.space.run("ip", "neigh", "flush", "dev", "eth0")
    pods_of["br2"].ping("10.80.0.3")
    pods_of["br1"].ping("10.80.0.2")
    assert first.space.run("ping", "-c1", "-W1", "10.80.0.3", check=False).returncode != 0
    ok(node, "uplink", "del", "one")
    pods_of["br2"].ping("10.80.0.3")


def arp_request(mac, sender, target, vlan):
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return (b"\xff" * 6 + mac + tag + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + mac +
            socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target))


def test_tags_on_a_cable(node, make_netns, make_outside):
    """A trunk: a pod of VLAN 10 and one of VLAN 20 on one cable, whose far end tags by hand (the kernel here need not
    know VLANs)."""
    world = make_outside(node)
    ok(node, "bridge", "add", "br0", "vlan_filtering", "on")
    spaces = {vlan: make_netns(f"v{vlan}") for vlan in (10, 20)}
    for vlan, space in spaces.items():
        pods.change(node, {"ports": [tap(space, "br0", name=f"pod{vlan}", vlan={"untagged": vlan})]})
        up(space, "10.80.0.1/24")
    ok(node, "uplink", "add", world.near, "name", "trunk", "bridge", "br0", "trunk", "10,20", "native", "30")
    mac = bytes.fromhex("020000000099")
    with hosts.inside(world.space):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        wire.bind(("eth0", 0))
        wire.settimeout(0.5)
        wire.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA: the kernel takes tags out

    def answers(vlan):
        """MAC addresses that answer, with the VLAN of the answer."""
        wire.send(arp_request(mac, "10.80.0.9", "10.80.0.1", vlan))
        found = set()
        try:
            while True:
                frame, extra, _, address = wire.recvmsg(2048, 256)
                if address[2] == socket.PACKET_OUTGOING or frame[:6] != mac:
                    continue
                tag = 0
                for level, kind, data in extra:
                    if (level, kind) == (263, 8):
                        status, *_, tci, _ = struct.unpack("IIIHHHH", data)
                        tag = tci & 0xfff if status & 0x10 else 0
                if frame[12:14] == b"\x81\x00":
                    tag = struct.unpack("!H", frame[14:16])[0] & 0xfff
                found.add((frame[6:12].hex(":"), tag))
        except TimeoutError:
            return found

    with wire:
        process.wait_until(lambda: answers(10), 10, "an answer in VLAN 10")
        for vlan, space in spaces.items():
            own = space.output("cat", "/sys/class/net/eth0/address", check=False).strip()
            own = space.output("ip", "-o", "link", "show", "eth0").split("link/ether ")[1].split()[0] or own
            assert answers(vlan) == {(own, vlan)}
        assert answers(0) == set() and answers(40) == set()
    assert pods.drops(node, "trunk")


@pytest.mark.parametrize("direction", ["pod sends", "pod receives"])
def test_segments_are_put_together(node, make_netns, make_outside, directory, direction):
    """The same bytes arrive, in fewer frames."""
    pod, world = make_netns("pod"), make_outside(node)
    ok(node, "bridge", "add", "br0")
    pods.change(node, {"ports": [tap(pod, "br0")]})
    ok(node, "uplink", "add", world.near, "name", "wan", "bridge", "br0", "gro", "on")
    up(pod, "10.80.0.1/24")
    world.address("10.80.0.2/24")
    pod.ping("10.80.0.2")
    assert "gro on" in ok(node, "uplink", "show")
    rate = outside.bits_a_second(pod, world.space, "10.80.0.2", directory / "iperf.log",
                                 reverse=direction == "pod receives")
    assert rate > 10e6
    counters = pods.port(node, "wan")["counters"]
    size = counters["rx_bytes"] / counters["rx_packets"]
    if direction == "pod receives":
        assert size > 2000, size
    ok(node, "port", "set", "wan", "gro", "off")
    pods.wait_link(node, "wan", "up")
    pod.ping("10.80.0.2")
    assert outside.bits_a_second(pod, world.space, "10.80.0.2", directory / "off.log", reverse=True) > 10e6
    counters = pods.port(node, "wan")["counters"]
    assert counters["rx_bytes"] / counters["rx_packets"] < 1515


def test_xdp(node, make_netns, make_outside):
    """Where kernel and DPDK have XDP sockets."""
    pod, world = make_netns("pod"), make_outside(node)
    ok(node, "bridge", "add", "br0")
    pods.change(node, {"ports": [tap(pod, "br0")]})
    done = node.cli("uplink", "add", world.near, "driver", "af_xdp", "name", "wan", "bridge", "br0", json=False,
                    check=False)
    if done.returncode:
        pytest.skip(f"af_xdp does not open here: {done.stderr.strip()}")
    assert "XDP sockets" in done.stderr
    up(pod, "10.80.0.1/24")
    world.address("10.80.0.2/24")
    pod.ping("10.80.0.2")
    ok(node, "uplink", "del", "wan")
    ok(node, "uplink", "add", world.near, "name", "wan", "bridge", "br0")
    pod.ping("10.80.0.2")


def test_a_capture_is_a_device_too(node, make_netns, directory):
    scapy = pytest.importorskip("scapy.all")
    pod = make_netns("pod")
    capture, into = directory / "in.pcap", directory / "out.pcap"
    scapy.wrpcap(str(capture), [scapy.Ether(src="02:00:00:00:00:99", dst="ff:ff:ff:ff:ff:ff") /
                                scapy.ARP(op=1, hwsrc="02:00:00:00:00:99", psrc="10.80.0.9", pdst="10.80.0.1")] * 3)
    ok(node, "bridge", "add", "br0")
    pods.change(node, {"ports": [tap(pod, "br0")]})
    up(pod, "10.80.0.1/24")
    ok(node, "uplink", "add", f"net_pcap0,rx_pcap={capture},tx_pcap={into}", "bridge", "br0")
    process.wait_until(lambda: pods.port(node, "net_pcap0")["counters"]["rx_packets"] == 3, 10, "three frames")
    process.wait_until(lambda: pods.port(node, "net_pcap0")["counters"]["tx_packets"] >= 1, 10, "an answer")
    ok(node, "uplink", "del", "net_pcap0")
    assert any(scapy.ARP in packet and packet[scapy.ARP].op == 2 for packet in scapy.rdpcap(str(into)))
