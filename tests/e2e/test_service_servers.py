"""Services with real servers behind them: nginx, PostgreSQL and an echo in podman's containers, asked by a pod, by the
host itself and from outside; ten servers replaced one by one under wrk; and connections that live on while everything
around them changes. The containers, the node and its clients are made once for all tests here."""
import contextlib
import json
import random
import signal
import socket
import threading

import pytest

from test_host import NODE, OUTSIDE, Machine, Space
from viaduct import daemons, hosts, manifests, netns, pods, podman, process, servers

both_families = pytest.mark.parametrize("family", hosts.FAMILIES, ids=["ipv4", "ipv6"])
SUBNETS = {"servers": ("10.80.1.0/24", "fd00:80:1::/64"), "clients": ("10.80.2.0/24", "fd00:80:2::/64")}
CLIENTS = ("pod", "neighbour", "host", "outside")
NODE_PORTS = {"web": 30080, "database": 30432, "echo": 30007, "rolling": 30081}
ADDRESSES = {name: {4: f"10.96.0.{number}", 6: f"fd00:96::{number}"}
             for name, number in (("web", 80), ("database", 54), ("echo", 7), ("rolling", 81))}
PORTS = {"web": [manifests.port(80, nodePort=30080)], "database": [manifests.port(5432, nodePort=30432)],
         "echo": [manifests.port(7, nodePort=30007), manifests.port(7, protocol="UDP", nodePort=30007)],
         "rolling": [manifests.port(80, nodePort=30081)]}


class Cluster:
    """A node that has taken eth1, podman on one of its networks, a client beside the containers and one on a network of its
    own, and a directory of manifests. `stack` takes it all away."""

    def __init__(self, directory, stack):
        self.directory = directory
        self.manifests = manifests.Directory(directory / "manifests")
        self.node = stack.enter_context(daemons.Node(
            directory / "n", control_options=["--manifests", self.manifests.path, "--node-name", "node-a"]))
        stack.callback(process.run, ["umount", "-l", self.node.run_dir / "uplinks.netns"], check=False)
        stack.callback(self.node.check_ledger)
        self.machine = Machine(self.node, stack.enter_context(netns.Netns("outside")))
        self.machine.take()
        self.podman = stack.enter_context(podman.Podman(directory / "podman", (self.node.plugins,)))
        network = self.podman.add_network(self.node.conflist("servers", **self._settings("servers")))
        self.servers = servers.Servers(self.podman, network, self.node)
        self.clients = {"pod": self._client(stack, "client", "clients"), "host": self.machine.host,
                        "neighbour": self._client(stack, "neighbour", "servers"), "outside": self.machine.outside}

    def _client(self, stack, name, network):
        space = stack.enter_context(netns.Netns(name))
        pods.Pod(self.node, space, name, self.node.network(network, **self._settings(network)))
        texts = [each["address"].partition("/")[0] for each in pods.attachment(self.node, name)["addresses"]]
        return Space(space, dict(zip(hosts.FAMILIES, texts)))

    @staticmethod
    def _settings(network):
        return {"bridge": f"br-{network}", "isDefaultGateway": True,
                "ipam": {"type": "viaduct", "ranges": [[{"subnet": subnet}] for subnet in SUBNETS[network]]}}

    def place(self, client, family, name):
        """(address, port) at which a client asks a service."""
        if client == "outside":
            return NODE[family], NODE_PORTS[name]
        return ADDRESSES[name][family], PORTS[name][0]["port"]

    def write_service(self, name, ports=None):
        self.manifests.write(name, manifests.service(name, ADDRESSES[name].values(), *(ports or PORTS[name]), type="NodePort"))

    def write_endpoints(self, name, endpoints):
        """[(server, conditions)]; returns when the dataplane is told."""
        self.manifests.write(f"{name}-slices", *(manifests.endpoint_slice(
            name, family, PORTS[name], [(server.address[family], conditions) for server, conditions in endpoints])
            for family in hosts.FAMILIES))
        wanted = {address: conditions == manifests.DRAINING for server, conditions in endpoints
                  for address in server.address.values()}
        port = PORTS[name][0]["name"]
        process.wait_until(lambda: manifests.backends(self.node, name, port) == wanted, 10, f"the endpoints of {name}",
                           tell=lambda: f"it has {manifests.programmed(self.node, name)}")

    def publish(self, name, endpoints):
        self.write_service(name)
        self.write_endpoints(name, [(server, manifests.READY) for server in endpoints])

    def wait_to_serve(self, server, port):
        """As a kubelet's readiness probe asks: from the host, at the server's own addresses."""
        def answers():
            for family in hosts.FAMILIES:
                hosts.connect(self.clients["host"], family, server.address[family], port, timeout=5).close()
            return True
        process.wait_until(answers, 30, f"{server.name} to serve", tell=lambda: self.podman.podman(
            "logs", server.name, check=False).stderr)
        return server

    def psql(self, client, family, text):
        address, port = self.place(client, family, "database")
        return self.clients[client].space.output(*psql_command(address, port), "-c", text)


