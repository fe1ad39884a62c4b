"""Uplinks that are not promiscuous, on a veth: what the kernel's interface is told, and what comes in."""
import json
import socket

from viaduct import hosts, pods, process

ROUTER, WORLD, STRANGER = "198.51.100.1", "198.51.100.2", "02:00:00:00:00:99"


def link(node, name):
    return json.loads(node.namespace.output("ip", "-d", "-j", "link", "show", name))[0]


def ok(node, *words):
    return node.cli(*words, json=False)


def refused(node, *words):
    done = node.cli(*words, json=False, check=False)
    assert done.returncode != 0 and len(done.stderr.strip().splitlines()) == 1, done
    return done.stderr


def state(node, name="wan"):
    port = pods.port(node, name)
    return port["counters"]["rx_packets"], port["counters"]["refused"]


def send(world, mac, count=50):
    """Frames of a protocol that nobody speaks."""
    own = bytes.fromhex(link_address(world).replace(":", ""))
    with hosts.inside(world.space):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        wire.bind(("eth0", 0))
    with wire:
        for _ in range(count):
            wire.send(bytes.fromhex(mac.replace(":", "")) + own + b"\x88\xb5" + bytes(60))


def link_address(world):
    return json.loads(world.space.output("ip", "-j", "link", "show", "eth0"))[0]["address"]


def test_strangers_frames_stay_outside_and_the_routers_come_in(node, make_outside):
    world = make_outside(node).address(f"{WORLD}/24")
    own = link(node, world.near)["address"]
    ok(node, "bridge", "add", "up")
    ok(node, "uplink", "add", world.near, "name", "wan", "bridge", "up")
    assert link(node, world.near)["promiscuity"] == 1
    ok(node, "interface", "add", "out", "bridge", "up", "mac", own, "address", f"{ROUTER}/24")
    world.space.ping(ROUTER)

    ok(node, "port", "set", "wan", "promiscuous", "off")
    assert link(node, world.near)["promiscuity"] == 0
    world.space.ping(ROUTER)
    assert "promiscuous off" in ok(node, "uplink", "show", "wan")
    assert "not promiscuous" in ok(node, "link", "show", "wan") and own in ok(node, "link", "show", "wan")
    shown = node.cli("uplink", "show", "wan")["uplinks"][0]
    assert (shown["promiscuous"], shown["filter"]) == (False, [own])
    _, before = state(node)
    send(world, STRANGER)
    process.wait_until(lambda: state(node)[1] >= before + 50, 10, "the strangers' frames to be kept back")
    received, _ = state(node)
    send(world, own)
    send(world, "01:00:5e:00:00:77")
    process.wait_until(lambda: state(node)[0] >= received + 100, 10, "the router's frames and groups to come in")

    # The interface gets another address, and a second one comes: the port stays as it is.
    index = pods.port(node, "wan")["index"]
    ok(node, "interface", "set", "out", "mac", "02:00:00:00:00:77")
    ok(node, "interface", "add", "more", "bridge", "up", "mac", "02:00:00:00:00:78", "address", "203.0.113.1/24")
    world.space.run("ip", "neigh", "flush", "dev", "eth0")
    world.space.ping(ROUTER)
    assert pods.port(node, "wan")["filter"] == ["02:00:00:00:00:77", "02:00:00:00:00:78"]
    assert pods.port(node, "wan")["index"] == index and state(node)[0] > received
    assert "02:00:00:00:00:78" in node.namespace.output("bridge", "fdb", "show", "dev", world.near)
    ok(node, "interface", "del", "more")
    assert "02:00:00:00:00:78" not in node.namespace.output("bridge", "fdb", "show", "dev", world.near)

    # A killed dataplane leaves nothing; the next one is told the same.
    node.kill_dataplane()
    assert "02:00:00:00:00:77" not in node.namespace.output("bridge", "fdb", "show", "dev", world.near)
    node.start_dataplane()
    node.wait_in_sync()
    assert pods.port(node, "wan")["filter"] == ["02:00:00:00:00:77"]
    world.space.ping(ROUTER)
    ok(node, "port", "set", "wan", "promiscuous", "on")
    assert node.cli("uplink", "show", "wan")["uplinks"][0]["promiscuous"] is True
    world.space.ping(ROUTER)
    ok(node, "uplink", "del", "wan")
    assert link(node, world.near)["promiscuity"] == 0


def test_what_cannot_be_is_refused(node, make_netns, make_outside):
    world, pod = make_outside(node), make_netns("pod")
    for bridge in ("up", "pods"):
        ok(node, "bridge", "add", bridge)
    tap = {"name": "pod", "kind": "tap", "ifname": "eth0", "netns": pod.path, "bridge": "pods"}
    pods.change(node, {"ports": [tap]})
    assert 'nothing would come in for port "pod"' in \
        refused(node, "uplink", "add", world.near, "bridge", "pods", "promiscuous", "off")
    ok(node, "uplink", "add", world.near, "name", "wan", "bridge", "up", "promiscuous", "off")
    assert 'nothing would come in for port "pod"' in refused(node, "port", "set", "pod", "bridge", "up")
    assert node.cli("uplink", "add", world.near, "promiscuous", "maybe", json=False, check=False).returncode == 2

    # A device with room for one address takes the router's, and has none for two; nothing is half applied.
    ok(node, "bridge", "add", "narrow")
    ok(node, "uplink", "add", "net_tap7", "name", "one", "bridge", "narrow", "promiscuous", "off")
    ok(node, "interface", "add", "first", "bridge", "narrow", "mac", "02:00:00:00:00:71", "address", "10.9.0.1/24")
    text = refused(node, "interface", "add", "second", "bridge", "narrow", "mac", "02:00:00:00:00:72")
    assert "port one" in text.replace("ports/one", "port one") and "beside its own 02:00:00:00:00:71" in text, text
    assert [each["name"] for each in node.cli("interface", "show")] == ["first"]
    assert pods.port(node, "one")["filter"] == ["02:00:00:00:00:71"]
