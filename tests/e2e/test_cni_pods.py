"""What a pod gets through CNI, as it sees it: VLANs, addresses and routes asked for in each place, configurations
written as runtimes write them, and vhost-user directories with the owner and mode asked for."""
import json
import stat
from pathlib import Path

import pytest

from viaduct import pods, process, schemas

DUAL = [[{"subnet": "10.101.0.0/24"}], [{"subnet": "fd00:101::/64"}]]


def added(outcome):
    assert outcome.status == 0, outcome
    return outcome.output


def addresses(result):
    return [each["address"].partition("/")[0] for each in result["ips"]]


def reaches(space, address):
    return space.run("ping", "-n", "-c1", "-W0.5", address, check=False).returncode == 0


def test_vlans_are_apart(node, make_netns):
    """The same bridge and even the same addresses in two VLANs; a trunk is told its VLANs."""

    def add(container, **settings):
        space = make_netns(container)
        network = node.network(f"net-{container}", bridge="br0", ipam={
            "type": "viaduct", "ranges": [[{"subnet": "10.102.0.0/24"}]]}, **settings)
        return space, addresses(added(node.cni("ADD", network, container, space.path)))[0]

    red = [add(f"red{number}", vlan=10) for number in range(2)]
    blue = [add(f"blue{number}", vlan=20, antiSpoofing=False) for number in range(2)]
    plain = [add(f"plain{number}") for number in range(2)]
    for (first, _), (_, other) in (red, blue, plain):
        first.ping(other)
    assert red[1][1] == blue[1][1] == plain[1][1]  # addresses are a VLAN's own
    blue[1][0].run("ip", "addr", "add", "10.102.0.99/24", "dev", "eth0")
    blue[0][0].ping("10.102.0.99")
    for space in (red[0][0], plain[0][0]):
        assert not reaches(space, "10.102.0.99")
    trunk = make_netns("trunk")
    added(node.cni("ADD", node.network("trunk", bridge="br0", vlanTrunk=[{"minID": 19, "maxID": 20}]), "trunk", trunk.path))
    port = pods.attachment(node, "trunk")["port"]
    configured = {each["name"]: each for each in node.dataplane_api("GET", "/v1/config").body["ports"]}
    assert "19" in json.dumps(configured[port]) and "20" in json.dumps(configured[port]), configured[port]


@pytest.mark.parametrize("place", ["runtimeConfig", "args", "CNI_ARGS"])
def test_addresses_and_mac_asked_for(node, make_netns, place):
    """Both families, in each of the three places."""
    space = make_netns()
    wanted, mac = ["10.101.0.40", "fd00:101::40"], "02:00:00:00:01:40"
    settings, environment = {}, {}
    if place == "runtimeConfig":
        settings["runtimeConfig"] = {"ips": ["10.101.0.40/24", "fd00:101::40/64"], "mac": mac}
    elif place == "args":
        settings["args"] = {"cni": {"ips": wanted, "mac": mac}}
    else:
        environment["CNI_ARGS"] = f"IgnoreUnknown=true;K8S_POD_NAME=web;MAC={mac};IP=10.101.0.40"
        wanted = wanted[:1]
    network = node.network(bridge="br0", ipam={"type": "viaduct", "ranges": DUAL}, **settings)
    result = added(node.cni("ADD", network, "c1", space.path, **environment))
    assert addresses(result)[:len(wanted)] == wanted and result["interfaces"][0]["mac"] == mac
    link = json.loads(space.output("ip", "-j", "addr", "show", "eth0"))[0]
    assert link["address"] == mac and set(wanted) < {each["local"] for each in link["addr_info"]}
    assert "LOWER_UP" in link["flags"]


