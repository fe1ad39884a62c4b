"""What it takes to bring services into force: all of a large cluster from nothing, and one endpoint that changes among
them; and the memory for it. Viaduct is timed from rename() of the manifests into its directory to the first packet that
is answered as they say; beside it the time in which the kernel reads the rules that kube-proxy would write, which is
only the last part of its way."""
import peers
from bench import report, services
from bench.session import say

from . import bars
from .cni import percentile

SUMMARY = "10,000 services with 100,000 endpoints from nothing, one endpoint changed among them, and the memory for it"
SERVICES, ENDPOINTS = 10_000, 10
CHANGES, FEW_CHANGES = 200, 20
LOAD_MOST, CHANGE_MOST, MEMORY_MOST = 3, 10, 200  # s, ms at p99, MB


def measure_once(peer, directory, changes):
    """{quantity: figure}"""
    cluster = services.cluster(SERVICES, ENDPOINTS)
    with peer.program(directory) as device:
        figures = {"all": device.load(cluster)}
        replacements = [services.other_endpoint(number) for number in range(changes)]
        times = [1000 * each for each in device.changes(cluster[-1], replacements)]
        figures |= {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99)}
        if hasattr(device, "memory"):
            figures["memory"] = device.memory()
        return figures


def measure(session):
    chosen = session.choose_peers(peers.for_scenario("program"), "program")
    runs, changes = session.runs(3, 1), CHANGES
    found = {}
    for run in range(1, runs + 1):
        for name, peer in chosen.items():
            # The kernel takes minutes for all and seconds for one: once, and a few changes, tell as much.
            if run > 1 and name != report.FIRST:
                continue
            figures = measure_once(peer, session.make_directory(name), changes if name == report.FIRST else FEW_CHANGES)
            for quantity, figure in figures.items():
                found.setdefault(quantity, {each: [] for each in chosen})[name].append(figure)
            say(f"program run {run} of {runs}, {name}: all in {figures['all']:.2f} s, one changed in "
                f"{figures['p50']:.1f} ms (p99 {figures['p99']:.1f} ms)" +
                (f", {figures['memory']:.0f} MB" if "memory" in figures else ""))
    titles = {"all": (f"program {SERVICES:,} services with {SERVICES * ENDPOINTS:,} endpoints", "s", LOAD_MOST),
              "p50": ("program one endpoint changed, p50", "ms", None),
              "p99": (f"program one endpoint changed, p99 of {changes} (the kernel's: of {FEW_CHANGES})", "ms", CHANGE_MOST),
              "memory": ("program memory for it, both processes", "MB", MEMORY_MOST)}
    rows = []
    for quantity, results in found.items():
        title, unit, most = titles[quantity]
        row = report.Row(title, None, unit, {peer: values for peer, values in results.items() if values})
        rows.append(row if most is None else bars.judge_most(row, most))
    return rows
