"""Manifests applied by hand to a node that was started without a directory of them: `viaduct apply`, `diff`, `get` and
`delete`, what is refused, and a control process that is killed in between."""
import json

import pytest

from test_services import CLUSTER, READY, Cluster, ask, endpoint_slice, service
from viaduct import hosts, process


class Applied(Cluster):
    """The same node and pods; what it writes is applied."""

    def write(self, name, *documents):
        return self.viaduct("apply", "-f", self.file(name, *documents))

    def file(self, name, *documents):
        path = self.manifests / name
        path.write_text("\n---\n".join(json.dumps(each) for each in documents))
        return path

    def viaduct(self, *words):
        return self.node.cli(*words, json=False)

    def refused(self, *words):
        """What it says, of a command that has to fail."""
        done = self.node.cli(*words, json=False, check=False)
        assert done.returncode == 1, done
        return done.stderr

    def unreachable(self):
        """The ranges' routes."""
        return [each["prefix"] for each in self.node.dataplane_api("GET", "/v1/config").body["routes"]
                if each.get("kind") == "unreachable"]


def make_cluster(make_node, make_netns, directory, *options):
    files = directory / "files"
    files.mkdir()
    node = make_node(control_options=["--node-name", "node-a", *options])
    return Applied(node, make_netns, files)


@pytest.fixture
def cluster(make_node, make_netns, directory):
    made = make_cluster(make_node, make_netns, directory)
    yield made
    process.run(["umount", "-l", made.node.run_dir / "uplinks.netns"], check=False)


def test_a_service_is_applied_used_and_deleted(cluster):
    assert cluster.unreachable() == []
    assert cluster.write("web.yaml", service()) == "service apps/web created\n"
    slices = cluster.file("slices.yaml", *(endpoint_slice(family, [(server.address[family], READY)
                                                                   for server in cluster.servers])
                                           for family in hosts.FAMILIES))
    assert cluster.viaduct("apply", "-f", slices) == (
        "endpointslice apps/web-4 created\nendpointslice apps/web-6 created\n")
    assert "apps/web-4 unchanged" in cluster.viaduct("apply", "-f", slices)
    cluster.wait_for_endpoints(6)
    process.wait_until(lambda: len(cluster.unreachable()) == 2, 10, "the ranges to be the services'")
    with cluster.echoing(4) as four, cluster.echoing(6) as six:
        for family, servers in ((4, four), (6, six)):
            ask(cluster.client, family, CLUSTER[family], 80)
            assert sum(len(server.peers) for server in servers) == 30
        # Control dies; what was applied is in force while it is away, and after. An echo server is busy with the one
        # connection that it has: new ones are of the other family.
        with hosts.connect(cluster.client, 4, CLUSTER[4], 80) as kept:
            hosts.exchange(kept, b"before")
            cluster.node.kill_control()
            ask(cluster.client, 6, CLUSTER[6], 80)
            hosts.exchange(kept, b"nobody steers")
            cluster.node.start_control()
            cluster.wait_for_endpoints(6)
            hosts.exchange(kept, b"after")
            ask(cluster.client, 6, CLUSTER[6], 80)
    assert "endpointslice apps/web-4 deleted" in cluster.viaduct("delete", "-f", slices)
    cluster.wait_for_endpoints(0)
    with pytest.raises(ConnectionRefusedError):
        hosts.connect(cluster.client, 4, CLUSTER[4], 80, timeout=10).close()
    assert cluster.viaduct("delete", "service", "apps/web") == "service apps/web deleted\n"
    process.wait_until(lambda: not cluster.unreachable(), 10, "the node to be as without services")
    assert cluster.node.api("GET", "/v1/manifests").body["objects"] == []


