"""`viaduct net`: networks made by a person, and containers that were started with no network plugged into them. The
clients are namespaces, processes and podman's containers; the world outside is behind an uplink."""
import json
import os
import socket
import subprocess

import pytest

from viaduct import daemons, hosts, image, pods, process, scenarios

CLI = daemons.program("cli")

OUTSIDE, SERVER = "198.51.100.1", "198.51.100.2"  # the node's address there, and a host that knows no other network
OUTSIDE6, SERVER6 = "fd98::1", "fd98::2"


def uplink(node, make_outside):
    """A world outside in which nobody knows the node's networks."""
    world = make_outside(node).address(f"{SERVER}/24", f"{SERVER6}/64")
    pods.change(node, {"bridges": [{"name": "up"}], "ports": [world.port("up")],
                       "interfaces": [{"name": "out", "bridge": "up",
                                       "addresses": [f"{OUTSIDE}/24", f"{OUTSIDE6}/64"]}]})
    return world.space


def refused(node, *words):
    done = node.cli("net", *words, json=False, check=False)
    assert done.returncode == 1, done
    return done.stderr


def attach(node, target, network, *words):
    return node.cli("net", "attach", target, network, *words)


def address(attached, family=4):
    texts = [each["address"].partition("/")[0] for each in attached["addresses"]]
    return next(text for text in texts if (":" in text) == (family == 6))


def endpoints(node, network):
    return node.cli("net", "inspect", network)["endpoints"]


def serve(space, directory, port, body, address="0.0.0.0"):
    (directory / body).mkdir()
    (directory / body / "index.html").write_text(body)
    return space.start("busybox", "httpd", "-f", "-vv", "-p", f"{address}:{port}", "-h", directory / body,
                       log=directory / f"{body}.log")


def fetch(space, url):
    host = f"page of {url}"
    return process.wait_until(
        lambda: space.run("curl", "-s", "--max-time", "3", url, check=False).stdout or None, 20, host)


@pytest.mark.parametrize("driver", ["bridge", "routed"])
def test_network_routes_masquerades_and_publishes(node, make_netns, make_outside, directory, driver):
    """Both families: containers reach each other, the world sees the node's address, and reaches what is published at
    the node; all of it goes with the container and the network."""
    world = uplink(node, make_outside)
    before = node.dataplane_api("GET", "/v1/config").body
    made = node.cli("net", "create", "shop", "--driver", driver, "--subnet", "10.71.0.0/24", "--subnet", "fd71::/64")
    assert [each["gateway"] for each in made["subnets"]] == ["10.71.0.1", "fd71::1"]
    web, box = make_netns("web"), make_netns("box")
    served = attach(node, web.name, "shop", "--publish", "8080:80", "--publish", "9000-9001:80-81",
                    "--publish", f"[{OUTSIDE6}]:8081:80", "--publish", "5300:53/udp", "--name", "web")
    attach(node, box.path, "shop", "--ip", "10.71.0.77", "--mac", "02:00:00:00:00:77")
    assert served["ifname"] == "eth0" and len(served["addresses"]) == 2
    length = {"bridge": ("/24", "/64"), "routed": ("/32", "/128")}[driver]
    assert tuple("/" + each["address"].split("/")[1] for each in served["addresses"]) == length
    box.ping(address(served))
    box.ping(address(served, 6))
    with serve(web, directory, 80, "web", "[::]"), serve(world, directory, 81, "world", "[::]"):
        for url in (f"http://{OUTSIDE}:8080", f"http://{OUTSIDE}:9000", f"http://[{OUTSIDE6}]:8081",
                    f"http://[{OUTSIDE6}]:8080"):
            assert fetch(world, url) == "web"
        assert fetch(box, f"http://{OUTSIDE}:8080") == "web"  # hairpin
        assert fetch(box, f"http://{SERVER}:81") == "world"
        assert fetch(box, f"http://[{SERVER6}]:81") == "world"
        seen = (directory / "world.log").read_text()
        assert f"{OUTSIDE}" in seen and f"{OUTSIDE6}" in seen and "10.71.0.77" not in seen, seen
    listed = {each["container"]: each for each in endpoints(node, "shop")}
    assert listed[box.name]["mac"] == "02:00:00:00:00:77"
    assert "web" in refused(node, "rm", "shop") and box.name in refused(node, "rm", "shop")
    node.cli("net", "detach", "web", "shop")
    assert "eth0" not in web.output("ip", "-br", "link")
    node.cli("net", "detach", box.name, "shop")
    node.cli("net", "rm", "shop")
    assert node.dataplane_api("GET", "/v1/config").body == before


