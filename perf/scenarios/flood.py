"""A flood of flows of one packet each, ten times what the table holds, beside established connections through
masquerade. A connection is lost when its translation changes."""
import functools
import statistics

from bench import network, report
from bench.session import say

from . import bars, packets

SUMMARY = "connections through masquerade beside a flood of ten million flows, table of a million"
CONNECTIONS = 10_000
TABLE = 1_000_000
FLOOD, FLOOD_QUICK = 10_000_000, 2_000_000
RATE = 500_000  # flows of the flood a second
BARS = [bars.Least({CONNECTIONS: 0.5})]


def measure(session):
    chosen = packets.choose(session, "flood", "masquerade", limits=False)
    flood = FLOOD_QUICK if session.arguments.quick else FLOOD
    seconds, runs = session.seconds(5, 2), session.runs(3, 1)
    arguments = [*network.MASQUERADE, "--watch", "--flood", flood, "--flood-rate", RATE]
    shares, seen = {name: [] for name in chosen}, {name: [] for name in chosen}
    for run, name, peer, directory in packets.in_turns(session, chosen, runs):
        device = functools.partial(peer.masquerade, table=TABLE)
        (alone, beside), _, _ = packets.measure_once(device, directory, [CONNECTIONS, CONNECTIONS], seconds,
                                                     packets.warmup_of(session), arguments)
        shares[name].append(beside["mpps"] / alone["mpps"])
        seen[name].append((alone, beside))
        say(f"flood run {run} of {runs}, {name}: {alone['mpps']:.2f} Mpps alone, {beside['mpps']:.2f} beside the "
            f"flood, {beside['moved']} connections lost")
    unit = f"share of throughput kept beside {flood:,} flows of one packet, {RATE:,} a second"
    rows = [report.Row("flood", CONNECTIONS, unit, shares, {name: notes(pairs) for name, pairs in seen.items()})]
    bars.judge(rows, BARS)
    rows[0].bar += "\n  bar: no connection lost"
    return rows


def notes(pairs):
    """Of [(alone, beside)]."""
    def median(which, key):
        return statistics.median(pair[which][key] for pair in pairs)

    lost = sum(beside["moved"] for _, beside in pairs)
    return {"alone": f"{median(0, 'mpps'):.2f} Mpps", "beside": f"{median(1, 'mpps'):.2f} Mpps",
            "connections lost": str(lost) if lost else "none",
            "frames lost": str(sum(beside["lost"] for _, beside in pairs)),
            "flood": f"{100 * median(1, 'flood_reached') / median(1, 'flood_sent'):.0f} % got through",
            "lasted": f"{median(1, 'seconds'):.0f} s"}