def test_a_restart_of_control_takes_nothing_away(cluster):
    cluster.write("web.yaml", service(type="NodePort", ports=[{"port": 80, "targetPort": 8080, "nodePort": 30080}]))
    cluster.slices(READY, READY, READY)
    others = [service(type="NodePort", ports=[{"port": 80}]) for _ in range(300)]
    for number, other in enumerate(others):
        del other["spec"]["clusterIPs"]
        other["metadata"]["name"] = f"other-{number}"
    cluster.write("others.yaml", *others)
    cluster.wait_for_endpoints(6)

    def in_force():
        return cluster.node.dataplane_api("GET", "/v1/config").body["services"]

    process.wait_until(lambda: len(in_force()) == 301, 10, "all services")
    cluster.node.wait_in_sync()
    before = in_force()
    for _ in range(3):
        cluster.node.kill_control()
        said = cluster.node.control.size()
        cluster.node.start_control()
        process.wait_until(lambda: cluster.node.api("GET", "/v1/services").body["services"], 10, "services to be read")
        cluster.node.wait_in_sync()
        assert "brought up to date" not in cluster.node.control.text(said)
        assert in_force() == before


def test_differences_are_told(cluster):
    path = cluster.file("web.yaml", service())
    done = cluster.node.cli("diff", "-f", path, json=False, check=False)
    assert done.returncode == 1 and "+  name: web" in done.stdout, done
    cluster.viaduct("apply", "-f", path)
    assert cluster.viaduct("diff", "-f", path) == ""
    path = cluster.file("web.yaml", service(ports=[{"port": 81, "targetPort": 8080}]))
    done = cluster.node.cli("diff", "-f", path, json=False, check=False)
    assert done.returncode == 1 and "-  - port: 80\n+  - port: 81\n" in done.stdout, done
    assert "(dry run)" in cluster.viaduct("apply", "-f", path, "--dry-run")
    told = cluster.node.cli("diff", "-f", path, check=False)
    assert json.loads(told.stdout)["objects"][0]["outcome"] == "configured"
    assert cluster.viaduct("apply", "-f", path) == "service apps/web configured\n"
    process.wait_until(lambda: "81" in cluster.programmed(), 10, "the other port")


def test_what_is_applied_is_shown(cluster):
    cluster.write("web.yaml", service())
    cluster.slices(READY, READY, READY)
    cluster.write("more.yaml", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}},
                  {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}})
    cluster.wait_for_endpoints(6)
    table = cluster.viaduct("get", "svc")
    assert "CLUSTER-IP" in table and CLUSTER[4] in table and "applied" in table, table
    assert cluster.servers[0].address[4] in cluster.viaduct("get", "eps", "apps/web-4")
    assert "default" in cluster.viaduct("get", "po") and "node-a" in cluster.viaduct("get", "no", "node-a")
    # What it prints can be applied.
    for form in ("yaml", "json"):
        path = cluster.manifests / "again.yaml"
        path.write_text(cluster.viaduct("get", "services", "-o", form))
        assert cluster.viaduct("apply", "-f", path) == "service apps/web unchanged\n"
    assert "Service apps/none does not exist" in cluster.refused("get", "svc", "apps/none")
    unknown = cluster.node.cli("get", "deployments", check=False)
    assert unknown.returncode == 2 and "endpointslices (eps)" in unknown.stderr, unknown


def test_nothing_is_half_applied(cluster):
    other, bad = service(), service(ports=[{"port": 70000}])
    other["metadata"]["name"], bad["metadata"]["name"] = "other", "bad"
    path = cluster.file("all.yaml", other, bad)
    said = cluster.refused("apply", "-f", path)
    assert "Service apps/bad: spec.ports[0].port is 70000; 1 to 65535 are possible" in said and str(path) in said, said
    assert cluster.node.api("GET", "/v1/manifests").body["objects"] == []
    said = cluster.refused("apply", "-f", cluster.file("one.yaml", service()), "-f", cluster.file("two.yaml", service()))
    assert "two.yaml:1: Service apps/web is described at" in said and "one.yaml:1 already" in said, said
    assert "Service apps/web does not exist" in cluster.refused("delete", "service", "apps/web")
    cluster.write("web.yaml", service())
    assert "Service apps/other does not exist" in cluster.refused("delete", "-f", cluster.file("b.yaml", service(), other))
    assert len(cluster.node.api("GET", "/v1/manifests").body["objects"]) == 1
    assert cluster.viaduct("delete", "-f", cluster.manifests / "b.yaml", "--ignore-not-found") == "service apps/web deleted\n"
    assert "cannot open" in cluster.refused("apply", "-f", cluster.manifests / "none.yaml")


