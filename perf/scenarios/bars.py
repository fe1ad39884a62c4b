"""Bars: figures that are asked for, by scenario and number of flows. Told beside the figures; none fails a run."""
from dataclasses import dataclass

from bench.report import FIRST


@dataclass
class Bar:
    """`least`: {flows: the ratio of Viaduct to `peer` that is asked for}."""
    peer: str
    least: dict


    def ask(self, row):
        name = f"{FIRST}/{self.peer}"
        return name, row.ratios().get(name)


@dataclass
class Least:
    """`least`: {flows: what is asked of Viaduct, in the row's unit}."""
    least: dict

    def ask(self, row):
        return FIRST, row.median(FIRST) if row.results.get(FIRST) else None


@dataclass
class Most:
    """The ratio of Viaduct to `peer` that is asked for at most, whatever the flows."""
    peer: str
    most: float


def judge(rows, bars):
    """The rows, with a line for each bar that is for their number of flows."""
    for row in rows:
        told = []
        for bar in bars:
            if isinstance(bar, Most):
                found = row.ratios().get(f"{FIRST}/{bar.peer}")
                told.append(f"bar: at most {bar.most:g}: " + ("not measured" if found is None else
                                                              "met" if found <= bar.most else "not met"))
                continue
            if row.flows not in bar.least:
                continue
            least = bar.least[row.flows]
            name, found = bar.ask(row)
            told.append(f"bar: {name} at least {least:g}: " + (
                "not measured" if found is None else "met" if found >= least else f"not met, {found:.3f}"))
        row.bar = "\n  ".join(told)
    return rows


def judge_most(row, most):
    """The row, with a line for the most that is asked of Viaduct, in the row's unit."""
    figures = row.results.get(FIRST)
    found = row.median(FIRST) if figures else None
    row.bar = f"bar: at most {most:g} {row.unit}: " + ("not measured" if found is None else
                                                       "met" if found <= most else "not met")
    return row
