"""The node's own programs behind an interface that the dataplane has taken: everything that reached them does still,
pods and published ports besides, and the interface comes back with all that it had."""
import contextlib
import json
import signal
import socket
import sqlite3
import threading
import time

import pytest

from viaduct import daemons, hosts, image, pods, process, scenarios

NODE = {4: "192.0.2.2", 6: "2001:db8:2::2"}
OUTSIDE = {4: "192.0.2.1", 6: "2001:db8:2::1"}
FAR = {4: "203.0.113.7", 6: "2001:db8:7::7"}
SUBNETS = ["10.91.0.0/24", "fd91::/64"]
both_families = pytest.mark.parametrize("family", hosts.FAMILIES, ids=["ipv4", "ipv6"])


class Space:
    """A namespace with addresses by family, as hosts' sockets want it."""

    def __init__(self, space, address):
        self.space, self.address = space, address


class Machine:
    """A node whose interface eth1 leads outside, where more lies behind the gateway."""

    def __init__(self, node, outside_space):
        self.node, self.space = node, node.namespace
        self.host, self.outside = Space(self.space, NODE), Space(outside_space, OUTSIDE)
        self.far = Space(outside_space, FAR)
        self.space.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", outside_space.name)
        # A packet socket takes neither segments to be cut nor checksums to be filled in.
        outside_space.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off")
        for space, device, mine in ((self.space, "eth1", NODE), (outside_space, "eth0", OUTSIDE)):
            space.run("ip", "addr", "add", f"{mine[4]}/24", "dev", device)
            space.run("ip", "addr", "add", f"{mine[6]}/64", "dev", device, "nodad")
            space.run("ip", "link", "set", device, "up")
        for family in hosts.FAMILIES:
            outside_space.run("ip", "addr", "add", FAR[family], "dev", "lo")
            self.space.run("ip", f"-{family}", "route", "add", "default", "via", OUTSIDE[family])
        self.space.run("ip", "route", "add", "198.18.0.0/15", "via", OUTSIDE[4], "metric", "77", "mtu", "1400")
        self.space.run("ip", "neigh", "add", "192.0.2.200", "lladdr", "02:00:00:00:00:c8", "dev", "eth1")

    def take(self, check=True, **options):
        answer = self.node.api("POST", "/v1/uplinks/take", {"interface": "eth1", "force": True, **options})
        assert not check or answer.status == 200, answer
        return answer

    def release(self):
        answer = self.node.api("POST", "/v1/uplinks/release", {"interface": "eth1"})
        assert answer.status == 200, answer

    def taken(self):
        return self.node.api("GET", "/v1/uplinks").body["taken"]

    def kind(self):
        """None: it is not there just now."""
        done = self.space.run("ip", "-d", "-j", "link", "show", "eth1", check=False)
        return json.loads(done.stdout)[0].get("linkinfo", {}).get("info_kind") if done.returncode == 0 else None

    def kernel(self):
        """What the kernel says of eth1's third layer, but for what is Viaduct's own."""
        addresses = json.loads(self.space.output("ip", "-j", "addr", "show", "eth1"))[0]
        routes = [json.loads(self.space.output("ip", f"-{family}", "-j", "route", "show", "dev", "eth1"))
                  for family in hosts.FAMILIES]
        neighbours = json.loads(self.space.output("ip", "-j", "neigh", "show", "dev", "eth1", "nud", "permanent"))
        return {"mac": addresses["address"], "mtu": addresses["mtu"],
                "addresses": sorted(f"{each['local']}/{each['prefixlen']}" for each in addresses["addr_info"]
                                    if each["scope"] == "global"),
                "routes": sorted(json.dumps({key: value for key, value in route.items() if key != "flags"})
                                 for family in routes for route in family if route.get("protocol") != "93"
                                 and route["dst"] not in ("fe80::/64", "ff00::/8")),
                "neighbours": sorted(each["dst"] for each in neighbours
                                     if each["dst"] not in ("169.254.42.1", "fe80::5654:2a01"))}

    def wait_kernel(self, wanted):
        """Until the kernel has that of eth1."""
        process.wait_until(lambda: self.kernel_or_none() == wanted, 20, "eth1 to have what it had",
                           tell=lambda: f"wanted {wanted}, there is {self.kernel_or_none()}")

    def kernel_or_none(self):
        return self.kernel() if self.kind() else None

    def rules(self):
        return self.space.output("ip", "rule") + self.space.output("ip", "-6", "rule")


