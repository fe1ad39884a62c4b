"""Shows that each client of the end-to-end tests does its part, on the reference CNI plugins and DPDK's own
vhost PMD: a failure here is the harness's or the machine's, not Viaduct's."""
import subprocess

import pytest

from viaduct import daemons, process, qemu, scenarios, schemas


def test_podman(make_podman, reference_plugins):
    scenarios.scenario_two_containers(
        make_podman((reference_plugins,)), scenarios.reference_conflist(), ips=("10.77.0.10", "10.77.0.11"),
        macs=("02:00:00:00:77:10", "02:00:00:00:77:11"))


def test_ctr(make_containerd, reference_plugins):
    scenarios.scenario_ctr(make_containerd([scenarios.reference_conflist()]))


def test_cri(make_cri, reference_plugins):
    scenarios.scenario_cri(make_cri([scenarios.reference_conflist()]))


def test_cnitool(make_cnitool, reference_plugins):
    results = scenarios.scenario_cnitool(make_cnitool(), scenarios.reference_conflist())
    for result in results:
        schemas.check_result(result, "1.0.0", ifname="eth0", netns_path=result["interfaces"][-1]["sandbox"])


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_plugin_run_as_a_runtime_does(isolation, reference_plugins, version):
    """The reference bridge's results fit the schema of each version that Debian's speak."""
    config = {"cniVersion": version, "name": "plain", **scenarios.reference_conflist()["plugins"][0]}
    isolation.run("ip", "netns", "add", "pod")

    def plugin(command, config=config, **options):
        return daemons.run_plugin(reference_plugins / "bridge", command, config, "container-1",
                                  "/run/netns/pod", prefix=isolation.command(), **options)

    added = plugin("ADD")
    assert added.status == 0, added
    schemas.check_result(added.output, version, "/run/netns/pod", "eth0")
    assert plugin("DEL", {**config, "prevResult": added.output}) == (0, None, "")
    schemas.check("version", plugin("VERSION", {"cniVersion": version}).output)
    def refused(*words, code, mentions=(), **options):
        outcome = plugin(*words, **options)
        # The reference plugins leave out the version, which the specification asks for.
        completed = outcome._replace(output={"cniVersion": version, **outcome.output})
        schemas.check_error(completed, code, mentions)

    refused("ADD", {**config, "cniVersion": "9.9.9"}, code=1)
    refused("ADD", code=4, mentions=["CNI_IFNAME"], CNI_IFNAME=None)
    refused("ADD", b"{", code=6)


def test_schemas_refuse_what_the_version_has_not():
    result = {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "mtu": 1500}],
              "ips": [{"address": "10.0.0.1/24"}]}
    with pytest.raises(process.Failed, match="mtu"):
        schemas.check_result(result, "1.0.0")
    schemas.check_result({**result, "cniVersion": "1.1.0"}, "1.1.0")
    with pytest.raises(process.Failed, match="version"):
        schemas.check_result({**result, "cniVersion": "0.4.0", "interfaces": []}, "0.4.0")
    with pytest.raises(process.Failed, match="code"):
        schemas.check("error", {"cniVersion": "1.0.0", "code": 42, "msg": "reserved"})


@pytest.mark.parametrize("pods_listen", [True, False], ids=["pods-listen", "pods-connect"])
@pytest.mark.parametrize("huge", ["auto", "off"])
def test_testpmd_pair(dpdk, directory, pods_listen, huge):
    sockets = [directory / "a.sock", directory / "b.sock"]
    first, second = (dpdk.pod(socket, directory / f"pod{number}.log", server=pods_listen, name=f"pod{number}",
                              mac=f"02:00:00:00:00:0{number}", huge=huge)
                     for number, socket in enumerate(sockets))
    vhost = dpdk.vhost(sockets, directory / "vhost.log", client=pods_listen, huge=huge)
    try:
        for each in (first, second, vhost) if pods_listen else (vhost, first, second):
            each.launch()
            if not pods_listen:
                each.wait_ready()
        for each in (first, second, vhost):
            each.wait_ready()
        vhost.start_forwarding()
        scenarios.scenario_testpmd_pair(first, second)
        assert first.stats()["tx_errors"] == 0
    finally:
        for each in (first, second, vhost):
            each.stop()


@pytest.mark.parametrize("guest_listens", [True, False], ids=["guest-listens", "guest-connects"])
def test_guest(dpdk, directory, make_netns, guest_files, guest_listens):
    """The vhost PMD and a TAP in a namespace stand for the dataplane; without its offloads, which the TAP
    cannot do."""
    peer = make_netns("peer")
    socket = directory / "guest.sock"
    client = ",client=1" if guest_listens else ""
    vhost = dpdk.Testpmd([f"net_vhost0,iface={socket},queues=1{client}", "net_tap0,iface=vdtap0"],
                         directory / "vhost.log", memory=128, mbufs=8192, prefix_command=peer.command())
    guest = qemu.Guest(guest_files, socket, directory / "guest.log", address="10.78.0.2/24",
                       server=guest_listens, device="csum=off,gso=off,guest_csum=off")
    try:
        if guest_listens:
            guest.launch()
        vhost.start()
        if not guest_listens:
            guest.launch()
        vhost.start_forwarding()
        peer.run("ip", "addr", "add", "10.78.0.1/24", "dev", "vdtap0")
        peer.run("ip", "link", "set", "vdtap0", "up")
        guest.wait_ready()
        scenarios.scenario_guest(guest, peer, "10.78.0.1", "10.78.0.2")
    finally:
        guest.stop()
        vhost.stop()


def test_namespaces_go_with_their_processes(make_netns, directory):
    """kill -9 reaches the process in the namespace, and nothing keeps the namespace afterwards."""
    space = make_netns()
    sleeper = space.start("sleep", "1000", log=directory / "sleep.log")
    assert sleeper.alive()
    sleeper.kill()
    assert sleeper.returncode == -9
    space.delete()
    assert space.name not in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
