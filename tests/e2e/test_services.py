"""Services out of a directory of Kubernetes manifests: pods, the node and the outside as clients, endpoints that come,
drain and go, manifests that are wrong, and a control process that is killed."""
import contextlib
import ipaddress
import json
import threading
import time

import pytest

from test_host import NODE, OUTSIDE, Machine, Space
from viaduct import hosts, pods, process

both_families = pytest.mark.parametrize("family", hosts.FAMILIES)
SUBNETS = {"web": ("10.80.1.0/24", "fd00:80:1::/64"), "client": ("10.80.2.0/24", "fd00:80:2::/64")}
CLUSTER = {4: "10.96.0.80", 6: "fd00:96::80"}


def service(**spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "apps"},
            "spec": {"clusterIPs": list(CLUSTER.values()), "ipFamilyPolicy": "RequireDualStack",
                     "ports": [{"port": 80, "targetPort": 8080}], **spec}}


def endpoint_slice(family, endpoints):
    """`endpoints`: [(address, conditions)]."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": f"IPv{family}",
            "metadata": {"name": f"web-{family}", "namespace": "apps", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": conditions} for address, conditions in endpoints]}


class Cluster:
    """A node that has taken eth1, three pods that echo at port 8080, a client, and a directory of manifests."""

    def __init__(self, node, make_netns, manifests):
        self.node, self.manifests = node, manifests
        self.machine = Machine(node, make_netns("outside"))
        self.machine.take()
        self.servers = [self._pod(make_netns, "web", f"web-{number}") for number in range(3)]
        self.client = self._pod(make_netns, "client", "client")

    def _pod(self, make_netns, network, name):
        settings = self.node.network(network, bridge=f"br-{network}", isDefaultGateway=True,
                                     ipam={"type": "viaduct", "ranges": [[{"subnet": each}] for each in SUBNETS[network]]})
        space = make_netns(name)
        pods.Pod(self.node, space, name, settings)
        addresses = [each["address"].partition("/")[0] for each in pods.attachment(self.node, name)["addresses"]]
        return Space(space, dict(zip(hosts.FAMILIES, addresses)))

    def write(self, name, *documents):
        """At once, as a program that means it renames a file."""
        path = self.manifests / name
        temporary = path.with_name(f".{name}.new")
        temporary.write_text("\n---\n".join(json.dumps(each) for each in documents))
        temporary.rename(path)

    def slices(self, *conditions):
        """Writes the slices of both families; for each server its conditions, None: it is not in them."""
        self.write("slices.yaml", *(endpoint_slice(family, [
            (server.address[family], condition) for server, condition in zip(self.servers, conditions)
            if condition is not None]) for family in hosts.FAMILIES))

    def programmed(self):
        """{port: its object} of apps/web."""
        answer = self.node.api("GET", "/v1/services?service=apps/web")
        return {each["port"]: each for each in answer.body["programmed"]} if answer.status == 200 else {}

    def wait_for_endpoints(self, number, port="80"):
        process.wait_until(lambda: len(self.programmed().get(port, {}).get("backends", ())) == number, 10,
                           f"{number} endpoints of both families")
        self.wait_in_force()

    def wait_in_force(self):
        """Until the dataplane has apps/web as control has it: that was in sync with what there was before."""
        def there():
            services = self.node.dataplane_api("GET", "/v1/config").body["services"]
            return all(each in services for each in self.programmed().values())
        process.wait_until(there, 20, "the dataplane to have the services")
        self.node.wait_in_sync()

    @contextlib.contextmanager
    def echoing(self, family):
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(hosts.EchoServer(server, family, 8080)) for server in self.servers]


def ask(client, family, address, port, times=30):
    for _ in range(times):
        with hosts.connect(client, family, address, port, timeout=10) as connection:
            hosts.exchange(connection, b"hello")


@pytest.fixture
def cluster(make_node, make_netns, directory):
    manifests = directory / "manifests"
    manifests.mkdir()
    node = make_node(control_options=["--manifests", manifests, "--node-name", "node-a"])
    made = Cluster(node, make_netns, manifests)
    yield made
    process.run(["umount", "-l", node.run_dir / "uplinks.netns"], check=False)


READY = {"ready": True}


@both_families
def test_pods_the_node_and_the_outside_are_answered(cluster, family):
    cluster.write("web.yaml", service(type="NodePort", ports=[{"port": 80, "targetPort": 8080, "nodePort": 30080}]))
    cluster.slices(READY, READY, READY)
    cluster.wait_for_endpoints(6)
    with cluster.echoing(family) as servers:
        def asked(client, address, port, seen_as):
            for server in servers:
                server.peers.clear()
            ask(client, family, address, port)
            counts = [len(server.peers) for server in servers]
            assert sum(counts) == 30 and min(counts) > 1, counts
            assert {peer for server in servers for peer in server.peers} == {seen_as}

        asked(cluster.client, CLUSTER[family], 80, cluster.client.address[family])
        asked(cluster.machine.outside, NODE[family], 30080, OUTSIDE[family])
        process.wait_until(lambda: CLUSTER[family][:6] in cluster.machine.space.output("ip", f"-{family}", "route"), 10,
                           "the node to know the way to its services")
        asked(cluster.machine.host, CLUSTER[family], 80, NODE[family])
        asked(cluster.machine.host, NODE[family], 30080, NODE[family])
        # A pod that reaches itself, as the gateway, and its neighbours, as what it is.
        for server in servers:
            server.peers.clear()
        ask(cluster.servers[0], family, CLUSTER[family], 80)
        own = cluster.servers[0].address[family]
        assert set(servers[0].peers) == {str(ipaddress.ip_network(SUBNETS["web"][family // 6])[1])}
        assert set(servers[1].peers) == set(servers[2].peers) == {own}
    shown = cluster.node.cli("service", json=False)
    assert "apps" in shown and CLUSTER[4] in shown and "80:30080/tcp" in shown, shown
    detail = cluster.node.cli("service", "show", "apps/web", json=False)
    assert all(server.address[family] in detail for server in cluster.servers), detail


@both_families
def test_a_backend_answers_its_neighbour_after_the_dataplane_was_killed(cluster, family):
    """The server speaks first, and to its neighbour's own address on their bridge: the new process must know by itself
    that the router waits for that."""
    cluster.write("web.yaml", service())
    cluster.slices(None, READY, None)
    cluster.wait_for_endpoints(2)
    with hosts.listen(cluster.servers[1], family, 8080) as listener, \
            hosts.connect(cluster.servers[0], family, CLUSTER[family], 80) as client:
        server, peer = listener.accept()
        with server:
            assert peer[0] == cluster.servers[0].address[family]
            client.settimeout(20)
            server.sendall(b"before")
            assert client.recv(100) == b"before"
            cluster.node.kill_dataplane()
            cluster.node.start_dataplane()
            cluster.node.wait_in_sync()
            server.sendall(b"after")
            assert client.recv(100) == b"after"
            hosts_port = pods.attachment(cluster.node, "web-1")["port"]
            assert pods.port(cluster.node, hosts_port)["counters"]["intercepted"] > 0
            assert "RX intercepted" in cluster.node.cli("link", "-s", "show", hosts_port, json=False)
            client.sendall(b"good-bye")
            assert server.recv(100) == b"good-bye"


def test_endpoints_that_drain_and_go(cluster):
    cluster.write("web.yaml", service())
    cluster.slices(READY, None, None)
    cluster.wait_for_endpoints(2)
    with cluster.echoing(4) as servers, hosts.connect(cluster.client, 4, CLUSTER[4], 80) as kept:
        hosts.exchange(kept, b"before")
        cluster.slices({"ready": False, "serving": True, "terminating": True}, READY, READY)
        cluster.wait_for_endpoints(6)
        servers[0].peers.clear()
        ask(cluster.client, 4, CLUSTER[4], 80)
        assert not servers[0].peers and servers[1].peers and servers[2].peers
        hosts.exchange(kept, b"still there")
        cluster.slices({"ready": False, "serving": False}, READY, READY)
        cluster.wait_for_endpoints(4)
        kept.settimeout(2)
        with pytest.raises((OSError, process.Failed)):
            hosts.exchange(kept, b"gone")
    # Nobody is left: refused at once, and not after a time-out.
    cluster.slices(None, None, None)
    cluster.wait_for_endpoints(0)
    started = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        hosts.connect(cluster.client, 4, CLUSTER[4], 80, timeout=10).close()
    with pytest.raises(ConnectionRefusedError):
        hosts.connect(cluster.client, 6, CLUSTER[6], 80, timeout=10).close()
    assert time.monotonic() - started < 5


def test_a_rolling_replacement_fails_no_request(cluster):
    """One after the other drains, goes and comes back, under a client that connects anew for each request."""
    cluster.write("web.yaml", service())
    cluster.slices(READY, READY, READY)
    cluster.wait_for_endpoints(6)
    failed, done, ended = [], [0], threading.Event()

    def load():
        while not ended.is_set():
            try:
                ask(cluster.client, 4, CLUSTER[4], 80, times=1)
                done[0] += 1
            except (OSError, process.Failed) as error:
                failed.append(repr(error))

    draining = {"ready": False, "serving": True, "terminating": True}
    with cluster.echoing(4) as servers:
        client = threading.Thread(target=load)
        client.start()
        try:
            for number in range(3):
                for state, endpoints in ((draining, 6), (None, 4), (READY, 6)):
                    cluster.slices(*(state if each == number else READY for each in range(3)))
                    cluster.wait_for_endpoints(endpoints)
                    mark = done[0]
                    process.wait_until(lambda: done[0] > mark + 20, 10, "requests to go on")
        finally:
            ended.set()
            client.join()
    assert not failed and done[0] > 180, (failed[:3], done)
    assert all(server.peers for server in servers)


def test_manifests_that_are_wrong_hurt_nobody_else(cluster):
    cluster.write("web.yaml", service())
    cluster.slices(READY, READY, READY)
    cluster.wait_for_endpoints(6)
    thief = service()
    thief["metadata"]["name"] = "thief"
    strange = service(ports=[{"port": 70000}])
    strange["metadata"]["name"] = "strange"
    cluster.write("zz.yaml", thief, strange)
    def told():
        text = cluster.node.cli("service", json=False)
        return text if "strange" in text and "apps/thief" in text else None
    process.wait_until(told, 10, "both to be told")
    text = told()
    assert "refused: " in text and "70000" in text and "zz.yaml" in text, text
    assert f"{CLUSTER[4]}, which Service apps/web has" in text, text
    with cluster.echoing(4) as servers:
        ask(cluster.client, 4, CLUSTER[4], 80)
        assert sum(len(server.peers) for server in servers) == 30
        (cluster.manifests / "zz.yaml").unlink()
        # What is no YAML any more leaves what it said.
        (cluster.manifests / "web.yaml").write_text("{ this is: [no")
        process.wait_until(lambda: "web.yaml" in str(cluster.node.api("GET", "/v1/services").body["refused"]), 10,
                           "the damaged file to be told")
        ask(cluster.client, 4, CLUSTER[4], 80, times=3)


def test_addresses_outlive_a_kill(cluster):
    ours = service(type="NodePort")
    del ours["spec"]["clusterIPs"]
    cluster.write("web.yaml", ours)
    cluster.slices(READY, READY, READY)
    cluster.wait_for_endpoints(6)
    before = cluster.programmed()["80"]["frontends"]
    assert {each["address"] for each in before} > set(NODE.values())
    with cluster.echoing(4), hosts.connect(cluster.client, 4, next(
            each["address"] for each in before if each["address"].startswith("10.")), 80) as kept:
        hosts.exchange(kept, b"before")
        cluster.node.kill_control()
        hosts.exchange(kept, b"nobody steers")
        cluster.node.start_control()
        cluster.wait_for_endpoints(6)
        assert cluster.programmed()["80"]["frontends"] == before
        hosts.exchange(kept, b"after")


def test_what_is_given_up_is_free_again(cluster):
    """A port that is renumbered keeps its node port, and who was refused an address gets it when its holder goes."""
    def node_port(port):
        frontends = cluster.programmed().get(port, {}).get("frontends", ())
        return {each["port"] for each in frontends if each.get("external")}

    def written(port, node_port_number=30080):
        cluster.write("web.yaml", service(type="NodePort", ports=[{"port": port, "nodePort": node_port_number}]))

    written(80)
    process.wait_until(lambda: node_port("80") == {30080}, 10, "the node port")
    written(81)
    process.wait_until(lambda: node_port("81") == {30080}, 10, "the node port to be the other port's")
    thief = service()
    thief["metadata"]["name"] = "thief"
    cluster.write("thief.yaml", thief)
    def addresses():
        listed = cluster.node.api("GET", "/v1/services").body["services"]
        return {each["name"]: (each["cluster_ips"], bool(each.get("faults"))) for each in listed}
    process.wait_until(lambda: addresses().get("thief") == ([], True), 10, "the second to be refused")
    (cluster.manifests / "web.yaml").unlink()
    process.wait_until(lambda: addresses() == {"thief": (list(CLUSTER.values()), False)}, 10, "the second to get its turn")


def test_two_services_at_one_place(cluster):
    """The second is told of it and has the rest of its places; the first, and everything else, goes on."""
    first, second = service(externalIPs=["203.0.113.80"]), service(externalIPs=["203.0.113.80"])
    second["metadata"]["name"] = "xenon"
    del second["spec"]["clusterIPs"]
    cluster.write("web.yaml", first, second)
    cluster.slices(READY, READY, READY)
    def has():
        answer = cluster.node.api("GET", "/v1/services?service=apps/xenon")
        if answer.status != 200 or not answer.body["programmed"]:
            return None
        frontends = answer.body["programmed"][0]["frontends"]
        assert frontends and not any(each.get("external") for each in frontends)
        return "which Service apps/web has" in str(answer.body)
    process.wait_until(has, 10, "the second to have its ClusterIPs alone")
    assert cluster.node.api("GET", "/v1/health").body["left_out"] == []
    with cluster.echoing(4):
        ask(cluster.client, 4, "203.0.113.80", 80, times=5)
    cluster.node.cli("bridge", "add", "other")


def test_a_balancer_speaks_for_its_address_on_the_link(cluster):
    """An address of the link that nobody has: ARP and ND are answered for it, and a port says how many are here."""
    balancer = {4: "192.0.2.80", 6: "2001:db8:2::80"}
    lb = service(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=32000,
                 loadBalancerSourceRanges=["0.0.0.0/0", f"{OUTSIDE[6]}/128", f"{NODE[6]}/128"])
    lb["status"] = {"loadBalancer": {"ingress": [{"ip": address} for address in balancer.values()]}}
    cluster.write("web.yaml", lb)
    cluster.slices(READY, None, None)
    cluster.wait_for_endpoints(2)
    outside = cluster.machine.outside
    def asked():
        said = outside.space.run("curl", "-s", "-w", "%{http_code}", f"http://{NODE[4]}:32000/healthz", check=False).stdout
        return json.loads(said[:-3])["localEndpoints"], said[-3:]
    for family in hosts.FAMILIES:
        with cluster.echoing(family) as servers:
            ask(outside, family, balancer[family], 80, times=5)
            assert servers[0].peers == [OUTSIDE[family]] * 5
            process.wait_until(lambda: balancer[family] in cluster.machine.space.output("ip", f"-{family}", "route"), 10,
                               "the node to know the way to the balancer's address")
            ask(cluster.machine.host, family, balancer[family], 80, times=5)
            assert servers[0].peers[5:] == [NODE[family]] * 5
    assert asked() == (1, "200")
    cluster.slices(None, None, None)
    process.wait_until(lambda: asked() == (0, "503"), 10, "nobody to be here")
    # Nodes are known now, and this one is not ready: somebody else speaks.
    cluster.slices(READY, None, None)
    cluster.write("nodes.yaml", *({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {
        "conditions": [{"type": "Ready", "status": ready}]}} for name, ready in (("node-a", "False"), ("node-b", "True"))))
    process.wait_until(lambda: not any(each.get("announce") for each in cluster.programmed()["80"]["frontends"]), 10,
                       "another node to speak")


def test_a_network_in_the_services_range_is_refused(cluster):
    refused = cluster.node.cli("interface", "add", "clash", "bridge", "br-web", "address", "10.100.0.1/24", check=False)
    assert refused.returncode == 1 and "10.96.0.0/12" in refused.stderr and "10.100.0.1/24" in refused.stderr
