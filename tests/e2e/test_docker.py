"""Docker's network and IPAM drivers: with Docker's own daemon, and with a test that plays Docker's part and sends what
Docker sends, moving the interface as Docker does."""
import json
import secrets

import pytest

from viaduct import daemons, image, pods, process, scenarios

OUTSIDE, SERVER = "198.51.100.1", "198.51.100.2"
PORTMAP = "com.docker.network.portmap"


@pytest.fixture
def plugin(make_node, directory):
    """A node that serves the plugin: (node, its socket)."""
    socket = directory / "docker-plugin.sock"
    return make_node(control_options=("--docker-socket", socket)), socket


def uplink(node, make_outside):
    world = make_outside(node).address(f"{SERVER}/24")
    pods.change(node, {"bridges": [{"name": "up"}], "ports": [world.port("up")],
                       "interfaces": [{"name": "out", "bridge": "up", "addresses": [f"{OUTSIDE}/24"]}]})
    return world.space


def fetch(space, url):
    return process.wait_until(lambda: space.run("curl", "-s", "--max-time", "3", url, check=False).stdout or None, 20, url)


def test_docker_runs_containers_on_viaduct(plugin, make_docker, make_outside):
    """docker network create, run with a published port and an address, exec, disconnect, connect, rm; control and then
    the dataplane are killed while containers run."""
    node, socket = plugin
    world = uplink(node, make_outside)
    docker = make_docker(node, socket)
    docker.docker("network", "create", "-d", "viaduct", "--ipam-driver", "viaduct", "--subnet", "10.91.0.0/24",
                  "-o", "com.docker.network.driver.mtu=1400", "shop")
    docker.run("web", "shop", *image.serve_page_command("page of web"), options=("-p", "8080:80", "--ip", "10.91.0.9"))
    docker.run("box", "shop")
    page = image.fetch_page_command("10.91.0.9")
    scenarios.expect_page(docker.exec("box", *page).stdout, "page of web")
    assert fetch(world, f"http://{OUTSIDE}:8080/index.html").strip() == "page of web"
    docker.exec("box", "ping", "-c", "2", "-W", "5", SERVER)
    shown = docker.exec("box", "ip", "link", "show", "eth0").stdout
    assert "mtu 1400" in shown, shown

    def moved():
        return all(each["netns"].endswith(".sandbox") for each in node.api("GET", "/v1/attachments").body["attachments"])

    process.wait_until(moved, 10, "control to have followed the interfaces")
    node.kill_control()
    docker.exec("box", "ping", "-c", "2", "-W", "5", "10.91.0.9")
    node.start_control()
    node.wait_in_sync()
    node.kill_dataplane()
    node.start_dataplane()
    node.wait_in_sync()
    scenarios.retry_fetch(lambda: docker.exec("box", *page).stdout, "page of web", "web")
    assert fetch(world, f"http://{OUTSIDE}:8080/index.html").strip() == "page of web"

    docker.docker("network", "create", "-d", "viaduct", "--internal", "back")
    docker.docker("network", "connect", "back", "box")
    assert "eth1" in docker.exec("box", "ip", "link").stdout
    docker.docker("network", "disconnect", "back", "box")
    assert "eth1" not in docker.exec("box", "ip", "link").stdout
    clash = docker.docker("run", "-d", "--network", "shop", "-p", "8080:80", image.NAME, check=False)
    assert clash.returncode != 0 and "8080" in clash.stderr, clash.stderr
    docker.docker("restart", "-t", "0", "web")
    scenarios.retry_fetch(lambda: docker.exec("box", *page).stdout, "page of web", "web")
    for name in docker.docker("ps", "-aq").stdout.split():
        docker.docker("rm", "-f", name)
    for name in ("shop", "back"):
        docker.docker("network", "rm", name)
    assert node.cli("net") == []
    assert node.api("GET", "/v1/attachments").body["attachments"] == []
    assert [each["name"] for each in node.dataplane_api("GET", "/v1/ports").body["ports"]] == ["uplink"]
    assert "vd" not in node.namespace.output("ip", "-br", "link", "show", "type", "tun")


