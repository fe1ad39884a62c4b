"""The guest's side of a vhost-user socket, written out so that it can be wrong in every way: it makes the
handshake with a memfd as its memory, and lays descriptors, honest or not, into split rings (virtio 1.2, 2.7;
the vhost-user protocol is in QEMU's docs/interop/vhost-user.rst)."""
import contextlib
import mmap
import os
import socket
import struct

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE = 1, 2, 3, 4, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL = 12, 13
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE = 15, 16, 18
SET_LOG_BASE, SET_INFLIGHT_FD, ADD_MEM_REG, REM_MEM_REG = 6, 32, 37, 38

FROM_PORT, TO_PORT = 0, 1  # rings
NEXT, WRITE, INDIRECT = 1, 2, 4  # flags of a descriptor

HUGE_PAGE = 2 << 20
_VERSION_1, _PROTOCOL_FEATURES, _MERGEABLE = 1 << 32, 1 << 30, 1 << 15
_FLAGS = 1  # protocol version
PACKED = 1 << 34
USER_BASE = 0x10000000  # where the guest's memory is in the peer's own addresses, as it says
_HEADER = 12  # of virtio-net


@contextlib.contextmanager
def short_file():
    """A file without a byte, to be shared as memory of any size."""
    file = os.memfd_create("vd-short")
    try:
        yield file
    finally:
        os.close(file)


