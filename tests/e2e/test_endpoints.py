"""Endpoints on a node without Kubernetes: pods that CNI, a CRI and `viaduct net` plugged in are chosen by their labels,
which clients feel at once; a control process that is killed forgets none of them."""
import contextlib
import json

import pytest

from test_host import Space
from viaduct import hosts, process

SUBNETS = {"web": ("10.80.1.0/24", "fd00:80:1::/64"), "client": ("10.80.2.0/24", "fd00:80:2::/64")}
CLUSTER = {4: "10.96.0.80", 6: "fd00:96::80"}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "apps"},
           "spec": {"clusterIPs": list(CLUSTER.values()), "ipFamilyPolicy": "RequireDualStack",
                    "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}


class Shop:
    """A node without manifests of pods, a client, and web servers whose pages are their pods' names."""

    def __init__(self, node, make_netns, directory, stack):
        self.node, self.make_netns, self.directory, self.stack = node, make_netns, directory, stack
        self.networks = {name: node.network(name, bridge=f"br-{name}", isDefaultGateway=True, isolated=False,
                                            ipam={"type": "viaduct", "ranges": [[{"subnet": each}] for each in subnets]})
                         for name, subnets in SUBNETS.items()}
        self.spaces, self.addresses = {}, {}
        self.client = self.plug("client", "client")

    def plug(self, container, network, cni_args="", **settings):
        """ADD, as a runtime makes it; the pod's namespace."""
        space = self.make_netns(container)
        outcome = self.node.cni("ADD", {**self.networks[network], **settings}, container, space.path,
                                **({"CNI_ARGS": f"IgnoreUnknown=1;{cni_args}"} if cni_args else {}))
        assert outcome.status == 0, outcome
        self.serve(container, space, [each["address"].partition("/")[0] for each in outcome.output["ips"]])
        return space

    def serve(self, container, space, addresses):
        self.spaces[container], self.addresses[container] = space, dict(zip(hosts.FAMILIES, addresses))
        site = self.directory / container
        site.mkdir()
        (site / "index.html").write_text(container)
        server = self.stack.enter_context(space.start("busybox", "httpd", "-f", "-p", "[::]:8080", "-h", site,
                                                      log=self.directory / f"{container}.log"))
        process.wait_until(lambda: space.run("curl", "-s", "http://127.0.0.1:8080/", check=False).stdout, 10, "a page")
        return server

    def unplug(self, container, network="web"):
        outcome = self.node.cni("DEL", self.networks[network], container, self.spaces[container].path)
        assert outcome.status == 0, outcome

    def apply(self, *documents, wait=True):
        path = self.directory / "documents.yaml"
        path.write_text("\n---\n".join(json.dumps(each) for each in documents))
        return self.node.cli("apply", "-f", path, *["--wait"] * wait, json=False)

    def label(self, *words):
        return self.node.cli("pod", "label", *words, json=False)

    def refused(self, *words):
        done = self.node.cli(*words, json=False, check=False)
        assert done.returncode == 1, done
        return done.stderr

    def ask(self, family=4):
        """The page that one request gets; None: refused."""
        host = CLUSTER[family] if family == 4 else f"[{CLUSTER[family]}]"
        done = self.client.run("curl", "-s", "--max-time", "5", f"http://{host}/", check=False)
        return done.stdout or None

    def answer(self, family=4, times=12):
        """Whose pages so many requests get."""
        return {self.ask(family) for _ in range(times)}

    def wait_for(self, *names, family=4):
        process.wait_until(lambda: self.answer(family) == set(names), 10, f"the pages of {names}")


@pytest.fixture
def shop(make_node, make_netns, directory):
    with contextlib.ExitStack() as stack:
        yield Shop(make_node(control_options=["--node-name", "node-a"]), make_netns, directory, stack)


def test_pods_with_labels_are_endpoints_without_manifests(shop):
    shop.apply(SERVICE)
    shop.plug("one", "web", "K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web-1;VIADUCT_LABELS=app=web,tier=front")
    shop.plug("two", "web", "K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web-2",
              args={"cni": {"labels": [{"key": "app", "value": "web"}]}})
    shop.plug("other", "web", "K8S_POD_NAMESPACE=other;K8S_POD_NAME=web-1;VIADUCT_LABELS=app=web")
    shop.plug("bare", "web", "K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web-3")
    for family in hosts.FAMILIES:
        shop.wait_for("one", "two", family=family)
    # From the command's return on, no packet goes where it should not.
    assert shop.label("apps/web-3", "app=web", "tier=back") == "apps/web-3: app=web,tier=back\n"
    for family in hosts.FAMILIES:
        assert shop.answer(family, 30) == {"one", "two", "bare"}
    shop.label("bare", "app-")
    assert shop.answer(times=30) == {"one", "two"}
    shop.label("apps/web-1", "app=shop", "--overwrite")
    assert shop.answer(6) == {"two"}
    shop.unplug("two")
    assert shop.answer() == {None}
    shown = shop.node.cli("service", "show", "apps/web", json=False)
    assert "web-1" not in shown, shown
    # A pod that comes again is another one.
    shop.label("apps/web-1", "app=web", "--overwrite")
    shop.wait_for("one")
    shop.unplug("one")
    assert shop.node.cni("ADD", shop.networks["web"], "one", shop.spaces["one"].path).status == 0
    assert shop.answer() == {None}
    assert shop.label("one") == "default/one: -\n"


def test_labels_outlive_a_kill(shop):
    shop.apply(SERVICE)
    shop.plug("one", "web", "K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web-1")
    shop.label("apps/web-1", "app=web")
    assert shop.answer() == {"one"}
    shop.node.kill_control()
    assert shop.answer() == {"one"}
    shop.node.start_control()
    assert shop.label("apps/web-1") == "apps/web-1: app=web\n"
    shop.node.wait_in_sync()
    assert shop.answer() == {"one"}
    described = shop.node.cli("pod", "show", "apps/web-1")
    assert described[0]["pod_labels"] == {"app": "web"} and described[0]["pod"] == "apps/web-1"
    assert "app=web" in shop.node.cli("pod", json=False)


def test_what_is_refused_changes_nothing(shop):
    shop.apply(SERVICE)
    shop.plug("one", "web", "K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web;VIADUCT_LABELS=app=web")
    shop.plug("two", "web", "K8S_POD_NAMESPACE=other;K8S_POD_NAME=web")
    shop.wait_for("one")
    assert "the label app is \"web\" already; --overwrite makes it \"shop\"" in shop.refused(
        "pod", "label", "apps/web", "tier=front", "app=shop")
    assert "may mean any of the pods apps/web, other/web" in shop.refused("pod", "label", "web")
    assert "no pod's name, container or port is \"absent\"" in shop.refused("pod", "label", "absent")
    assert "\"app\" is no label: KEY=VALUE" in shop.refused("pod", "label", "apps/web", "app")
    assert shop.label("apps/web") == "apps/web: app=web\n"
    space = shop.make_netns("wrong")
    outcome = shop.node.cni("ADD", shop.networks["web"], "wrong", space.path, CNI_ARGS="VIADUCT_LABELS=app=a b")
    assert outcome.status != 0 and "has the value \"a b\" for app" in outcome.output["msg"], outcome
    assert shop.answer() == {"one"}


def test_a_pods_manifest_counts(shop):
    shop.apply(SERVICE)
    shop.plug("one", "web", "K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web-1;VIADUCT_LABELS=app=web")
    shop.plug("two", "web", "K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web-2;VIADUCT_LABELS=app=web")
    shop.wait_for("one", "two")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "apps", "labels": {"app": "no"}}}
    shop.apply(pod)
    shop.wait_for("two")
    pod["metadata"]["labels"] = {"app": "web"}
    shop.apply(pod)
    shop.wait_for("one", "two")
    # A port by its name needs somebody who knows the number.
    by_name = json.loads(json.dumps(SERVICE))
    by_name["spec"]["ports"][0]["targetPort"] = "http"
    pod["spec"] = {"containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}]}
    shop.apply(by_name, pod, wait=False)
    shop.wait_for("one")
    told = shop.node.cli("service", json=False)
    assert "targetPort \"http\", which is a name, and pod apps/web-2 is attached here by its labels alone" in told, told


def slice_of(*endpoints):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "web-4", "namespace": "apps", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"port": 8080}], "endpoints": [{"addresses": [address], **more} for address, more in endpoints]}


