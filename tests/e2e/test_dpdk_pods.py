"""Pods with a DPDK application (testpmd on virtio-user) plugged in through CNI: frames both ways, several
queues, and what each of the three that share a connection (pod, dataplane, other pods) does when one of them
dies."""
import contextlib

import pytest

from viaduct import pods, scenarios


@contextlib.contextmanager
def applications(attached, directory, **options):
    """testpmd in each of these pods, ready."""
    started = []
    try:
        for pod in attached:
            started.append(pod.testpmd(directory / f"{pod.container}.log", **options))
        for application in started:
            application.launch()
        for application in started:
            application.wait_ready()
        yield started
    finally:
        for application in started:
            application.stop()


def check_counted(node, attached, frames):
    """Both ports carried frames both ways; nothing was dropped that would not say why."""
    for pod in attached:
        counters = pods.port(node, pod.port)["counters"]
        assert counters["rx_packets"] >= frames and counters["tx_packets"] >= frames, counters
    node.check_ledger()


@pytest.mark.parametrize("pod_listens", [True, False], ids=["pods-listen", "pods-connect"])
def test_two_pods_exchange_packets(make_node, make_netns, dpdk, directory, pod_listens):
    node = make_node()
    mode = "server" if pod_listens else "client"
    pair = pods.Attached(node, make_netns, directory).dpdk(vhostUser={"mode": mode})
    with applications(pair, directory, server=pod_listens) as (first, second):
        scenarios.scenario_testpmd_pair(first, second)
        assert first.stats()["tx_errors"] == 0
        check_counted(node, pair, 500)
    for pod in pair:
        pod.delete()
        assert not pod.socket.exists()
    node.check_ledger()


def test_without_huge_pages(make_node, make_netns, dpdk, directory):
    node = make_node(huge="off")
    assert node.dataplane_api("GET", "/v1/info").body["huge_pages"] is False
    pair = pods.Attached(node, make_netns, directory).dpdk()
    with applications(pair, directory, huge="off") as (first, second):
        scenarios.scenario_testpmd_pair(first, second)
        check_counted(node, pair, 500)