def test_podman_container_without_a_network(node, make_podman, make_outside):
    """`podman run --network none`, then `viaduct net attach` by its name: a page from outside through a published
    port, two networks at once, and everything gone when the container is."""
    world = uplink(node, make_outside)
    podman = make_podman()
    node.cli("net", "create", "front")
    node.cli("net", "create", "back", "--internal")

    def net(*words):
        environment = [f"CONTAINERS_CONF={podman.directory}/containers.conf", f"HOME={podman.directory}"]
        return json.loads(podman.isolation.output("env", *environment, f"PATH={wrapper}:/usr/sbin:/usr/bin:/sbin:/bin",
                                                  CLI, "--socket", node.control_socket, "-j", "net", *words))

    # podman's state lies where the test put it.
    wrapper = podman.directory / "bin"
    wrapper.mkdir()
    (wrapper / "podman").write_text(
        f"#!/bin/sh\nexec /usr/bin/podman --root={podman.directory}/storage --runroot=/run/podman-root "
        f"--tmpdir={podman.directory}/tmp --storage-driver=vfs \"$@\"\n")
    (wrapper / "podman").chmod(0o755)
    podman.run("web", "none", *image.serve_page_command("page of web"))
    podman.run("db", "none", *image.serve_page_command("page of db"))
    served = net("attach", "web", "front", "--publish", "8080:80")
    behind = net("attach", "web", "back")
    database = net("attach", "db", "back")
    assert (served["ifname"], behind["ifname"], database["ifname"]) == ("eth0", "eth1", "eth0")
    assert fetch(world, f"http://{OUTSIDE}:8080/index.html").strip() == "page of web"
    scenarios.expect_page(podman.exec("web", *image.fetch_page_command(address(database))).stdout, "page of db")
    # Nothing leads out of an internal network.
    assert podman.exec("db", "ping", "-c", "1", "-W", "1", SERVER, check=False).returncode != 0
    assert "web" in refused(node, "rm", "front")
    podman.remove("web")
    podman.remove("db")
    for name in ("front", "back"):
        process.wait_until(lambda: endpoints(node, name) == [], 20, f"nobody on {name}")
        node.cli("net", "rm", name)
    assert [each["name"] for each in node.dataplane_api("GET", "/v1/ports").body["ports"]] == ["uplink"]


def test_containerd_task_without_a_network(node, make_containerd, make_netns):
    """`ctr run` without --cni, found by its name among all of containerd's namespaces."""
    containerd = make_containerd([])
    containerd.ctr("run", "-d", "--rootfs", containerd.root, "plain", "/bin/sleep", "1000")
    node.cli("net", "create", "lab", "--subnet", "10.78.0.0/24")
    made = json.loads(containerd.isolation.output(
        "env", f"CONTAINERD_ADDRESS={containerd.socket}", CLI, "--socket", node.control_socket, "-j", "net", "attach", "plain",
        "lab"))
    assert made["container"] == "plain"
    box = make_netns("box")
    attach(node, box.name, "lab")
    box.ping(address(made))
    containerd.ctr("task", "kill", "-s", "KILL", "plain")
    process.wait_until(lambda: len(endpoints(node, "lab")) == 1, 10, "the killed task to be found gone")


def udp_echo(server, client, port, at, at_port):
    """One datagram to `at` and back, from a socket in `client` to one in `server`."""
    with hosts.inside(server):
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with hosts.inside(client):
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener, asker:
        listener.bind(("0.0.0.0", port))
        listener.settimeout(10)
        asker.settimeout(10)
        asker.sendto(b"question", (at, at_port))
        text, peer = listener.recvfrom(100)
        listener.sendto(text + b" answered", peer)
        return asker.recvfrom(100)


def test_datagrams_and_ranges_are_published(node, make_netns, make_outside):
    """UDP, each port of a range to its own, at one address of the node alone; other addresses have nothing there."""
    world = uplink(node, make_outside)
    node.cli("net", "create", "lab", "--subnet", "10.79.0.0/24")
    server = make_netns("server")
    attach(node, server.name, "lab", "--publish", f"{OUTSIDE}:5000-5009:6000-6009/udp")
    for offset in (0, 4, 9):
        answer = udp_echo(server, world, 6000 + offset, OUTSIDE, 5000 + offset)
        assert answer == (b"question answered", (OUTSIDE, 5000 + offset))
    assert len(node.dataplane_api("GET", "/v1/config").body["port_forwards"]) == 1
    other = make_netns("other")
    attach(node, other.name, "lab", "--publish", "10.79.0.1:5000:53/udp")
    assert udp_echo(other, server, 53, "10.79.0.1", 5000)[0] == b"question answered"


