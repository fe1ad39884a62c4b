"""Bonds of uplinks: a cable is cut under traffic, a neighbour speaks LACP, a member is unplugged and plugged again."""
import re

import pytest

from viaduct import lacp, outside, pods, process


def tap(space, bridge="br0", name="pod"):
    return {"name": name, "kind": "tap", "ifname": "eth0", "netns": space.path, "bridge": bridge}


def up(space, address):
    space.run("ip", "addr", "add", address, "dev", "eth0")
    space.run("ip", "link", "set", "eth0", "up")


class Switch:
    """A bridge of Linux's with a cable to the node for each member, and the world behind it."""

    def __init__(self, node, make_netns, cables=2):
        self.node, self.space, self.world = node, make_netns("switch"), make_netns("world")
        self.near = [f"m{number}" for number in range(cables)]
        self.space.run("ip", "link", "add", "sw0", "type", "bridge")
        self.space.run("ip", "link", "set", "sw0", "up")
        for number in range(cables):
            self.plug(number)
        self.space.run("ip", "link", "add", "w", "type", "veth", "peer", "name", "eth0", "netns", self.world.name)
        self.join("w")
        self.world.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off")
        self.world.run("ip", "link", "set", "eth0", "up")

    def join(self, interface):
        self.space.run("ip", "link", "set", interface, "master", "sw0", "up")

    def plug(self, number):
        self.node.namespace.run("ip", "link", "add", self.near[number], "type", "veth", "peer", "name", f"c{number}",
                                "netns", self.space.name)
        self.space.run("ethtool", "-K", f"c{number}", "tx", "off", "tso", "off", "gso", "off")
        self.join(f"c{number}")
        self.node.namespace.run("ip", "link", "set", self.near[number], "up")

    def unplug(self, number):
        self.node.namespace.run("ip", "link", "delete", self.near[number])

    def set_cable(self, number, state):
        self.space.run("ip", "link", "set", f"c{number}", state)


def detail(node):
    return pods.port(node, "bond")["detail"]


def wait_says(node, words, timeout=20):
    process.wait_until(lambda: words in detail(node), timeout, f'the bond to say "{words}"', tell=lambda: detail(node))


@pytest.fixture
def switched(node, make_netns):
    """A pod on a bridge with an active-backup bond to a switch."""
    pod, switch = make_netns("pod"), Switch(node, make_netns)
    node.cli("bridge", "add", "br0", json=False)
    pods.change(node, {"ports": [tap(pod)]})
    node.cli("uplink", "add", "m0", "member", "m1", "name", "bond", "bridge", "br0", json=False)
    up(pod, "10.80.0.1/24")
    switch.world.run("ip", "addr", "add", "10.80.0.2/24", "dev", "eth0")
    pod.ping("10.80.0.2")
    return pod, switch


def lost_pings(space, address, work):
    """How many of twenty a second were lost while `work` was done, and how many came after."""
    command = space.command("ping", "-n", "-i0.05", "-W1", "-c", 100, address)
    pinging = process.Process(command, work.log, "ping").start()
    process.wait_until(lambda: "icmp_seq=10 " in pinging.text(), 10, "ten answers")
    work()
    pinging.wait_end(30)
    answered = sorted(int(number) for number in re.findall(r"icmp_seq=(\d+)", pinging.text()))
    return 100 - len(answered), answered[-1]


def test_another_device_takes_over(node, switched, directory):
    pod, switch = switched
    assert "m0 up, carries; m1 up, waits" in detail(node)
    assert "m0 up, carries" in node.cli("link", "show", "bond", json=False)

    def cut():
        switch.set_cable(0, "down")
    cut.log = directory / "ping.log"
    lost, last = lost_pings(pod, "10.80.0.2", cut)
    # Five a quarter of a second: the change-over takes tens of milliseconds.
    assert lost <= 10 and last >= 99, (lost, last)
    wait_says(node, "m0 no carrier; m1 up, carries")

    # TCP in bulk goes on over the next cut.
    switch.set_cable(0, "up")
    wait_says(node, "m0 up, waits; m1 up, carries")
    server = switch.world.start("iperf3", "-s", "-1", log=directory / "server.log")
    client = process.Process(pod.command("iperf3", "-c", "10.80.0.2", "-t", 5, "-i", 1, "-f", "m"),
                             directory / "iperf.log", "iperf3")
    try:
        process.wait_until(lambda: ":5201" in switch.world.output("ss", "-Hltn"), 10, "iperf3 to listen")
        client.start()
        process.wait_until(lambda: "1.00-2.00" in client.text(), 20, "two seconds of iperf3", tell=client.tail)
        switch.set_cable(1, "down")
        client.wait_end(40)
    finally:
        client.stop()
        server.stop()
    last_second = re.search(r"4\.00-5\.\d+ .*?([\d.]+) Mbits/sec", client.text())
    assert last_second and float(last_second[1]) > 10, client.text()
    wait_says(node, "m0 up, carries; m1 no carrier")

    switch.set_cable(0, "down")
    pods.wait_link(node, "bond", "down")
    switch.set_cable(1, "up")
    pods.wait_link(node, "bond", "up")
    pod.ping("10.80.0.2")


