"""Two workers against one, in process: each has frames that go round between two ports of its own queues, so that a
machine with two cores can show it. Frames are routed with and without masquerade."""
import json
import os

from bench import foremost, report, session as sessions
from bench.session import Failed, say
from viaduct import process, testpmd, workdir

PROGRAM = "perf/viaduct-inprocess"
SUMMARY = "two workers against one, in process"
LEAST = 1.8
ONE, TWO = "one", "two"
# Whoever is measured runs on these CPUs, and one worker now on the one, now on the other.
CPUS = {ONE: (["0"], ["1"]), TWO: (["0", "1"],)}
KINDS = {"routed": (), "masqueraded": ("--masquerade",), "masqueraded, crossing": ("--masquerade", "--crossing")}


def measure_once(directory, cpus, flows, seconds, options):
    output = directory / "inprocess.json"
    huge = () if testpmd.free_huge_megabytes() > 600 else ("--no-huge",)
    command = [*foremost.COMMAND, workdir.build_directory() / PROGRAM, "--cpus", ",".join(cpus), "--flows", flows,
               "--seconds", seconds, "--json", output, *options, *huge]
    with process.Process(command, directory / "inprocess.log", "viaduct-inprocess") as running:
        if running.wait_end(120 + seconds) != 0:
            raise process.Failed(f"viaduct-inprocess ended with {running.returncode}\n{running.tail(8)}")
    return json.loads(output.read_text())


def measure(session):
    if reason := sessions.built(PROGRAM):
        raise Failed(reason)
    if os.cpu_count() < 2:
        raise Failed("workers: this machine has one CPU")
    rows = []
    seconds, runs = session.seconds(3, 1.5), session.runs(3, 2)
    for count in session.flows():
        for kind, options in KINDS.items():
            figures, handed = {TWO: [], ONE: []}, {TWO: 0, ONE: 0}
            for run in range(runs):
                for name, choices in CPUS.items():
                    directory = session.make_directory(f"workers-{name}")
                    measured = measure_once(directory, choices[run % len(choices)], count, seconds, options)
                    if measured["dropped"]:
                        raise Failed(f"workers, {kind}: {measured['dropped']} frames were dropped")
                    figures[name].append(measured["mpps"])
                    handed[name] += measured["handed_off"]
                say(f"workers run {run + 1} of {runs}, {kind}, {count:,} flows: one {figures[ONE][-1]:.2f} Mpps, two "
                    f"{figures[TWO][-1]:.2f}")
            row = report.Row("workers", count, f"Mpps {kind}, both ways added", figures,
                             {name: {"handed off": str(number)} for name, number in handed.items()})
            ratio = row.ratios()[f"{TWO}/{ONE}"]
            row.bar = f"bar: two/one at least {LEAST}: " + ("met" if ratio >= LEAST else f"not met, {ratio:.3f}")
            rows.append(row)
    return rows
