"""A neighbour that speaks LACP (IEEE 802.1AX 6.4) on several cables, written out for machines whose kernel has no
bonding: it answers ARP and pings for one address by the cable that asks."""
import socket
import threading
import time

from . import hosts

_SLOW = 0x8809
_GROUP = "01:80:c2:00:00:02"
_ACTIVE, _SHORT, _AGGREGATES, _SYNC, _COLLECTS, _DISTRIBUTES = 1, 2, 4, 8, 16, 32
EVERY = 0.3  # seconds; the standard's fast rate is one


class Neighbour:
    """On the interfaces `cables` of the namespace `space`, for as long as a `with` lasts."""

    def __init__(self, space, cables, address, mac="02:00:00:00:bb:01"):
        self.address, self.mac = address, mac
        with hosts.inside(space):
            self.sockets = {}
            for cable in cables:
                self.sockets[cable] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                self.sockets[cable].bind((cable, 0))
                self.sockets[cable].settimeout(0.05)
        self.heard = {}  # by cable: the last of the other side
        self.answered = dict.fromkeys(cables, 0)
        self.over = False
        self.threads = [threading.Thread(target=self._serve, args=(cable,)) for cable in cables]

    def _serve(self, cable):
        due = 0
        while not self.over:
            try:
                if time.monotonic() >= due:
                    self.sockets[cable].send(self._lacp(cable))
                    due = time.monotonic() + EVERY
                frame, (_, _, kind, *_) = self.sockets[cable].recvfrom(2048)
                if kind != socket.PACKET_OUTGOING:
                    self._take(cable, frame)
            except (TimeoutError, OSError):
                time.sleep(0.01)  # no frame, or the cable is cut

    def _take(self, cable, frame):
        from scapy.all import Ether

        packet = Ether(frame)
        if packet.type == _SLOW:
            self.heard[cable] = packet
            return
        answer = self._answer(packet)
        if answer is not None:
            self.sockets[cable].send(bytes(answer))
            self.answered[cable] += 1

    def _answer(self, packet):
        from scapy.all import ARP, ICMP, IP, Ether, Raw

        back = Ether(src=self.mac, dst=packet.src)
        if ARP in packet and packet[ARP].op == 1 and packet[ARP].pdst == self.address:
            return back / ARP(op=2, hwsrc=self.mac, psrc=self.address, hwdst=packet.src, pdst=packet[ARP].psrc)
        if ICMP in packet and packet[ICMP].type == 8 and packet[IP].dst == self.address:
            load = bytes(packet[Raw]) if Raw in packet else b""
            return (back / IP(src=self.address, dst=packet[IP].src)
                    / ICMP(type=0, id=packet[ICMP].id, seq=packet[ICMP].seq) / Raw(load))
        return None

    def _lacp(self, cable):
        from scapy.all import Ether
        from scapy.contrib.lacp import LACP, SlowProtocol

        state, partner = _ACTIVE | _SHORT | _AGGREGATES, {}
        other = self.heard.get(cable)
        if other is not None:
            other = other[LACP]
            state |= _SYNC
            if other.actor_state & _SYNC:
                state |= _COLLECTS | _DISTRIBUTES
            partner = {f"partner_{key}": getattr(other, f"actor_{key}")
                       for key in ("system_priority", "system", "key", "port_priority", "port_number", "state")}
        number = list(self.sockets).index(cable) + 1
        return bytes(Ether(src=self.mac, dst=_GROUP, type=_SLOW) / SlowProtocol(subtype=1)
                     / LACP(actor_system_priority=1, actor_system=self.mac, actor_key=9, actor_port_priority=1,
                            actor_port_number=number, actor_state=state, **partner))

    def agrees(self, cable):
        """Whether the node sends and takes by this cable, as it says itself."""
        from scapy.contrib.lacp import LACP

        wanted = _SYNC | _COLLECTS | _DISTRIBUTES
        return cable in self.heard and self.heard[cable][LACP].actor_state & wanted == wanted

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()
        for each in self.sockets.values():
            each.close()
