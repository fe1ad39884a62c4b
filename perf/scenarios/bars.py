"""Bars: ratios that are asked for, by scenario and number of flows. Told beside the figures; none fails a run."""
from dataclasses import dataclass

from bench.report import FIRST


@dataclass
class Bar:
    """`least`: {flows: the ratio of Viaduct to `peer` that is asked for}."""
    peer: str
    least: dict


def judge(rows, bars):
    """The rows, with a line for each bar that is for their number of flows."""
    for row in rows:
        told = []
        for bar in bars:
            if row.flows not in bar.least:
                continue
            least, name = bar.least[row.flows], f"{FIRST}/{bar.peer}"
            ratio = row.ratios().get(name)
            told.append(f"bar: {name} at least {least:g}: " + (
                "not measured" if ratio is None else "met" if ratio >= least else f"not met, {ratio:.3f}"))
        row.bar = "\n  ".join(told)
    return rows
