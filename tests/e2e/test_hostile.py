"""Peers that mean harm: on the vhost-user socket, in the rings, and at the API sockets. Each is refused or cut
off, and two tap pods that ping each other meanwhile lose nothing."""
import pytest

from viaduct import pods, process, vhost_peer
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
        pods.change(node, {"bridges": [{"name": "br-hostile"}], "ports": [
            {"name": self.name, "kind": "vhost-user", "path": str(self.path), "mode": "server",
             "bridge": "br-hostile"},
            {"name": "other", "kind": "tap", "ifname": "other0", "bridge": "br-hostile"}]})

    def peer(self, **options):
        return VhostPeer(self.path, **options)

    def connected(self, **options):
        peer = self.peer(**options).handshake()
        pods.wait_link(self.node, self.name)
        return peer

    def check_served(self):
        """An honest peer can use the port."""
        before = pods.port(self.node, self.name)["counters"]["rx_packets"]
        with process.wait_until(self._honest, 10, "the port to serve an honest peer") as peer:
            peer.send_frame(BROADCAST)
            process.wait_until(
                lambda: pods.port(self.node, self.name)["counters"]["rx_packets"] > before, 10,
                "the honest peer's frame")
            assert peer.used(TO_PORT) == 1

    def _honest(self):
        """A second connection is refused while the dataplane has not noticed the end of the first."""
        peer = self.peer()
        try:
            peer.handshake()
            pods.wait_link(self.node, self.name, timeout=1)
            return peer
        except BaseException:
            peer.close()
            raise


def test_peer_truncates_its_memory(scene):
    """Reading it raises SIGBUS in the worker then."""
    with scene.connected() as peer:
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
        peer.truncate(4096)
        peer.handshake()
        peer.wait_hung_up()
    scene.check_served()


def test_peer_truncates_under_its_rings_alone(scene):
    """Half of it stays: the rings do, what they point at does not."""
    with scene.connected() as peer:
        peer.truncate(0x90000)
        peer.put_descriptor(TO_PORT, 0, 0x90000, 72)
        peer.offer(TO_PORT, [0])
        peer.wait_hung_up()
    scene.check_served()
