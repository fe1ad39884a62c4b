"""A service: to its address, translated to one of ten endpoints, and back. Then the same with ten thousand services, all
of which flows go to: what it costs that there are many, beside one alone in the same run."""
import functools

from bench import network, report
from bench.session import say

from . import bars, packets

SUMMARY = "60-byte frames to a service with 10 endpoints, and their answers, one worker; and with 10,000 such services"
ONE = "one-service"
BARS = [bars.Bar("testpmd", {1000: 0.65, 1_000_000: 0.50}), bars.Bar("ovs", {1_000_000: 6.0})]
BARS_MANY = [bars.Bar(ONE, {1000: 0.95, 1_000_000: 0.95})]


def measure(session):
    rows = bars.judge(packets.measure(session, "service", network.DNAT, network.BALANCED), BARS)
    return rows + bars.judge(measure_many(session), BARS_MANY)


def measure_many(session):
    """Rows of Viaduct with all services beside Viaduct with one."""
    viaduct = packets.choose(session, "service").get(report.FIRST)
    if viaduct is None:
        return []
    devices = {
        report.FIRST: (functools.partial(viaduct.service, count=network.SERVICES), network.SERVICES_ALL,
                       network.BALANCED_ALL),
        ONE: (viaduct.service, network.DNAT, network.BALANCED)}
    flows, seconds, runs = session.flows(), session.seconds(5, 2), session.runs(3, 3)
    figures = {name: {count: packets.Figures() for count in flows} for name in devices}
    for run, name, (make, arguments, expect), directory in packets.in_turns(session, devices, runs):
        measurements, waited, cycles = packets.measure_once(make, directory, flows, seconds,
                                                            packets.warmup_of(session), arguments)
        for measurement in measurements:
            packets.check_sample(name, "services", measurement, expect)
            figures[name][measurement["flows"]].add(measurement, waited, cycles)
        say(f"services run {run} of {runs}, {name}: " + ", ".join(
            f"{each['mpps']:.2f} Mpps at {each['flows']:,} flows" for each in measurements))
    return [report.Row("services", count, packets.UNIT, {name: each[count].mpps for name, each in figures.items()},
                       {name: each[count].notes() for name, each in figures.items()}) for count in flows]
