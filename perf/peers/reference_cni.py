"""The reference plugins `bridge` and `host-local`, in a network namespace of their own, where the bridge is made."""
import contextlib

from viaduct import daemons, netns

from .cni_network import CniNetwork

BRIDGE, SUBNET = "vd-bridge", "10.89.0.0/16"


def missing(_scenario):
    if all((daemons.REFERENCE_PLUGINS / name).exists() for name in ("bridge", "host-local")):
        return None
    return f"no bridge and host-local in {daemons.REFERENCE_PLUGINS} (configs/install-packages perf)"


@contextlib.contextmanager
def cni(directory):
    config = {"cniVersion": "1.0.0", "name": "compare", "type": "bridge", "bridge": BRIDGE,
              "ipam": {"type": "host-local", "ranges": [[{"subnet": SUBNET}]], "dataDir": str(directory / "addresses")}}
    with netns.Netns("cni") as namespace:
        yield CniNetwork(daemons.REFERENCE_PLUGINS / "bridge", config, namespace, daemons.REFERENCE_PLUGINS)
