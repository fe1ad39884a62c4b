"""Rates that were asked for are kept, both ways, from the first packet and when they change: real TCP."""
import json

import pytest

from viaduct import pods, process

MEGABIT = 1_000_000


def megabits(client, server, address, directory, reverse=False, seconds=4):
    """Of TCP from `client` to `server`, or back, after its first second."""
    listening = server.start("iperf3", "-s", "-1", log=directory / "iperf3.log")
    try:
        process.wait_until(lambda: ":5201" in server.output("ss", "-Hltn"), 10, "iperf3 to listen")
        answer = client.output("iperf3", "-c", address, "-t", seconds, "-O", 1, "-J", *(["-R"] if reverse else []),
                               timeout=seconds + 30)
    finally:
        listening.stop()
    return json.loads(answer)["end"]["sum_received"]["bits_per_second"] / MEGABIT


def is_about(found, rate):
    """TCP's own share is under a tenth; a machine that is busy takes more."""
    return 0.6 * rate < found < 1.1 * rate


@pytest.fixture
def attached(node, make_netns, directory):
    return pods.Attached(node, make_netns, directory)


def test_a_pods_rates_are_kept(node, attached, directory):
    free = attached.taps(1, bridge="br-rates")[0]
    limited = attached.taps(1, bridge="br-rates", capabilities={"bandwidth": True}, runtimeConfig={"bandwidth": {
        "ingressRate": 40 * MEGABIT, "ingressBurst": 2 * MEGABIT, "egressRate": 80 * MEGABIT, "egressBurst": 0}})[0]
    to_it = megabits(free.space, limited.space, limited.address, directory)
    from_it = megabits(free.space, limited.space, limited.address, directory, reverse=True)
    assert is_about(to_it, 40) and is_about(from_it, 80), (to_it, from_it)
    described = pods.attachment(node, limited.container)
    assert described["ingress_rate"] == 40 * MEGABIT and described["egress_rate"] == 80 * MEGABIT

    # Others go on as they were.
    other = attached.taps(1, bridge="br-rates")[0]
    assert megabits(free.space, other.space, other.address, directory, seconds=2) > 400


def test_a_ports_rate_is_changed_while_it_is_in_use(node, attached, make_netns, directory):
    client = attached.taps(1, bridge="br-rates")[0]
    space = make_netns("served")
    node.cli("port", "add", "served", "type", "tap", "netns", space.path, "name", "eth0", "bridge", "br-rates")
    space.run("ip", "link", "set", "eth0", "up")
    space.run("ip", "address", "add", "10.66.0.200/24", "dev", "eth0")
    client.space.ping("10.66.0.200", count=1)
    with pods.Ping(client.space, "10.66.0.200", directory / "ping.log"):
        node.cli("port", "set", "served", "rx_rate", "50mbit", "tx_rate", "30mbit", "tx_burst", "64k")
        assert is_about(megabits(client.space, space, "10.66.0.200", directory), 30)
        assert is_about(megabits(client.space, space, "10.66.0.200", directory, reverse=True), 50)
        node.cli("port", "set", "served", "tx_rate", "100mbit", "rx_rate", "none")
        assert is_about(megabits(client.space, space, "10.66.0.200", directory), 100)
        assert megabits(client.space, space, "10.66.0.200", directory, reverse=True, seconds=2) > 400
        node.cli("port", "set", "served", "tx_rate", "none")
        assert megabits(client.space, space, "10.66.0.200", directory, seconds=2) > 400
    refused = node.cli("port", "set", "served", "tx_rate", "fast", check=False)
    assert refused.returncode != 0 and "fast" in refused.stderr and "8kbit" in refused.stderr
