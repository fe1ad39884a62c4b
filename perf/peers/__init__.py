"""Devices under test, one file each.

A peer has missing(scenario) (why it cannot be measured here, or None), and for each packet scenario that it takes part
in a context manager of the scenario's name, such as l2(directory, paths): it makes a device that connects to both
vhost-user sockets, on CPU 1, with every trace of it gone at the end. The device has `process` (a Process) and
cycles(), its cycles a frame if it counts them, else None; called once, after the measurement. `masquerade` takes
`table=`, the size of the connection table, and its device has change(number), which changes the configuration without
touching what the flows need. For the scenario `cni`
the context manager is cni(directory) and yields a CniNetwork. For `program` it is program(directory), whose device has
load(services) and changes(service, endpoints), both timed, and memory() if it is known.
"""
from . import iptables, nft, ovs, reference_cni, testpmd, viaduct

PEERS = {"viaduct": viaduct, "testpmd": testpmd, "ovs": ovs, "bridge": reference_cni,
         "iptables": iptables, "nft": nft}


def for_scenario(name):
    return {peer: module for peer, module in PEERS.items() if hasattr(module, name)}
