"""A guest with an unmodified Linux kernel on a vhost-user port, and a pod with a kernel interface."""
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