class Engine:
    """Docker's part in the protocol: what it asks for, and what it does with interfaces itself."""

    def __init__(self, node, socket):
        self.node, self.socket = node, socket

    def ask(self, method, /, **members):
        return daemons.http_request(self.socket, "POST", f"/{method}", members)

    def call(self, method, /, **members):
        answer = self.ask(method, **members)
        assert answer.status == 200 and "Err" not in answer.body, answer
        return answer.body

    def refused(self, method, /, **members):
        answer = self.ask(method, **members)
        assert answer.status >= 400 and answer.body["Err"], answer
        return answer.body["Err"]

    def network(self, *subnets, internal=False, **options):
        """As `docker network create` with both drivers: (id, pools)."""
        network = secrets.token_hex(32)
        data = {False: [], True: []}
        pools = []
        for subnet in subnets or ("",):
            v6 = ":" in subnet
            pool = self.call("IpamDriver.RequestPool", AddressSpace="viaduct", Pool=subnet, SubPool="", Options={}, V6=v6)
            gateway = self.call("IpamDriver.RequestAddress", PoolID=pool["PoolID"], Address="",
                                Options={"RequestAddressType": "com.docker.network.gateway"})
            pools.append(pool["PoolID"])
            data[v6].append({"AddressSpace": "viaduct", "Pool": pool["Pool"], "Gateway": gateway["Address"], "AuxAddresses": {}})
        self.call("NetworkDriver.CreateNetwork", NetworkID=network, IPv4Data=data[False], IPv6Data=data[True],
                  Options={"com.docker.network.enable_ipv6": bool(data[True]), "com.docker.network.internal": internal,
                           "com.docker.network.generic": options})
        return network, pools

    def endpoint(self, network, pools, mac=""):
        endpoint = secrets.token_hex(32)
        addresses = [self.call("IpamDriver.RequestAddress", PoolID=pool, Address="", Options=None)["Address"] for pool in pools]
        interface = {"MacAddress": mac, "Address": addresses[0], "AddressIPv6": addresses[1] if len(addresses) > 1 else ""}
        made = self.call("NetworkDriver.CreateEndpoint", NetworkID=network, EndpointID=endpoint, Interface=interface,
                         Options={"com.docker.network.endpoint.exposedports": [], PORTMAP: []})
        assert ("MacAddress" in made["Interface"]) != bool(mac)
        return endpoint, addresses

    def join(self, network, endpoint, addresses, space, number=0):
        """What Docker does at Join; returns its answer."""
        joined = self.call("NetworkDriver.Join", NetworkID=network, EndpointID=endpoint, SandboxKey=space.path, Options={})
        source, name = joined["InterfaceName"]["SrcName"], f"{joined['InterfaceName']['DstPrefix']}{number}"
        self.node.namespace.run("ip", "link", "set", source, "netns", space.name)
        space.run("ip", "link", "set", source, "name", name)
        for address in addresses:
            space.run("ip", "addr", "add", address, "dev", name, *["nodad"] * (":" in address))
        space.run("ip", "link", "set", name, "up")
        for family, key in (("-4", "Gateway"), ("-6", "GatewayIPv6")):
            if key in joined:
                space.run("ip", family, "route", "add", "default", "via", joined[key])
        return joined

    def leave(self, network, endpoint, space, source, name="eth0"):
        self.call("NetworkDriver.Leave", NetworkID=network, EndpointID=endpoint)
        space.run("ip", "link", "set", name, "down")
        space.run("ip", "link", "set", name, "name", source)
        space.run("ip", "link", "set", source, "netns", self.node.namespace.name)


def publish(*ports):
    return {PORTMAP: [{"Proto": proto, "IP": "", "Port": port, "HostIP": "", "HostPort": host, "HostPortEnd": host}
                      for proto, host, port in ports]}