@pytest.fixture
def taking(make_node, make_netns):
    """A Machine whose node runs, nothing taken."""
    node = make_node()
    made = Machine(node, make_netns("outside"))
    yield made
    # The namespace of taken interfaces is mounted below the node's directory.
    process.run(["umount", "-l", node.run_dir / "uplinks.netns"], check=False)


def exchange(client, family, address, port, data=b"ping"):
    with hosts.connect(client, family, address, port, timeout=10) as connection:
        hosts.exchange(connection, data)


def reaches(client, family, address, port):
    try:
        exchange(client, family, address, port)
    except (OSError, process.Failed):
        return False
    return True


@pytest.fixture
def published(taking, make_netns):
    """(machine, a pod with port 80 published as 8080 that echoes); eth1 is taken."""
    machine = taking
    machine.take()
    settings = machine.node.network(
        "web", bridge="br-web", isDefaultGateway=True, ipMasq=True, capabilities={"portMappings": True},
        runtimeConfig={"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
        ipam={"type": "viaduct", "ranges": [[{"subnet": subnet}] for subnet in SUBNETS]})
    space = make_netns("pod")
    pod = pods.Pod(machine.node, space, "web-1", settings)
    addresses = [each["address"].partition("/")[0]
                 for each in pods.attachment(machine.node, "web-1")["addresses"]]
    echo = Space(space, dict(zip(hosts.FAMILIES, addresses)))
    with contextlib.ExitStack() as stack:
        servers = {family: stack.enter_context(hosts.EchoServer(echo, family, 80)) for family in hosts.FAMILIES}
        yield machine, echo, servers, pod


def test_nothing_is_missed(taking, directory):
    """The interface goes and comes back under open connections, and the kernel has what it had."""
    machine = taking
    before, rules = machine.kernel(), machine.rules()
    with hosts.EchoServer(machine.host, 4, 5001), hosts.EchoServer(machine.host, 6, 5002), \
            hosts.connect(machine.outside, 4, NODE[4], 5001) as four, \
            hosts.connect(machine.outside, 6, NODE[6], 5002) as six:
        for connection in (four, six):
            hosts.exchange(connection, b"before")
        machine.take()
        assert machine.kind() == "tun"
        assert machine.kernel() == before
        for connection in (four, six):
            hosts.exchange(connection, bytes(range(256)) * 2000)
        for family in hosts.FAMILIES:
            machine.space.ping(FAR[family], count=10)
            machine.outside.space.ping(NODE[family], count=10)
            logs = directory / str(family)
            logs.mkdir()
            end = hosts.iperf3(machine.far, machine.host, family, FAR[family], seconds=1, log_directory=logs)
            assert end["sum_received"]["bytes"] > 1_000_000
        machine.release()
        assert machine.kind() == "veth"
        assert machine.kernel() == before and machine.rules() == rules
        for connection in (four, six):
            hosts.exchange(connection, b"after")
    assert machine.taken() == []
    assert machine.node.cli("config", "show") is not None
    config = machine.node.api("GET", "/v1/config").body
    assert not any(config[kind] for kind in ("bridges", "ports", "interfaces", "routes"))


@both_families
def test_pods_and_the_host_reach_each_other(published, family):
    machine, pod, servers, _ = published
    machine.space.ping(pod.address[family])
    pod.space.ping(NODE[family])
    exchange(machine.host, family, pod.address[family], 80)
    with hosts.EchoServer(machine.host, family, 22) as sshd:
        exchange(pod, family, NODE[family], 22)
        exchange(machine.outside, family, NODE[family], 22)
        assert sshd.peers == [pod.address[family], OUTSIDE[family]]
    assert servers[family].peers == [NODE[family]]
    with hosts.EchoServer(machine.far, family, 443) as server:
        exchange(pod, family, FAR[family], 443)
        exchange(machine.host, family, FAR[family], 443)
        assert server.peers == [NODE[family]] * 2


@both_families
def test_published_ports_are_reached_from_everywhere(published, family, make_netns):
    machine, pod, servers, added = published
    names = [NODE[family]] + ["127.0.0.1", "127.3.2.1"] * (family == 4)
    for name in names:
        process.wait_until(lambda: reaches(machine.host, family, name, 8080), 20, f"{name}:8080 from the host")
    assert set(servers[family].peers) == {NODE[family]}
    exchange(machine.outside, family, NODE[family], 8080, bytes(range(256)) * 4000)
    assert servers[family].peers[-1] == OUTSIDE[family]
    exchange(pod, family, NODE[family], 8080)  # hairpin
    # The host's own services beside them, on loopback as ever.
    with hosts.EchoServer(Space(machine.space, {4: "127.0.0.1", 6: "::1"}), family, 9000):
        exchange(machine.host, family, {4: "127.0.0.1", 6: "::1"}[family], 9000)
    added.delete()
    process.wait_until(lambda: "8080" not in machine.rules(), 20, "the rules to go with the pod")
    assert not reaches(machine.host, family, NODE[family], 8080)


def test_the_same_port_of_the_host_and_of_a_pod(published):
    """A pod's flow and the host's to one server from one port: both are answered."""
    machine, pod, _, _ = published
    peers = []
    with hosts.open_socket(machine.far, 4, socket.SOCK_DGRAM) as server, \
            hosts.open_socket(pod, 4, socket.SOCK_DGRAM) as of_pod, \
            hosts.open_socket(machine.host, 4, socket.SOCK_DGRAM) as of_host:
        server.bind((FAR[4], 5353))
        of_pod.bind((pod.address[4], 33333))
        of_host.bind((NODE[4], 33333))
        for sender, text in ((of_pod, b"pod"), (of_host, b"host")):
            sender.sendto(text, (FAR[4], 5353))
            data, peer = server.recvfrom(100)
            assert data == text and peer[0] == NODE[4]
            peers.append(peer)
        assert peers[0] != peers[1]
        for text, peer in ((b"to the pod", peers[0]), (b"to the host", peers[1])):
            server.sendto(text, peer)
        assert of_pod.recv(100) == b"to the pod" and of_host.recv(100) == b"to the host"


@both_families
def test_what_comes_in_fragments_reaches_the_host(taking, family):
    machine = taking
    machine.take()
    sent = bytes(range(256)) * 20
    with hosts.open_socket(machine.host, family, socket.SOCK_DGRAM) as here, \
            hosts.open_socket(machine.outside, family, socket.SOCK_DGRAM) as there:
        here.bind((NODE[family], 5353))
        there.sendto(sent, (NODE[family], 5353))
        data, peer = here.recvfrom(65536)
        assert data == sent
        here.sendto(data, peer)
        assert there.recv(65536) == sent


def test_addresses_that_the_host_gets_are_followed(published):
    """As when a lease is renewed with another address: the router knows it, and no longer the old one."""
    machine, pod, servers, _ = published
    router = lambda: machine.node.api("GET", "/v1/config").body["interfaces"][0]["addresses"]
    assert f"{NODE[4]}/24" in router()
    machine.space.run("ip", "addr", "add", "192.0.2.77/24", "dev", "eth1")
    machine.outside.space.ping("192.0.2.77")
    process.wait_until(lambda: "192.0.2.77/24" in router(), 20, "the router to know the address")
    pod.space.ping("192.0.2.77")
    process.wait_until(lambda: reaches(machine.outside, 4, "192.0.2.77", 8080), 20, "the published port there")
    # What a person adds to the router the host gets; what the host loses, the router does.
    machine.node.cli("addr", "add", "192.0.2.88/24", "dev", "eth1")
    process.wait_until(lambda: "192.0.2.88/24" in machine.kernel()["addresses"], 20, "the host to have it")
    machine.space.run("ip", "addr", "del", "192.0.2.77/24", "dev", "eth1")
    process.wait_until(lambda: "192.0.2.77/24" not in router(), 20, "the router to forget it")
    machine.node.cli("addr", "del", "192.0.2.88/24", "dev", "eth1")
    process.wait_until(lambda: "192.0.2.88/24" not in machine.kernel()["addresses"], 20, "the host to lose it")
    assert router() == sorted([f"{NODE[4]}/24", f"{NODE[6]}/64"]), router()


@pytest.mark.parametrize("noticed", [False, True], ids=["at-once", "noticed-before"])
def test_a_tap_that_somebody_deletes_comes_back_with_all(taking, noticed):
    machine = taking
    before = machine.kernel()
    machine.take()
    machine.space.run("ip", "link", "del", "eth1")
    if noticed: machine.node.control.wait_log("the host's side is not as it should be", 10)
    machine.node.kill_dataplane()  # which alone makes it anew
    machine.node.start_dataplane()
    machine.node.wait_in_sync()
    machine.wait_kernel(before)
    machine.outside.space.ping(NODE[4])


def test_a_tap_that_goes_down_says_nothing_of_what_the_host_has(taking):
    machine = taking
    before = machine.kernel()
    machine.take()
    machine.space.run("ip", "link", "set", "eth1", "down")  # its routes and its IPv6 addresses go with that
    process.wait_until(lambda: machine.kernel() == before, 20, "the TAP to have all of it again")
    shown = next(each for each in machine.node.cli("interface", "show") if each["name"] == "eth1")
    assert sorted(shown["addresses"]) == before["addresses"]


def test_a_tap_whose_hardware_address_somebody_changes_has_all_again(taking):
    """The kernel forgets an interface's neighbours with its address, as it does while a TAP is made: that is no
    wish of the host's."""
    machine = taking
    before = machine.kernel()
    machine.take()
    machine.wait_kernel(before)
    machine.space.run("ip", "link", "set", "eth1", "address", "02:00:00:00:00:99")
    machine.wait_kernel(before)
    machine.release()
    machine.wait_kernel(before)


def test_it_comes_back_without_confirmation(taking):
    machine = taking
    before = machine.kernel()
    machine.take(confirm_within=1)
    assert machine.kind() == "tun" and machine.taken()[0]["state"] == "unconfirmed"
    process.wait_until(lambda: machine.taken() == [], 20, "the interface to be given back")
    assert machine.kind() == "veth" and machine.kernel() == before
    late = machine.node.api("POST", "/v1/uplinks/confirm", {"interface": "eth1"})
    assert late.status == 400 and "given back already" in late.body["error"], late
    # Whatever was built on it meanwhile goes with it.
    machine.take(confirm_within=3)
    machine.node.cli("nat", "masquerade", "add", "m", "source", "10.0.0.0/8", "dev", "eth1")
    process.wait_until(lambda: machine.taken() == [], 20, "the interface to be given back again")
    assert machine.kernel() == before
    machine.take(confirm_within=30)
    assert machine.node.api("POST", "/v1/uplinks/confirm", {"interface": "eth1"}).status == 200
    assert machine.taken()[0]["state"] == "taken"


def test_what_cannot_be_taken(taking):
    machine = taking
    def refused(word, status=400, **body):
        answer = machine.node.api("POST", "/v1/uplinks/take", body)
        assert answer.status == status and word in answer.body["error"], answer
        assert machine.kind() == "veth"

    before = machine.kernel()
    refused("only default route", interface="eth1")
    refused("does not exist", interface="eth9")
    refused("no Ethernet", status=409, interface="lo")
    refused("kernel interface's name", interface="a/b")
    refused("af_packet", interface="eth1", force=True, driver="magic")
    machine.space.run("ip", "link", "add", "link", "eth1", "name", "above", "type", "macvlan")
    refused("above stands on eth1", status=409, interface="eth1", force=True)
    machine.space.run("ip", "link", "del", "above")
    machine.node.cli("bridge", "add", "eth1")
    refused("name of a bridge", interface="eth1", force=True)
    machine.node.cli("bridge", "del", "eth1")
    # A network that overlaps is refused with both names, and all is as it was.
    machine.node.cli("bridge", "add", "other")
    machine.node.cli("interface", "add", "clash", "bridge", "other", "address", "192.0.2.129/25")
    refused("clash", interface="eth1", force=True)
    machine.node.cli("interface", "del", "clash")
    assert machine.kernel() == before and machine.taken() == []
    machine.take()
    again = machine.take(check=False)
    assert again.status == 400 and "taken already" in again.body["error"]
    machine.node.cli("nat", "masquerade", "add", "m", "source", "10.0.0.0/8", "dev", "eth1")
    needed = machine.node.api("POST", "/v1/uplinks/release", {"interface": "eth1"})
    assert needed.status == 400 and "m" in needed.body["error"] and machine.kind() == "tun", needed
    machine.outside.space.ping(NODE[4])


@pytest.mark.parametrize("words", [("port", "del", "eth1"), ("config", "rollback", "0")], ids=["port", "rollback"])
def test_whoever_deletes_the_uplink_gives_it_back(taking, words):
    machine = taking
    before = machine.kernel()
    machine.node.cli("uplink", "add", "eth1", "--take", "--force")
    assert "taken from the host" in machine.node.cli("uplink", json=False)
    machine.node.cli(*words)
    process.wait_until(lambda: machine.taken() == [], 20, "the interface to be given back")
    assert machine.kind() == "veth" and machine.kernel() == before
    machine.outside.space.ping(NODE[4])


def test_an_interface_that_an_uplink_shares_with_the_host(taking):
    """It cannot be taken meanwhile; and it is left as it was found."""
    machine = taking
    machine.node.cli("uplink", "add", "eth1", "name", "wan", "force")
    answer = machine.take(check=False)
    assert answer.status == 400 and "uplink wan stands on" in answer.body["error"], answer
    machine.node.cli("uplink", "del", "wan")
    assert "PROMISC" not in machine.space.output("ip", "link", "show", "eth1")
    machine.take()
    machine.release()
    assert "PROMISC" not in machine.space.output("ip", "link", "show", "eth1")


def test_a_killed_dataplane_comes_back(published):
    machine, pod, _, _ = published
    machine.node.kill_dataplane()
    machine.node.start_dataplane()
    machine.node.wait_in_sync()
    machine.outside.space.ping(NODE[4])
    machine.outside.space.ping(NODE[6])
    process.wait_until(lambda: reaches(machine.outside, 4, NODE[4], 8080), 20, "the published port")
    exchange(machine.host, 4, "127.0.0.1", 8080)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.02, 0.03, 0.045, 0.06, 0.08, 0.15])