def test_routes_and_gateways(node, make_netns):
    """The range's gateway for each family unless a route names its own, with what 1.1.0 adds; nothing waits for
    duplicate address detection."""
    space = make_netns()
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.200.0.0/16", "gw": "10.101.0.7", "mtu": 1300,
                                                      "priority": 50, "advmss": 1200},
              {"dst": "10.201.0.0/16", "gw": "10.101.0.8", "table": 100}]
    network = node.network(cni_version="1.1.0", bridge="br0", ipam={"type": "viaduct", "ranges": DUAL, "routes": routes})
    result = added(node.cni("ADD", network, "c1", space.path))
    schemas.check_result(result, "1.1.0", space.path, "eth0")
    v4, v6 = space.output("ip", "route"), space.output("ip", "-6", "route")
    assert "default via 10.101.0.1 dev eth0" in v4 and "default via fd00:101::1 dev eth0" in v6
    extra = next(line for line in v4.splitlines() if line.startswith("10.200.0.0/16"))
    for words in ("via 10.101.0.7", "mtu 1300", "metric 50", "advmss 1200"):
        assert words in extra
    assert "10.201.0.0/16 via 10.101.0.8" in space.output("ip", "route", "show", "table", "100")
    assert "tentative" not in space.output("ip", "-6", "addr", "show", "dev", "eth0", "scope", "global")
    assert node.cni("CHECK", {**network, "prevResult": result}, "c1", space.path).status == 0
    space.run("ip", "route", "del", "10.200.0.0/16")
    schemas.check_error(node.cni("CHECK", {**network, "prevResult": result}, "c1", space.path), mentions=["10.200.0.0/16"])


def test_keys_as_the_cri_writes_them(node, make_netns):
    """In any case, null for absent, objects where lists are expected of others, and keys that nobody knows."""
    space = make_netns()
    network = node.network(Bridge="br0", MTU=None, dns=None, aliases={"vd": ["web"]}, unheardOf=[1], capabilities={
        "portMappings": True, "dns": True}, IPAM={"TYPE": "viaduct", "Ranges": [[{"Subnet": "10.101.0.0/24"}]], "Routes": None},
        runtimeConfig={"portMappings": [{"HostPort": 0, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""}], "dns": {
            "Servers": ["10.0.0.53"], "Searches": ["cluster.local"], "Options": None}, "bandwidth": {"IngressRate": 0}})
    result = added(node.cni("ADD", network, "c1", space.path))
    assert result["dns"] == {"nameservers": ["10.0.0.53"], "search": ["cluster.local"]}
    assert node.cni("DEL", network, "c1", "").status == 0
    assert "eth0" not in space.output("ip", "-br", "link")
    log = (node.directory / "control.log").read_text()
    assert "unheardOf" in log


def test_a_chained_plugin_keeps_what_came_before(node, make_netns):
    """As the second of a list: the result has the first's interfaces and addresses, and ours behind them."""
    space = make_netns()
    before = {"cniVersion": "1.0.0", "interfaces": [{"name": "other0", "mac": "02:00:00:00:00:01", "sandbox": space.path}],
              "ips": [{"address": "192.0.2.7/24", "interface": 0}], "routes": [{"dst": "198.51.100.0/24"}]}
    network = node.network(bridge="br0", ipam={"type": "viaduct", "ranges": DUAL}, prevResult=before)
    result = added(node.cni("ADD", network, "c1", space.path))
    schemas.check_result(result, "1.0.0", space.path, "eth0")
    assert result["interfaces"][0] == before["interfaces"][0] and before["ips"][0] in result["ips"]
    ours = [each for each in result["ips"] if each != before["ips"][0]]
    assert all(result["interfaces"][each["interface"]]["name"] == "eth0" for each in ours) and len(ours) == 2


def test_several_interfaces_of_one_pod(node, make_netns):
    """Each comes and goes by itself."""
    space, other = make_netns(), make_netns("other")
    networks = [pods.network(node, f"10.10{number}.0.0/24", f"net{number}", bridge=f"br{number}") for number in (3, 4)]
    for network, ifname in zip(networks, ("eth0", "net1")):
        added(node.cni("ADD", network, "c1", space.path, ifname=ifname))
    far = addresses(added(node.cni("ADD", networks[1], "c2", other.path)))[0]
    assert node.cni("DEL", networks[0], "c1", space.path, ifname="eth0").status == 0
    links = space.output("ip", "-br", "link")
    assert "eth0" not in links and "net1" in links
    space.ping(far)


