"""Peers that mean harm: on the vhost-user socket, in the rings, and at the API sockets. Each is refused or
cut off, and two tap pods that ping each other meanwhile lose nothing."""
import contextlib
import os
import random
import signal
import socket
import struct
import time

import pytest

from viaduct import daemons, pods, process, testpmd, vhost_peer
from viaduct.vhost_peer import FROM_PORT, INDIRECT, NEXT, TO_PORT, WRITE, VhostPeer

BROADCAST = bytes.fromhex("ffffffffffff" "020000000042" "88b5") + bytes(46)


@pytest.fixture
def scene(make_node, make_netns, directory):
    """A node with a vhost-user port on which the dataplane listens, and bystanders that ping."""
    scene = Scene(make_node(), make_netns, directory)
    with scene.attached.bystanders():
        yield scene
        assert scene.node.dataplane.alive() and scene.node.control.alive(), scene.node.logs()
        scene.node.check_ledger()


class Scene:
    def __init__(self, node, make_netns, directory):
        self.node = node
        self.attached = pods.Attached(node, make_netns, directory)
        self.path = node.directory / "hostile.sock"
        self.name = "hostile"
        self.space = make_netns("other")
        pods.change(node, {"bridges": [{"name": "br-hostile"}], "ports": [
            {"name": self.name, "kind": "vhost-user", "path": str(self.path), "mode": "server",
             "bridge": "br-hostile"},
            {"name": "other", "kind": "tap", "ifname": "other0", "netns": self.space.path,
             "bridge": "br-hostile"}]})
        self.space.run("ip", "addr", "add", "10.64.0.1/24", "dev", "other0")
        self.space.run("ip", "neigh", "add", "10.64.0.2", "lladdr", "02:00:00:00:64:02", "dev", "other0")

    def peer(self, **options):
        return VhostPeer(self.path, **options)

    def flood(self):
        """A frame that the dataplane has to write into the peer's memory."""
        self.space.run("ping", "-n", "-c2", "-i0.01", "-W0.01", "10.64.0.2", check=False)

    def open_descriptors(self):
        return len(os.listdir(f"/proc/{self.node.dataplane.pid}/fd"))

    def fresh(self):
        """A connection that has agreed on features, and nothing else. A second one is refused while the
        dataplane has not noticed the end of the first."""
        return self._begin(lambda peer: peer.negotiate())

    def honest(self, **options):
        """A connection that is served."""
        return self._begin(
            lambda peer: (peer.handshake(), pods.wait_link(self.node, self.name, timeout=5)), **options)

    def _begin(self, how, **options):
        peer = self.peer(**options)
        try:
            how(peer)
            return peer
        except BaseException:
            peer.close()
            raise

    def check_served(self):
        """An honest peer can use the port."""
        before = pods.port(self.node, self.name)["counters"]["rx_packets"]
        with process.wait_until(self.honest, 10, "the port to serve an honest peer") as peer:
            peer.send_frame(BROADCAST)
            # The counter alone may be late with a frame of the one before.
            process.wait_until(lambda: peer.used(TO_PORT) == 1, 10, "the honest peer's frame to be taken")
            process.wait_until(
                lambda: pods.port(self.node, self.name)["counters"]["rx_packets"] > before, 10,
                "the honest peer's frame to be counted")


@pytest.fixture(params=[False, True], ids=["small-pages", "huge-pages"])
def huge(request):
    """Whether the guest's memory is of huge pages."""
    if request.param and testpmd.free_huge_megabytes() < 600:  # the dataplane's, and some
        pytest.skip("needs 600 MB of free huge pages")
    return request.param


def test_peer_truncates_its_memory(scene, huge):
    """Reading it raises SIGBUS in the worker then."""
    with scene.honest(huge=huge) as peer:
        peer.offer_buffers()
        peer.truncate()
        peer.wait_hung_up()
    scene.node.dataplane.wait_log("truncated", 5)
    assert "truncated" in pods.port(scene.node, scene.name)["detail"]
    scene.check_served()
    assert "truncated" not in pods.port(scene.node, scene.name)["detail"]


def test_peer_shares_less_memory_than_it_says(scene):
    """The file was never as long as the region: librte_vhost's own thread is the first to touch it."""
    with scene.peer() as peer:
        peer.truncate()
        with contextlib.suppress(OSError):  # it hangs up in the middle of this
            peer.handshake()
        peer.wait_hung_up()
    scene.check_served()