def test_control_killed_half_way(taking, after):
    """At whatever instant: the next start ends what was begun, and nothing of the kernel's is lost."""
    machine = taking
    before = machine.kernel()

    def ask():
        with contextlib.suppress(Exception):
            machine.take(check=False)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(after)
    machine.node.kill_control()
    thread.join()
    machine.node.start_control()
    machine.node.wait_in_sync()
    state = [each["state"] for each in machine.taken()]
    assert state in ([], ["taken"]), state
    assert machine.kind() == ("tun" if state else "veth")
    process.wait_until(lambda: machine.kernel() == before, 20, "the kernel to have all again",
                       tell=lambda: f"{machine.kernel()} instead of {before}")
    machine.outside.space.ping(NODE[4])
    machine.space.ping(FAR[6])


def reboot(machine, late=False):
    """A new run of the kernel has the interface with what the system gives it, and nothing of Viaduct's. `late`: it gets
    its name when control runs already."""
    machine.node.stop_control()
    machine.node.stop_dataplane()
    with contextlib.closing(sqlite3.connect(machine.node.store)) as store, store:
        record = json.loads(store.execute("SELECT record FROM taken_interface").fetchone()[0])
        record["boot"] = "another"
        store.execute("UPDATE taken_interface SET record = ?", (json.dumps(record),))
    machine.space.run("ip", "link", "del", "eth1")
    mount = machine.node.run_dir / "uplinks.netns"
    process.run(["nsenter", f"--net={mount}", "--", "ip", "link", "set", "eth1", "netns", machine.space.path])
    process.run(["umount", mount])
    name = "ens7" if late else "eth1"
    if late:
        machine.space.run("ip", "link", "set", "eth1", "name", name)
    machine.space.run("ip", "addr", "add", f"{NODE[4]}/24", "dev", name)
    machine.space.run("ip", "addr", "add", f"{NODE[6]}/64", "dev", name, "nodad")
    machine.node.start_dataplane()
    machine.node.start_control()
    machine.node.wait_in_sync()
    if late:
        assert machine.kind() is None
        machine.space.run("ip", "link", "set", name, "name", "eth1")
    machine.space.run("ip", "link", "set", "eth1", "up", check=False)  # it may have been taken meanwhile


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "late"])
def test_it_is_taken_again_after_a_reboot(taking, late):
    machine = taking
    before = machine.kernel()
    machine.take()
    reboot(machine, late)
    process.wait_until(lambda: machine.kind() == "tun", 20, "it to be taken again")
    process.wait_until(lambda: machine.kernel()["addresses"] == before["addresses"], 20, "the addresses")
    for family in hosts.FAMILIES:
        machine.outside.space.ping(NODE[family])