def psql_command(address, port):
    return ["env", "PGCONNECT_TIMEOUT=10", servers.postgres_programs() / "psql", "-h", address, "-p", port, "-U", "app",
            "-d", "postgres", "-Atq", "-v", "ON_ERROR_STOP=1"]


@pytest.fixture(scope="module")
def cluster(session_directory):
    missing = daemons.missing_programs()
    if missing:
        pytest.skip(f"not built: {', '.join(missing)}")
    if servers.missing():
        pytest.skip(f"needs {', '.join(servers.missing())}: configs/install-packages test")
    with contextlib.ExitStack() as stack:
        made = Cluster(session_directory / "servers", stack)
        database = made.servers.postgres("database")
        web = [made.servers.nginx(f"web-{number}") for number in range(2)]
        echo = [made.servers.echo(f"echo-{number}") for number in range(2)]
        for group, port in ((web, servers.HTTP), (echo, servers.ECHO), ([database], servers.SQL)):
            for server in group:
                made.wait_to_serve(server, port)
        made.web, made.echo = web, echo
        made.publish("web", web)
        made.publish("echo", echo)
        made.publish("database", [database])
        for family in hosts.FAMILIES:
            process.wait_until(lambda: ADDRESSES["web"][family][:6] in made.machine.space.output(
                "ip", f"-{family}", "route"), 10, "the node to know the way to its services")
        yield made


@pytest.fixture(autouse=True)
def shown_when_it_fails(cluster, request):
    """The last lines of the daemons' logs."""
    yield
    report = getattr(request.node, "report_call", None)
    if report and report.failed:
        print(cluster.node.logs())


