"""Services and bad luck: control that is killed in the middle of changes, a directory that is gone, a hundred thousand
files in it. Nothing is lost, nothing stays half applied, and who is connected is not disturbed."""
import contextlib
import json
import random
import sqlite3
import threading
import time

from test_services import CLUSTER, READY, Cluster, ask, cluster, endpoint_slice, service  # noqa: F401: a fixture
from viaduct import hosts, process


def named(name, document, **labels):
    """The same document for another service of the namespace."""
    document["metadata"]["name"] = name
    if labels:
        document["metadata"]["labels"] = labels
    return document


def small_service(name, address, endpoints):
    """A service of one port at a ClusterIP of its own, with its slice."""
    spec = {"clusterIPs": [address], "ipFamilyPolicy": "SingleStack"}
    return [named(name, service(**spec)),
            named(f"{name}-a", endpoint_slice(4, [(each, READY) for each in endpoints]),
                  **{"kubernetes.io/service-name": name})]


def programmed(node):
    """{service: (ClusterIP, its endpoints)} as the dataplane has them."""
    services = node.dataplane_api("GET", "/v1/config").body.get("services", [])
    return {each["name"]: (each["frontends"][0]["address"], sorted(b["address"] for b in each.get("backends", ())))
            for each in services}


class Talking(threading.Thread):
    """A connection that goes on asking; `failed` says why it did not."""

    def __init__(self, client, address, port):
        super().__init__()
        self.connection = hosts.connect(client, 4, address, port)
        self.asked, self.failed, self._over = 0, None, threading.Event()

    def run(self):
        try:
            while not self._over.wait(0.01):
                hosts.exchange(self.connection, b"%08d" % self.asked)
                self.asked += 1
        except OSError as error:
            self.failed = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()
        self.connection.close()


def test_control_is_killed_amid_changes(cluster):
    """Files that come, change and go, and manifests that are applied: whenever control dies, it ends with what they say."""
    seed = int(time.time())
    print(f"seed {seed}")
    dice = random.Random(seed)
    node = cluster.node
    cluster.write("web.yaml", service())
    cluster.slices(READY, READY, READY)
    cluster.wait_for_endpoints(6)
    wanted = {}

    def change():
        for _ in range(dice.randrange(1, 8)):
            number = dice.randrange(40)
            name, address = f"s{number}", f"10.96.1.{number}"
            if name in wanted and dice.random() < 0.3:
                (cluster.manifests / f"{name}.yaml").unlink()
                del wanted[name]
                continue
            endpoints = sorted({f"10.80.1.{dice.randrange(100, 250)}" for _ in range(dice.randrange(1, 6))})
            cluster.write(f"{name}.yaml", *small_service(name, address, endpoints))
            wanted[name] = (address, endpoints)

    with cluster.echoing(4), Talking(cluster.client, CLUSTER[4], 80) as talking:
        for _ in range(30):
            change()
            time.sleep(dice.random() * 0.03)  # the instant of the kill is left to chance
            node.kill_control()
            change()
            node.start_control(wait=dice.random() < 0.5)
        expected = {**wanted, "web": (CLUSTER[4], sorted(each for server in cluster.servers for each in server.address.values()))}
        process.wait_until(lambda: node.api("GET", "/v1/health").status == 200, 20, "control's API")
        process.wait_until(lambda: programmed(node) == expected, 20, "what the manifests say",
                           tell=lambda: f"{programmed(node)} and not {expected}")
        before = talking.asked
        process.wait_until(lambda: talking.failed or talking.asked > before + 10, 10, "the connection to go on")
    assert talking.failed is None


def test_what_was_applied_outlives_a_kill_at_any_instant(cluster, directory):
    """What `apply` said is done is there afterwards; what it did not say is there as a whole or not at all."""
    node = cluster.node
    dice = random.Random(1)
    done = {}
    for turn in range(20):
        documents = [document for number in range(20)
                     for document in small_service(f"t{turn}-{number}", f"10.97.{turn}.{number + 1}", ["10.80.1.200"])]
        text = "\n---\n".join(json.dumps(each) for each in documents)
        names = {f"t{turn}-{number}" for number in range(20)}
        answers = []

        def apply():
            with contextlib.suppress(OSError, ValueError):  # it may die before it has answered
                answers.append(node.api("POST", "/v1/manifests", {"text": text}).status)

        applying = threading.Thread(target=apply)
        applying.start()
        time.sleep(dice.random() * 0.03)  # the instant of the kill is left to chance
        node.kill_control()
        applying.join()
        node.start_control()
        there = {each["name"] for each in node.api("GET", "/v1/services").body["services"] if each["name"] in names}
        assert there in (set(), names), f"half of it is there: {sorted(there)}"
        assert answers != [200] or there == names
        done.update({name: True for name in there})
    process.wait_until(lambda: set(programmed(node)) == set(done), 20, "all that was applied")