def test_it_comes_back_though_the_dataplane_hangs(taking):
    """The node's way does not wait for a dataplane that answers nothing."""
    machine = taking
    before = machine.kernel()
    machine.take(confirm_within=1)
    dataplane = machine.node.dataplane.child
    dataplane.send_signal(signal.SIGSTOP)
    try:
        process.wait_until(lambda: machine.kind() == "veth" and machine.kernel() == before, 20,
                           "the interface to be given back")
    finally:
        dataplane.send_signal(signal.SIGCONT)
    machine.outside.space.ping(NODE[4])


def test_what_bars_the_way_back_does_so_no_longer_than_it_is_there(taking):
    """Somebody has put another interface in the TAP's place: when that goes, the interface comes back by itself."""
    machine = taking
    before = machine.kernel()
    machine.take(confirm_within=3)
    machine.space.run("ip", "link", "del", "eth1")
    machine.space.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "impostor")
    process.wait_until(lambda: [each["state"] for each in machine.taken()] == ["leaving"], 30, "the way back to be tried")
    process.wait_until(lambda: "another interface has the name" in machine.node.control.text(), 30, "the log to say why")
    machine.space.run("ip", "link", "del", "impostor")
    process.wait_until(lambda: machine.taken() == [] and machine.kernel() == before, 30, "the interface to be back")


