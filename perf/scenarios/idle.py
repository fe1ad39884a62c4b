"""What the dataplane takes of a processor while 100 ordinary pods have nothing to say, in the default polling mode."""
import os
import time
from pathlib import Path

import peers
from bench import report
from bench.session import say

from . import cni
from .memory import node_process

SUMMARY = "CPU of the dataplane with 100 idle pods, as a share of a core"
PODS = 100
# Interfaces that have just come up solicit routers and report groups for some seconds (RFC 4861 6.3.7, RFC 3810 9.11).
SETTLED = 15
BAR = "bar: at most 3 %"


def ticks(pid):
    """Of the process, in its own mode and in the kernel's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def measure_once(peer, directory, seconds):
    with peer.cni(directory) as network, cni.Pods(PODS) as pods:
        cni.run_plugin(network, pods, directory, ("ADD",))
        pid = node_process(network.node)
        time.sleep(SETTLED)
        began, before = time.monotonic(), ticks(pid)
        time.sleep(seconds)
        share = (ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
        return 100 * share


def measure(session):
    chosen = session.choose_peers({"viaduct": peers.PEERS["viaduct"]}, "cni")
    figures = []
    for run in range(1, session.runs(3, 1) + 1):
        for name, peer in chosen.items():
            figures.append(measure_once(peer, session.make_directory(name), session.seconds(10, 5)))
            say(f"idle run {run}, {name}: {figures[-1]:.2f} % of a core")
    return [report.Row("idle", None, f"% of a core with {PODS} pods", {"viaduct": figures}, bar=BAR)] if figures else []
