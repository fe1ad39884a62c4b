"""Container runtimes that know nothing of Viaduct, on a conflist of ours: the containers ping and fetch a page from
each other through the dataplane, with ordinary kernel interfaces."""
from viaduct import scenarios, schemas


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