def test_an_interface_is_shared_by_hand(node, make_netns, make_outside):
    """`port add ... host`, on an uplink that is no taken interface; and when all is as it should be, control is quiet."""
    world = make_outside(node).address(f"{OUTSIDE[4]}/24", f"{OUTSIDE[6]}/64")
    pods.change(node, {"bridges": [{"name": "up"}], "ports": [world.port("up")],
                       "interfaces": [{"name": "out", "bridge": "up", "addresses": [f"{NODE[4]}/24", f"{NODE[6]}/64"]}]})
    node.cli("port", "add", "host0", "type", "tap", "name", "vd0", "bridge", "up", "host", "out")
    for family in hosts.FAMILIES:
        world.space.ping(NODE[family])
        node.namespace.ping(OUTSIDE[family])
    with hosts.EchoServer(Space(node.namespace, NODE), 4, 22):
        exchange(Space(world.space, OUTSIDE), 4, NODE[4], 22)
    told = node.directory / "monitor.log"
    with node.namespace.start("timeout", "3", "ip", "monitor", "address", log=told) as monitor:
        monitor.wait_end(20)
    events = [line for line in told.read_text().splitlines() if NODE[4] in line or NODE[6] in line]
    assert len(events) < 3, events
    node.cli("port", "del", "host0")
    process.wait_until(lambda: "vd0" not in node.namespace.output("ip", "link"), 20, "the TAP to go")
    world.space.ping(NODE[4])  # the router answers by itself again