def test_a_member_is_unplugged_and_plugged_again(node, switched):
    pod, switch = switched
    switch.unplug(0)
    wait_says(node, "m0 is not there")
    pod.ping("10.80.0.2")
    # Nor does a dataplane need it that starts now.
    node.kill_dataplane()
    node.start_dataplane()
    node.wait_in_sync()
    wait_says(node, "m0 is not there")
    switch.plug(0)
    wait_says(node, "m0 up, waits")
    switch.set_cable(1, "down")
    wait_says(node, "m0 up, carries")
    pod.ping("10.80.0.2")
    switch.unplug(0)
    switch.unplug(1)
    pods.wait_link(node, "bond", "down")
    switch.plug(0)
    switch.plug(1)
    pods.wait_link(node, "bond", "up")
    pod.ping("10.80.0.2")
    node.cli("uplink", "del", "bond", json=False)
    assert "bond" not in pods.ports(node)
    # Its members are free.
    node.cli("uplink", "add", "m1", "name", "bond", "bridge", "br0", json=False)
    pod.ping("10.80.0.2")


def cables_to(node, space, count=2):
    for number in range(count):
        node.namespace.run("ip", "link", "add", f"m{number}", "type", "veth", "peer", "name", f"c{number}", "netns",
                           space.name)
        space.run("ethtool", "-K", f"c{number}", "tx", "off", "tso", "off", "gso", "off")
        space.run("ip", "link", "set", f"c{number}", "up")
        node.namespace.run("ip", "link", "set", f"m{number}", "up")


def test_lacp_with_a_neighbour(node, make_netns):
    pytest.importorskip("scapy")
    pod, space = make_netns("pod"), make_netns("neighbour")
    cables_to(node, space)
    pods.change(node, {"bridges": [{"name": "br0"}], "ports": [tap(pod)]})
    node.cli("uplink", "add", "m0", "member", "m1", "bond", "802.3ad", "name", "bond", "bridge", "br0", json=False)
    up(pod, "10.80.0.1/24")
    wait_says(node, "hears no LACP from the neighbour")
    assert pod.run("ping", "-c1", "-W1", "10.80.0.2", check=False).returncode != 0
    with lacp.Neighbour(space, ("c0", "c1"), "10.80.0.2") as neighbour:
        process.wait_until(lambda: neighbour.agrees("c0") and neighbour.agrees("c1"), 30, "both cables to be agreed on",
                           tell=lambda: detail(node))
        wait_says(node, f"m0 up, aggregated with {neighbour.mac}; m1 up, aggregated with {neighbour.mac}")
        pod.ping("10.80.0.2")
        # Nothing else goes on while the node sleeps, and it still answers the neighbour.
        for cut, left in (("c1", "c0"), ("c0", "c1")):
            space.run("ip", "link", "set", cut, "down")
            wait_says(node, f"{cut.replace('c', 'm')} no carrier")
            before = neighbour.answered[left]
            pod.ping("10.80.0.2")
            assert neighbour.answered[left] > before
            space.run("ip", "link", "set", cut, "up")
            wait_says(node, f"{cut.replace('c', 'm')} up, aggregated", 30)


def test_lacp_with_linux(node, make_netns):
    """Linux's own bonding at the other end."""
    pod, space = make_netns("pod"), make_netns("linux")
    if space.run("ip", "link", "add", "bond0", "type", "bond", "mode", "802.3ad", "lacp_rate", "fast",
                 check=False).returncode:
        pytest.skip("the kernel has no bonding driver")
    cables_to(node, space)
    for cable in ("c0", "c1"):
        space.run("ip", "link", "set", cable, "down")
        space.run("ip", "link", "set", cable, "master", "bond0")
    space.run("ip", "addr", "add", "10.80.0.2/24", "dev", "bond0")
    space.run("ip", "link", "set", "bond0", "up")
    pods.change(node, {"bridges": [{"name": "br0"}], "ports": [tap(pod)]})
    node.cli("uplink", "add", "m0", "member", "m1", "bond", "802.3ad", "name", "bond", "bridge", "br0", json=False)
    up(pod, "10.80.0.1/24")
    wait_says(node, "m1 up, aggregated", 60)
    pod.ping("10.80.0.2")
    space.run("ip", "link", "set", "c0", "down")
    wait_says(node, "m0 no carrier")
    pod.ping("10.80.0.2")


