"""dpdk-testpmd in mac mode over DPDK's vhost PMD: receive, write two addresses, send. The limit of the machine."""
import contextlib
import re
import shutil
from types import SimpleNamespace

from viaduct import testpmd

from bench import foremost, generator


def missing(_scenario):
    return None if shutil.which("dpdk-testpmd") else "dpdk-testpmd is not installed (configs/install-packages run)"


@contextlib.contextmanager
def l2(directory, paths):
    vdevs = [f"net_vhost{number},iface={path},queues=1,client=1" for number, path in enumerate(paths)]
    macs = (generator.NEAR_MAC, generator.FAR_MAC)
    # In mac mode a frame leaves by port N with N's peer as its destination.
    options = ["--record-core-cycles", *(f"--eth-peer={port},{mac}" for port, mac in enumerate(macs))]
    # The vhost PMD's pool serves receiving only; 16,384 buffers are plenty.
    with testpmd.Testpmd(vdevs, directory / "testpmd.log", memory=128, mbufs=16384, mode="mac", main=generator.CPU,
                         worker=1, options=options, prefix_command=foremost.COMMAND) as device:
        device.start_forwarding()

        def cycles():
            found = re.search(r"CPU cycles/packet=([\d.]+)", device.stop_forwarding())
            return float(found[1]) if found else None

        yield SimpleNamespace(process=device.process, cycles=cycles)


# The limit is the same for all: it does not look at what it forwards.
route = dnat = service = masquerade = vxlan = l2
