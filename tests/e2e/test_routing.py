"""Linux hosts on both sides of the router: ping, traceroute, TCP, path MTU and what is said when there is no way, in
both families."""
import socket

import pytest

from viaduct import hosts, pods, process

LEFT = hosts.Network("left", "10.81.0.0/24", "fd81::/64")
RIGHT = hosts.Network("right", "10.82.0.0/24", "fd82::/64")
PORT = 5001
both_families = pytest.mark.parametrize("family", hosts.FAMILIES, ids=["ipv4", "ipv6"])


@pytest.fixture
def routed(make_router):
    """(node, a host on the left, one on the right)."""
    node, made = make_router({"left": (LEFT, True), "right": (RIGHT, True)})
    return node, made["left"], made["right"]


@both_families
def test_ping_and_traceroute(routed, family):
    _, left, right = routed
    left.space.ping(LEFT.gateway[family])
    left.space.ping(RIGHT.gateway[family])
    left.space.ping(right.address[family], count=20)
    assert hosts.traceroute(left, family, right.address[family]) == [LEFT.gateway[family], right.address[family]]
    expired = left.ping(right.address[family], "-t", "1")
    assert expired.returncode != 0 and LEFT.gateway[family] in expired.stdout
    assert "exceeded" in expired.stdout, expired.stdout


@both_families
@pytest.mark.parametrize("options", [(), ("-R",), ("-u", "-b", "50M", "-l", "1200")], ids=["tcp", "tcp-back", "udp"])
def test_bulk(routed, directory, family, options):
    _, left, right = routed
    left.space.ping(right.address[family], count=1)
    end = hosts.iperf3(right, left, family, right.address[family], *options, log_directory=directory)
    if "-u" in options:
        assert end["sum"]["packets"] > 1000 and end["sum"]["lost_percent"] < 50, end["sum"]
    else:
        assert end["sum_received"]["bytes"] > 1_000_000, end["sum_received"]


@both_families
def test_many_short_connections(routed, family):
    _, left, right = routed
    with hosts.EchoServer(right, family, PORT) as server:
        for number in range(1000):
            with hosts.connect(left, family, right.address[family], PORT) as connection:
                hosts.exchange(connection, f"connection {number}".encode())
        assert server.peers == [left.address[family]] * 1000


@both_families
def test_path_mtu_is_discovered(routed, family):
    """The way to the right carries 1300 bytes: who sends more is told, and TCP gets through."""
    node, left, right = routed
    pods.change(node, {"interfaces": [RIGHT.interface(mtu=1300)]})
    left.space.ping(right.address[family])
    told = left.ping(right.address[family], "-s", "1400", "-Mdo")
    assert told.returncode != 0 and "1300" in told.stdout, told.stdout
    left.space.run("ip", f"-{family}", "route", "flush", "cache")
    with hosts.EchoServer(right, family, PORT):
        with hosts.connect(left, family, right.address[family], PORT) as connection:
            hosts.exchange(connection, bytes(range(256)) * 4096)
    assert "mtu 1300" in left.space.output("ip", f"-{family}", "route", "get", right.address[family])


def test_what_may_be_fragmented_is(routed):
    node, left, right = routed
    pods.change(node, {"interfaces": [RIGHT.interface(mtu=1300)]})
    left.space.ping(right.address[4])
    done = left.ping(right.address[4], "-s", "3000", "-Mdont", count=5)
    assert done.returncode == 0 and " 0% packet loss" in done.stdout, done.stdout


@both_families
def test_fragments_pass(routed, family):
    """Cut by the sender itself."""
    _, left, right = routed
    left.space.ping(right.address[family])
    done = left.ping(right.address[family], "-s", "5000", count=5)
    assert done.returncode == 0 and " 0% packet loss" in done.stdout, done.stdout


@both_families
@pytest.mark.parametrize("kind, told", [("unreachable", "nreachable"), ("prohibit", ("filtered", "rohibited")),
                                        ("blackhole", None)], ids=["unreachable", "prohibit", "blackhole"])
