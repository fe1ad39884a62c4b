"""Two nodes that read the same manifests: an outside client's connections to one service, by the one and by the other. The
servers are behind both, so that what a node knows of a connection is the only thing that could bind it to that node.

What survives the way to a client's other node follows from who the server sees. Through a ClusterIP it sees the client: the
other node knows nothing of the connection, chooses the server that the first one chose, and the server finds the segments
in order; its answers go by the node that its own routes name. That holds while the endpoints are those that the connection
began with: both nodes compute one Maglev table from the same endpoints, and from others another one, in which most of it,
but not all, is as it was. To an external address, with servers on other nodes than the one that is asked, the node speaks with its own address, or the
answer would pass it by: then the same server hears from a stranger, and ends the connection at once."""
import contextlib
import http.client
import json
import shutil
import socket

import pytest

from test_host import Space
from viaduct import hosts, manifests, pods, process, servers

NODES = {"a": 2, "b": 3}  # the last byte of each node's addresses
FRONT = {4: "192.0.2.{}", 6: "2001:db8:2::{}"}
BACK = {4: "10.90.0.{}", 6: "fd00:90::{}"}
LENGTH = {4: 24, 6: 64}
CLIENT = 1
SERVERS = (11, 12, 13, 14)
CLUSTER = {4: "10.96.0.80", 6: "fd00:96::80"}
EXTERNAL = {4: "203.0.113.80", 6: "2001:db8:113::80"}
PORTS = [manifests.port(80, servers.HTTP)]
both_families = pytest.mark.parametrize("family", hosts.FAMILIES, ids=["ipv4", "ipv6"])


class Pair:
    """Two nodes between the links "front", where the client is, and "back", where the servers are."""

    def __init__(self, make_node, make_netns, directory):
        self.make_netns = make_netns
        self.switch = make_netns("switch")
        for link in ("front", "back"):
            self.switch.run("ip", "link", "add", link, "type", "bridge")
            self.switch.run("ip", "link", "set", link, "up")
        self.client = self._host("client", "front", FRONT, [CLIENT])
        self.servers = self._host("servers", "back", BACK, SERVERS)
        self.manifests = manifests.Directory(directory / "manifests")
        self.nodes = {name: self._node(make_node, name) for name in NODES}
        self.manifests.write("web", manifests.service("web", CLUSTER.values(), *PORTS, externalIPs=list(EXTERNAL.values())))
        self.write_endpoints(SERVERS)

    def _plug(self, space, link, name):
        """A veth from a namespace to a link."""
        far = f"{link}{len(json.loads(self.switch.output('ip', '-j', 'link')))}"
        space.run("ip", "link", "add", name, "type", "veth", "peer", "name", far, "netns", self.switch.name)
        self.switch.run("ip", "link", "set", far, "master", link, "up")
        # A packet socket takes neither segments to be cut nor checksums to be filled in.
        for where, end in ((space, name), (self.switch, far)):
            where.run("ethtool", "-K", end, "tx", "off", "tso", "off", "gso", "off")
        space.run("ip", "link", "set", name, "up")

    def _host(self, label, link, addresses, numbers):
        space = self.make_netns(label)
        self._plug(space, link, "eth0")
        for family in hosts.FAMILIES:
            nodad = ["nodad"] if family == 6 else []
            for number in numbers:
                space.run("ip", "addr", "add", f"{addresses[family].format(number)}/{LENGTH[family]}", "dev", "eth0", *nodad)
        return Space(space, {family: addresses[family].format(numbers[0]) for family in hosts.FAMILIES})

    def _node(self, make_node, name):
        node = make_node(control_options=["--manifests", self.manifests.path, "--node-name", f"node-{name}"])
        ports, interfaces = [], []
        for number, (link, addresses) in enumerate((("front", FRONT), ("back", BACK))):
            self._plug(node.namespace, link, link)
            ports.append({"name": link, "kind": "uplink", "bridge": link, "device": f"net_af_packet{number},iface={link}"})
            interfaces.append({"name": f"to-{link}", "bridge": link, "addresses": [
                f"{addresses[family].format(NODES[name])}/{LENGTH[family]}" for family in hosts.FAMILIES]})
        pods.change(node, {"bridges": [{"name": "front"}, {"name": "back"}], "ports": ports, "interfaces": interfaces})
        return node

    def write_endpoints(self, numbers):
        self.manifests.write("slices", *(manifests.endpoint_slice("web", family, PORTS, [
            (BACK[family].format(number), manifests.READY) for number in numbers]) for family in hosts.FAMILIES))
        for node in self.nodes.values():
            process.wait_until(lambda: len(manifests.backends(node, "web", PORTS[0]["name"])) == 2 * len(numbers), 10,
                               "the endpoints", tell=lambda: str(manifests.programmed(node, "web")))

    def lead(self, space, name, addresses, *destinations):
        """From now on these destinations are reached by a node."""
        for family in hosts.FAMILIES:
            for destination in destinations:
                space.run("ip", f"-{family}", "route", "replace", destination[family], "via",
                          addresses[family].format(NODES[name]))

    def clients_by(self, name):
        self.lead(self.client.space, name, FRONT, CLUSTER, EXTERNAL)

    def servers_by(self, name):
        self.lead(self.servers.space, name, BACK, {family: FRONT[family].format(CLIENT) for family in hosts.FAMILIES})