def test_a_taken_interface_need_not_be_promiscuous(taking):
    """The router has the interface's own address: the device takes that, and needs no other."""
    machine = taking
    machine.take()
    machine.node.cli("port", "set", "eth1", "promiscuous", "off")
    assert "not promiscuous" in machine.node.cli("uplink", json=False)
    for family in hosts.FAMILIES:
        machine.space.ping(FAR[family])
        machine.outside.space.ping(NODE[family])
    machine.release()
    machine.outside.space.ping(NODE[4])


def test_containerd_publishes_on_the_node(taking, make_containerd, directory):
    """`ctr run --cni` has no word for a port: it stands in the network's configuration, as libcni passes it on. For a
    container in the background ctr never sends a DEL: until somebody does, its port is refused in its name."""
    machine = taking
    machine.take()
    network = machine.node.conflist(
        "web", bridge="br-web", isDefaultGateway=True, ipMasq=True, capabilities={"portMappings": True},
        runtimeConfig={"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
        ipam={"type": "viaduct", "ranges": [[{"subnet": SUBNETS[0]}]]})
    plain = machine.node.conflist("web", **{key: value for key, value in network["plugins"][0].items() if key not in (
        "type", "controlSocket", "capabilities", "runtimeConfig")})
    containerd = make_containerd([network], plugin_dirs=(machine.node.plugins,))

    def expect(page):
        for space, address in ((machine.outside.space, NODE[4]), (machine.space, NODE[4]), (machine.space, "127.0.0.1")):
            url = f"http://{address}:8080/index.html"
            scenarios.retry_fetch(lambda: space.output("curl", "-si", "--max-time", "5", url), page, url)

    containerd.run("web", *image.serve_page_command("page of ctr"))
    expect("page of ctr")
    # Another container of the network, by the node's address too, and the world from there.
    containerd.add_network(plain)
    fetch = image.fetch_page_command(NODE[4], 8080)
    scenarios.expect_page(containerd.run_foreground("box", *fetch).stdout, "page of ctr")
    containerd.run_foreground("box2", "/bin/ping", "-c", "2", "-W", "5", FAR[4])

    containerd.remove("web")
    containerd.add_network(network)
    with pytest.raises(process.Failed, match="web/default-web/eth0 has tcp port 8080"):
        containerd.run_foreground("late", "/bin/true")
    settings = {"cniVersion": network["cniVersion"], "name": network["name"], **network["plugins"][0]}
    assert daemons.run_plugin(machine.node.plugins / "viaduct", "DEL", settings, "default-web", "").status == 0
    running = containerd.start_foreground("web2", *image.serve_page_command("second page"), log=directory / "web2.log")
    expect("second page")
    containerd.end_foreground("web2", running)
    process.wait_until(lambda: "8080" not in machine.rules(), 20, "the rules to go with the container")
    assert machine.node.api("GET", "/v1/config").body["port_forwards"] == []
    assert machine.node.api("GET", "/v1/attachments").body["attachments"] == []
    assert not reaches(machine.outside, 4, NODE[4], 8080)