def test_protocol_from_activation_to_the_end(plugin, make_netns, make_outside, directory):
    """Every method, in Docker's order, in both families; the interface is moved in, used, moved back and taken away."""
    node, socket = plugin
    world = uplink(node, make_outside)
    engine = Engine(node, socket)
    assert engine.call("Plugin.Activate") == {"Implements": ["NetworkDriver", "IpamDriver"]}
    assert engine.call("NetworkDriver.GetCapabilities")["Scope"] == "local"
    assert engine.call("IpamDriver.GetCapabilities") == {}
    assert engine.call("IpamDriver.GetDefaultAddressSpaces")["LocalDefaultAddressSpace"]
    engine.call("NetworkDriver.DiscoverNew", DiscoveryType=1, DiscoveryData={"Address": "192.0.2.1", "self": True})
    network, pools = engine.network("10.92.0.0/24", "fd92::/64", **{"viaduct.name": "shop"})
    assert [each["gateway"] for each in node.cli("net", "inspect", "shop")["subnets"]] == ["10.92.0.1", "fd92::1"]
    spaces = [make_netns(label) for label in ("web", "box")]
    ends = []
    for space, mac in zip(spaces, ("", "02:00:00:00:92:01")):
        endpoint, addresses = engine.endpoint(network, pools, mac)
        joined = engine.join(network, endpoint, addresses, space)
        assert joined["DisableGatewayService"] and joined["Gateway"] == "10.92.0.1" and joined["GatewayIPv6"] == "fd92::1"
        ends.append((endpoint, addresses, joined["InterfaceName"]["SrcName"]))
    web, box = spaces
    for address in ends[0][1]:
        box.ping(address.partition("/")[0])
    engine.call("NetworkDriver.ProgramExternalConnectivity", NetworkID=network, EndpointID=ends[0][0],
                Options=publish((6, 8080, 80), (17, 5300, 53), (132, 7000, 7000)))
    (directory / "index.html").write_text("page of web")
    with web.start("busybox", "httpd", "-f", "-p", "80", "-h", directory, log=directory / "web.log"):
        assert fetch(world, f"http://{OUTSIDE}:8080") == "page of web"
        reason = engine.refused("NetworkDriver.ProgramExternalConnectivity", NetworkID=network, EndpointID=ends[1][0],
                                Options=publish((6, 8080, 80)))
        assert "8080" in reason and ends[0][0] in reason, reason
        assert "name one" in engine.refused("NetworkDriver.ProgramExternalConnectivity", NetworkID=network,
                                            EndpointID=ends[1][0], Options=publish((6, 0, 80)))
        assert fetch(world, f"http://{OUTSIDE}:8080") == "page of web"
        # A restart of everything while the interfaces are elsewhere.
        process.wait_until(lambda: {each["netns"] for each in node.api("GET", "/v1/attachments").body["attachments"]}
                           == {web.path, box.path}, 10, "control to have followed the interfaces")
        node.kill_control()
        node.kill_dataplane()
        node.start_dataplane()
        node.start_control()
        node.wait_in_sync()
        box.ping(ends[0][1][0].partition("/")[0], count=1)
        assert fetch(world, f"http://{OUTSIDE}:8080") == "page of web"
        info = engine.call("NetworkDriver.EndpointOperInfo", NetworkID=network, EndpointID=ends[0][0])["Value"]
        assert info["state"] == "ready"
        engine.call("NetworkDriver.RevokeExternalConnectivity", NetworkID=network, EndpointID=ends[0][0])
        assert world.run("curl", "-s", "--max-time", "1", f"http://{OUTSIDE}:8080", check=False).returncode != 0
    assert "Docker" in node.cli("net", "attach", web.name, "shop", json=False, check=False).stderr
    assert "docker network rm" in node.cli("net", "rm", "shop", json=False, check=False).stderr
    assert ends[0][0] in engine.refused("NetworkDriver.DeleteNetwork", NetworkID=network)
    for space, (endpoint, addresses, source) in zip(spaces, ends):
        engine.leave(network, endpoint, space, source)
        engine.call("NetworkDriver.DeleteEndpoint", NetworkID=network, EndpointID=endpoint)
        engine.call("NetworkDriver.DeleteEndpoint", NetworkID=network, EndpointID=endpoint)
        for pool, address in zip(pools, addresses):
            engine.call("IpamDriver.ReleaseAddress", PoolID=pool, Address=address.partition("/")[0])
        assert source not in node.namespace.output("ip", "-br", "link")
    engine.call("NetworkDriver.DeleteNetwork", NetworkID=network)
    engine.call("NetworkDriver.DeleteNetwork", NetworkID=network)
    for pool in pools:
        engine.call("IpamDriver.ReleasePool", PoolID=pool)
    assert node.cli("net") == []
    assert [each["name"] for each in node.dataplane_api("GET", "/v1/ports").body["ports"]] == ["uplink"]
    assert not list((node.run_dir / "netns").iterdir())