def test_a_directory_as_asked(node, make_netns, directory):
    """Its place, owner, group and mode, and the pod's side connects; then one that a socket's path has no room for."""
    space = make_netns()
    place = directory / "pods"
    vhost = {"mode": "client", "directory": str(place), "owner": "1234", "group": "nogroup", "permissions": "0770"}
    network = pods.network(node, "10.105.0.0/24", cni_version="1.1.0", bridge="br0", interface="vhost-user", vhostUser=vhost,
                           queues=2)
    result = added(node.cni("ADD", network, "c1", space.path))
    socket = Path(result["interfaces"][0]["socketPath"])
    assert socket.parent.parent == place and len(str(socket)) <= 107
    about = socket.parent.stat()
    assert (about.st_uid, stat.S_IMODE(about.st_mode)) == (1234, 0o770)
    described = json.loads((socket.parent / "interface.json").read_text())
    assert described["mode"] == "client" and described["queues"] == 2 and described["path"] == str(socket)
    process.wait_until(socket.is_socket, 10, "the dataplane's socket")
    assert "eth0" not in space.output("ip", "-br", "link")
    assert node.cni("CHECK", {**network, "prevResult": result}, "c1", space.path).status == 0
    assert node.cni("DEL", network, "c1", "").status == 0
    assert list(place.iterdir()) == []
    far = pods.network(node, "10.105.0.0/24", bridge="br0", interface="vhost-user",
                       vhostUser={"directory": f"{directory}/{'d' * 100}"})
    schemas.check_error(node.cni("ADD", far, "c1", space.path), mentions=["107"])
    assert node.api("GET", "/v1/attachments").body["attachments"] == []


@pytest.mark.parametrize("bad, mentions", [
    ({"vlan": 4095}, "vlan"), ({"bridge": "a/b"}, "bridge"), ({"mtu": 20}, "mtu"), ({"interface": "sriov"}, "interface"),
    ({"ipam": {"type": "viaduct"}}, "ranges"), ({"ipam": {"type": "../evil"}}, "ipam"),
    ({"ipam": {"type": "viaduct", "subnet": "10.1.2.3/24"}}, "10.1.2.0/24"), ({"name": "no spaces"}, "name"),
    ({"ipam": {"type": "no-such-plugin"}}, "no-such-plugin"), ({"interface": "vhost-user", "vhostUser": {"owner": "nobody-here"}},
                                                               "nobody-here")])
def test_refused_by_the_key_s_name(node, make_netns, bad, mentions):
    space = make_netns()
    network = {**node.network(bridge="br0", ipam={"type": "viaduct", "ranges": DUAL}), **bad}
    schemas.check_error(node.cni("ADD", network, "c1", space.path), mentions=[mentions])
    assert node.api("GET", "/v1/attachments").body["attachments"] == []
    assert len(space.output("ip", "-br", "link").splitlines()) == 1
    assert not any((node.run_dir / "vhost").glob("*"))


def test_networks_of_the_plugin_are_isolated(node, make_netns, directory):
    """Two routed networks: neither reaches the other, but one that says so and another that does."""

    attached = pods.Attached(node, make_netns, directory)

    def routed(name, subnet, **settings):
        return attached.taps(count=1, subnet=subnet, name=name, bridge=f"br-{name}", isDefaultGateway=True, **settings)[0]

    one, other = routed("one", "10.68.1.0/24"), routed("other", "10.68.2.0/24")
    open_one, open_other = (routed(name, subnet, isolated=False)
                            for name, subnet in (("open1", "10.68.3.0/24"), ("open2", "10.68.4.0/24")))
    open_one.space.ping(open_other.address)
    one.space.ping(open_other.address)  # it keeps nobody away
    for here, there in ((one, other), (other, one)):
        told = here.space.run("ping", "-n", "-c1", "-W2", there.address, check=False)
        assert told.returncode != 0 and "Packet filtered" in told.stdout, told.stdout
