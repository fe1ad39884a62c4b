"""What is asserted of every client: pods that ping and fetch pages from each other. Each scenario takes the
client and a conflist, so that it runs on the reference plugins (which shows that the client works) and on
Viaduct.
"""
from . import image, netns, process


def reference_conflist(name="vd-ref", subnet="10.77.0.0/24", cni_version="1.0.0"):
    """The well-known bridge plugin with host-local, as a peer of Node.conflist()."""
    return {"cniVersion": cni_version, "name": name, "plugins": [
        {"type": "bridge", "bridge": f"br-{name}"[:15], "isGateway": True,
         "capabilities": {"ips": True, "mac": True},
         "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]}}]}


def expect_page(text, body):
    """`text`: an HTTP answer with its header."""
    if "200 OK" not in text or body not in text:
        raise process.Failed(f'no page with "{body}": {text!r}')


def retry_fetch(fetch, body, what):
    """A server that was just started may not listen yet: until then fetch() fails or has nothing."""

    def answer():
        try:
            return fetch()
        except process.Failed:
            return None

    expect_page(process.wait_until(answer, 30, f"an answer of {what}", interval=0.2), body)


def scenario_two_containers(podman, conflist, ips=None, macs=None):
    """podman: two containers of one network, with the addresses asked for if any, ping and fetch each other's
    page."""
    network = podman.add_network(conflist)
    names = [f"{network}-a", f"{network}-b"]
    try:
        for number, name in enumerate(names):
            podman.run(name, network, *image.serve_page_command(f"page of {name}"),
                       ip=ips[number] if ips else None, mac=macs[number] if macs else None)
        addresses = [podman.address(name, network) for name in names]
        if ips and addresses != list(ips):
            raise process.Failed(f"podman reports {addresses}, asked for {ips}")
        for name, other, address in zip(names, reversed(names), reversed(addresses)):
            podman.exec(name, "ping", "-c", "3", "-W", "5", address)
            fetch = image.fetch_page_command(address)
            retry_fetch(lambda: podman.exec(name, *fetch).stdout, f"page of {other}", other)
        if macs:
            for name, mac in zip(names, macs):
                if mac not in podman.exec(name, "ip", "link", "show", "dev", "eth0").stdout:
                    raise process.Failed(f"{name} has not the MAC address {mac}")
        return addresses
    finally:
        for name in names:
            if name in podman.names():
                podman.remove(name)
        podman.remove_network(network)


def scenario_ctr(containerd):
    """`ctr run --cni` on the first of containerd's networks: one serves, another pings and fetches, a third
    comes and goes in the foreground."""
    containerd.run("ctr-a", *image.serve_page_command("page of ctr-a"))
    containerd.run("ctr-b")
    try:
        address = containerd.address("ctr-a")
        containerd.exec("ctr-b", "ping", "-c", "3", "-W", "5", address)
        fetch = image.fetch_page_command(address)
        retry_fetch(lambda: containerd.exec("ctr-b", *fetch).stdout, "page of ctr-a", "ctr-a")
        containerd.run_foreground("ctr-c", "/bin/ping", "-c", "3", "-W", "5", address)
    finally:
        for name in list(containerd.containers):
            containerd.remove(name)


def scenario_cri(cri):
    """Two pods as a kubelet makes them; the address in their status is the one that the other reaches."""
    pods = [cri.run_pod("cri-a"), cri.run_pod("cri-b")]
    addresses = [cri.pod_address(pod) for pod in pods]
    if not all(addresses) or addresses[0] == addresses[1]:
        raise process.Failed(f"the pods' addresses are {addresses}")
    web = cri.start_container(pods[0], "web", *image.serve_page_command("page of cri-a"))
    box = cri.start_container(pods[1], "box")
    cri.exec(box, "ping", "-c", "3", "-W", "5", addresses[0])
    cri.exec(web, "ping", "-c", "3", "-W", "5", addresses[1])
    fetch = image.fetch_page_command(addresses[0])
    retry_fetch(lambda: cri.exec(box, *fetch).stdout.decode(), "page of cri-a", "cri-a")
    for pod in pods:
        cri.remove_pod(pod)
    return addresses


def scenario_cnitool(cnitool, conflist):
    """ADD, CHECK, traffic between two namespaces, DEL, DEL again; a CHECK of what is gone fails."""
    network = cnitool.add_network(conflist)
    spaces = [cnitool.make_namespace(netns.unique_name(label)) for label in ("a", "b")]
    try:
        results = [cnitool.add(network, space) for space in spaces]
        addresses = [result["ips"][0]["address"].partition("/")[0] for result in results]
        for space in spaces:
            cnitool.check(network, space)
        for space, address in zip(spaces, reversed(addresses)):
            cnitool.run_in(space, "ping", "-n", "-c", "3", "-W", "5", address)
        for space in spaces:
            cnitool.delete(network, space)
            if "eth0" in cnitool.run_in(space, "ip", "-br", "link").stdout:
                raise process.Failed(f"eth0 is still in {space} after DEL")
        cnitool.delete(network, spaces[0])
        return results
    finally:
        for space in spaces:
            cnitool.delete(network, space, check=False)
            cnitool.delete_namespace(space)


def scenario_testpmd_pair(first, second, frames=500, bursts=4):
    """Two DPDK pods that are up and whose sockets are connected: frames to and fro, `first` having sent the
    first."""
    for pod in (first, second):
        pod.wait_link()
    first.set_mode("mac")
    first.set_peer(second.mac())
    second.set_mode("macswap")
    second.start_forwarding()
    first.start_forwarding(first_bursts=bursts)
    try:
        second.wait_packets("rx_packets", frames, timeout=60)
        first.wait_packets("rx_packets", frames, timeout=60)
    finally:
        for pod in (first, second):
            pod.stop_forwarding()


def scenario_guest(guest, peer, peer_address, guest_address):
    """A guest and a namespace (Netns) on one network ping each other, and each fetches the other's page."""
    guest.ping(peer_address)
    peer.ping(guest_address)
    guest.serve("page of the guest")
    page = peer.output("curl", "-s", "-i", "--max-time", "20", f"http://{guest_address}/index.html")
    expect_page(page, "page of the guest")