def test_joined_again_elsewhere(plugin, make_netns):
    """Left and joined again, as a container that is restarted: the interface goes home and out again, to another
    namespace, and is followed each time."""
    node, socket = plugin
    engine = Engine(node, socket)
    network, pools = engine.network()
    peer = make_netns("peer")
    end, addresses = engine.endpoint(network, pools)
    engine.join(network, end, addresses, peer)
    endpoint, own = engine.endpoint(network, pools)
    for number in range(3):
        space = make_netns(f"n{number}")
        joined = engine.join(network, endpoint, own, space)
        peer.ping(own[0].partition("/")[0], count=1)
        if number == 1:  # control looks once a second: it must not matter whether it has
            process.wait_until(lambda: pods.attachment(node, endpoint)["netns"] == space.path, 10, "control to follow")
        engine.leave(network, endpoint, space, joined["InterfaceName"]["SrcName"])
    process.wait_until(lambda: node.in_sync() and pods.attachment(node, endpoint)["netns"] != space.path, 10,
                       "control to follow home")
    assert len(node.dataplane_api("GET", "/v1/ports").body["ports"]) == 2


def test_pools(plugin):
    """Docker's address management: chosen pools differ, the same request gives the same pool, ranges and addresses are
    kept, over a restart of control, too."""
    node, socket = plugin
    engine = Engine(node, socket)

    def pool(subnet="", part="", v6=False):
        return engine.call("IpamDriver.RequestPool", AddressSpace="viaduct", Pool=subnet, SubPool=part, Options={}, V6=v6)

    def address(pool_id, wanted=""):
        return engine.call("IpamDriver.RequestAddress", PoolID=pool_id, Address=wanted, Options={})["Address"]

    first, second, six = pool(), pool(), pool(v6=True)
    assert first["Pool"] != second["Pool"] and first["Pool"].startswith("10.210.") and six["Pool"].startswith("fd76:")
    named = pool("10.93.0.0/24", "10.93.0.128/30")
    assert pool("10.93.0.0/24", "10.93.0.128/30") == named
    assert [address(named["PoolID"]) for _ in range(2)] == ["10.93.0.128/24", "10.93.0.129/24"]
    assert address(named["PoolID"], "10.93.0.1") == "10.93.0.1/24"
    node.kill_control()
    node.start_control()
    for wanted, part in (("10.93.0.1", "holds it"), ("10.93.0.255", "no range"), ("10.94.0.1", "no range"), ("x", "not an IP")):
        assert part in engine.refused("IpamDriver.RequestAddress", PoolID=named["PoolID"], Address=wanted, Options={})
    assert [address(named["PoolID"]) for _ in range(2)] == ["10.93.0.130/24", "10.93.0.131/24"]
    assert "no address left" in engine.refused("IpamDriver.RequestAddress", PoolID=named["PoolID"], Address="", Options={})
    engine.call("IpamDriver.ReleaseAddress", PoolID=named["PoolID"], Address="10.93.0.128")
    assert address(named["PoolID"]) == "10.93.0.128/24"
    engine.call("IpamDriver.ReleasePool", PoolID=named["PoolID"])
    address(named["PoolID"], "10.93.0.9")  # the other request still has it
    engine.call("IpamDriver.ReleasePool", PoolID=named["PoolID"])
    assert "not a pool" in engine.refused("IpamDriver.RequestAddress", PoolID=named["PoolID"], Address="", Options={})
    assert address(pool("10.93.0.0/24", "10.93.0.128/30")["PoolID"], "10.93.0.9") == "10.93.0.9/24"  # with it went its leases
    assert "part of" in engine.refused("IpamDriver.RequestPool", AddressSpace="viaduct", Pool="", SubPool="10.0.0.0/24", V6=False)
    assert "no part" in engine.refused("IpamDriver.RequestPool", AddressSpace="x", Pool="10.1.0.0/24", SubPool="10.2.0.0/25")