def test_two_nodes_agree_by_lacp(make_node, make_netns, directory):
    """Viaduct at both ends, with TCP in bulk through both bonds."""
    first, second = make_node(), make_node()
    spaces = []
    for number in range(2):
        first.namespace.run("ip", "link", "add", f"m{number}", "type", "veth", "peer", "name", f"m{number}", "netns",
                            second.namespace.name)
    for number, node in enumerate((first, second)):
        space = make_netns(f"pod{number}")
        pods.change(node, {"bridges": [{"name": "br0"}], "ports": [tap(space)]})
        node.cli("uplink", "add", "m0", "member", "m1", "bond", "802.3ad", "name", "bond", "bridge", "br0", json=False)
        up(space, f"10.80.0.{number + 1}/24")
        spaces.append(space)
    for node in (first, second):
        wait_says(node, "m1 up, aggregated", 30)
        wait_says(node, "m0 up, aggregated", 30)
    spaces[0].ping("10.80.0.2")
    assert outside.bits_a_second(*spaces, "10.80.0.2", directory / "iperf.log") > 10e6
    second.namespace.run("ip", "link", "set", "m0", "down")
    wait_says(first, "m0 no carrier")
    spaces[0].ping("10.80.0.2")


def test_flows_are_spread_without_lacp(node, make_netns):
    pod, space = make_netns("pod"), make_netns("neighbour")
    cables_to(node, space)
    pods.change(node, {"bridges": [{"name": "br0"}], "ports": [tap(pod)]})
    node.cli("uplink", "add", "m0", "member", "m1", "bond", "balance-xor", "name", "bond", "bridge", "br0", json=False)
    up(pod, "10.80.0.1/24")
    pod.run("ip", "neigh", "add", "10.80.0.2", "lladdr", "02:00:00:00:bb:01", "dev", "eth0")

    def received(cable):
        return int(space.output("cat", "/proc/net/dev").split(f"{cable}:")[1].split()[1])

    before = {cable: received(cable) for cable in ("c0", "c1")}
    pod.run("sh", "-c", "for p in $(seq 2000 2063); do echo x | timeout 1 bash -c \"cat > /dev/udp/10.80.0.2/$p\"; done")
    process.wait_until(lambda: all(received(cable) > before[cable] + 5 for cable in before), 10, "both cables to carry",
                       tell=lambda: f"{before} {[received(cable) for cable in before]}")


def test_what_makes_no_bond_is_refused_in_words(node, make_netns):
    space = make_netns("neighbour")
    cables_to(node, space, 3)
    node.cli("bridge", "add", "br0", json=False)

    def refused(*words):
        done = node.cli(*words, json=False, check=False)
        assert done.returncode != 0 and len(done.stderr.strip().splitlines()) == 1, done
        assert "bond" not in pods.ports(node)
        return done.stderr

    add = ("uplink", "add", "m0", "name", "bond")
    assert "has 1 device; a bond is made of 2 to 8" in refused(*add, "bond", "802.3ad")
    assert "interface m0 twice" in refused(*add, "member", "m0") or "m0" in refused(*add, "member", "m0")
    assert "nowhere is no interface of this node" in refused(*add, "member", "nowhere")
    assert "net_nosuch0" in refused(*add, "member", "net_nosuch0")
    assert "queues" in refused(*add, "member", "net_af_packet9,iface=m1", "queues", "4")
    assert "active-backup" in refused(*add, "member", "m1", "bond", "round-robin")
    node.cli("uplink", "add", "m2", "bridge", "br0", json=False)
    assert 'which port "m2" has' in refused(*add, "member", "m2")
    assert "exists already" in refused("uplink", "add", "m0", "member", "m1", "name", "m2")
    # Nothing of all that holds a device.
    node.cli(*add, "member", "m1", "bridge", "br0", json=False)
    assert 'which port "bond" has' in node.cli("uplink", "add", "m1", json=False, check=False).stderr
