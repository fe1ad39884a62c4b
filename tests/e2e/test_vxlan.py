"""VXLAN with Linux's own device as the other end, over an uplink of a veth."""
import pytest

from viaduct import outside, pods

LINUX, OURS = "10.81.0.2", "10.81.0.1"
VNI = 7
UNDERLAYS = {
    "IPv4": {"local": "192.0.2.1", "remote": "192.0.2.2", "length": 24, "mtu": 1450},
    "IPv6": {"local": "2001:db8:81::1", "remote": "2001:db8:81::2", "length": 64, "mtu": 1430},
}


@pytest.fixture(params=UNDERLAYS)
def tunnel(request, node, make_netns):
    """(node, the pod's namespace, the world outside, the underlay): a pod on a bridge with one end, Linux's
    device with the other."""
    underlay = UNDERLAYS[request.param]
    pod, world = make_netns("pod"), outside.Outside(node, make_netns("outside"))
    world.address(f"{underlay['remote']}/{underlay['length']}")
    world.space.run("ip", "link", "add", "vx0", "type", "vxlan", "id", VNI, "local", underlay["remote"],
                    "remote", underlay["local"], "dstport", 4789, "dev", "eth0")
    world.space.run("ip", "link", "set", "vx0", "mtu", underlay["mtu"], "up")
    world.address(f"{LINUX}/24", "fd81::2/64", device="vx0")
    pods.change(node, {
        "bridges": [{"name": "pods"}, {"name": "under"}],
        "interfaces": [{"name": "u0", "bridge": "under",
                        "addresses": [f"{underlay['local']}/{underlay['length']}"]}],
        "ports": [
            {"name": "pod", "kind": "tap", "ifname": "eth0", "netns": pod.path, "bridge": "pods",
             "mtu": underlay["mtu"]},
            {"name": "vx", "kind": "vxlan", "bridge": "pods", "vni": VNI, "local": underlay["local"],
             "remotes": [underlay["remote"]], "mtu": underlay["mtu"]},
            world.port("under")]})
    pod.run("ip", "addr", "add", f"{OURS}/24", "dev", "eth0")
    pod.run("ip", "addr", "add", "fd81::1/64", "dev", "eth0", "nodad")
    pod.run("ip", "link", "set", "eth0", "up")
    return node, pod, world, underlay


def test_both_ways_with_linux(tunnel, directory):
    node, pod, world, underlay = tunnel
    pod.ping(LINUX)
    pod.ping("fd81::2")
    world.space.ping(OURS)
    # The longest that the way carries, unfragmented.
    longest = underlay["mtu"] - 28
    pod.run("ping", "-n", "-c3", "-i0.05", "-W5", "-Mdo", "-s", longest, LINUX)
    for reverse in (False, True):
        rate = outside.bits_a_second(pod, world.space, LINUX, directory / f"iperf{reverse}.log",
                                     reverse=reverse)
        assert rate > 10e6, rate
    counters = pods.port(node, "vx")["counters"]
    assert counters["rx_packets"] > 100 and counters["tx_packets"] > 100
    assert not any(pods.drops(node, "vx", "tx").values()), pods.drops(node, "vx", "tx")


def test_strangers_are_not_let_in(tunnel):
    """From an address that is no peer, and with a VNI that nobody has."""
    node, pod, world, underlay = tunnel
    pod.ping(LINUX)
    world.space.run("ip", "link", "delete", "vx0")  # Linux has one device of a VNI
    other = underlay["remote"][:-1] + "9"
    world.address(f"{other}/{underlay['length']}")
    for number, (vni, source) in enumerate([(VNI, other), (VNI + 1, underlay["remote"])], 1):
        device = f"vx{number}"
        world.space.run("ip", "link", "add", device, "type", "vxlan", "id", vni, "local", source, "remote",
                        underlay["local"], "dstport", 4789)
        world.space.run("ip", "link", "set", device, "up")
        world.address(f"10.82.{number}.2/24", device=device)
        world.space.run("ping", "-n", "-c2", "-i0.1", "-W1", f"10.82.{number}.1", check=False)
        reason = ["tunnel_unknown_peer", "tunnel_unknown_vni"][number - 1]
        pods.wait_drop(node, "uplink", reason, 1)
        world.space.run("ip", "link", "delete", device)
