"""Uplinks: DPDK's net_af_packet on a veth, with Linux behind it."""
from viaduct import outside, pods, process


def tap(space, bridge="br0", name="pod", **settings):
    return {"name": name, "kind": "tap", "ifname": "eth0", "netns": space.path, "bridge": bridge, **settings}


def up(space, *addresses):
    for address in addresses:
        space.run("ip", "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
    space.run("ip", "link", "set", "eth0", "up")


def test_a_pod_reaches_the_outside(node, make_netns, make_outside, directory):
    """Through a bridge in both directions, with TCP in bulk; the link follows the cable."""
    pod, world = make_netns("pod"), make_outside(node)
    pods.change(node, {"bridges": [{"name": "br0"}], "ports": [tap(pod), world.port("br0")]})
    up(pod, "10.80.0.1/24", "fd80::1/64")
    world.address("10.80.0.2/24", "fd80::2/64")
    pod.ping("10.80.0.2")
    pod.ping("fd80::2")
    world.space.ping("10.80.0.1")
    for reverse in (False, True):
        rate = outside.bits_a_second(pod, world.space, "10.80.0.2", directory / f"iperf{reverse}.log",
                                     reverse=reverse)
        assert rate > 10e6, rate

    world.space.run("ip", "link", "set", "eth0", "down")
    pods.wait_link(node, "uplink", "down")
    world.space.run("ip", "link", "set", "eth0", "up")
    pods.wait_link(node, "uplink", "up")
    pod.ping("10.80.0.2")
    assert world.near in pods.port(node, "uplink")["detail"]


def test_a_device_that_goes_takes_its_link_down_and_nothing_else(node, make_netns, make_outside):
    first, second, world = make_netns("first"), make_netns("second"), make_outside(node)
    pods.change(node, {"bridges": [{"name": "br0"}],
                       "ports": [tap(first, name="first"), tap(second, name="second"), world.port("br0")]})
    up(first, "10.80.0.1/24")
    up(second, "10.80.0.3/24")
    world.address("10.80.0.2/24")
    first.ping("10.80.0.2")
    world.disconnect()
    pods.wait_link(node, "uplink", "down")
    assert "gone" in pods.port(node, "uplink")["detail"]
    first.ping("10.80.0.3")
    # Plugged again, it is there again.
    for _ in range(2):
        world.connect().address("10.80.0.2/24")
        pods.wait_link(node, "uplink", "up")
        first.run("ip", "neigh", "flush", "dev", "eth0")  # the new cable's end has another MAC address
        first.ping("10.80.0.2")
        world.disconnect()
        pods.wait_link(node, "uplink", "down")
    # Also when the dataplane was away meanwhile.
    node.kill_dataplane()
    world.connect().address("10.80.0.2/24")
    node.start_dataplane()
    pods.wait_link(node, "uplink", "up", 40)
    first.run("ip", "neigh", "flush", "dev", "eth0")
    first.ping("10.80.0.2")


def test_two_queues(node, make_netns, make_outside):
    pod, world = make_netns("pod"), make_outside(node, queues=2)
    pods.change(node, {"bridges": [{"name": "br0"}], "ports": [tap(pod), world.port("br0")]})
    assert [each["queue"] for each in pods.port(node, "uplink")["queues"]] == [0, 1]
    up(pod, "10.80.0.1/24")
    world.address("10.80.0.2/24", "10.80.0.4/24", "10.80.0.5/24")
    for address in ("10.80.0.2", "10.80.0.4", "10.80.0.5"):
        pod.ping(address)


def test_what_cannot_be_opened_is_refused_in_words(node, make_outside):
    world = make_outside(node)

    def refusal(**settings):
        port = {**world.port("br0"), **settings}
        body = {"put": {"bridges": [{"name": "br0"}], "ports": [port]}, "delete": {}}
        answer = node.dataplane_api("POST", "/v1/transactions", {"put": body["put"]})
        assert answer.status >= 400, answer
        return str(answer.body)

    assert "net_af_packet99 cannot be opened" in refusal(device="net_af_packet99,iface=nowhere0")
    assert "vfio-pci" in refusal(device="0000:fe:1f.6")
    assert "has 1" in refusal(queues=4)
    assert "at most 1500" in refusal(mtu=9000)
    assert pods.ports(node) == {}
    # None of it is left: the device itself opens.
    pods.change(node, {"bridges": [{"name": "br0"}], "ports": [world.port("br0")]})
    process.wait_until(lambda: pods.port(node, "uplink")["link"] == "up", 10, "the link")
