"""Pods with a DPDK application (testpmd on virtio-user) plugged in through CNI: frames both ways, several
queues, and what each of the three that share a connection (pod, dataplane, other pods) does when one of them
dies."""
import contextlib
import time

import pytest

from viaduct import pods, process, scenarios


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


def stream(source, target, target_mac):
    """`source` sends to `target`, which only counts. The target's address has to be learned already."""
    for application in (source, target):
        application.stop_forwarding()
    target.set_mode("rxonly")
    source.set_mode("txonly")
    source.set_peer(target_mac)
    target.start_forwarding()
    source.start_forwarding()


def wait_more(application, than, timeout, what):
    return process.wait_until(lambda: application.stats()["rx_packets"] > than, timeout,
                              f"frames after {what}", tell=application.process.tail)


def test_queues_are_spread_over_workers(make_node, make_netns, dpdk, directory):
    node = make_node(lcores="0-1")
    pair = pods.Attached(node, make_netns, directory).dpdk(queues=2)
    with applications(pair, directory, queues=2) as (first, second):
        for pod in pair:
            pods.wait_link(node, pod.port)
            process.wait_until(lambda: len(pods.port(node, pod.port)["queues"]) == 2, 10,
                               f"both queues of {pod.port}")
            workers = {queue["worker"] for queue in pods.port(node, pod.port)["queues"]}
            assert workers == {0, 1}, pods.port(node, pod.port)
        scenarios.scenario_testpmd_pair(first, second, frames=2000)
        check_counted(node, pair, 2000)


def test_pod_killed_and_started_again(make_node, make_netns, dpdk, directory):
    """Its socket file is still there, and virtio-user as server refuses a path that exists: whoever starts
    the pod anew removes it."""
    node = make_node()
    attached = pods.Attached(node, make_netns, directory)
    pair = attached.dpdk()
    with attached.bystanders(), contextlib.ExitStack() as stack:
        first, second = stack.enter_context(applications(pair, directory))
        scenarios.scenario_testpmd_pair(first, second)
        second.kill()
        pods.wait_link(node, pair[1].port, "down")
        pair[1].socket.unlink()
        second.launch()
        stack.callback(second.stop)
        second.wait_ready()
        pods.wait_link(node, pair[1].port)
        first.clear_stats()
        scenarios.scenario_testpmd_pair(first, second)
    check_counted(node, pair, 1000)


def test_pod_that_stops_reading(make_node, make_netns, dpdk, directory):
    """What it does not take is dropped at its port, as "full", and nowhere else."""
    node = make_node()
    attached = pods.Attached(node, make_netns, directory)
    pair = attached.dpdk()
    with attached.bystanders(), applications(pair, directory) as (first, second):
        scenarios.scenario_testpmd_pair(first, second)
        first.set_mode("txonly")
        first.start_forwarding()
        pods.wait_drop(node, pair[1].port, "full", 1000, side="tx")
        first.stop_forwarding()
        assert set(pods.drops(node, pair[1].port, "tx")) == {"full"}
        for name, port in pods.ports(node).items():
            if name != pair[1].port:
                assert port["counters"]["tx_drops"].get("full", 0) == 0, port
        # It reads again, and all is as it was.
        second.clear_stats()
        scenarios.scenario_testpmd_pair(first, second)


def test_dataplane_killed_and_restarted(make_node, make_netns, dpdk, directory):
    """Control restores the ports and the dataplane connects to the pods, which go on without being asked
    to."""
    node = make_node()
    pair = pods.Attached(node, make_netns, directory).dpdk()
    with applications(pair, directory, link_interrupt=True) as (first, second):
        scenarios.scenario_testpmd_pair(first, second)
        stream(first, second, pair[1].mac)
        wait_more(second, 500, 10, "the start")
        node.kill_dataplane()
        before = process.wait_until(lambda: settled(second), 10, "the pod to receive nothing more")
        began = time.monotonic()
        node.start_dataplane(wait=False)
        wait_more(second, before, 5, "the restart")
        print(f"from the restart to the first packet: {time.monotonic() - began:.2f} s")
        for pod in pair:
            pods.wait_link(node, pod.port)
        assert first.process.alive() and second.process.alive()


def settled(application):
    """How many frames came, once no more do."""
    first = application.stats()["rx_packets"]
    time.sleep(0.2)
    return first if application.stats()["rx_packets"] == first else None
