"""viaduct-dataplane of this build, told what to do over its API, without control."""
import contextlib
from types import SimpleNamespace

from viaduct import daemons, process

from bench import foremost, session

from .cni_network import CniNetwork

SUBNET = "10.88.0.0/16"


def missing(scenario):
    names = daemons.PROGRAMS if scenario == "cni" else ["dataplane"]
    return session.built(*(daemons.PROGRAMS[name] for name in names))


class MeasuredNode(daemons.Node):
    """Its processes are put before others, as the peers' are."""

    def _process(self, name, command):
        return super()._process(name, [*foremost.COMMAND, *command])


@contextlib.contextmanager
def dataplane(directory, **options):
    """The dataplane alone, on CPU 1, in a network namespace of its own; a Node whose dataplane runs."""
    node = MeasuredNode(directory, lcores="1", **{"memory": 256, "poll": "busy", **options})
    node.namespace.create()
    try:
        node.start_dataplane()
        yield node
    finally:
        node.stop()


def put(node, **objects):
    """One transaction: lists of bridges, ports, ..."""
    answer = node.dataplane_api("POST", "/v1/transactions", {"put": objects})
    if answer.status != 200:
        raise process.Failed(f"viaduct: the transaction was refused: {answer.body}")


def vhost_user_port(name, path, bridge, mode="client"):
    return {"name": name, "kind": "vhost-user", "bridge": bridge, "path": str(path), "mode": mode}


@contextlib.contextmanager
def l2(directory, paths):
    with dataplane(directory) as node:
        put(node, bridges=[{"name": "br0"}], ports=[vhost_user_port(path.name, path, "br0") for path in paths])
        yield SimpleNamespace(process=node.dataplane, cycles=lambda: None)


@contextlib.contextmanager
def cni(directory):
    """Both daemons as they come (the worker sleeps when idle), pods on a TAP with built-in addresses."""
    with daemons.Node(directory) as node:
        config = node.network(bridge="br0", ipam={"type": "viaduct", "ranges": [[{"subnet": SUBNET}]]})
        yield CniNetwork(daemons.program("cni"), config, node.namespace, node.plugins, node)