def get(client, family, address, port):
    """(the server that answers, who asks as it sees it), by a connection of its own."""
    with hosts.connect(client, family, address, port, timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    status, body = text.split("\r\n", 1)[0], text.partition("\r\n\r\n")[2]
    assert status == "HTTP/1.1 200 OK", text
    server, asker, _ = body.split()
    return server.strip("[]"), asker.rpartition(":")[0].strip("[]")


@both_families
@pytest.mark.parametrize("client", CLIENTS)
def test_nginx_answers(cluster, client, family):
    asker = cluster.clients[client]
    answers = [get(asker, family, *cluster.place(client, family, "web")) for _ in range(40)]
    assert {server for server, _ in answers} == {server.address[family] for server in cluster.web}
    assert {seen for _, seen in answers} == {asker.address[family]}


def echo_datagram(client, family, place, sent):
    """From a port of its own; what comes back is from where it was sent to."""
    with hosts.open_socket(client, family, socket.SOCK_DGRAM, timeout=5) as asker:
        asker.connect(place)
        asker.send(sent)
        assert asker.recv(65536) == sent


@both_families
@pytest.mark.parametrize("client", CLIENTS)
def test_datagrams_are_echoed(cluster, client, family):
    for number in range(20):
        echo_datagram(cluster.clients[client], family, cluster.place(client, family, "echo"), bytes([number]) * 1000)


@both_families
@pytest.mark.parametrize("client", CLIENTS)
def test_datagrams_in_fragments_are_echoed(cluster, client, family):
    for number in range(5):
        sent = random.Random(number).randbytes(3000)
        echo_datagram(cluster.clients[client], family, cluster.place(client, family, "echo"), sent)


@both_families
def test_a_database_is_written_and_read(cluster, family):
    """A table that the pod makes, the host fills and the outside reads; 6.4 MB in one answer."""
    cluster.psql("pod", family, f"create table pages{family} (id int primary key, body text)")
    cluster.psql("host", family, f"insert into pages{family} select i, repeat(md5(i::text), 1000) "
                                 "from generate_series(1, 200) i")
    for client in CLIENTS:
        assert len(cluster.psql(client, family, f"select body from pages{family} order by id")) == 200 * 32001
    assert cluster.psql("outside", family, f"select left(body, 32) from pages{family} where id = 7").strip() == \
        "8f14e45fceea167a5a36dedd4bea2543"  # md5 of 7


class Session:
    """psql that stays in one session."""

    def __init__(self, cluster, client, family):
        address, port = cluster.place(client, family, "database")
        self.process = cluster.clients[client].space.start(
            *psql_command(address, port), log=cluster.directory / f"psql-{client}-{family}.log", stdin=True)
        self.asked = 0
        self.backend = self.ask("pg_backend_pid()")
        self.process.send("create temporary table mine (number int);\n")

    def ask(self, expression):
        """The value of an expression that has one word."""
        self.asked += 1
        mark = f"answer {self.asked}: "
        self.process.send(f"select '{mark}' || ({expression});\n")
        self.process.wait_for(lambda: mark in self.process.text() and self.process.text().endswith("\n"), 20,
                              f"the answer to {expression}")
        return self.process.text().rpartition(mark)[2].strip()

    def check(self):
        """The session has what only this session has ever seen."""
        self.process.send(f"insert into mine values ({self.asked});\n")
        assert int(self.ask("select count(*) from mine")) > 0
        assert self.ask("pg_backend_pid()") == self.backend

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()


class Stream:
    """A TCP connection over which bytes go to an echo server and back for as long as a `with` lasts; none may be lost,
    changed or out of order."""

    BLOCK = 20000

    def __init__(self, cluster, client, family):
        self.name = f"{client}, IPv{family}"
        self.connection = hosts.connect(cluster.clients[client], family, *cluster.place(client, family, "echo"), timeout=20)
        self.blocks, self.failure, self.ended = 0, None, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        data = random.Random(self.name)
        try:
            while not self.ended.is_set():
                hosts.exchange(self.connection, data.randbytes(self.BLOCK))
                self.blocks += 1
        except (OSError, process.Failed) as error:
            self.failure = error

    def check(self):
        """It goes on."""
        mark = self.blocks + 3
        process.wait_until(lambda: self.blocks > mark or self.failure, 20, f"the stream of {self.name} to go on")
        assert self.failure is None, f"the stream of {self.name}: {self.failure!r} after {self.blocks} blocks"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.connection.close()


def test_connections_live_through_what_does_not_concern_them(cluster):
    """Sessions of PostgreSQL and streams of bytes, of all three clients, while other services come, change and go,
    endpoints join and leave their own services, a port of their service goes, and control is killed and comes back. What
    they hold to is their server, wherever the table of their service would send a new one."""
    first, second = cluster.echo
    cluster.write_endpoints("echo", [(first, manifests.READY)])
    with contextlib.ExitStack() as stack:
        open_ones = [stack.enter_context(kind(cluster, client, family)) for kind in (Session, Stream)
                     for client in CLIENTS for family in hosts.FAMILIES]

        def go_on():
            for each in open_ones:
                each.check()

        go_on()
        others_come_and_go(cluster, go_on)
        # Their own services' endpoints: the second takes part, is all that takes new connections, and is gone again.
        for states in ([(first, manifests.READY), (second, manifests.READY)],
                       [(first, manifests.DRAINING), (second, manifests.READY)],
                       [(first, manifests.READY)]):
            cluster.write_endpoints("echo", states)
            go_on()
        datagrams = PORTS["echo"][1]["name"]
        cluster.write_service("echo", PORTS["echo"][:1])
        process.wait_until(lambda: datagrams not in manifests.programmed(cluster.node, "echo"), 10, "the port to go")
        go_on()
        cluster.write_service("echo")
        process.wait_until(lambda: datagrams in manifests.programmed(cluster.node, "echo"), 10, "the port to be back")
        control_dies(cluster, go_on)
    cluster.publish("echo", cluster.echo)


def others_come_and_go(cluster, go_on):
    def others(count, target):
        ports = [manifests.port(80, target)]
        for number in range(count):
            name = f"other-{number}"
            yield manifests.service(name, [f"10.97.0.{number + 1}"], *ports)
            yield manifests.endpoint_slice(name, 4, ports, [(cluster.web[0].address[4], manifests.READY)])

    def told():
        listed = cluster.node.dataplane_api("GET", "/v1/config").body["services"]
        return sorted(each["backends"][0]["port"] for each in listed if each["name"].startswith("other-")
                      and each["backends"])

    for documents, ports in ((others(50, 80), [80] * 50), (others(40, 8080), [8080] * 40), ([], [])):
        cluster.manifests.write("others", *documents)
        process.wait_until(lambda: told() == ports, 10, f"{len(ports)} other services", tell=lambda: str(told()))
        go_on()
    cluster.manifests.remove("others")


def control_dies(cluster, go_on):
    """The endpoints that join while it is dead are there when it is back."""
    first, second = cluster.echo
    cluster.node.kill_control()
    try:
        go_on()
        cluster.manifests.write("echo-slices", *(manifests.endpoint_slice(
            "echo", family, PORTS["echo"], [(server.address[family], manifests.READY) for server in (first, second)])
            for family in hosts.FAMILIES))
    finally:
        cluster.node.start_control()
    cluster.node.wait_in_sync()
    name = PORTS["echo"][0]["name"]
    process.wait_until(lambda: len(manifests.backends(cluster.node, "echo", name)) == 4, 10, "the second echo to be told")
    go_on()


class Load:
    """wrk for as long as a `with` lasts; what it counted is in `counted` after that."""

    # Each connection asks again after two milliseconds, or the machine has time for nothing but this.
    SCRIPT = """
delay = function() return 2 end

done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('{"requests": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\\n',
        summary.requests, e.connect, e.read, e.write, e.status, e.timeout))
end
"""

    def __init__(self, cluster, client, family):
        address, port = cluster.place(client, family, "rolling")
        host = f"[{address}]" if family == 6 else address
        script = cluster.directory / "wrk.lua"
        script.write_text(self.SCRIPT)
        self.process = process.Process(
            cluster.clients[client].space.command("wrk", "-t1", "-c10", "-d300", "--timeout", "10", "-s", script,
                                                  f"http://{host}:{port}/"), cluster.directory / f"wrk-{client}.log", "wrk")
        self.counted = None

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, kind, *_):
        # nsenter becomes the command: the pid is wrk's own. It then counts what it has.
        if self.process.alive():
            self.process.child.send_signal(signal.SIGINT)
            self.process.wait_end(20)
        if kind is None:
            self.counted = json.loads(self.process.text().strip().rpartition("\n")[2])


