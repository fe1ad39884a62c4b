"""A client that sends a datagram a millisecond, and the endpoints that answer it, which say who they are: when did the
first packet go where it should? Both sockets are of one loop, so that nothing but the device is between them."""
import select
import socket
import struct
import time

from viaduct import hosts

from . import services

INTERVAL = 0.001
_IP_PKTINFO = 8  # <linux/in.h>
_NUMBER = struct.Struct("!Q")


class Probe:
    """Answers for all endpoints, whose network is local to `server`."""

    def __init__(self, client, server):
        server.space.run("ip", "route", "add", "local", services.ENDPOINT_NETWORK, "dev", "lo")
        self.client = hosts.open_socket(client, 4, socket.SOCK_DGRAM)
        self.server = hosts.open_socket(server, 4, socket.SOCK_DGRAM)
        self.server.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self.server.bind(("0.0.0.0", services.TARGET_PORT))
        self.poll = select.poll()
        for each in (self.client, self.server):
            each.setblocking(False)
            self.poll.register(each, select.POLLIN)
        self.sent = []  # [(when, to)], by their numbers

    def close(self):
        self.client.close()
        self.server.close()

    def until(self, targets, accept, seconds):
        """Sends to each of `targets` [(address, port)] in turns until each was answered by somebody that
        accept(target, endpoint) takes. {target: when the first such packet was sent, monotonic}; those that were not
        answered in time are missing."""
        found, left = {}, list(targets)
        first = len(self.sent)  # answers to what was sent before, which come late, are nobody's
        deadline = time.monotonic() + seconds
        next_at = time.monotonic()
        while left and (now := time.monotonic()) < deadline:
            if now >= next_at:
                target = left[len(self.sent) % len(left)]
                self.sent.append((now, target))
                self.client.sendto(_NUMBER.pack(len(self.sent) - 1), target)
                next_at = max(next_at + INTERVAL, now)
                continue
            self._turn(max(0, next_at - now), first, found, accept)
            left = [target for target in left if target not in found]
        return found

    def _turn(self, wait, first, found, accept):
        self.poll.poll(wait * 1000)
        for data, endpoint in self._received(self.server):
            self.server.sendmsg([data + socket.inet_aton(endpoint[1])],
                                [(socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("I4s4s", 0, socket.inet_aton(endpoint[1]), b"\0" * 4))],
                                0, endpoint[0])
        for data, _ in self._received(self.client):
            number = _NUMBER.unpack_from(data)[0]
            when, target = self.sent[number]
            if number >= first and target not in found and accept(target, socket.inet_ntoa(data[_NUMBER.size:])):
                found[target] = when

    @staticmethod
    def _received(opened):
        """[(data, (sender, own address it was for))]"""
        while True:
            try:
                data, more, _, sender = opened.recvmsg(64, 64)
            except BlockingIOError:
                return
            own = next((socket.inet_ntoa(info[8:12]) for _, kind, info in more if kind == _IP_PKTINFO), None)
            yield data, (sender, own)