def endpoints(shop, *words):
    """{address: the endpoint} of IPv4."""
    return {each["address"]: each for each in shop.node.cli("endpoint", *words) if "." in each["address"]}


def test_endpoints_are_told_with_their_states(shop):
    shop.apply(SERVICE)
    for number, container in enumerate(("one", "two")):
        shop.plug(container, "web", f"K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web-{number};VIADUCT_LABELS=app=web")
    shop.wait_for("one", "two")
    one, two = (shop.addresses[name][4] for name in ("one", "two"))
    told = endpoints(shop, "list", "web")
    assert set(told) == {one, two}
    assert told[one]["state"] == "ready" and told[one]["from"] == "selector" and told[one]["node"] == "node-a"
    assert (told[one]["service"], told[one]["port"], told[one]["number"], told[one]["pod"]) == ("apps/web", "80", 8080,
                                                                                                "apps/web-0")
    with hosts.connect(Space(shop.client, {}), 4, CLUSTER[4], 80):
        process.wait_until(lambda: sum(each["connections"] for each in endpoints(shop).values()) >= 1, 10, "a connection")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "apps", "labels": {"app": "web"}}}
    shop.apply(pod)
    process.wait_until(lambda: endpoints(shop)[one]["from"] == "selector, applied", 10, "the manifest to be told")
    shop.apply(slice_of((one, {"zone": "east"}), (two, {"conditions": {"ready": False}})))
    shop.wait_for("one")
    told = endpoints(shop)
    assert told[one]["state"] == "ready" and told[one]["zone"] == "east" and told[one]["from"] == "applied"
    assert told[two]["state"] == "not ready" and told[two]["why"] == "its ready condition is not true"
    assert "connections" not in told[two]
    text = shop.node.cli("endpoint", "apps/web", json=False)
    assert f"{one}:8080" in text and "not ready" in text and "its ready condition is not true" in text, text
    assert [each["service"] for each in shop.node.cli("endpoint", "show", two)] == ["apps/web"]
    assert "no service has an endpoint 10.9.9.9" in shop.refused("endpoint", "show", "10.9.9.9")
    assert "\"nonsense\" is no IP address" in shop.refused("endpoint", "show", "nonsense")
    assert "service absent does not exist" in shop.refused("endpoint", "list", "absent")