def test_ten_servers_are_replaced_under_load_and_no_request_fails(cluster):
    """As a Deployment's rolling update does with one more than it needs: a new server is asked whether it is ready and
    becomes an endpoint; an old one becomes terminating and serving, and gets no new connections. It ends only when it has
    no connection left, which is what a preStop hook waits for, or a sleep in it hopes for: whoever sends SIGQUIT to nginx
    while a client keeps a connection open can meet a request that is on its way on a connection that nginx closes just
    then, whatever the balancer does. Connections end by themselves here, for nginx lets each have 100 requests
    (`keepalive_requests`) and says so in the last answer; wrk then connects anew, and meets another server."""
    old = [cluster.servers.nginx(f"old-{number}") for number in range(10)]
    serving = [cluster.wait_to_serve(server, servers.HTTP) for server in old]
    cluster.publish("rolling", serving)
    with Load(cluster, "pod", 4) as near, Load(cluster, "outside", 6) as far:
        process.wait_until(lambda: all(server.established(servers.HTTP) for server in old[:1]), 20, "requests to come")
        for number, leaving in enumerate(old):
            fresh = cluster.wait_to_serve(cluster.servers.nginx(f"new-{number}"), servers.HTTP)
            serving.append(fresh)
            cluster.write_endpoints("rolling", [(each, manifests.READY) for each in serving])
            serving.remove(leaving)
            cluster.write_endpoints("rolling", [(leaving, manifests.DRAINING),
                                                *((each, manifests.READY) for each in serving)])
            process.wait_until(lambda: leaving.established(servers.HTTP) == 0, 20, f"the clients to leave {leaving.name}")
            leaving.stop("QUIT")
            cluster.write_endpoints("rolling", [(each, manifests.READY) for each in serving])
    for load in (near, far):
        assert load.counted.pop("requests") > 1000
        assert not any(load.counted.values()), load.counted
    place = cluster.place("pod", 4, "rolling")
    answers = {get(cluster.clients["pod"], 4, *place)[0] for _ in range(150)}
    assert answers == {server.address[4] for server in serving}
    cluster.manifests.remove("rolling-slices")
    cluster.manifests.remove("rolling")
    for server in serving:
        server.stop("QUIT")
