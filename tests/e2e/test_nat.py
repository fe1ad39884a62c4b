"""Linux hosts through the node's translations: masquerade, port forwarding and its hairpin, what survives a kill of the
dataplane, and what somebody off the path cannot end."""
import contextlib
import json
import resource
import socket

import pytest

from viaduct import hosts, pods, process

INSIDE = hosts.Network("inside", "10.85.0.0/24", "fd85::/64")
OUTSIDE = hosts.Network("outside", "198.51.100.0/24", "2001:db8:100::/64")
MASQUERADES = [{"name": f"inside{family}", "source": str(INSIDE.prefix[family]), "interface": "outside"}
               for family in hosts.FAMILIES]
PORT = 5001
both_families = pytest.mark.parametrize("family", hosts.FAMILIES, ids=["ipv4", "ipv6"])


def masqueraded(make_router, **more):
    """(node, hosts): two inside, a server and a stranger outside, who know their own network and nothing else."""
    wanted = {"inside": (INSIDE, True), "other": (INSIDE, True), "server": (OUTSIDE, False),
              "stranger": (OUTSIDE, False)}
    return make_router(wanted, masquerades=MASQUERADES, **more)


@both_families
def test_masquerade(make_router, directory, family):
    """Ping, TCP and UDP: the server, which has no route inside, sees the node's address."""
    node, made = masqueraded(make_router)
    inside, server = made["inside"], made["server"]
    inside.space.ping(server.address[family], count=10)
    with hosts.EchoServer(server, family, PORT) as echo:
        for number in range(500):
            with hosts.connect(inside, family, server.address[family], PORT) as connection:
                hosts.exchange(connection, f"connection {number}".encode())
        assert echo.peers == [OUTSIDE.gateway[family]] * 500
    with hosts.open_socket(server, family, socket.SOCK_DGRAM) as receiver:
        receiver.bind((server.address[family], PORT))
        for host in (inside, made["other"]):
            with hosts.open_socket(host, family, socket.SOCK_DGRAM) as sender:
                sender.bind((host.address[family], 4444))  # both from the same port
                sender.sendto(host.port.encode(), (server.address[family], PORT))
                data, peer = receiver.recvfrom(100)
                assert data == host.port.encode() and peer[0] == OUTSIDE.gateway[family]
                receiver.sendto(b"answer", peer)
                assert sender.recv(100) == b"answer"
    end = hosts.iperf3(server, inside, family, server.address[family], log_directory=directory)
    assert end["sum_received"]["bytes"] > 1_000_000


@both_families
def test_tcp_gets_through_loss(make_router, family):
    """Each host loses one packet in fifty that it gets: what is sent again goes by the same translation."""
    _, made = masqueraded(make_router)
    inside, server = made["inside"], made["server"]
    tables = {4: "iptables", 6: "ip6tables"}[family]
    for host in (inside, server):
        host.space.run(tables, "-A", "INPUT", "-p", "tcp", "-m", "statistic", "--mode", "random",
                       "--probability", "0.02", "-j", "DROP")
    with hosts.EchoServer(server, family, PORT) as echo:
        with hosts.connect(inside, family, server.address[family], PORT) as connection:
            hosts.exchange(connection, bytes(range(256)) * 8192)
        assert echo.peers == [OUTSIDE.gateway[family]]


@both_families
def test_path_mtu_behind_the_translation(make_router, make_netns, family):
    """A router outside says that its way carries 1300 bytes; the one inside understands, though what the router speaks
    of was translated."""
    node, made = masqueraded(make_router)
    inside, server = made["inside"], made["server"]
    beyond = make_netns("beyond")
    server.space.run("ip", "link", "add", "down0", "mtu", "1300", "type", "veth", "peer", "name", "up0", "mtu", "1300",
                     "netns", beyond.name)
    network, router, address = {4: ("10.95.0.0/24", "10.95.0.1", "10.95.0.2"),
                                6: ("fd95::/64", "fd95::1", "fd95::2")}[family]
    length = network.partition("/")[2]
    nodad = ["nodad"] if family == 6 else []
    for space, interface, own in ((server.space, "down0", router), (beyond, "up0", address)):
        space.run("ip", "addr", "add", f"{own}/{length}", "dev", interface, *nodad)
        space.run("ip", "link", "set", interface, "up")
    forwarding = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}[family]
    server.space.run("sh", "-c", f"echo 1 >/proc/sys/net/{forwarding}")
    beyond.run("ip", f"-{family}", "route", "add", "default", "via", router)
    pods.change(node, {"routes": [{"prefix": network, "next_hops": [
        {"interface": "outside", "via": server.address[family]}]}]})
    inside.space.ping(address)
    told = inside.ping(address, "-s", "1400", "-Mdo")
    assert told.returncode != 0 and "1300" in told.stdout, told.stdout
    inside.space.run("ip", f"-{family}", "route", "flush", "cache")
    far = hosts.Host(beyond, OUTSIDE, 2)
    far.address = {family: address}
    with hosts.EchoServer(far, family, PORT) as echo:
        with hosts.connect(inside, family, address, PORT) as connection:
            hosts.exchange(connection, bytes(range(256)) * 4096)
        assert echo.peers == [OUTSIDE.gateway[family]]
    assert hosts.traceroute(inside, family, address)[-1] == address