def test_peer_truncates_its_memory_before_the_rings_are_there(scene, huge):
    """A file of huge pages is as long as its mapping, until it is truncated after that."""
    with scene.peer(huge=huge) as peer:
        with contextlib.suppress(OSError):
            peer.negotiate()
            peer.set_memory()
            peer.ask(vhost_peer.GET_FEATURES)  # an answer: the memory is mapped
            peer.truncate()
            peer.set_ring(FROM_PORT)
        peer.wait_hung_up()
    scene.node.dataplane.wait_log("truncated", 5)
    scene.check_served()


def test_memory_is_truncated_again_and_again(scene):
    """While frames go to and fro."""
    for _ in range(30):
        with process.wait_until(scene.honest, 10, "a connection") as peer:
            peer.offer_buffers()
            for slot in range(32):
                peer.send_frame(BROADCAST, slot)
            peer.truncate()
            peer.wait_hung_up()
    scene.check_served()


def test_another_bus_error_ends_the_process(make_node):
    """So that a fault of ours is not hidden."""
    node = make_node()
    os.kill(node.dataplane.pid, signal.SIGBUS)
    assert node.dataplane.wait_end(10) == -signal.SIGBUS


def test_peer_truncates_under_its_rings_alone(scene):
    """Half of it stays: the rings do, what they point at does not."""
    with scene.honest() as peer:
        peer.truncate(0x90000)
        peer.put_descriptor(TO_PORT, 0, 0x90000, 72)
        peer.offer(TO_PORT, [0])
        peer.wait_hung_up()
    scene.check_served()


def test_peer_replaces_its_memory_by_less(scene):
    """The rings are in use already: librte_vhost reads them while it carries the message out, and a worker
    as soon as it has."""
    for _ in range(20):
        with process.wait_until(scene.honest, 10, "a connection") as peer, vhost_peer.short_file() as short:
            # The same places again would change nothing.
            with contextlib.suppress(ConnectionError):
                peer.set_memory(fd=short, size=2 << 20)
            peer.wait_hung_up()
    scene.check_served()


def test_peer_replaces_its_memory_and_truncates_that(scene, huge):
    """What was shared first is of no account any more."""
    for _ in range(5):
        with process.wait_until(lambda: scene.honest(huge=huge), 10, "a connection") as peer:
            peer.replace_memory(2 * vhost_peer.HUGE_PAGE)
            peer.offer_buffers()
            peer.send_frame(BROADCAST)
            process.wait_until(lambda: peer.used(TO_PORT) == 1, 10, "the frame to be taken")
            peer.truncate()
            peer.wait_hung_up()
    scene.node.dataplane.wait_log("truncated", 5)
    scene.check_served()


@pytest.mark.parametrize("flags", [1, 9], ids=["unasked", "asking-for-a-reply"])
def test_peer_replaces_its_memory_by_what_cannot_be_mapped(scene, flags):
    """Its rings would be left pointing at memory that is unmapped."""
    directory = os.open(scene.node.directory, os.O_RDONLY)
    try:
        for size, offset in ((2 << 20, 0), (0, 0), (2 << 20, (1 << 64) - 1), (1 << 62, 0)):
            with process.wait_until(scene.honest, 10, "a connection") as peer:
                fd = directory if (size, offset) == (2 << 20, 0) else peer.file
                with contextlib.suppress(ConnectionError):
                    peer.send(vhost_peer.SET_MEM_TABLE,
                              struct.pack("<IIQQQQ", 1, 0, 0, size, vhost_peer.USER_BASE, offset), [fd], flags)
                    scene.flood()
                peer.wait_hung_up()
    finally:
        os.close(directory)
    scene.check_served()


def use_a_ring_without_size(peer):
    peer.ask_base(TO_PORT)
    peer.set_ring_address(TO_PORT)
    peer.start_ring(TO_PORT)


def begin_with_a_ring_without_size(peer):
    for ring in (FROM_PORT, TO_PORT):
        peer.ask_base(ring)
    peer.send(vhost_peer.RESET_OWNER)
    peer.negotiate()
    peer.set_memory(size=peer.size - 4096)
    for ring in (FROM_PORT, TO_PORT):
        peer.set_ring_address(ring)
        peer.start_ring(ring)


def change_the_form(peer):
    """The half of a ring that a packed one needs is shorter than that of a split one."""
    for ring in (FROM_PORT, TO_PORT):
        peer.ask_base(ring)
    peer.set_ring(FROM_PORT)
    peer.send(vhost_peer.SET_FEATURES, struct.pack("<Q", peer.features | vhost_peer.PACKED))