def test_hostile_requests(plugin):
    """Nothing that Docker would not say does more than be refused in a sentence."""
    node, socket = plugin
    engine = Engine(node, socket)
    network, pools = engine.network("10.95.0.0/24")
    for method, members in (
            ("NetworkDriver.Nonsense", {}), ("../../v1/config", {}), ("NetworkDriver.CreateNetwork", {}),
            ("NetworkDriver.CreateNetwork", {"NetworkID": "../x", "IPv4Data": []}),
            ("NetworkDriver.CreateNetwork", {"NetworkID": network, "IPv4Data": [{"Pool": "10.96.0.0/24"}]}),
            ("NetworkDriver.CreateNetwork", {"NetworkID": "a" * 64, "IPv4Data": [{"Pool": "10.95.0.0/16"}]}),
            ("NetworkDriver.CreateNetwork", {"NetworkID": "a" * 64, "IPv4Data": [7]}),
            ("NetworkDriver.CreateNetwork", {"NetworkID": "a" * 64, "IPv4Data": [{"Pool": "0.0.0.0/0"}]}),
            ("NetworkDriver.CreateNetwork", {"NetworkID": "a" * 64, "IPv4Data": [{"Pool": "10.96.0.0/24"}],
                                             "Options": {"com.docker.network.generic": {"parent": "eth0"}}}),
            ("NetworkDriver.CreateNetwork", {"NetworkID": "a" * 64, "IPv4Data": [{"Pool": "10.96.0.0/24"}],
                                             "Options": {"com.docker.network.generic": {"mtu": "99999999999999999999"}}}),
            ("NetworkDriver.CreateEndpoint", {"NetworkID": "b" * 64, "EndpointID": "c" * 64}),
            ("NetworkDriver.CreateEndpoint", {"NetworkID": "", "EndpointID": "c" * 64}),
            ("NetworkDriver.CreateEndpoint", {"NetworkID": network, "EndpointID": "/../x"}),
            ("NetworkDriver.CreateEndpoint", {"NetworkID": network, "EndpointID": "c" * 64,
                                              "Interface": {"Address": "10.99.0.1/24"}}),
            ("NetworkDriver.CreateEndpoint", {"NetworkID": network, "EndpointID": "c" * 64,
                                              "Interface": {"Address": "10.95.0.9/24", "MacAddress": "ff:ff:ff:ff:ff:ff"}}),
            ("NetworkDriver.Join", {"NetworkID": network, "EndpointID": "c" * 64, "SandboxKey": "/x"}),
            ("NetworkDriver.Leave", {"NetworkID": network, "EndpointID": "c/" * 32}),
            ("NetworkDriver.EndpointOperInfo", {"NetworkID": network, "EndpointID": 7}),
            ("NetworkDriver.ProgramExternalConnectivity", {"NetworkID": network, "EndpointID": "c" * 64, "Options": []}),
            ("IpamDriver.ReleaseAddress", {"PoolID": "x", "Address": "10.95.0.1"}),
            ("IpamDriver.RequestPool", {"Pool": "10.95.0.1/24"})):
        assert engine.refused(method, **members), (method, members)
    for body in (b"", b"{", b"[]", b"\xff", b"{" * 100000, b'{"NetworkID": ' + b"1" * 2000000 + b"}"):
        answer = daemons.http_request(socket, "POST", "/NetworkDriver.CreateNetwork", body)
        assert answer.status >= 400 and answer.body["Err"], (body[:20], answer)
    assert len(node.cli("net")) == 1 and node.dataplane_api("GET", "/v1/ports").body["ports"] == []