def test_networks_are_apart(node, make_netns, directory):
    """Of two networks neither reaches the other's containers but at a published port; one without isolation does."""
    spaces = {}
    for number, words in enumerate(((), (), ("--no-isolation",))):
        name = f"net{number}"
        node.cli("net", "create", name, *words)
        space = make_netns(name)
        publish = ("--publish", "8080:80") if number == 0 else ()
        spaces[name] = (space, address(attach(node, space.name, name, *publish)))

    def reaches(one, other):
        return spaces[one][0].run("ping", "-n", "-c1", "-W1", spaces[other][1], check=False).returncode == 0

    assert not reaches("net0", "net1") and not reaches("net1", "net0")
    assert reaches("net0", "net2") and reaches("net2", "net1")
    with serve(spaces["net0"][0], directory, 80, "web"):
        gateway = node.cli("net", "inspect", "net1")["subnets"][0]["gateway"]
        assert fetch(spaces["net1"][0], f"http://{gateway}:8080") == "web"


def test_chosen_subnets_avoid_what_the_node_reaches(node):
    """Routes of the node's kernel, of its router, and other networks."""
    node.namespace.run("ip", "link", "add", "lan", "type", "veth", "peer", "name", "nal")
    node.namespace.run("ip", "addr", "add", "10.210.0.77/23", "dev", "lan")
    node.namespace.run("ip", "link", "set", "lan", "up")
    pods.change(node, {"routes": [{"prefix": "10.210.2.0/24", "kind": "blackhole"}]})
    chosen = [node.cli("net", "create", f"n{number}")["subnets"][0]["subnet"] for number in range(2)]
    assert chosen == ["10.210.3.0/24", "10.210.4.0/24"]
    pods.change(node, {"routes": [{"prefix": "10.210.128.0/17", "kind": "blackhole"},
                                  {"prefix": "10.210.0.0/17", "kind": "blackhole"}]})
    assert "no free subnet" in refused(node, "create", "more")


def test_process_is_found_gone(node):
    """A process that unshared its network, by its number; when it ends, its interface, address and published port
    are free without anybody saying so."""
    node.cli("net", "create", "lab", "--subnet", "10.72.0.0/29")
    for _ in range(2):
        with process.Process(["unshare", "-n", "sleep", "1000"], node.directory / "sleep.log") as sleeper:
            process.wait_until(lambda: os.readlink(f"/proc/{sleeper.pid}/ns/net") != os.readlink("/proc/self/ns/net"),
                               10, "a namespace of its own")
            attach(node, str(sleeper.pid), "lab", "--ip", "10.72.0.3", "--publish", "7000:7000/sctp")
            assert endpoints(node, "lab")[0]["container"] == f"pid-{sleeper.pid}"
        process.wait_until(lambda: endpoints(node, "lab") == [], 10, "the dead process to be found gone")
    assert node.dataplane_api("GET", "/v1/ports").body["ports"] == []
    assert node.cli("net", "prune") == []
    node.cli("net", "rm", "lab")


def test_named_namespace_lives_without_processes(node, make_netns):
    """A namespace is not gone because nobody runs in it, and is when its name is deleted."""
    space = make_netns("quiet")
    node.cli("net", "create", "lab")
    attach(node, space.name, "lab")
    node.cli("net", "prune")
    assert len(endpoints(node, "lab")) == 1
    space.delete()
    process.wait_until(lambda: endpoints(node, "lab") == [], 10, "the deleted namespace to be found gone")


def test_wire_has_two_ends(node, make_netns):
    a, b, c = (make_netns(label) for label in "abc")
    node.cli("net", "create", "chain", "--driver", "wire", "--subnet", "10.73.0.0/24")
    attach(node, a.name, "chain")
    second = attach(node, b.name, "chain")
    a.ping(address(second))
    reason = refused(node, "attach", c.name, "chain")
    assert a.name in reason and b.name in reason and "wire" in reason
    assert "no port can be published" in refused(node, "attach", c.name, "chain", "--publish", "80:80")