@pytest.fixture
def pair(make_node, make_netns, directory):
    if not shutil.which("nginx"):
        pytest.skip("needs nginx: configs/install-packages test")
    made = Pair(make_node, make_netns, directory)
    configuration = directory / "nginx.conf"
    configuration.write_text(servers.nginx_configuration(directory / "nginx.pid"))
    made.clients_by("a")
    made.servers_by("a")
    with made.servers.space.start("nginx", "-e", "stderr", "-c", configuration, log=directory / "nginx.log") as nginx:
        nginx.wait_for(lambda: ":80" in made.servers.space.output("ss", "-Hltn"), 20, "nginx to listen")
        yield made


class Browser:
    """One connection, from a port of the client."""

    def __init__(self, pair, family, address, port=0):
        opened = hosts.open_socket(pair.client, family, timeout=10)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((pair.client.address[family], port))
            opened.connect((address, 80))
        except BaseException:
            opened.close()
            raise
        self.http = http.client.HTTPConnection(address)
        self.http.sock = opened

    def get(self):
        """(server, who it sees, the connection's number there)."""
        self.http.request("GET", "/")
        answer = self.http.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, (answer.status, text)
        server, seen, number = text.split()
        return server.strip("[]"), seen.rpartition(":")[0].strip("[]"), number

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()


def choices(pair, family, address):
    """{the client's port: the server that it gets}."""
    got = {}
    for port in range(20000, 20200):
        with Browser(pair, family, address, port) as browser:
            got[port] = browser.get()[0]
    return got


def choices_by_both(pair, family, address):
    by = {}
    for name in NODES:
        pair.clients_by(name)
        pair.servers_by(name)
        by[name] = choices(pair, family, address)
    assert by["a"] == by["b"]
    return by["a"]


@both_families
def test_both_nodes_choose_the_same_server(pair, family):
    """From 200 ports; and again when a server is gone, which few of the others' clients notice."""
    addresses = (CLUSTER[family], EXTERNAL[family])
    before = [choices_by_both(pair, family, address) for address in addresses]
    assert all(set(each.values()) == {BACK[family].format(number) for number in SERVERS} for each in before)
    pair.write_endpoints(SERVERS[1:])
    gone = BACK[family].format(SERVERS[0])
    for address, earlier in zip(addresses, before):
        now = choices_by_both(pair, family, address)
        assert set(now.values()) == set(earlier.values()) - {gone}
        stay = [port for port, server in earlier.items() if server != gone]
        assert sum(now[port] == earlier[port] for port in stay) > 0.9 * len(stay)


def test_a_connection_moves_where_its_source_is_kept(pair):
    """The client's way leads by the other node in mid-connection, then the servers' too, then the first node dies."""
    with contextlib.ExitStack() as stack:
        browsers = [stack.enter_context(Browser(pair, family, CLUSTER[family]))
                    for family in hosts.FAMILIES for _ in range(20)]
        before = [browser.get() for browser in browsers]
        assert {seen for _, seen, _ in before} == set(pair.client.address.values())
        assert len({server for server, _, _ in before}) > 4

        def go_on():
            assert [browser.get() for browser in browsers] == before
        pair.clients_by("b")
        go_on()  # there by b, back by a
        pair.servers_by("b")
        go_on()
        pair.nodes["a"].kill_dataplane()
        go_on()


def test_a_connection_of_the_nodes_own_source_ends_at_once(pair):
    """And the next one, from the same port, meets the same server by the other node."""
    for family in hosts.FAMILIES:
        pair.clients_by("a")
        with Browser(pair, family, EXTERNAL[family], 21000) as browser:
            server, seen, _ = browser.get()
            assert seen == BACK[family].format(NODES["a"])
            pair.clients_by("b")
            with pytest.raises(ConnectionResetError):
                browser.get()
        with Browser(pair, family, EXTERNAL[family], 21000) as browser:
            assert browser.get()[:2] == (server, BACK[family].format(NODES["b"]))
