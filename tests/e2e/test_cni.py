"""The CNI plugin as a runtime runs it, on real interfaces: each version's sequence, its refusals and its repairs."""
import concurrent.futures
import json

import pytest

from viaduct import pods, process, schemas

VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
BUILT_IN = {"type": "viaduct", "ranges": [[{"subnet": "10.90.0.0/24"}]]}


def added(outcome):
    assert outcome.status == 0, outcome
    return outcome.output


@pytest.mark.parametrize("version", VERSIONS)
def test_a_whole_sequence(node, make_netns, version):
    space = make_netns()
    network = node.network(cni_version=version, bridge="br0", mtu=1400, ipam={
        **BUILT_IN, "ranges": [*BUILT_IN["ranges"], [{"subnet": "fd00:90::/64"}]], "routes": [{"dst": "10.200.0.0/16"}]})

    def call(command, config=network, **options):
        return node.cni(command, config, "c1", space.path, **options)

    schemas.check("version", call("VERSION", {"cniVersion": version}).output)
    result = added(call("ADD"))
    schemas.check_result(result, version, space.path, "eth0")
    link = json.loads(space.output("ip", "-j", "addr", "show", "eth0"))[0]
    assert link["mtu"] == 1400 and link["address"] == result["interfaces"][0]["mac"]
    assert {a["local"] for a in link["addr_info"] if a["scope"] == "global"} == {
        ip["address"].partition("/")[0] for ip in result["ips"]}
    assert "10.200.0.0/16" in space.output("ip", "route")
    again = {**network, "prevResult": result}
    if version == "0.3.1":
        schemas.check_error(call("CHECK", again), 1)
    else:
        assert call("CHECK", again).status == 0
        space.run("ip", "link", "set", "eth0", "mtu", "1300")
        schemas.check_error(call("CHECK", again), mentions=["eth0"])
    if version == "1.1.0":
        assert call("STATUS").status == 0
    else:
        schemas.check_error(call("STATUS"), 1)
    for _ in range(2):
        assert call("DEL", again).status == 0
    assert "eth0" not in space.output("ip", "-br", "link")
    assert node.dataplane_api("GET", "/v1/ports").body["ports"] == []


def test_two_families_ping(node, make_netns):
    network = node.network(bridge="br0", ipam={**BUILT_IN, "ranges": [*BUILT_IN["ranges"], [{"subnet": "fd00:90::/64"}]]})
    first, second = make_netns("a"), make_netns("b")
    added(node.cni("ADD", network, "a", first.path))
    result = added(node.cni("ADD", network, "b", second.path))
    for address in result["ips"]:
        first.ping(address["address"].partition("/")[0])


def test_what_the_runtime_asks_for_is_given(node, make_netns):
    space = make_netns()
    network = node.network(bridge="br0", ipam=BUILT_IN, capabilities={"ips": True, "mac": True}, runtimeConfig={
        "ips": ["10.90.0.77/24"], "mac": "02:00:00:00:00:77"})
    result = added(node.cni("ADD", network, "c1", space.path))
    assert result["ips"][0]["address"] == "10.90.0.77/24" and result["interfaces"][0]["mac"] == "02:00:00:00:00:77"
    other = make_netns("other")
    plain = node.network(bridge="br0", ipam=BUILT_IN)
    schemas.check_error(node.cni("ADD", plain, "c2", other.path, CNI_ARGS="IgnoreUnknown=1;IP=10.90.0.77"),
                        mentions=["10.90.0.77"])
    assert "eth0" not in other.output("ip", "-br", "link")


@pytest.mark.parametrize("setting", [{"forceAddress": True}, {"hairpinMode": True}])
def test_what_cannot_be_done_yet_is_refused_by_name(node, make_netns, setting):
    name = next(iter(setting.get("runtimeConfig", setting)))
    outcome = node.cni("ADD", node.network(bridge="br0", ipam=BUILT_IN, **setting), "c1", make_netns().path)
    schemas.check_error(outcome, mentions=[name])
    assert node.api("GET", "/v1/attachments").body["attachments"] == []


def test_bad_calls(node, make_netns):
    space = make_netns()
    network = node.network(bridge="br0", ipam=BUILT_IN)

    def refused(*words, code, mentions=(), **options):
        schemas.check_error(node.cni(*words, **options), code, mentions)

    refused("ADD", network, code=4, mentions=["CNI_CONTAINERID", "CNI_NETNS"], container=None, netns_path=None,
            CNI_CONTAINERID=None, CNI_NETNS=None)
    refused("ADD", b"{", "c1", space.path, code=6)
    refused("ADD", b"[" * 100000, "c1", space.path, code=6)
    refused("ADD", {**network, "cniVersion": "7.0.0"}, "c1", space.path, code=1)
    refused("ADD", {**network, "mtu": "large"}, "c1", space.path, code=7, mentions=["mtu"])
    node.stop_control()
    refused("ADD", network, "c1", space.path, code=11)