@both_families
def test_port_forward_and_hairpin(make_router, family):
    """To an address and port of the node's: from outside, and from the server's own network, itself included."""
    forwards = [{"name": f"{protocol}{each}", "protocol": protocol, "address": OUTSIDE.gateway[each], "port": 8080,
                 "to": str(INSIDE.prefix[each][2]), "to_port": 80}
                for each in hosts.FAMILIES for protocol in ("tcp", "udp")]
    node, made = masqueraded(make_router, port_forwards=forwards)
    inside, stranger = made["inside"], made["stranger"]
    gateway = OUTSIDE.gateway[family]
    assert inside.address[family] == str(INSIDE.prefix[family][2])
    url = f"http://{gateway}:8080/" if family == 4 else f"http://[{gateway}]:8080/"
    page = inside.space.start("busybox", "httpd", "-f", "-p", "80" if family == 4 else "[::]:80", "-h", "/etc",
                              log=node.directory / "httpd.log")
    with page:
        process.wait_until(lambda: inside.space.run("curl", "-s", own_url(inside, family), check=False).stdout, 20,
                           "the server's own page")
        for host in (stranger, made["server"], made["other"], inside):
            text = host.space.output("curl", "-s", "-i", "--max-time", "20", f"{url}hostname")
            assert "200 OK" in text, (host.port, text)
    with hosts.open_socket(inside, family, socket.SOCK_DGRAM) as server:
        server.bind((inside.address[family], 80))
        for host in (stranger, made["other"]):
            with hosts.open_socket(host, family, socket.SOCK_DGRAM) as client:
                client.connect((gateway, 8080))
                client.send(b"question")
                data, peer = server.recvfrom(100)
                assert data == b"question" and peer[0] == host.address[family]
                server.sendto(b"answer", peer)
                assert client.recv(100) == b"answer"
    with pytest.raises(OSError):
        hosts.connect(stranger, family, gateway, 8081, timeout=2)


def own_url(host, family):
    address = host.address[family]
    return f"http://{address}/hostname" if family == 4 else f"http://[{address}]/hostname"


