"""New flows a second through masquerade: each flow sends one frame, and those count that reach the far side. Each is a
connection of its own for the device, with an entry for both directions."""
from bench import network, report
from bench.session import say

from . import bars, packets

SUMMARY = "flows that begin in a second, through masquerade, one worker"
FLOWS = 1_000_000
BARS = [bars.Least({FLOWS: 1.5})]


def measure(session):
    chosen = packets.choose(session, "newflows", "masquerade", limits=False)
    counts, runs = session.arguments.flows or [FLOWS], session.runs(5, 3)
    rows = []
    for count in counts:
        figures = {name: packets.Figures() for name in chosen}
        # A device of its own for each run: its table is empty.
        for run, name, peer, directory in packets.in_turns(session, chosen, runs):
            measurements, waited, cycles = packets.measure_once(
                peer.masquerade, directory, [count], 1, 0, [*network.MASQUERADE, "--once", "--one-way"])
            packets.check_sample(name, "newflows", measurements[0], network.MASQUERADED)
            figures[name].add(measurements[0], waited, cycles)
            say(f"newflows run {run} of {runs}, {name}: {measurements[0]['mpps']:.3f} M of {count:,} flows a second")
        rows.append(report.Row("newflows", count, "million new flows a second",
                               {name: each.mpps for name, each in figures.items()},
                               {name: each.notes(there_and_back=False) for name, each in figures.items()}))
    return bars.judge(rows, BARS)
