"""Hosts of routed networks: namespaces with Linux's stack, each on a tap port of a bridge whose router interface is
its gateway, in both families. And sockets in namespaces, opened by the test itself."""
import contextlib
import ipaddress
import json
import os
import socket
import threading

from . import process

FAMILIES = (4, 6)
SOCKET_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_CLONE_NEWNET = 0x40000000


class Network:
    """A bridge with a router interface of the same name, whose addresses are the first of each prefix. `settings`: of
    the interface."""

    def __init__(self, name, v4, v6, **settings):
        self.name, self.bridge, self.settings = name, f"br-{name}", settings
        self.prefix = {4: ipaddress.ip_network(v4), 6: ipaddress.ip_network(v6)}
        self.gateway = {family: str(prefix[1]) for family, prefix in self.prefix.items()}

    def interface(self, **settings):
        addresses = [f"{self.gateway[family]}/{self.prefix[family].prefixlen}" for family in FAMILIES]
        return {"name": self.name, "bridge": self.bridge, "addresses": addresses, **self.settings, **settings}


class Host:
    """`gateway` off: it knows its own network and nothing else."""

    def __init__(self, space, network, number, gateway=True):
        self.space, self.network, self.number, self.gateway = space, network, number, gateway
        self.port = f"{network.name}-{number}"
        self.address = {family: str(prefix[number]) for family, prefix in network.prefix.items()}
        self.mac = f"02:00:00:00:{sum(network.name.encode()) & 0xff:02x}:{number:02x}"

    def port_object(self):
        return {"name": self.port, "kind": "tap", "ifname": "eth0", "netns": self.space.path, "mac": self.mac,
                "bridge": self.network.bridge}

    def up(self):
        self.space.run("sh", "-c", "for f in accept_dad accept_ra; do echo 0 >/proc/sys/net/ipv6/conf/eth0/$f; done")
        for family in FAMILIES:
            prefix = self.network.prefix[family]
            nodad = ["nodad"] if family == 6 else []
            self.space.run("ip", "addr", "add", f"{self.address[family]}/{prefix.prefixlen}", "dev", "eth0", *nodad)
        self.space.run("ip", "link", "set", "eth0", "up")
        for family in FAMILIES if self.gateway else ():
            self.space.run("ip", f"-{family}", "route", "add", "default", "via", self.network.gateway[family])
        return self

    def ping(self, address, *options, count=1):
        """One that may fail: CompletedProcess."""
        return self.space.run("ping", "-n", "-c", count, "-i0.1", "-W", 2, *options, address, check=False)


def objects(hosts, **more):
    """What a transaction puts for these hosts and their networks; `more` replaces or adds."""
    networks = {host.network.name: host.network for host in hosts}.values()
    return {"bridges": [{"name": network.bridge} for network in networks],
            "interfaces": [network.interface() for network in networks],
            "ports": [host.port_object() for host in hosts], **more}


# --- sockets in namespaces ---

@contextlib.contextmanager
def inside(space):
    """The calling thread is in the namespace meanwhile; what it opens there stays there."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        with open(space.path) as there:
            _setns(there.fileno())
        try:
            yield
        finally:
            _setns(own)
    finally:
        os.close(own)


def _setns(descriptor):
    if process._libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise process.Failed("setns was refused")


def open_socket(host, family, kind=socket.SOCK_STREAM, timeout=20):
    with inside(host.space):
        opened = socket.socket(SOCKET_FAMILY[family], kind)
    opened.settimeout(timeout)
    return opened


def listen(host, family, port, backlog=4096):
    listener = open_socket(host, family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with inside(host.space):
        listener.bind((host.address[family], port))
        listener.listen(backlog)
    return listener


def connect(host, family, address, port, timeout=20):
    opened = open_socket(host, family, timeout=timeout)
    try:
        opened.connect((address, port))
    except BaseException:
        opened.close()
        raise
    return opened


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(min(65536, size - len(data)))
        if not part:
            raise process.Failed(f"the connection ended after {len(data)} of {size} bytes")
        data += part
    return data


class EchoServer:
    """TCP: sends back what it gets, one connection after another; `peers` are the addresses that it saw. A `with`."""

    def __init__(self, host, family, port):
        self.listener = listen(host, family, port)
        self.peers = []
        self.served = None  # the connection that it is at
        self.thread = threading.Thread(target=self._serve)

    def _serve(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # shut down
            self.peers.append(peer[0])
            self.served = connection
            with connection:
                connection.settimeout(20)
                with contextlib.suppress(OSError):
                    while data := connection.recv(65536):
                        connection.sendall(data)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        # Its client may be one that nobody hears any more.
        if self.served:
            with contextlib.suppress(OSError):
                self.served.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


def exchange(connection, data):
    """Sends `data` to an echo server and reads it back, both at once: it may be more than buffers hold."""
    failure = []

    def send():
        try:
            connection.sendall(data)
        except OSError as error:
            failure.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        back = read_exactly(connection, len(data))
    finally:
        sender.join()
    if failure:
        raise process.Failed(f"sending failed: {failure[0]}")
    if back != data:
        raise process.Failed("what came back is not what was sent")


# --- programs ---

def iperf3(server, client, family, address, *options, seconds=2, log_directory):
    """A client's run against a server that ends with it; the report's `end`."""
    listening = server.space.start("iperf3", "-s", "-1", "--forceflush", log=log_directory / "iperf3-server.log")
    try:
        listening.wait_log("Server listening", 20)
        done = client.space.run("iperf3", f"-{family}", "-c", address, "-t", seconds, "-J", *options,
                                timeout=seconds + 60, check=False)
        report = json.loads(done.stdout)
        if "error" in report:
            raise process.Failed(f"iperf3: {report['error']}")
        return report["end"]
    finally:
        listening.stop()


def traceroute(host, family, address):
    """The routers and at last the address itself, as the hosts name themselves."""
    command = "traceroute" if family == 4 else "traceroute6"
    text = host.space.output("busybox", command, "-n", "-q", "1", "-w", "3", "-m", "5", address)
    hops = [line.split() for line in text.splitlines()[1:]]
    return [words[1] for words in hops if len(words) > 1]
