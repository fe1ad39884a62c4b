"""A disk that is full and a directory that cannot be made: refused in words, with nothing left, and over when there is
room again."""
import pytest

from viaduct import pods, process, schemas


def attachments(node):
    return node.api("GET", "/v1/attachments").body["attachments"]


@pytest.fixture
def small_disk(node):
    """Control's store on a file system of one megabyte."""
    node.stop_control()
    mount = node.store.parent
    process.run(["mount", "-t", "tmpfs", "-o", "size=1m", "vd-small", mount])
    try:
        node.start_control()
        node.wait_in_sync()
        yield mount
        node.stop_control()
    finally:
        process.run(["umount", mount])


def test_a_full_disk(node, make_netns, small_disk):
    space = make_netns()
    network = pods.network(node, "10.95.0.0/24", bridge="br0")
    before = 5
    for number in range(before):
        assert node.cni("ADD", network, f"c{number}", space.path, ifname=f"net{number}").status == 0
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with pytest.raises(OSError):
            while True:
                file.write(b"x" * 512)
    # What the store has open may take a few more rows; then it is full and says so.
    for number in range(before, 200):
        outcome = node.cni("ADD", network, f"c{number}", space.path, ifname=f"net{number}")
        if outcome.status != 0:
            break
    schemas.check_error(outcome, mentions=["full"])
    assert f"net{number}:" not in space.output("ip", "link") and f"net{number}@" not in space.output("ip", "link")
    assert f"c{number}" not in [each["container"] for each in attachments(node)]
    # Pods end all the same, though whoever fills the disk takes what is given up for that.
    for done in range(number):
        assert node.cni("DEL", network, f"c{done}", space.path, ifname=f"net{done}").status == 0
        with filler.open("ab", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 512)
    assert attachments(node) == [] and node.dataplane_api("GET", "/v1/ports").body["ports"] == []
    filler.unlink()
    assert node.cni("ADD", network, f"c{number}", space.path, ifname=f"net{number}").status == 0
    assert node.cni("DEL", network, f"c{number}", space.path, ifname=f"net{number}").status == 0
    assert attachments(node) == []


def test_a_socket_directory_that_cannot_be_made(node, make_netns):
    space = make_netns()
    place = node.run_dir / "vhost"
    if place.exists():
        place.rmdir()
    place.write_text("a file where the pods' directories belong")
    network = pods.network(node, "10.96.0.0/24", bridge="br0", interface="vhost-user")
    schemas.check_error(node.cni("ADD", network, "c1", space.path), mentions=[str(place)])
    assert attachments(node) == [] and node.dataplane_api("GET", "/v1/ports").body["ports"] == []
    place.unlink()
    assert node.cni("ADD", network, "c1", space.path).status == 0
    assert node.cni("DEL", network, "c1", space.path).status == 0
