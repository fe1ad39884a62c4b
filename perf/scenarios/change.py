"""A change of the configuration every 100 ms under live flows through masquerade: how much throughput is kept."""
import statistics

from bench import network, report
from bench.beside import Beside
from bench.session import say

from . import bars, packets

SUMMARY = "masquerade while the configuration changes every 100 ms"
INTERVAL = 0.1
FLOWS = 1_000_000
BARS = [bars.Least({FLOWS: 0.8})]


class Changes(Beside):
    """Makes a change every INTERVAL from the end of the first measurement until the generator's end."""

    def __init__(self, device, traffic):
        super().__init__(traffic, "a change of the configuration failed")
        self.device, self.made = device, 0

    def work(self):
        while not self.ended.wait(INTERVAL):
            self.device.change(self.made)
            self.made += 1


def measure(session):
    chosen = packets.choose(session, "change", "masquerade", limits=False)
    counts, seconds, runs = session.arguments.flows or [FLOWS], session.seconds(5, 3), session.runs(3, 1)
    rows = []
    for count in counts:
        shares, notes = {name: [] for name in chosen}, {name: [] for name in chosen}
        for run, name, peer, directory in packets.in_turns(session, chosen, runs):
            beside = []

            def meanwhile(device, traffic):
                beside.append(Changes(device, traffic))
                return beside[0]

            (still, changing), _, _ = packets.measure_once(
                peer.masquerade, directory, [count, count], seconds, packets.warmup_of(session),
                [*network.MASQUERADE, "--watch"], meanwhile)
            shares[name].append(changing["mpps"] / still["mpps"])
            notes[name].append((still, changing, beside[0].made))
            say(f"change run {run} of {runs}, {name}: {still['mpps']:.2f} Mpps, {changing['mpps']:.2f} under "
                f"{beside[0].made} changes")
        rows.append(report.Row("change", count, "share of throughput kept under a change every 100 ms", shares,
                               {name: told(all_of) for name, all_of in notes.items()}))
    return bars.judge(rows, BARS)


def told(all_of):
    """Of [(still, changing, changes made)]."""
    median = statistics.median
    return {"without": f"{median(still['mpps'] for still, _, _ in all_of):.2f} Mpps",
            "with": f"{median(changing['mpps'] for _, changing, _ in all_of):.2f} Mpps",
            "changes": str(sum(made for _, _, made in all_of)),
            "connections lost": str(sum(changing["moved"] for _, changing, _ in all_of))}
