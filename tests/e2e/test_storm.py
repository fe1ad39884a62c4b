"""ADDs and DELs by several at once, while the daemons and the plugin itself are killed in the middle of them: afterwards
no address has two holders, and after GC nothing is leaked or left over."""
import concurrent.futures
import random
import sqlite3
import threading
import time

from viaduct import pods

OPERATIONS = 1000
WORKERS = 6
SLOTS = 4  # of each worker


class Slot:
    """A pod's interface as its runtime knows it: `address` while it is there for certain."""

    def __init__(self, node, space, container, network):
        self.node, self.space, self.container, self.network = node, space, container, network
        self.address = None

    def call(self, command, prefix=()):
        return self.node.cni(command, self.network, self.container, self.space.path, prefix=prefix)

    def turn(self, dice):
        """One operation, of which one in eight is killed: the plugin alone, because host-local forgets an
        address whose file it did not come to write."""
        killed = []
        if dice.random() < 0.125:
            killed = ["timeout", "--foreground", "-s", "KILL", f"{dice.uniform(0.001, 0.02):.4f}"]
        adding = self.address is None and dice.random() < 0.8
        self.address, outcome = None, self.call("ADD" if adding else "DEL", killed)
        if adding and outcome.status == 0:
            self.address = outcome.output["ips"][0]["address"]
        return outcome.status == 0


class Storm:
    """Every slot has a namespace of its own and is used by one thread only."""

    def __init__(self, node, make_netns, networks, seed):
        self.node, self.dice = node, random.Random(seed)
        self.slots = [[Slot(node, make_netns(), f"c{worker}-{number}", networks[number % len(networks)])
                       for number in range(SLOTS)] for worker in range(WORKERS)]
        self.seeds = [self.dice.random() for _ in range(WORKERS)]
        self.done = self.succeeded = 0
        self.lock = threading.Lock()

    def all(self):
        return [slot for slots in self.slots for slot in slots]

    def present(self, network=None):
        return [slot for slot in self.all() if slot.address and network in (None, slot.network)]

    def work(self, worker):
        dice = random.Random(self.seeds[worker])
        while self.done < OPERATIONS:
            success = dice.choice(self.slots[worker]).turn(dice)
            with self.lock:
                self.done += 1
                self.succeeded += success

    def run(self):
        """The daemons are started by this thread: they die with it."""
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            workers = [pool.submit(self.work, worker) for worker in range(WORKERS)]
            while not all(worker.done() for worker in workers):
                time.sleep(self.dice.uniform(0.2, 0.8))  # how long the storm rages before the next kill
                self.kill()
            for worker in workers:
                worker.result()
        self.node.wait_in_sync()
        print(f"{self.done} operations, {self.succeeded} succeeded, {len(self.present())} pods present")

    def kill(self):
        if self.dice.random() < 0.7:
            self.node.kill_control()
            self.node.start_control()
        else:
            self.node.kill_dataplane()
            self.node.start_dataplane()

    def collect(self, network):
        valid = [{"containerID": slot.container, "ifname": "eth0"} for slot in self.present(network)]
        outcome = self.node.cni("GC", {**network, "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid})
        assert outcome.status == 0, outcome


def leases(node):
    """(segment, address) of every row: what the store says is held."""
    with sqlite3.connect(f"file:{node.store}?mode=ro", uri=True) as store:
        return sorted(store.execute("SELECT segment, address FROM lease").fetchall())


def expect_exactly(storm, node):
    """Each present pod has what is its own, and there is nothing besides."""
    present = storm.present()
    attachments = node.api("GET", "/v1/attachments").body["attachments"]
    assert sorted(each["container"] for each in attachments) == sorted(slot.container for slot in present)
    assert sorted(pods.ports(node)) == sorted(each["port"] for each in attachments)
    for slot in storm.all():
        links = slot.space.output("ip", "-br", "link")
        expected = slot in present and slot.network.get("interface") != "vhost-user"
        assert ("eth0" in links) == expected, f"{slot.container}: {links}"
        assert len(links.splitlines()) == 1 + expected, links
    sockets = {each["port"] for each in attachments if "socket_path" in each}
    parent = node.run_dir / "vhost"
    assert {entry.name for entry in parent.iterdir()} == sockets if parent.exists() else not sockets
    assert [line for line in node.namespace.output("ip", "-br", "link").splitlines() if not line.startswith("lo")] == []


def test_kills_in_the_middle_of_adds_and_dels(node, make_netns):
    seed = int(time.time())
    print(f"seed {seed}")
    networks = [pods.network(node, "10.97.0.0/24", "taps", cni_version="1.1.0", bridge="br0"),
                pods.network(node, "10.98.0.0/24", "sockets", cni_version="1.1.0", bridge="br1", interface="vhost-user")]
    storm = Storm(node, make_netns, networks, seed)
    storm.run()
    assert storm.succeeded > OPERATIONS / 4
    addresses = [slot.address for slot in storm.present()]
    assert len(set(addresses)) == len(addresses)
    for network in networks:
        storm.collect(network)
    expect_exactly(storm, node)
    assert sorted(address for _, address in leases(node)) == sorted(a.partition("/")[0] for a in addresses)
    for first, second in zip(storm.present(networks[0]), storm.present(networks[0])[1:]):
        first.space.ping(second.address.partition("/")[0], count=1)
    for slot in storm.all():
        assert slot.call("DEL").status == 0
        slot.address = None
    expect_exactly(storm, node)
    assert leases(node) == []
    assert node.dataplane_api("GET", "/v1/config").body["bridges"] == []


def test_a_delegate_is_owed_nothing(node, make_netns, reference_plugins, directory):
    """host-local's leases, which only its DELs take away; Debian's speaks no version that has GC."""
    seed = int(time.time())
    print(f"seed {seed}")
    place = directory / "leases"
    network = node.network("delegated", bridge="br0", ipam={
        "type": "host-local", "dataDir": str(place), "ranges": [[{"subnet": "10.99.0.0/24"}]]})

    def leases_of_host_local():
        return [entry for entry in (place / "delegated").iterdir() if entry.name[0].isdigit()]

    storm = Storm(node, make_netns, [network], seed)
    storm.run()
    addresses = [slot.address for slot in storm.present()]
    assert len(set(addresses)) == len(addresses)
    for slot in storm.all():
        if slot.address is None:
            assert slot.call("DEL").status == 0
    expect_exactly(storm, node)
    held = {entry.name: entry.read_text() for entry in leases_of_host_local()}
    assert held.keys() == {address.partition("/")[0] for address in addresses}, held
    for slot in storm.present():
        assert slot.call("DEL").status == 0
        slot.address = None
    expect_exactly(storm, node)
    assert leases_of_host_local() == []