def test_networks_outlive_their_keepers(node, make_netns):
    """kill -9 of control, then of the dataplane: networks, attachments and their interfaces are as they were."""
    web, box = make_netns("web"), make_netns("box")
    node.cli("net", "create", "shop", "--mtu", "1400")
    served = attach(node, web.name, "shop", "--publish", "8080:80")
    attach(node, box.name, "shop")
    before = node.cli("net")
    node.kill_control()
    node.start_control()
    assert node.cli("net") == before
    node.wait_in_sync()
    box.ping(address(served), count=1)
    node.kill_dataplane()
    node.start_dataplane()
    node.wait_in_sync()
    box.ping(address(served), count=1)
    assert node.cli("net") == before
    # What ended while nobody looked.
    node.kill_control()
    box.delete()
    node.start_control()
    process.wait_until(lambda: len(endpoints(node, "shop")) == 1, 10, "the deleted namespace to be found gone")


def test_a_published_port_has_one_holder(node, make_netns):
    """The holder is named, whether it is a container of `net attach`, one of CNI or a configured forward; what was
    refused leaves nothing behind."""
    spaces = [make_netns(f"s{number}") for number in range(3)]
    node.cli("net", "create", "shop", "--subnet", "10.74.0.0/24")
    attach(node, spaces[0].name, "shop", "--publish", "8080-8089:80-89", "--name", "first")
    reason = refused(node, "attach", spaces[1].name, "shop", "--publish", "8085:80")
    assert "8085" in reason and "first" in reason and spaces[0].name in reason, reason
    assert "eth0" not in spaces[1].output("ip", "-br", "link")
    attach(node, spaces[1].name, "shop", "--publish", "8085:80/udp")
    network = node.network("cni-net", bridge="br-cni", isDefaultGateway=True, ipMasq=True,
                           ipam={"type": "viaduct", "ranges": [[{"subnet": "10.75.0.0/24"}]]},
                           runtimeConfig={"portMappings": [{"hostPort": 8081, "containerPort": 80}]})
    outcome = node.cni("ADD", network, "pod", spaces[2].path)
    assert outcome.status != 0 and "first" in json.dumps(outcome.output), outcome
    network["runtimeConfig"]["portMappings"][0]["hostPort"] = 8100
    assert node.cni("ADD", network, "pod", spaces[2].path).status == 0
    node.cli("net", "detach", spaces[1].name, "shop")
    assert "cni-net/pod/eth0" in refused(node, "attach", spaces[1].name, "shop", "--publish", "8100:80")
    node.cli("nat", "forward", "add", "mine", "tcp", "10.74.0.1:99", "to", "10.9.9.9:99")
    assert '"mine"' in refused(node, "attach", spaces[1].name, "shop", "--publish", "90-100:90-100")
    assert "the same pod" in refused(node, "attach", spaces[1].name, "shop", "--publish", "1:1", "--publish", "1:2")


def test_networks_that_cannot_be(node, make_netns):
    """Each refusal is a sentence with both names, and nothing is made."""
    space = make_netns("pod")
    pods.change(node, {"bridges": [{"name": "lan"}],
                       "interfaces": [{"name": "gw0", "bridge": "lan", "addresses": ["10.1.0.1/24"]}],
                       "routes": [{"prefix": "10.2.0.0/16", "kind": "blackhole"}]})
    node.cli("net", "create", "old", "--subnet", "10.3.0.0/24")
    plain = node.network("cni-net", bridge="br-cni", ipam={"type": "viaduct", "ranges": [[{"subnet": "10.4.0.0/24"}]]})
    assert node.cni("ADD", plain, "pod", space.path).status == 0
    for subnet, holder in (("10.1.0.0/16", "gw0"), ("10.2.3.0/24", "route 10.2.0.0/16"), ("10.3.0.128/25", "old"),
                           ("10.4.0.0/16", "cni-net")):
        reason = refused(node, "create", "new", "--subnet", subnet)
        assert "network new" in reason and subnet in reason and holder in reason, reason
    for words, part in (
            (("lan",), "bridge lan is there already"), (("old",), "exists already"),
            (("none",), "meaning of its own"), (("new", "--driver", "none"), "--network none"),
            (("new", "--driver", "host"), "--network host"), (("new", "--driver", "macvlan"), "bridge, routed and wire"),
            (("new", "--subnet", "10.5.0.1/24"), "host bits"), (("new", "--subnet", "10.5.0.0/32"), "one address"),
            (("new", "--subnet", "10.5.0.0/24", "--gateway", "10.5.0.255"), "gateway"),
            (("new", "--subnet", "10.5.0.0/24", "--gateway", "10.6.0.1"), "gateway"),
            (("new", "--subnet", "10.5.0.0/24", "--range", "10.5.0.0/16"), "no part of it"),
            (("new", "--subnet", "10.5.0.0/24", "--subnet", "10.5.0.0/25"), "overlap"),
            (("new", "--subnet", "224.0.0.0/8"), "no pods can have"), (("new", "--subnet", "0.0.0.0/0"), "no pods can have"),
            (("new", "--subnet", "fd05::/64", "--mtu", "1000"), "1280"),
            (("new", "--driver", "routed", "--internal"), "cannot be internal"),
            (("new", "--internal", "--subnet", "10.5.0.0/24", "--gateway", "10.5.0.1"), "internal"),
            (("a b",), "letter"), (("--x",), "letter"), (("-x",), "unknown"), (("x" * 64,), "1 to 63"), (("../x",), "letter")):
        done = node.cli("net", "create", *words, json=False, check=False)
        assert done.returncode != 0 and part in done.stderr, (words, done.stderr)
    assert [each["name"] for each in node.cli("net")] == ["old"]
    # And the other way round: what comes later may not lie over a network.
    done = node.cli("interface", "add", "gw1", "bridge", "lan", "address", "10.3.0.9/28", json=False, check=False)
    assert done.returncode == 1 and "old" in done.stderr, done
    done = node.cli("bridge", "add", "old", json=False, check=False)
    assert done.returncode == 1 and "network" in done.stderr, done