def packed_that_begins_after_its_end(peer):
    for ring in (FROM_PORT, TO_PORT):
        peer.ask_base(ring)
    peer.send(vhost_peer.SET_FEATURES, struct.pack("<Q", peer.features | vhost_peer.PACKED))
    for ring in (FROM_PORT, TO_PORT):
        peer.set_ring(ring, base=0x7ff0)


MISUSES = {
    "size-grows": lambda peer: peer.send(vhost_peer.SET_VRING_NUM, struct.pack("<II", TO_PORT, 32768), flags=9),
    "size-is-none": lambda peer: peer.send(vhost_peer.SET_VRING_NUM, struct.pack("<II", TO_PORT, 0), flags=9),
    "size-forgotten": use_a_ring_without_size, "size-never-said": begin_with_a_ring_without_size,
    "form-changes": change_the_form, "begins-after-its-end": packed_that_begins_after_its_end,
    "ends-outside": lambda peer: peer.set_ring_address(TO_PORT, place=peer.size - 512),
    "memory-ends-before": lambda peer: peer.set_memory(size=0x60400),
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES.keys())
def test_peer_uses_a_ring_beside_its_memory(scene, misuse):
    """Each would make a worker read or write where nothing is, or what is another's."""
    with scene.honest() as peer:
        with contextlib.suppress(ConnectionError):
            misuse(peer)
            peer.offer(TO_PORT, [0])
            scene.flood()
        peer.wait_hung_up()
    scene.node.dataplane.wait_log("the peer was cut off", 5)
    scene.check_served()


def test_peer_begins_a_packed_ring_where_a_split_one_would(scene):
    """A split ring's place may be any number, a packed one's is an entry of it."""
    with process.wait_until(scene.fresh, 10, "a connection") as peer:
        for ring in (FROM_PORT, TO_PORT):
            peer.send(vhost_peer.SET_VRING_BASE, struct.pack("<II", ring, 40000))
        peer.send(vhost_peer.SET_FEATURES, struct.pack("<Q", peer.features | vhost_peer.PACKED))
        peer.set_memory()
        for ring in (FROM_PORT, TO_PORT):
            peer.send(vhost_peer.SET_VRING_NUM, struct.pack("<II", ring, 8192))
            peer.set_ring_address(ring)
            peer.start_ring(ring)
        pods.wait_link(scene.node, scene.name, timeout=5)
        peer.memory[0:0x80000] = b"\xff" * 0x80000
        scene.flood()
    scene.check_served()


def test_a_driver_that_begins_anew_is_served(scene):
    """As after a guest's reboot, on the same connection, with rings of another size."""
    with scene.honest() as peer:
        for entries in (128, 1024, 256):
            for ring in (FROM_PORT, TO_PORT):
                peer.ask_base(ring)
            peer.begin_anew(entries)
            pods.wait_link(scene.node, scene.name, timeout=5)
            peer.send_frame(BROADCAST)
            process.wait_until(lambda: peer.used(TO_PORT) == 1, 10, "the frame to be taken")


def test_peer_adds_and_removes_memory_while_it_is_used(scene):
    """Region by region, which librte_vhost 22.11 does not do: the connection ends."""
    for remove in (False, True):
        with process.wait_until(scene.honest, 10, "a connection") as peer, vhost_peer.short_file() as short:
            peer.put_descriptor(TO_PORT, 0, 1 << 20, 256)
            peer.offer(TO_PORT, [0] * 64)
            if remove:
                peer.remove_memory(0, 1 << 20)
            else:
                peer.add_memory(short, 1 << 20, 1 << 20)
            peer.wait_hung_up()
    scene.check_served()


@pytest.mark.parametrize("request_number", [vhost_peer.SET_LOG_BASE, vhost_peer.SET_INFLIGHT_FD])
def test_peer_offers_other_files_that_are_short(scene, request_number):
    with scene.honest() as peer, vhost_peer.short_file() as short, contextlib.suppress(OSError):
        peer.send(request_number, struct.pack("<QQQ", 1 << 20, 0, 0x01000002), [short])
        peer.send_frame(BROADCAST)
        scene.flood()
        peer.set_ring(TO_PORT)
        peer.wait_hung_up(0.2)
    scene.check_served()


# --- the socket ---

def test_garbage_on_the_socket(scene):
    noise = random.Random(1)
    for _ in range(20):
        with scene.peer() as peer:
            peer.socket.sendall(noise.randbytes(4096))
            peer.wait_hung_up()
    scene.check_served()


