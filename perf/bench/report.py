"""Figures for people and as JSON."""
import statistics
from dataclasses import dataclass, field

FIRST = "viaduct"


@dataclass
class Row:
    """One quantity of one scenario: {peer: [one figure a run]}. `notes`: {peer: {column: text}} for people only."""
    scenario: str
    flows: int | None
    unit: str
    results: dict
    notes: dict = field(default_factory=dict)
    bar: str = ""

    def median(self, peer):
        return statistics.median(self.results[peer])

    def ratios(self):
        """Viaduct by each other; without Viaduct, the first by each other."""
        peers = [peer for peer in self.results if self.results[peer]]
        if not peers:
            return {}
        first = FIRST if FIRST in peers else peers[0]
        return {f"{first}/{other}": self.median(first) / self.median(other)
                for other in peers if other != first and self.median(other)}

    def to_json(self):
        return {"scenario": self.scenario, "flows": self.flows, "unit": self.unit,
                "results": {peer: {"median": self.median(peer), "min": min(runs), "max": max(runs), "runs": runs}
                            for peer, runs in self.results.items() if runs},
                "ratios": self.ratios()}


def _figure(value):
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def _print_table(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        cells = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))
        print("  " + "  ".join([line[0].ljust(widths[0]), *cells]).rstrip())


def print_row(row):
    """A table of its own, with every peer's notes."""
    print(f"\n{row.scenario}{'' if row.flows is None else f', {row.flows:,} flows'}: {row.unit}")
    columns = list(dict.fromkeys(column for note in row.notes.values() for column in note))
    lines = [["", "median", "min", "max", *columns]]
    for peer, runs in row.results.items():
        if runs:
            lines.append([peer, *map(_figure, (row.median(peer), min(runs), max(runs))),
                          *(row.notes.get(peer, {}).get(column, "") for column in columns)])
    _print_table(lines)
    for name, ratio in row.ratios().items():
        print(f"  {name} = {ratio:.2f}")
    if row.bar:
        print(f"  {row.bar}")


def print_quantities(rows):
    """Many quantities of the same peers, a line each: medians, and in brackets the least and the most."""
    peers = list(dict.fromkeys(peer for row in rows for peer in row.results))
    ratios = list(dict.fromkeys(name for row in rows for name in row.ratios()))
    lines = [["", *peers, *ratios, "", ""]]
    for row in rows:
        cells = [f"{_figure(row.median(peer))} ({_figure(min(runs))}-{_figure(max(runs))})"
                 if (runs := row.results.get(peer)) else "-" for peer in peers]
        found = row.ratios()
        lines.append([row.scenario, *cells, *(f"{found[name]:.2f}" if name in found else "-" for name in ratios),
                      row.unit, row.bar])
    print()
    _print_table(lines)


def print_rows(rows):
    quantities = [row for row in rows if row.flows is None]
    for row in rows:
        if row.flows is not None:
            print_row(row)
    if quantities:
        print_quantities(quantities)