@pytest.fixture
def many_files():
    """Room for some thousands of sockets in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_survive_a_kill_of_the_dataplane(make_router, many_files):
    """kill -9 under 1,000 TCP connections through masquerade, in both families: after its restart all go on."""
    node, made = masqueraded(make_router)
    with contextlib.ExitStack() as stack:
        pairs = []
        for family in hosts.FAMILIES:
            listener = stack.enter_context(hosts.listen(made["server"], family, PORT))
            for number in range(500):
                client = made["inside"] if number % 2 else made["other"]
                near = stack.enter_context(hosts.connect(client, family, made["server"].address[family], PORT))
                far, peer = listener.accept()
                far.settimeout(30)
                assert peer[0] == OUTSIDE.gateway[family]
                pairs.append((near, stack.enter_context(far)))

        def talk(text):
            for number, (near, far) in enumerate(pairs):
                for one, other in ((near, far), (far, near)):
                    one.sendall(f"{text} {number:06}".encode())
            for number, (near, far) in enumerate(pairs):
                for one in (near, far):
                    expected = f"{text} {number:06}".encode()
                    assert hosts.read_exactly(one, len(expected)) == expected

        for near, _ in pairs:
            near.settimeout(30)
        talk("before")
        node.kill_dataplane()
        node.start_dataplane()
        node.wait_in_sync()
        talk("after")
        # From outside first: nothing has refreshed what the translation says.
        node.kill_dataplane()
        node.start_dataplane()
        node.wait_in_sync()
        for number, (near, far) in enumerate(pairs):
            far.sendall(f"{number:06}".encode())
        for number, (near, far) in enumerate(pairs):
            assert hosts.read_exactly(near, 6) == f"{number:06}".encode()


def test_resets_and_errors_from_off_the_path_end_nothing(make_router):
    """The stranger knows addresses and ports, but not the sequence numbers. A flow that a reset ended would be gone a
    second later, and what the server sends then would not get in."""
    node, made = masqueraded(make_router)
    pods.change(node, {"timeouts": {"tcp_close": 1}})
    inside, server, stranger = made["inside"], made["server"], made["stranger"]
    with hosts.listen(server, 4, PORT) as listener, hosts.connect(inside, 4, server.address[4], PORT) as near:
        far, (address, port) = listener.accept()
        with far:
            far.settimeout(20)
            near.sendall(b"hello")
            assert hosts.read_exactly(far, 5) == b"hello"
            send_forged(stranger, OUTSIDE, server.address[4], address, port)
            forget_after_a_second(node, inside, server)
            far.sendall(b"still there")
            assert hosts.read_exactly(near, 11) == b"still there"
            near.sendall(b"so am I")
            assert hosts.read_exactly(far, 7) == b"so am I"


def send_forged(stranger, network, server, address, port):
    """Resets of the whole sequence space's corners, and ICMP errors about a segment that was never sent."""
    from scapy.all import ICMP, IP, TCP, Ether, raw

    mac = stranger.space.output("sh", "-c", f"ping -n -c1 -W5 {network.gateway[4]} >/dev/null; "
                                            f"ip neigh show {network.gateway[4]}").split()
    ethernet = Ether(dst=mac[mac.index("lladdr") + 1], src=stranger.mac)
    packets = [ethernet / IP(src=server, dst=address) / TCP(sport=PORT, dport=port, flags=flags, seq=seq, ack=seq)
               for seq in (0, 1, 2**31, 2**32 - 1) for flags in ("R", "RA")]
    forged = IP(src=address, dst=server) / TCP(sport=port, dport=PORT, flags="A", seq=1)
    packets += [ethernet / IP(src=source, dst=address) / ICMP(type=3, code=code) / forged
                for source in (stranger.address[4], server) for code in (0, 1, 2, 3, 9, 10, 13)]
    with hosts.inside(stranger.space):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind(("eth0", 0))
    with sender:
        for packet in packets:
            sender.send(raw(packet))


def forget_after_a_second(node, inside, server):
    """Waits until a flow that the peer did reset is gone, which had as long to live as a forged one would leave."""
    with hosts.listen(server, 4, PORT + 1) as listener:
        near = hosts.connect(inside, 4, server.address[4], PORT + 1)
        far, _ = listener.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset, in window
        far.close()
        near.close()
    process.wait_until(lambda: not [flow for flow in flows(node) if str(PORT + 1) in json.dumps(flow)], 60,
                       "the end of a flow that was reset")


def flows(node):
    return node.cli("flow", "list")


def test_trace_of_a_masqueraded_connection(make_router):
    node, made = masqueraded(make_router)
    inside, server = made["inside"], made["server"]
    inside.space.ping(server.address[4])
    text = node.cli("trace", "--port", inside.port, "--src", inside.address[4], "--dst", server.address[4],
                    "--proto", "tcp", "--sport", "40000", "--dport", "80", json=False)
    for word in (OUTSIDE.gateway[4], "inside4", server.port, server.mac):
        assert word in text, text
    assert flows(node) == [] or "40000" not in json.dumps(flows(node)), "a trace entered a flow"


def test_trace_of_captured_packets(make_router, directory):
    """pcap and pcapng, and the reason when a file is none."""
    from scapy.all import IP, TCP, UDP, Ether, wrpcap, wrpcapng
    node, made = masqueraded(make_router)
    inside, server = made["inside"], made["server"]
    inside.space.ping(server.address[4])
    gateway = json.loads(inside.space.output("ip", "-j", "neigh", "show", INSIDE.gateway[4]))[0]["lladdr"]
    ether = Ether(src=inside.mac, dst=gateway)
    packets = [ether / IP(src=inside.address[4], dst=server.address[4]) / TCP(sport=40000, dport=80, flags="S"),
               ether / IP(src="127.0.0.1", dst=server.address[4]) / UDP(sport=1, dport=2)]
    for name, write in (("in.pcap", wrpcap), ("in.pcapng", wrpcapng)):
        write(str(directory / name), packets)
        traced = node.cli("trace", "--port", inside.port, "--pcap", directory / name)
        assert [one["decision"] for one in traced] == ["forwarded", "dropped"], traced
        assert traced[0]["port"] == server.port and traced[1]["reason"] == "martian", traced
    (directory / "none").write_text("this is no capture")
    refused = node.cli("trace", "--port", inside.port, "--pcap", directory / "none", check=False)
    assert refused.returncode != 0 and "capture" in refused.stderr, refused
    refused = node.cli("trace", "--pcap", directory / "in.pcap", check=False)
    assert refused.returncode == 2 and "--port" in refused.stderr, refused
