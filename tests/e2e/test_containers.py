"""Container runtimes that know nothing of Viaduct, on a conflist of ours: the containers ping and fetch a page from
each other through the dataplane, with ordinary kernel interfaces."""
from viaduct import image, pods, scenarios, schemas

OUTSIDE, SERVER = "198.51.100.1", "198.51.100.2"  # the node's address there, and a host that knows no other network


def pods_conflist(node, subnet):
    return node.conflist(bridge="br0", ipam={"type": "viaduct", "ranges": [[{"subnet": subnet}]]},
                         capabilities={"ips": True, "mac": True})


def expect_nothing_left(node):
    assert node.api("GET", "/v1/attachments").body["attachments"] == []
    assert node.dataplane_api("GET", "/v1/ports").body["ports"] == []


def test_podman(node, make_podman):
    scenarios.scenario_two_containers(make_podman((node.plugins,)), pods_conflist(node, "10.81.0.0/24"),
                                      ips=("10.81.0.10", "10.81.0.11"), macs=("02:00:00:00:81:10", "02:00:00:00:81:11"))
    expect_nothing_left(node)


def test_ctr(node, make_containerd):
    scenarios.scenario_ctr(make_containerd([pods_conflist(node, "10.82.0.0/24")], plugin_dirs=(node.plugins,)))


def test_cri(node, make_cri):
    scenarios.scenario_cri(make_cri([pods_conflist(node, "10.83.0.0/24")], plugin_dirs=(node.plugins,)))
    expect_nothing_left(node)


def test_cnitool(node, make_cnitool):
    results = scenarios.scenario_cnitool(make_cnitool((node.plugins,)), pods_conflist(node, "10.84.0.0/24"))
    for result in results:
        schemas.check_result(result, "1.0.0", ifname="eth0", netns_path=result["interfaces"][-1]["sandbox"])
    expect_nothing_left(node)


def routed_conflist(node):
    """The keys of the bridge plugin that make a network routed, translated and published."""
    return node.conflist(bridge="br0", isDefaultGateway=True, ipMasq=True,
                         ipam={"type": "viaduct", "ranges": [[{"subnet": "10.85.0.0/24"}], [{"subnet": "fd85::/64"}]]},
                         capabilities={"ips": True, "mac": True, "portMappings": True})


def test_podman_publishes_a_port_and_masquerades(node, make_podman, make_outside, directory):
    """A container's port is reached at the node's address, from outside and from another container, and a container
    reaches the outside from the node's address. All of it goes with the containers."""
    world = make_outside(node).address(f"{SERVER}/24")
    pods.change(node, {"bridges": [{"name": "up"}], "ports": [world.port("up")],
                       "interfaces": [{"name": "out", "bridge": "up", "addresses": [f"{OUTSIDE}/24"]}]})
    before = node.dataplane_api("GET", "/v1/config").body
    podman = make_podman((node.plugins,))
    network = podman.add_network(routed_conflist(node))
    (directory / "index.html").write_text("page of the world")
    with world.space.start("busybox", "httpd", "-f", "-vv", "-p", f"{SERVER}:81", "-h", directory,
                           log=directory / "world.log"):
        podman.run("web", network, *image.serve_page_command("page of web"), publish=("8080:80", "9000-9001:80-81"))
        podman.run("box", network)
        for port in (8080, 9000):
            url = f"http://{OUTSIDE}:{port}/index.html"
            scenarios.retry_fetch(lambda: world.space.output("curl", "-si", "--max-time", "5", url), "page of web", url)
        from_box = podman.exec("box", *image.fetch_page_command(OUTSIDE, 8080)).stdout
        scenarios.expect_page(from_box, "page of web")
        podman.exec("box", "ping", "-c", "2", "-W", "5", SERVER)
        from_world = podman.exec("box", *image.fetch_page_command(SERVER, 81)).stdout
        scenarios.expect_page(from_world, "page of the world")
        assert f"{OUTSIDE}:" in (directory / "world.log").read_text()  # who asked, as the world saw it
    for name in ("web", "box"):
        podman.remove(name)
    podman.remove_network(network)
    assert node.api("GET", "/v1/attachments").body["attachments"] == []
    assert node.dataplane_api("GET", "/v1/config").body == before