class VhostPeer:
    """One connection with one queue pair. `memory` is the guest's, from guest address 0; with `huge`, of
    pages of 2 MB."""

    def __init__(self, path, size=1 << 20, entries=256, huge=False):
        self.entries, self.size = entries, HUGE_PAGE if huge else size
        size = self.size
        self.file = os.memfd_create("vd-guest", os.MFD_HUGETLB if huge else 0)
        os.ftruncate(self.file, size)
        self.memory = mmap.mmap(self.file, size)
        self.eventfds = [os.eventfd(0) for _ in range(4)]
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.next_slot = [0, 0]

    # --- messages ---

    def send(self, request, payload=b"", fds=(), flags=_FLAGS):
        data = struct.pack("<III", request, flags, len(payload)) + payload
        if fds:
            socket.send_fds(self.socket, [data], list(fds))
        else:
            self.socket.sendall(data)

    def ask(self, request, payload=b""):
        self.send(request, payload)
        header = self._receive(12)
        size = struct.unpack("<III", header)[2]
        return struct.unpack("<Q", self._receive(size))[0]

    def _receive(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the dataplane hung up")
            data += part
        return data

    def set_memory(self, fd=None, size=None):
        region = struct.pack("<QQQQ", 0, size or self.size, USER_BASE, 0)
        self.send(SET_MEM_TABLE, struct.pack("<II", 1, 0) + region, [self.file if fd is None else fd])

    def replace_memory(self, size):
        """By another file of ordinary pages that begins with the same."""
        old, self.file = self.file, os.memfd_create("vd-guest")
        os.ftruncate(self.file, size)
        fresh = mmap.mmap(self.file, size)
        fresh[:self.size] = self.memory[:]
        self.memory.close()
        self.memory, self.size = fresh, size
        self.set_memory()
        os.close(old)

    def add_memory(self, fd, address, size):
        """One more region, beside those of set_memory(), whatever was agreed on."""
        self.send(ADD_MEM_REG, struct.pack("<QQQQQ", 0, address, size, USER_BASE + address, 0), [fd])

    def remove_memory(self, address, size):
        self.send(REM_MEM_REG, struct.pack("<QQQQQ", 0, address, size, USER_BASE + address, 0))

    def set_ring(self, ring, base=0):
        """Its place, its descriptors and its start."""
        self.send(SET_VRING_NUM, struct.pack("<II", ring, self.entries))
        self.send(SET_VRING_BASE, struct.pack("<II", ring, base))
        self.set_ring_address(ring)
        self.start_ring(ring)

    def start_ring(self, ring):
        self.send(SET_VRING_CALL, struct.pack("<Q", ring), [self.eventfds[ring]])
        self.send(SET_VRING_KICK, struct.pack("<Q", ring), [self.eventfds[2 + ring]])
        self.send(SET_VRING_ENABLE, struct.pack("<II", ring, 1))

    def ask_base(self, ring):
        """Stops the ring: only set_ring() starts it again."""
        return self.ask(GET_VRING_BASE, struct.pack("<II", ring, 0)) >> 32

    def begin_anew(self, entries):
        """Rings of another size and without anything in them."""
        self.entries, self.next_slot = entries, [0, 0]
        self.memory[0:0x80000] = bytes(0x80000)
        for ring in (FROM_PORT, TO_PORT):
            self.set_ring(ring)

    def set_ring_address(self, ring, place=None):
        """`place`: where the used entries are instead."""
        descriptors, available, used = (USER_BASE + each for each in self._places(ring))
        used = used if place is None else USER_BASE + place
        self.send(SET_VRING_ADDR, struct.pack("<IIQQQQ", ring, 0, descriptors, used, available, 0))

    def negotiate(self):
        self.send(SET_OWNER)
        offered = self.ask(GET_FEATURES)
        wanted = offered & (_VERSION_1 | _PROTOCOL_FEATURES | _MERGEABLE)
        self.features = wanted
        self.send(SET_FEATURES, struct.pack("<Q", wanted))
        self.ask(GET_PROTOCOL_FEATURES)
        self.send(SET_PROTOCOL_FEATURES, struct.pack("<Q", 0))

    def handshake(self):
        self.negotiate()
        self.set_memory()
        for ring in (FROM_PORT, TO_PORT):
            self.set_ring(ring)
        return self

    # --- rings ---

    def _places(self, ring):
        """Descriptors, available and used, from the start of the memory; a quarter of a megabyte a ring."""
        start = ring * 0x40000
        return start, start + 16 * self.entries, start + 0x20000

    def put_descriptor(self, ring, slot, address, length, flags=0, following=0):
        place = self._places(ring)[0] + 16 * slot
        self.memory[place:place + 16] = struct.pack("<QIHH", address, length, flags, following)

    def offer(self, ring, heads, index=None):
        """Makes chains available, the first descriptors of which are `heads`. `index`: what to say instead of
        how many there are."""
        available = self._places(ring)[1]
        for head in heads:
            slot = self.next_slot[ring] % self.entries
            self.memory[available + 4 + 2 * slot:available + 6 + 2 * slot] = struct.pack("<H", head)
            self.next_slot[ring] += 1
        said = self.next_slot[ring] if index is None else index
        self.memory[available + 2:available + 4] = struct.pack("<H", said & 0xffff)
        os.eventfd_write(self.eventfds[2 + ring], 1)

    def used(self, ring):
        """How many chains the port has given back."""
        used = self._places(ring)[2]
        return struct.unpack("<H", self.memory[used + 2:used + 4])[0]

    def send_frame(self, frame, slot=0):
        """An honest frame."""
        place = 0x90000 + 0x800 * slot
        data = bytes(_HEADER) + frame
        self.memory[place:place + len(data)] = data
        self.put_descriptor(TO_PORT, slot, place, len(data))
        self.offer(TO_PORT, [slot])

    def offer_buffers(self, count=64):
        """Honest room for what the port sends."""
        for slot in range(count):
            self.put_descriptor(FROM_PORT, slot, 0xb0000 + 0x800 * slot, 0x800, WRITE)
        self.offer(FROM_PORT, range(count))

    def truncate(self, size=0):
        os.ftruncate(self.file, size)

    def wait_hung_up(self, timeout=10):
        """Returns when the other side has closed the connection."""
        self.socket.settimeout(timeout)
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionError:
            pass

    def close(self):
        self.socket.close()
        self.memory.close()
        for fd in (self.file, *self.eventfds):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