def test_an_endpoint_is_drained_by_hand(shop):
    shop.apply(SERVICE)
    for container in ("one", "two"):
        shop.plug(container, "web", f"K8S_POD_NAMESPACE=apps;K8S_POD_NAME={container};VIADUCT_LABELS=app=web")
    shop.wait_for("one", "two")
    one = shop.addresses["one"][4]
    done = shop.node.cli("endpoint", "drain", "apps/web", one, json=False)
    assert done == f"endpoint {one} of service apps/web drained\n"
    assert shop.answer(times=30) == {"two"}
    assert endpoints(shop)[one]["state"] == "draining" and endpoints(shop)[one]["why"] == "drained by hand"
    assert "draining,by hand" in shop.node.cli("service", "show", "web", json=False)
    assert "is drained already" in shop.node.cli("endpoint", "drain", "web", one, json=False)
    # Whatever manifests say, and whoever is killed.
    shop.apply(slice_of((one, {}), (shop.addresses["two"][4], {})))
    process.wait_until(lambda: endpoints(shop)[one]["from"] == "applied", 10, "the slice to count")
    shop.node.kill_control()
    assert shop.answer(times=30) == {"two"}
    shop.node.start_control()
    shop.node.wait_in_sync()
    assert shop.answer(times=30) == {"two"}
    process.wait_until(lambda: endpoints(shop)[one]["state"] == "draining", 10, "services to be compiled again")
    shop.node.cli("endpoint", "undrain", "apps/web", one)
    assert shop.answer(times=30) == {"one", "two"}
    # With the endpoint the word goes.
    shop.node.cli("endpoint", "drain", "apps/web", one)
    shop.node.cli("delete", "endpointslice", "apps/web-4")
    shop.label("apps/one", "app-")
    process.wait_until(lambda: one not in endpoints(shop), 10, "the endpoint to go")
    shop.label("apps/one", "app=web")
    assert shop.answer(times=30) == {"one", "two"}
    assert "has no endpoint 10.9.9.9" in shop.refused("endpoint", "drain", "apps/web", "10.9.9.9")


