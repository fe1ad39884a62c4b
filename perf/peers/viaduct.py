"""viaduct-dataplane of this build, told what to do over its API, without control."""
import contextlib
from types import SimpleNamespace

from viaduct import daemons, process

from bench import foremost, session


def missing():
    return session.built(daemons.PROGRAMS["dataplane"])


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
