"""Pods plugged in and out: each plugin is run by exec with CNI's variables, as a runtime does, for pods in fresh
network namespaces; the plugins take turns."""
import contextlib
import json
import subprocess
from pathlib import Path

import peers
from bench import check_in_control, report
from bench.session import Failed, say
from viaduct import netns, process

SUMMARY = "ADD, CHECK and DEL through the CNI plugin, against bridge + host-local"
RUNNER = Path(__file__).resolve().parent.parent / "bench/plugin_runner.py"
VERBS = ("ADD", "CHECK", "DEL")
PARALLEL = 8
BAR = "ADD + DEL, p50; bar: a third of bridge + host-local's"
CHECK_BAR = "bar: 1 ms; measured on its socket, there and back"


class Pods:
    """Fresh network namespaces, made and deleted outside what is timed."""

    def __init__(self, count):
        self.spaces = [netns.Netns("pod") for _ in range(count)]

    def __enter__(self):
        self._batch("add")
        return [{"container": space.name, "netns": space.path} for space in self.spaces]

    def __exit__(self, *_):
        self._batch("delete")

    def _batch(self, verb):
        process.run(["ip", "-force", "-batch", "-"],
                    input="".join(f"netns {verb} {space.name}\n" for space in self.spaces), timeout=120)


def run_plugin(network, pods, directory, verbs=VERBS, parallel=1):
    """Shares the pods among `parallel` runners. ({verb: [ms]}, pods a second)."""
    command = [*network.namespace.command(), "/usr/bin/python3", "-S", "-E", str(RUNNER)]
    job = {"binary": str(network.binary), "config": network.config, "directory": str(directory), "verbs": verbs,
           "environment": {"CNI_PATH": str(network.plugins), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}}
    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                        stderr=subprocess.PIPE, text=True,
                                                        preexec_fn=process.die_with_parent))
                   for _ in range(parallel)]
        for number, runner in enumerate(runners):
            json.dump({**job, "pods": pods[number::parallel]}, runner.stdin)
            runner.stdin.close()
            runner.stdin = None
        answers = []
        for runner in runners:
            out, errors = runner.communicate(timeout=300)
            if runner.returncode != 0:
                raise Failed(errors.strip())
            answers.append(json.loads(out))
    seconds = max(each["ended"] for each in answers) - min(each["began"] for each in answers)
    times = {verb: [ms for each in answers for ms in each["times"][verb]] for verb in verbs}
    return times, len(pods) / seconds


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def figures(times, sequential, parallel):
    """{quantity: figure} of one run."""
    both = [add + delete for add, delete in zip(times["ADD"], times["DEL"])]
    quantities = {}
    for name, values in (("ADD+DEL", both), *times.items()):
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            quantities[f"{name} {label}"] = percentile(values, share)
    quantities["one at a time"] = sequential
    quantities[f"{PARALLEL} in parallel"] = parallel
    return quantities


def measure_once(peer, directory, count):
    with peer.cni(directory) as network:
        with Pods(2) as pods:  # makes the bridge
            run_plugin(network, pods, directory)
        inside = {}
        if network.node:  # first: for seconds after many pods went the kernel is busy taking their namespaces apart
            with Pods(1) as pods:
                inside = check_in_control.measure(network, pods[0], percentile)
        with Pods(count) as pods:
            times, _ = run_plugin(network, pods, directory)
        with Pods(count) as pods:
            _, sequential = run_plugin(network, pods, directory, ("ADD", "DEL"))
        with Pods(2 * count) as pods:
            _, parallel = run_plugin(network, pods, directory, ("ADD", "DEL"), PARALLEL)
        return figures(times, sequential, parallel) | inside


def measure(session):
    chosen = session.choose_peers(peers.for_scenario("cni"), "cni")
    count = 30 if session.arguments.quick else 100
    runs = session.runs(3, 2)
    results = {}
    for run in range(1, runs + 1):
        for name, peer in chosen.items():
            quantities = measure_once(peer, session.make_directory(name), count)
            for quantity, value in quantities.items():
                results.setdefault(quantity, {each: [] for each in chosen})[name].append(value)
            say(f"cni run {run} of {runs}, {name}: ADD+DEL {quantities['ADD+DEL p50']:.1f} ms (p50), "
                f"{quantities[f'{PARALLEL} in parallel']:.0f} pods a second with {PARALLEL} in parallel")
    rows = []
    for quantity, figures_of in results.items():
        is_rate = "one at" in quantity or "parallel" in quantity
        # The scenario's own name is the quantity that has the bar.
        name = "cni" if quantity == "ADD+DEL p50" else f"cni {quantity}"
        rows.append(report.Row(name, None, "pods a second" if is_rate else "ms",
                               {peer: values for peer, values in figures_of.items() if values},
                               bar=BAR if name == "cni" else CHECK_BAR if "inside control" in name else ""))
    return rows