def test_attachments_that_cannot_be(node, make_netns):
    space = make_netns("pod")
    node.cli("net", "create", "shop", "--subnet", "10.76.0.0/29")
    node.cli("net", "create", "tiny", "--subnet", "10.77.0.0/30", "--range", "10.77.0.0/31")
    good = attach(node, space.name, "shop")
    assert address(good) == "10.76.0.2"
    other = make_netns("other")
    node_pid = node.control.pid
    plain_file = node.directory / "file"
    plain_file.write_text("")
    fifo = node.directory / "fifo"
    os.mkfifo(fifo)
    for words, part in (
            ((space.name, "shop"), "already"), ((other.name, "nowhere"), "does not exist"),
            ((other.name, "tiny"), "no address"), ((other.name, "shop", "--ip", "10.76.0.2"), space.name),
            ((other.name, "shop", "--ip", "10.76.0.1"), "gateway"), ((other.name, "shop", "--ip", "10.0.0.1"), "no range"),
            ((other.name, "shop", "--ip", "x"), "not an IP"), ((other.name, "shop", "--mac", "01:00:00:00:00:01"), "MAC"),
            ((other.name, "shop", "--ifname", "a/b"), "ifname"), ((other.name, "shop", "--ifname", "lo"), "lo"),
            (("nobody", "shop"), "neither"), (("99999999", "shop"), "99999999"), ((str(node_pid), "shop"), "node's own"),
            ((str(plain_file), "shop"), "not a network namespace"), ((str(fifo), "shop"), "not a network namespace"),
            (("--x/../x", "shop"), "no absolute path"), (("a;reboot", "shop"), "no name")):
        done = node.cli("net", "attach", *words, json=False, check=False)
        assert done.returncode != 0 and part in done.stderr, (words, done.stderr)
    for text in ("80", "0:80", "80:0", "70000:80", "1-3:1-2", "9-8:1-2", "x:80", "1.2.3:80:80", "[fd00::1:80:80", "80:80/icmp",
                 "65535-65536:1-2", "", "::", "80:80:80:80", "1-2-3:1-3"):
        done = node.cli("net", "attach", other.name, "shop", "--publish", text, json=False, check=False)
        assert done.returncode == 2 and "publish" in done.stderr, (text, done)
    for body in ({"container": "x", "port_mappings": [{"host_port": 65535, "container_port": 1, "count": 2}]},
                 {"container": "../x"}, {"container": "x", "netns": "/run/netns/x"}, {"container": "x", "secret": 1}, []):
        assert node.api("POST", "/v1/networks/shop/attach", body).status == 400, body
    assert node.api("POST", "/v1/networks", {"name": "x", "subnets": [7]}).status == 400
    assert len(endpoints(node, "shop")) == 1
    assert "eth0" not in other.output("ip", "-br", "link")


def test_namespace_that_vanishes_while_it_is_attached(node, make_netns):
    """Namespaces that go at any moment of their attaching leave nothing."""
    node.cli("net", "create", "shop")
    commands = []
    for number in range(8):
        space = make_netns(f"v{number}")
        commands.append(subprocess.Popen(
            [str(CLI), "--socket", str(node.control_socket), "net", "attach", space.name, "shop"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        space.delete()
    for command in commands:
        command.wait(30)
    process.wait_until(lambda: endpoints(node, "shop") == [], 10, "the vanished to be found gone")
    node.cli("net", "rm", "shop")
    assert node.dataplane_api("GET", "/v1/ports").body["ports"] == []
