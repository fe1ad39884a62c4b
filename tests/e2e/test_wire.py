"""A wire between two pods, as a service chain wants it: what a switch keeps to itself passes, and nobody else hears it."""
from viaduct import pods, schemas

LLDP = "0180c200000e", "88cc"


def test_two_pods_on_a_wire(node, make_netns, directory):
    attached = pods.Attached(node, make_netns, directory)
    with attached.bystanders():
        first, second = attached.taps(bridge="chain", wire=True, antiSpoofing=False)
        first.space.ping(second.address)
        capture = second.space.start("tcpdump", "-n", "-e", "-c", "1", "-i", "eth0", "ether", "proto", "0x88cc",
                                     log=directory / "tcpdump.log")
        capture.wait_log("listening on", 10)
        frame = bytes.fromhex(LLDP[0] + first.mac.replace(":", "") + LLDP[1]) + bytes(46)
        first.space.run("/usr/bin/python3", "-c", "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); "
                        "s.bind(('eth0', 0)); s.send(bytes.fromhex(sys.argv[1]))", frame.hex())
        capture.wait_end(10)
        assert "LLDP" in capture.text(), capture.text()
        third = make_netns("third")
        refused = node.cni("ADD", first.network, "third", third.path)
        schemas.check_error(refused, mentions=["chain", first.port, second.port])
        assert "eth0" not in third.output("ip", "-br", "link")
    bridges = {each["name"]: each for each in node.cli("bridge", "show")}
    assert bridges["chain"]["wire"] is True
    second.delete()
    first.delete()
    assert "chain" not in {each["name"] for each in node.cli("bridge", "show")}