def test_messages_that_lie(scene):
    """Sizes, indices and addresses out of range, each on a connection that began well."""
    lies = [
        (vhost_peer.SET_VRING_NUM, struct.pack("<II", 0xffff, 256)),
        (vhost_peer.SET_VRING_NUM, struct.pack("<II", 0, 0xffffffff)),
        (vhost_peer.SET_VRING_NUM, struct.pack("<II", 0, 255)),
        (vhost_peer.SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, *[0xdeadbeef00000000] * 3, 0)),
        (vhost_peer.SET_VRING_ADDR, struct.pack("<IIQQQQ", 7000, 0, 0, 0, 0, 0)),
        (vhost_peer.SET_MEM_TABLE, struct.pack("<II", 0xffffffff, 0)),
        (vhost_peer.SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, 1 << 63, 0, 1 << 63)),
        (vhost_peer.SET_FEATURES, struct.pack("<Q", 0xffffffffffffffff)),
        (vhost_peer.SET_VRING_ENABLE, struct.pack("<II", 300, 1)),
        (vhost_peer.SET_VRING_BASE, struct.pack("<II", 0xffffffff, 0)),
        (4096, b""),
    ]
    for request, payload in lies:
        with process.wait_until(scene.fresh, 10, "a connection") as peer:
            peer.send(request, payload)
            # Some end the connection, others are refused and leave it as it was.
            peer.socket.settimeout(0.1)
            with contextlib.suppress(OSError):
                peer.socket.recv(1)
    scene.check_served()


def test_half_a_message_holds_up_nobody(scene):
    """librte_vhost has one thread for all connections; this one may wait for a bounded time."""
    with scene.peer() as peer:
        peer.socket.sendall(b"\x01\x00")
        pods.change(scene.node, {"ports": [
            {"name": "second", "kind": "vhost-user", "path": str(scene.node.directory / "second.sock"),
             "mode": "server", "bridge": "br-hostile"}]})
        with VhostPeer(scene.node.directory / "second.sock") as second:
            second.handshake()
            pods.wait_link(scene.node, "second", timeout=10)
    scene.check_served()


def test_descriptors_of_the_wrong_type(scene):
    """Directories, pipes, sockets and read-only files for memory and for the rings' signals."""
    reader, writer = os.pipe()
    left, right = socket.socketpair()
    directory = os.open(scene.node.directory, os.O_RDONLY)
    empty = os.open("/dev/null", os.O_RDONLY)
    try:
        for fd in (reader, writer, left.fileno(), directory, empty):
            with process.wait_until(scene.fresh, 10, "a connection") as peer, \
                    contextlib.suppress(ConnectionError):
                peer.set_memory(fd=fd)
                peer.wait_hung_up(0.2)
        for fd in (writer, left.fileno(), directory, empty):
            with process.wait_until(scene.fresh, 10, "a connection") as peer, \
                    contextlib.suppress(ConnectionError, TimeoutError):
                peer.set_memory()
                peer.eventfds, kept = [fd] * 4, peer.eventfds
                try:
                    for ring in (FROM_PORT, TO_PORT):
                        peer.set_ring(ring)
                    peer.wait_hung_up(0.2)
                finally:
                    peer.eventfds = kept
    finally:
        for fd in (reader, writer, directory, empty):
            os.close(fd)
        left.close(), right.close()
    scene.check_served()


def test_connections_that_come_and_go(scene):
    """200 at once and without a word, and 200 that get to the point where they are served."""
    open_before = scene.open_descriptors()
    for _ in range(200):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(scene.path))
    for _ in range(200):
        with contextlib.suppress(OSError), scene.peer(size=1 << 20) as peer:
            peer.handshake()
    scene.check_served()
    process.wait_until(lambda: scene.open_descriptors() <= open_before, 10, "its descriptors to be closed",
                       tell=lambda: f"{open_before} before, {scene.open_descriptors()} after")


def test_peer_that_listens_and_hangs_up(scene):
    """It is tried ever more seldom, and a pod that takes its place is found at once."""
    path = scene.node.directory / "listener.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        pods.change(scene.node, {"ports": [
            {"name": "client", "kind": "vhost-user", "path": str(path), "bridge": "br-hostile"}]})
        count, end = 0, time.monotonic() + 1
        while (left := end - time.monotonic()) > 0:
            listener.settimeout(left)
            with contextlib.suppress(TimeoutError):
                listener.accept()[0].close()
                count += 1
        assert 2 < count < 50
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(5)
        listener.accept()[0].close()


# --- the rings ---