def test_deletes_that_come_late(node, make_netns):
    """Without the namespace's name, after the namespace, and after control's store."""
    network = node.network(bridge="br0", ipam=BUILT_IN)
    nameless, gone, stray = (make_netns(label) for label in ("nameless", "gone", "stray"))
    for number, space in enumerate((nameless, gone, stray)):
        added(node.cni("ADD", network, f"c{number}", space.path))
    assert node.cni("DEL", network, "c0", "").status == 0
    assert "eth0" not in nameless.output("ip", "-br", "link")
    gone.delete()
    assert node.cni("DEL", network, "c1", gone.path).status == 0
    node.stop_control()
    for file in node.store.parent.iterdir():
        file.unlink()
    node.start_control()
    node.wait_in_sync()
    assert node.cni("DEL", network, "c2", stray.path).status == 0
    assert "eth0" not in stray.output("ip", "-br", "link")
    assert node.cni("DEL", network, "never-there", stray.path).status == 0


def test_a_full_range_is_told_and_gc_frees_it(node, make_netns):
    network = node.network(cni_version="1.1.0", bridge="br0", ipam={"type": "viaduct", "subnet": "10.91.0.0/29"})
    spaces = []
    for number in range(8):
        spaces.append(make_netns())
        outcome = node.cni("ADD", network, f"c{number}", spaces[-1].path)
        if outcome.status != 0:
            break
    schemas.check_error(outcome, mentions=["10.91.0.1-10.91.0.6"])
    assert 4 <= number <= 6
    assert node.cni("STATUS", network).output["code"] in (50, 51)
    keep = {**network, "cni.dev/valid-attachments": [{"containerID": "c0", "ifname": "eth0"}]}
    assert node.cni("GC", keep).status == 0
    assert [each["container"] for each in node.api("GET", "/v1/attachments").body["attachments"]] == ["c0"]
    assert node.cni("STATUS", network).status == 0


def test_host_local_hands_out_addresses(node, make_netns, reference_plugins, directory):
    space = make_netns()
    network = node.network(bridge="br0", ipam={"type": "host-local", "dataDir": str(directory / "leases"),
                                               "ranges": [[{"subnet": "10.92.0.0/24"}]]})
    result = added(node.cni("ADD", network, "c1", space.path))
    assert result["ips"][0]["address"] == "10.92.0.2/24"
    leases = directory / "leases" / "vd"
    assert (leases / "10.92.0.2").exists()
    assert node.cni("DEL", network, "c1", space.path).status == 0
    assert not (leases / "10.92.0.2").exists()


def test_a_vhost_user_pod_finds_its_socket(node, make_netns, directory):
    space = make_netns()
    info = directory / "info" / "device.json"
    network = pods.network(node, "10.93.0.0/24", cni_version="1.1.0", bridge="br0", interface="vhost-user", runtimeConfig={
        "CNIDeviceInfoFile": str(info)}, capabilities={"CNIDeviceInfoFile": True})
    result = added(node.cni("ADD", network, "c1", space.path, ifname="net1"))
    schemas.check_result(result, "1.1.0", space.path, "net1")
    socket = result["interfaces"][0]["socketPath"]
    device = json.loads(info.read_text())
    assert device["type"] == "vhost-user" and device["vhost-user"] == {"mode": "server", "path": socket}
    described = json.loads((process.Path(socket).parent / "interface.json").read_text())
    assert result["interfaces"][0]["mac"] in json.dumps(described)
    assert node.cni("DEL", network, "c1", space.path, ifname="net1").status == 0
    assert not process.Path(socket).parent.exists() and not info.exists()


def test_many_at_once(node, make_netns):
    network = node.network(bridge="br0", ipam=BUILT_IN)
    spaces = [make_netns() for _ in range(64)]
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        outcomes = list(pool.map(lambda n: node.cni("ADD", network, f"c{n}", spaces[n].path), range(64)))
        addresses = {added(outcome)["ips"][0]["address"] for outcome in outcomes}
        assert len(addresses) == 64
        deleted = list(pool.map(lambda n: node.cni("DEL", network, f"c{n}", spaces[n].path), range(64)))
    assert all(outcome.status == 0 for outcome in deleted)
    assert node.dataplane_api("GET", "/v1/ports").body["ports"] == []