def test_a_network_in_the_services_range_keeps_services_out(cluster):
    cluster.node.cli("interface", "add", "clash", "bridge", "br-web", "address", "10.100.0.1/24")
    said = cluster.refused("apply", "-f", cluster.file("web.yaml", service()))
    assert "10.96.0.0/12" in said and "10.100.0.1/24" in said, said
    cluster.node.cli("interface", "del", "clash")
    cluster.write("web.yaml", service())
    process.wait_until(lambda: len(cluster.unreachable()) == 2, 10, "the ranges to be the services'")
    said = cluster.refused("interface", "add", "clash", "bridge", "br-web", "address", "10.100.0.1/24")
    assert "10.96.0.0/12" in said, said


def test_the_directory_comes_first(make_node, make_netns, directory):
    manifests = directory / "manifests"
    manifests.mkdir()
    cluster = make_cluster(make_node, make_netns, directory, "--manifests", manifests)
    try:
        cluster.write("web.yaml", service())
        process.wait_until(lambda: "80" in cluster.programmed(), 10, "the applied service")
        (manifests / "web.json").write_text(json.dumps(service(ports=[{"port": 81}])))
        process.wait_until(lambda: "81" in cluster.programmed() and "80" not in cluster.programmed(), 10,
                           "the directory's service")
        shown = cluster.viaduct("service")
        assert "refused: applied: Service apps/web is described at web.json:1" in shown, shown
        said = cluster.refused("apply", "-f", cluster.file("again.yaml", service()))
        assert "is described at web.json:1" in said and "change it there" in said, said
        assert cluster.viaduct("delete", "svc", "apps/web") == "service apps/web deleted\n"
        assert "take it away there" in cluster.refused("delete", "svc", "apps/web")
        (manifests / "web.json").unlink()
        process.wait_until(lambda: not cluster.programmed(), 10, "the service to go")
    finally:
        process.run(["umount", "-l", cluster.node.run_dir / "uplinks.netns"], check=False)


def test_requests_that_are_wrong_are_told_why(make_node):
    node = make_node()
    for method, body, words in (
            ("POST", {}, "text: is missing"),
            ("POST", {"text": 5}, "text: must be a string"),
            ("POST", {"text": "{ a: [no", "file": "x"}, "x:2: is no YAML"),
            ("POST", {"text": "", "file": "x"}, "x: holds no manifest"),
            ("POST", {"files": [{"text": "a: b"}, 5]}, "files/1: must be an object"),
            ("POST", {"text": "a: b", "nix": 1}, "is not a known key"),
            ("DELETE", {"kind": "x"}, 'kind: is "x", and must be Service'),
            ("DELETE", {"kind": "svc"}, "name: is missing"),
            ("DELETE", {"text": "{ a: [no", "file": "x"}, "x:2: is no YAML")):
        answer = node.api(method, "/v1/manifests", body)
        assert answer.status == 400 and words in answer.body["error"], (method, body, answer)
    assert node.api("GET", "/v1/manifests?kind=x").status == 400
    assert node.api("POST", "/v1/manifests", {"text": "{kind: Deployment, apiVersion: apps/v1}"}).body["passed_over"] == 1
    # A service whose manifest has become wrong can still be deleted by it.
    good = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}"
    assert node.api("POST", "/v1/manifests", {"text": good}).status == 200
    answer = node.api("DELETE", "/v1/manifests", {"text": good.replace("80", "70000")})
    assert answer.status == 200 and answer.body["objects"][0]["outcome"] == "deleted", answer
