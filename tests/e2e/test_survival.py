"""kill -9 of either daemon at any instant: pods go on, and nothing is held twice, leaked or left over."""
import random
import time

from viaduct import pods, process


def test_control_dies_and_no_packet_is_lost(node, make_netns, directory):
    attached = pods.Attached(node, make_netns, directory)
    with attached.bystanders():
        for _ in range(10):
            node.kill_control()
            process.wait_until(lambda: not node.control.alive(), 5, "the end of control")
            node.start_control()
            node.wait_in_sync()


def test_order_of_starting_does_not_matter_and_state_is_there(node, make_netns, directory):
    first, second = pods.Attached(node, make_netns, directory).taps()
    first.space.ping(second.address)
    node.cli("bridge", "add", "kept", "vlan_filtering", "on", json=False)
    node.stop_control()
    node.stop_dataplane()
    node.start_control()
    node.start_dataplane()
    node.wait_in_sync()
    first.space.ping(second.address)
    bridges = {each["name"]: each for each in node.dataplane_api("GET", "/v1/config").body["bridges"]}
    assert bridges["kept"]["vlan_filtering"] is True


def test_kills_amid_many_adds_and_dels(node, make_netns):
    seed = int(time.time())
    print(f"seed {seed}")
    dice = random.Random(seed)
    network = pods.network(node, "10.94.0.0/24", cni_version="1.1.0", bridge="br0")
    spaces = [make_netns() for _ in range(20)]
    present = {}
    for turn in range(1000):
        number = dice.randrange(len(spaces))
        if number in present:
            if node.cni("DEL", network, f"c{number}", spaces[number].path).status == 0:
                del present[number]
        else:
            outcome = node.cni("ADD", network, f"c{number}", spaces[number].path)
            if outcome.status == 0:
                present[number] = outcome.output["ips"][0]["address"]
        if turn % 100 == 37:
            node.kill_control()
            node.start_control(wait=dice.random() < 0.5)
        if turn % 100 == 87:
            node.kill_dataplane()
            node.start_dataplane(wait=dice.random() < 0.5)
    process.wait_until(lambda: node.api("GET", "/v1/health").status == 200, 20, "control's API")
    node.wait_in_sync()
    addresses = list(present.values())
    assert len(set(addresses)) == len(addresses)
    valid = [{"containerID": f"c{number}", "ifname": "eth0"} for number in present]
    assert node.cni("GC", {**network, "cni.dev/valid-attachments": valid}).status == 0
    left = node.api("GET", "/v1/attachments").body["attachments"]
    assert sorted(each["container"] for each in left) == sorted(each["containerID"] for each in valid)
    assert len(node.dataplane_api("GET", "/v1/ports").body["ports"]) == len(present)
    for number, space in enumerate(spaces):
        assert ("eth0" in space.output("ip", "-br", "link")) == (number in present)
    for number in list(present):
        assert node.cni("DEL", network, f"c{number}", spaces[number].path).status == 0
    assert node.dataplane_api("GET", "/v1/ports").body["ports"] == []
