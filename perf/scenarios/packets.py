"""What every packet scenario does: in turns, each peer's device between the generator's two ports."""
import contextlib
import statistics
from dataclasses import dataclass, field

import peers
from bench import generator, report
from bench.session import Failed, say

UNIT = "Mpps both ways added"
LIMITS = ("testpmd",)  # show what the machine can do; they do not do the scenario's work
IDLE_LEAST = 0.03  # of the generator's time: with less it is itself the limit


@dataclass
class Figures:
    mpps: list = field(default_factory=list)
    lost: int = 0
    sent: int = 0
    idle: list = field(default_factory=list)
    generator_on_cpu: list = field(default_factory=list)
    device_waited: list = field(default_factory=list)
    cycles: list = field(default_factory=list)
    latency: list = field(default_factory=list)

    def add(self, measurement, waited, cycles):
        self.mpps.append(measurement["mpps"])
        self.lost += measurement["lost"]
        self.sent += measurement["sent"]
        self.idle.append(measurement["idle"])
        self.generator_on_cpu.append(measurement["on_cpu"])
        self.device_waited.append(waited)
        self.latency.append(measurement["latency_us"]["p50"])
        if cycles is not None:
            self.cycles.append(cycles)

    def notes(self, there_and_back=True):
        median = statistics.median
        idle = median(self.idle)
        lost = f"{self.lost} of {self.sent} ({100 * self.lost / self.sent:.2g} %)" if self.lost else "none"
        notes = {"lost": lost,
                 "cycles/frame": f"{median(self.cycles):.0f}" if self.cycles else "-",
                 "there and back p50": f"{median(self.latency):.0f} us",
                 "generator": f"idle {100 * idle:.0f} %" if idle >= IDLE_LEAST else "was the limit",
                 "had its CPU, generator": f"{100 * median(self.generator_on_cpu):.0f} %",
                 "device": f"{100 * (1 - median(self.device_waited)):.0f} %"}
        if not there_and_back:
            del notes["there and back p50"]
        return notes


def check_sample(name, scenario, measurement, expect):
    """Fails when a frame at port 1 was not what the scenario is about: a device that only forwards is none."""
    sample = measurement["sample"]
    wrong = {key: sample[key] for key, fits in (expect or {}).items() if not fits(sample[key])}
    if wrong and name not in LIMITS:
        raise Failed(f"{scenario}: {name} did not do it: frames at port 1 had {wrong}")


def choose(session, scenario, device=None, limits=True):
    """{name: peer} of those that can make `device` (the scenario's own unless given)."""
    if reason := generator.missing():
        raise Failed(reason)
    known = peers.for_scenario(device or scenario)
    return session.choose_peers({name: peer for name, peer in known.items() if limits or name not in LIMITS}, scenario)


def in_turns(session, chosen, runs):
    """(run, name, peer, directory), A B A B."""
    for run in range(1, runs + 1):
        for name, peer in chosen.items():
            yield run, name, peer, session.make_directory(name)


def measure_once(make_device, directory, flows, seconds, warmup, arguments, meanwhile=None):
    """`make_device(directory, paths)`: a context manager, see peers. `meanwhile(device, traffic)`: one of what goes on
    beside the measurements. Returns these, the share of time that the device waited for its CPU, and its cycles."""
    with generator.Generator(directory, flows, seconds, warmup, arguments) as traffic:
        with make_device(directory, traffic.paths) as device:
            waited = generator.WaitedShare(device.process.pid)
            with meanwhile(device, traffic) if meanwhile else contextlib.nullcontext():
                measurements = traffic.wait(device.process)
            return measurements, waited.read(), device.cycles()


def warmup_of(session):
    return 0.3 if session.arguments.quick else 1


def measure(session, scenario, arguments=(), expect=None):
    """A row for each number of flows. `arguments`: further ones of the generator. `expect`: {field: condition} of a
    frame as port 1 hears it, see the generator's report."""
    chosen = choose(session, scenario)
    flows, seconds = session.flows(), session.seconds(5, 2)
    runs = session.runs(3, 3)
    figures = {peer: {count: Figures() for count in flows} for peer in chosen}
    for run, name, peer, directory in in_turns(session, chosen, runs):
        measurements, waited, cycles = measure_once(getattr(peer, scenario), directory, flows, seconds,
                                                    warmup_of(session), arguments)
        for measurement in measurements:
            check_sample(name, scenario, measurement, expect)
            # The device counts cycles over all that it did: a figure only when there was one number of flows.
            figures[name][measurement["flows"]].add(measurement, waited, cycles if len(flows) == 1 else None)
        say(f"{scenario} run {run} of {runs}, {name}: " + ", ".join(
            f"{each['mpps']:.2f} Mpps at {each['flows']:,} flows" for each in measurements))
    return [report.Row(scenario, count, UNIT, {peer: each[count].mpps for peer, each in figures.items()},
                       {peer: each[count].notes() for peer, each in figures.items()}) for count in flows]