def test_applying_waits_until_it_is_in_force(shop):
    shop.plug("one", "web", "K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web-1")
    shop.plug("two", "web", "K8S_POD_NAMESPACE=apps;K8S_POD_NAME=web-2")
    service, files = shop.directory / "service.yaml", {}
    without = json.loads(json.dumps(SERVICE))
    del without["spec"]["selector"]
    service.write_text(json.dumps(without))
    for name in ("one", "two"):
        files[name] = shop.directory / f"{name}.yaml"
        files[name].write_text(json.dumps(slice_of((shop.addresses[name][4], {}))))
    assert shop.node.cli("apply", "-f", service, "-f", files["one"], "--wait", json=False) == (
        "service apps/web created\nendpointslice apps/web-4 created\n")
    # No look is needed whether it is so far.
    for name in ("one", "two") * 5:
        shop.node.cli("apply", "-f", files[name], "--wait=10", json=False)
        assert shop.ask() == name
    thief = json.loads(json.dumps(without))
    thief["metadata"]["name"] = "thief"
    (shop.directory / "thief.yaml").write_text(json.dumps(thief))
    done = shop.node.cli("apply", "-f", shop.directory / "thief.yaml", "--wait", json=False, check=False)
    assert done.returncode == 1 and "service apps/thief created" in done.stdout, done
    assert "Service apps/thief is not in force: spec.clusterIP" in done.stderr and CLUSTER[4] in done.stderr, done
    assert shop.node.cli("delete", "service", "apps/thief", "--wait", json=False) == "service apps/thief deleted\n"
    shop.node.cli("delete", "-f", files["two"], "--wait")
    assert shop.ask() is None
    shop.node.kill_dataplane()
    done = shop.node.cli("apply", "-f", files["one"], "--wait=1", json=False, check=False)
    assert done.returncode == 1 and "the dataplane is away" in done.stderr, done
    shop.node.start_dataplane()
    shop.node.cli("apply", "-f", files["one"], "--wait")
    assert shop.answer() == {"one"}
    done = shop.node.cli("apply", "-f", files["one"], "--wait", "--dry-run", json=False, check=False)
    assert done.returncode == 2 and "nothing to wait for" in done.stderr, done
    with hosts.connect(Space(shop.client, {}), 4, CLUSTER[4], 80):
        for words in (("service", "apps/web"), ("--service", "apps/web"), ("--service=apps/web",)):
            assert "apps/web" in shop.node.cli("flow", "list", *words, json=False)
        assert "service \"apps/other\" does not exist" in shop.refused("flow", "list", "--service", "apps/other")


def test_containers_attached_by_hand(shop):
    """As podman's, with a name or without, by `viaduct net`."""
    shop.node.cli("net", "create", "shop", "--no-isolation")
    service = json.loads(json.dumps(SERVICE))
    service["metadata"]["namespace"] = "default"
    service["spec"] = {"clusterIP": CLUSTER[4], "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    shop.apply(service)
    for name, words in (("hand", ["--name", "web-1", "--label", "app=web,tier=front"]), ("bare", [])):
        space = shop.make_netns(name)
        made = shop.node.cli("net", "attach", space.name, "shop", *words)
        shop.serve(name, space, [each["address"].partition("/")[0] for each in made["addresses"]])
    shop.wait_for("hand")
    assert shop.label("web-1") == "default/web-1: app=web,tier=front\n"
    shop.label(shop.spaces["bare"].name, "app=web")
    assert shop.answer(times=30) == {"hand", "bare"}
    shop.node.cli("net", "detach", shop.spaces["hand"].name, "shop")
    shop.wait_for("bare")


def test_a_kubelets_annotation(shop, make_cri):
    """containerd hands a pod's annotations to plugins that ask for them."""
    conflist = shop.node.conflist(bridge="br-web", isDefaultGateway=True, isolated=False,
                                  ipam={"type": "viaduct", "ranges": [[{"subnet": SUBNETS["web"][0]}]]},
                                  capabilities={"io.kubernetes.cri.pod-annotations": True})
    cri = make_cri([conflist], plugin_dirs=(shop.node.plugins,))
    pod = cri.run_pod("web-1", annotations={"viaduct.io/labels": "app=web,tier=front", "other": "= ="})
    described = shop.node.cli("pod", "show", "default/web-1")
    assert described[0]["pod_labels"] == {"app": "web", "tier": "front"}, described
    service = json.loads(json.dumps(SERVICE))
    service["metadata"]["namespace"] = "default"
    service["spec"] = {"clusterIP": CLUSTER[4], "selector": {"tier": "front"}, "ports": [{"port": 80}]}
    shop.apply(service)
    backends = process.wait_until(lambda: shop.node.cli("service", "show", "default/web")["programmed"][0]["backends"], 10,
                                  "the pod to be an endpoint")
    assert [each["address"] for each in backends] == [cri.pod_address(pod)]
    cri.remove_pod(pod)
    process.wait_until(lambda: not shop.node.cli("service", "show", "default/web")["programmed"][0]["backends"], 10,
                       "the endpoint to go with its pod")
