"""A pod is believed to be what it was attached as, and nobody else, unless its network says otherwise."""
import pytest

from viaduct import pods


@pytest.fixture
def attached(node, make_netns, directory):
    return pods.Attached(node, make_netns, directory)


def answers(pod, address, source):
    return pod.space.run("ping", "-n", "-c2", "-i0.2", "-W1", "-I", source, address, check=False).returncode == 0


def take_address(pod, address):
    pod.space.run("ip", "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))


def test_a_pod_speaks_for_itself_alone(node, attached):
    network = node.network("guarded", bridge="br-guard", ipam={
        "type": "viaduct", "ranges": [[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd66::/64"}]]})
    first, second = attached.pod(network), attached.pod(network)
    assert first.space.run("ping", "-n", "-c1", "-W5", second.address, check=False).returncode == 0
    for forged in ("10.66.0.99/24", "fd66::99/64"):
        take_address(first, forged)
        bare = forged.partition("/")[0]
        known = second.address if "." in forged else next(
            word for word in second.space.output("ip", "-6", "-br", "address", "show", "dev", "eth0").split()
            if word.startswith("fd66")).partition("/")[0]
        assert not answers(first, known, bare)
        # Nor does anybody find it there.
        assert not answers(second, bare, known)
    counted = pods.drops(node, first.port)
    assert counted["spoofed_address"] > 0 and counted["spoofed_neighbour"] > 0, counted
    question = "trace", "--port", first.port, "--dst", second.address, "--mac", second.mac, "--src"
    assert node.cli(*question, "10.66.0.99")["reason"] == "spoofed_address"
    assert node.cli(*question, first.address)["decision"] == "bridged"
    assert node.cli(*question, first.address, "--source-mac", second.mac)["reason"] == "spoofed_mac"

    first.space.run("ip", "link", "set", "eth0", "address", "02:00:00:00:66:66")
    first.space.run("ping", "-n", "-c1", "-W1", second.address, check=False)
    assert pods.drops(node, first.port)["spoofed_mac"] > 0


def test_a_network_may_trust_its_pods(node, attached):
    first, second = attached.taps(bridge="br-guard", antiSpoofing=False)
    take_address(first, "10.66.0.99/24")
    first.space.ping(second.address, count=1)
    assert answers(second, "10.66.0.99", second.address)
    # As a port may, at any time.
    node.cli("port", "add", "served", "type", "tap", "netns", attached.make_netns("served").path, "name", "eth0", "bridge",
             "br-guard", "guard_mac", "02:00:00:00:66:01", "guard_address", "10.66.0.200/32")
    shown = {each["name"]: each for each in node.api("GET", "/v1/config").body["ports"]}["served"]
    assert shown["guard"] == {"macs": ["02:00:00:00:66:01"], "addresses": ["10.66.0.200/32"]}
    node.cli("port", "set", "served", "noguard")
    shown = {each["name"]: each for each in node.api("GET", "/v1/config").body["ports"]}["served"]
    assert "guard" not in shown
