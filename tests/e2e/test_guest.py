"""A guest with an unmodified Linux kernel on a vhost-user port, and a pod with a kernel interface."""
import hashlib

from viaduct import pods, qemu, scenarios


def guest_on(node, guest_files, directory, socket, server=True, name="guest"):
    return qemu.Guest(guest_files, socket, directory / f"{name}.log", address="10.68.0.200/24", server=server,
                      name=name)


def guest_port(node, directory, mode="client"):
    """A port of a virtual machine, as a person configures it, on the bridge of the pods."""
    socket = directory / "guest.sock"
    pods.change(node, {"ports": [{"name": "guest", "kind": "vhost-user", "path": str(socket), "mode": mode,
                                  "bridge": "br-taps"}]})
    return socket


def test_guest_and_pod(make_node, make_netns, guest_files, directory):
    """They ping each other and fetch a page; the guest is killed and boots again, and so does the dataplane,
    while two other pods lose nothing of what they send each other."""
    node = make_node()
    attached = pods.Attached(node, make_netns, directory)
    (pod,) = attached.taps(count=1, subnet="10.68.0.0/24", name="guests")
    socket = guest_port(node, directory)
    with attached.bystanders():
        first = guest_on(node, guest_files, directory, socket)
        with first:
            scenarios.scenario_guest(first, pod.space, pod.address, "10.68.0.200")
            first.kill()
        pods.wait_link(node, "guest", "down")
        socket.unlink(missing_ok=True)
        second = guest_on(node, guest_files, directory, socket, name="again")
        second.start()
        try:
            scenarios.scenario_guest(second, pod.space, pod.address, "10.68.0.200")
            # A reboot makes the kernel take its device down and up; with -no-reboot QEMU ends instead.
            second.process.send("reboot -f\n")
            second.process.wait_end(60)
            pods.wait_link(node, "guest", "down")
        finally:
            second.stop()
        node.check_ledger()


def test_guest_connects_and_survives_the_dataplane(make_node, make_netns, guest_files, directory):
    """The dataplane listens; QEMU connects again after the dataplane was killed, and the guest goes on."""
    node = make_node()
    attached = pods.Attached(node, make_netns, directory)
    (pod,) = attached.taps(count=1, subnet="10.68.0.0/24", name="guests")
    socket = guest_port(node, directory, "server")
    guest = guest_on(node, guest_files, directory, socket, server=False)
    with guest:
        guest.ping(pod.address)
        node.kill_dataplane()
        node.start_dataplane()
        node.wait_in_sync()
        pods.wait_link(node, "guest")
        guest.ping(pod.address)
        pod.space.ping("10.68.0.200")


def test_long_segments_travel_whole_between_guest_and_pod(make_node, make_netns, guest_files, directory):
    """Files both ways, intact, in frames that no wire could carry; a guest whose device takes none gets every byte cut."""
    node = make_node()
    attached = pods.Attached(node, make_netns, directory)
    (pod,) = attached.taps(count=1, subnet="10.68.0.0/24", name="guests")
    size = 24 << 20
    (directory / "index.html").write_bytes(b"0123456789abcdef" * (size // 16))
    served = pod.space.start("/usr/bin/python3", "-m", "http.server", "-d", directory, "80", log=directory / "http.log")
    try:
        for name, device in ("whole", ""), ("cut", "guest_tso4=off,guest_tso6=off,guest_csum=off"):
            socket = guest_port(node, directory)
            guest = qemu.Guest(guest_files, socket, directory / f"{name}.log", address="10.68.0.200/24", device=device)
            with guest:
                guest.serve("whole")
                guest.ping(pod.address)
                before = pods.port(node, "guest")["counters"]
                fetched = guest.run(f"nc {pod.address} 80 >/page <<'X'\nGET /index.html HTTP/1.0\n\nX\n"
                                    "tail -c %d /page | md5sum" % size, timeout=120)[1]
                assert fetched.split()[0] == md5(directory / "index.html")
                guest.run("mv /page /www/index.html")
                pod.space.run("curl", "-s", "--max-time", "120", "-o", directory / "back", "http://10.68.0.200/index.html",
                              timeout=130)
                assert (directory / "back").read_bytes()[-size:] == (directory / "index.html").read_bytes()
                after = pods.port(node, "guest")["counters"]
                lengths = {way: (after[f"{way}_bytes"] - before[f"{way}_bytes"]) /
                           (after[f"{way}_packets"] - before[f"{way}_packets"]) for way in ("rx", "tx")}
                # A wire's frames have at most 1,514 bytes, and acknowledgements far fewer.
                assert lengths["rx"] > 1600 and lengths["tx"] > 1600, lengths
                guest.kill()
            pods.wait_link(node, "guest", "down")
            socket.unlink(missing_ok=True)
            assert pods.port(node, "guest")["counters"]["refused"] == 0
    finally:
        served.stop()
    node.check_ledger()


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()