def bad_chains():
    """(name, what is laid into the ring to the port)."""
    def one(address, length, flags=0, following=0):
        return lambda peer: peer.put_descriptor(TO_PORT, 0, address, length, flags, following)

    def loop(peer):
        for slot in range(4):
            peer.put_descriptor(TO_PORT, slot, 0x90000, 64, NEXT, (slot + 1) % 4)

    def long_chain(peer):
        for slot in range(255):
            peer.put_descriptor(TO_PORT, slot, 0x90000, 0xfff, NEXT, slot + 1)
        peer.put_descriptor(TO_PORT, 255, 0x90000, 0xfff)

    return [
        ("address-outside", one(0xffffffff00000000, 128)), ("address-wraps", one(0xffffffffffffff80, 0x100)),
        ("length-huge", one(0x90000, 0xffffffff)), ("ends-outside", one((1 << 20) - 64, 4096)),
        ("empty", one(0x90000, 0)), ("header-alone", one(0x90000, 12)), ("less-than-header", one(0x90000, 5)),
        ("next-outside", one(0x90000, 64, NEXT, 0xffff)), ("loop", loop), ("long-chain", long_chain),
        ("writable", one(0x90000, 128, WRITE)), ("indirect", one(0x90000, 0xffff, INDIRECT)),
        ("indirect-outside", one(0xffffffff00000000, 16, INDIRECT)),
    ]


def test_garbage_in_the_rings(scene):
    """Each is refused or read as the frame that it may be taken for; the port goes on, or the peer is cut
    off."""
    for name, lay in bad_chains():
        for index in (None, 0x8000):  # as many as there are; more than the ring has
            with process.wait_until(scene.honest, 10, f"a connection before {name}") as peer:
                lay(peer)
                peer.offer(TO_PORT, [0] * 4, index)
                peer.put_descriptor(FROM_PORT, 0, 0xfffffffffff00000, 0xffffffff, WRITE)
                peer.offer(FROM_PORT, [0, 0xffff], index)
                scene.flood()
    scene.check_served()


def test_random_rings(scene):
    """Every byte of the shared memory is noise, and changes while it is read."""
    noise = random.Random(2)
    with process.wait_until(scene.honest, 10, "a connection") as peer:
        for _ in range(30):
            peer.memory[0:0x80000] = noise.randbytes(0x80000)
            os.eventfd_write(peer.eventfds[2 + TO_PORT], 1)
            scene.flood()
    scene.check_served()


def test_malformed_frames_are_counted_by_reason(scene):
    """What no kernel interface would send: a peer writes its frames itself."""
    tag = bytes.fromhex("8100")
    pods.change(scene.node, {"bridges": [{"name": "br-hostile", "vlan_filtering": True}]})
    with scene.honest() as peer:
        for number, (wrong, reason) in enumerate([
                (b"\xff" * 10, "runt"), (BROADCAST[:13], "runt"), (BROADCAST + bytes(1500), "oversize"),
                (BROADCAST[:12] + tag, "bad_vlan"),
                (BROADCAST[:12] + tag + b"\x0f\xff" + bytes(60), "bad_vlan"),
                (BROADCAST[:12] + tag + b"\x00\x63" + bytes(60), "vlan_not_allowed"),
                (BROADCAST[:6] + BROADCAST, "bad_source")]):
            before = pods.drops(scene.node, scene.name).get(reason, 0)
            peer.send_frame(wrong, number)
            pods.wait_drop(scene.node, scene.name, reason, before + 1)


# --- the API sockets ---

GARBAGE = [
    b"\x00" * 4096, b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
    b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/config/changes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
    b"POST /v1/config/changes HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100000,
    b"GET /v1/info HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n", b"\xff\xfe\r\n\r\n", b"POST",
]


@pytest.mark.parametrize("which", ["dataplane", "control"])
def test_garbage_at_the_api(scene, which):
    path = getattr(scene.node, f"{which}_socket")
    noise = random.Random(3)
    before = scene.node.dataplane_api("GET", "/v1/config").body
    for text in [*GARBAGE, *(noise.randbytes(2000) for _ in range(20))]:
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(ConnectionError, TimeoutError):
            connection.settimeout(0.2)
            connection.connect(str(path))
            connection.sendall(text)
            answer = connection.recv(65536)
            assert not answer or answer.startswith(b"HTTP/1.1 4"), answer
    for body in (b"{", b"[]", b'{"put": 7}', b'{"unknown": {}}', b"[" * 5000 + b"]" * 5000, b"\x00"):
        place = "/v1/transactions" if which == "dataplane" else "/v1/config/changes"
        answer = daemons.http_request(path, "POST", place, body)
        assert answer.status == 400 and answer.body["error"], answer
    assert scene.node.dataplane_api("GET", "/v1/config").body == before