def test_routes_that_lead_nowhere(routed, family, kind, told):
    node, left, _ = routed
    prefix, address = {4: ("10.99.0.0/16", "10.99.1.1"), 6: ("fd99::/64", "fd99::1")}[family]
    pods.change(node, {"routes": [{"prefix": prefix, "kind": kind}]})
    done = left.ping(address, count=3)
    assert done.returncode != 0
    if told is None:
        assert LEFT.gateway[family] not in done.stdout, done.stdout
    else:
        assert LEFT.gateway[family] in done.stdout, done.stdout
        assert any(word in done.stdout for word in ([told] if isinstance(told, str) else told)), done.stdout


@both_families
def test_no_route_and_no_neighbour(routed, family):
    _, left, _ = routed
    for address in {4: ("203.0.113.1", "10.82.0.200"), 6: ("2001:db8:dead::1", "fd82::200")}[family]:
        done = left.ping(address, "-W", "6", count=2)
        assert done.returncode != 0 and LEFT.gateway[family] in done.stdout, done.stdout
        assert "nreachable" in done.stdout, done.stdout


@both_families
def test_a_route_by_a_host(routed, make_netns, family):
    """A network behind the host on the right, which routes."""
    node, left, right = routed
    address, prefix = {4: ("10.90.0.1", "10.90.0.0/16"), 6: ("fd90::1", "fd90::/64")}[family]
    length = {4: 32, 6: 128}[family]
    right.space.run("ip", "addr", "add", f"{address}/{length}", "dev", "lo")
    assert left.ping(address).returncode != 0
    pods.change(node, {"routes": [
        {"prefix": prefix, "next_hops": [{"interface": "right", "via": right.address[family]}]}]})
    left.space.ping(address)


@both_families
def test_forwarding_off_and_on(routed, family):
    node, left, right = routed
    left.space.ping(right.address[family])
    pods.change(node, {"vrfs": [{"name": "default", f"forwarding{family}": False}]})
    assert left.ping(right.address[family]).returncode != 0
    left.space.ping(LEFT.gateway[family])
    pods.change(node, {"vrfs": [{"name": "default", f"forwarding{family}": True}]})
    left.space.ping(right.address[family])


@both_families
def test_two_vrfs_with_the_same_addresses(make_router, family):
    def network(name, vrf, side):
        prefixes = {"l": ("10.83.0.0/24", "fd83::/64"), "r": ("10.84.0.0/24", "fd84::/64")}[side]
        return hosts.Network(name, *prefixes, vrf=vrf)

    node, made = make_router(
        {f"{vrf}{side}": (network(f"{vrf}{side}", vrf, side), True) for vrf in ("red", "blue") for side in "lr"},
        vrfs=[{"name": "red"}, {"name": "blue"}])
    for vrf in ("red", "blue"):
        with hosts.EchoServer(made[f"{vrf}r"], family, PORT) as server:
            left = made[f"{vrf}l"]
            left.space.ping(server_address := made[f"{vrf}r"].address[family])
            with hosts.connect(left, family, server_address, PORT) as connection:
                hosts.exchange(connection, vrf.encode())
            assert server.peers == [left.address[family]]
    pods.change(node, delete={"ports": [made["bluer"].port]})
    made["redl"].space.ping(made["redr"].address[family])
    assert made["bluel"].ping(made["bluer"].address[family]).returncode != 0


def test_a_neighbour_that_gets_another_address(routed):
    """Its MAC changes under a connection's datagrams: they follow as soon as it has told, or was asked again."""
    _, left, right = routed
    server, client = (hosts.open_socket(host, 4, socket.SOCK_DGRAM) for host in (right, left))
    with server, client:
        server.bind((right.address[4], PORT))
        client.connect((right.address[4], PORT))
        client.send(b"before")
        assert server.recv(100) == b"before"
        right.space.run("ip", "link", "set", "eth0", "address", "02:00:00:00:99:99")
        right.space.run("ping", "-n", "-c1", "-W2", RIGHT.gateway[4], check=False)
        server.settimeout(0.2)

        def arrives():
            client.send(b"after")
            return server.recv(100) == b"after"

        process.wait_until(arrives, 60, "a datagram at the new MAC address", interval=0.1)