def kept_services(node):
    """How many services control's copy of the directory holds."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(
            sqlite3.connect(f"file:{node.store.with_suffix('.manifests.db')}?mode=ro", uri=True)) as kept:
        return kept.execute("SELECT count(*) FROM kept_manifest WHERE kind = 'Service'").fetchone()[0]
    return 0


def test_a_directory_that_is_gone_when_the_node_starts(cluster):
    node = cluster.node
    cluster.write("web.yaml", service())
    cluster.slices(READY, READY, READY)
    cluster.wait_for_endpoints(6)
    process.wait_until(lambda: kept_services(node) == 1, 10, "the directory's copy")
    node.kill_control()
    node.kill_dataplane()
    away = cluster.manifests.with_name("away")
    cluster.manifests.rename(away)
    node.start_dataplane()
    node.start_control()
    cluster.wait_for_endpoints(6)
    with cluster.echoing(4):
        ask(cluster.client, 4, CLUSTER[4], 80)
        shown = node.cli("service", json=False)
        assert "is not there" in shown and "stays in force" in shown, shown
        away.rename(cluster.manifests)
        cluster.slices(READY, None, None)
        cluster.wait_for_endpoints(2)
        ask(cluster.client, 4, CLUSTER[4], 80)
    assert "is not there" not in node.cli("service", json=False)


def test_a_damaged_copy_of_the_directory_keeps_nobody_from_starting(cluster):
    node = cluster.node
    cluster.write("web.yaml", service())
    cluster.slices(READY, READY, READY)
    cluster.wait_for_endpoints(6)
    node.kill_control()
    kept = node.store.with_suffix(".manifests.db")
    for path in kept.parent.glob(f"{kept.name}*"):
        path.write_bytes(b"no database at all " * 1000)
    node.start_control()
    cluster.wait_for_endpoints(6)
    with cluster.echoing(4):
        ask(cluster.client, 4, CLUSTER[4], 80, times=3)
    assert "not kept for a start without it" in node.control.text()


def test_a_hundred_thousand_files(make_node, make_netns, directory):
    """Most of them are nobody's business, some are wrong, and one that changes is followed as if it were alone."""
    manifests = directory / "manifests"
    manifests.mkdir()
    text = {number: "apiVersion: v1\nkind: Service\nmetadata: {name: s%d, namespace: apps}\nspec: {ports: [{port: 80}]}\n" % number
            for number in range(5000)}
    for number in range(100_000):
        path = manifests / f"f{number}.yaml"
        path.write_text(text.get(number) or (
            "kind: Service\nmetadata: {name: [}" if number % 10_000 == 9_999 else "apiVersion: v1\nkind: ConfigMap\n"))
    node = make_node(control_options=["--manifests", manifests, "--node-name", "node-a"])

    def services():
        return len(programmed(node))

    process.wait_until(lambda: services() == 5000, 60, "all services", interval=0.2)
    refused = node.api("GET", "/v1/services").body["refused"]
    assert [each.partition(":")[0] for each in refused] == sorted(f"f{number}.yaml" for number in range(9_999, 100_000, 10_000))
    # More changes at once than the kernel keeps word of.
    for number in range(5000, 25_000):
        (manifests / f"f{number}.yaml").write_text(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: again}\n" if number != 20_000 else text[0].replace("s0", "late"))
    process.wait_until(lambda: "late" in programmed(node), 60, "the one that matters", interval=0.2)
    (manifests / "f0.yaml").unlink()
    process.wait_until(lambda: "s0" not in programmed(node), 10, "the service of the file that is gone")
    node.kill_control()
    node.start_control()
    process.wait_until(lambda: node.api("GET", "/v1/services?service=apps/late").status == 200, 60, "control to be back")
    assert services() == 5000
    manifests.rename(directory / "away")
    process.wait_until(lambda: "is not there" in node.cli("service", json=False), 10, "the directory to be missed")
    assert services() == 5000
