"""Memory of the dataplane with 100 vhost-user ports: resident memory and huge pages, without the packet buffers, whose
number is an option."""
import re
from pathlib import Path

import peers
from bench import report
from bench.session import say
from viaduct import process

SUMMARY = "MB of the dataplane with 100 vhost-user ports and room for a million flows, without packet buffers"
PORTS = 100
FLOWS = 1_000_000
# Each port reserves its buffers; these are counted out again, so that there may be plenty.
PACKET_BUFFERS = 131072
MEMORY_MB = 384
BAR = "bar: at most 400 MB, the flow tables (1,000,000 IPv4 and 250,000 IPv6 entries) with them"
MB = 1e6


def kilobytes(pid, key):
    return int(re.search(rf"^{key}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def node_process(node):
    """The dataplane itself: its command was started through others, which became it by exec."""
    pid = node.dataplane.pid
    answer = node.dataplane_api("GET", "/v1/info").body["pid"]
    if pid != answer:
        raise process.Failed(f"viaduct: the dataplane says that its pid is {answer}, and {pid} was started")
    return pid


def measure_once(peer, directory):
    options = ("--flows", FLOWS, "--flows6", FLOWS // 4, "--packet-buffers", PACKET_BUFFERS)
    with peer.dataplane(directory, memory=MEMORY_MB, poll="adaptive", dataplane_options=options) as node:
        ports = [peer.vhost_user_port(f"p{i}", directory / f"vh{i}", "br0", mode="server") for i in range(PORTS)]
        peer.put(node, bridges=[{"name": "br0"}], ports=ports)
        pid = node_process(node)
        buffers = node.dataplane_api("GET", "/v1/info").body["packet_buffer_bytes"]
        resident, huge = kilobytes(pid, "VmRSS") * 1024, kilobytes(pid, "HugetlbPages") * 1024
        if huge == 0:
            say("memory: the dataplane runs without huge pages here; its buffers are in its resident memory")
        return {"total": (resident + huge - buffers) / MB, "resident": resident / MB, "huge": huge / MB,
                "buffers": buffers / MB}


def measure(session):
    chosen = session.choose_peers({"viaduct": peers.PEERS["viaduct"]}, "memory")
    figures = []
    for run in range(1, session.runs(3, 1) + 1):
        for name, peer in chosen.items():
            figures.append(measure_once(peer, session.make_directory(name)))
            say(f"memory run {run}, {name}: {figures[-1]['total']:.0f} MB")
    if not figures:
        return []
    last = figures[-1]
    notes = {"viaduct": {"resident": f"{last['resident']:.0f}", "huge pages": f"{last['huge']:.0f}",
                         "less packet buffers": f"{last['buffers']:.0f}"}}
    return [report.Row("memory", FLOWS, f"MB with {PORTS} ports", {"viaduct": [each["total"] for each in figures]}, notes,
                       BAR)]
