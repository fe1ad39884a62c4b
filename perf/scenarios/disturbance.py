"""One of a hundred endpoints leaves and comes back, under established flows and a stream of new ones: whom it disturbs.

Established flows of other endpoints must not move at all, and those of the leaver once. New flows are asked for on fresh
devices, the same ones with the leaver and without it: those that choose otherwise though they were not the leaver's have
moved needlessly. A device that knows no change of endpoints (all but Viaduct) takes part in the second half only."""
import array
import functools
import ipaddress
import os
import statistics
import time

from bench import network, report
from bench.beside import Beside
from bench.session import Failed, say
from viaduct import process

from . import bars, packets

SUMMARY = "one of 100 endpoints leaves and comes back: flows that move, packets lost, time until nothing goes to it"
ENDPOINTS, LEAVER = 100, 50
FLOWS = 100_000
NEW_A_SECOND = 100_000
LEAVE_AFTER, AWAY = 1.0, 1.5  # s
MOVED_MOST = 0.02  # share of new flows
GONE_MOST = 50  # ms
NEW_LOST_MOST = 5  # %: the generator leaves the worker no time to spare, so that new flows get a share of it only


class Departure(Beside):
    """In the generator's second measurement: the leaver is taken out of the service, and put back. `warmup`: seconds."""

    def __init__(self, put, device, traffic, warmup):
        super().__init__(traffic, "the endpoint did not leave and come back")
        self.put, self.device, self.warmup = put, device, warmup
        self.left = self.returned = None  # CLOCK_MONOTONIC before the change was asked for

    def prepare(self):
        # Both CPUs are busy with the generator and the device: who only asks for the change must not wait for them.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    def work(self):
        self.ended.wait(self.warmup + LEAVE_AFTER)
        self.left = time.monotonic()
        self.put(self.device.node, without_leaver())
        self.ended.wait(AWAY)
        self.returned = time.monotonic()
        self.put(self.device.node, everyone())


def everyone():
    return network.endpoints(count=ENDPOINTS)


def leaver():
    return everyone()[LEAVER]


def without_leaver():
    return [address for address in everyone() if address != leaver()]


def read_heard(file, flows):
    """[[address of each flow] of each measurement]"""
    words = array.array("I", file.read_bytes())
    words.byteswap()
    return [words[at:at + flows] for at in range(0, len(words), flows)]


def depart(session, peer, directory, flows):
    """{quantity: figure} of one run with live flows."""
    heard = directory / "heard"
    seconds = LEAVE_AFTER + AWAY + 1.5
    arguments = [*network.DNAT, "--watch", "--heard", heard, "--watch-destination", leaver(),
                 "--flood", int(seconds * NEW_A_SECOND), "--flood-rate", NEW_A_SECOND]
    departures = []

    def meanwhile(device, traffic):
        departures.append(Departure(peer.put_endpoints, device, traffic, packets.warmup_of(session)))
        return departures[0]

    device = functools.partial(peer.balanced, endpoints=everyone())
    (_, beside), _, _ = packets.measure_once(device, directory, [flows, flows], seconds, packets.warmup_of(session),
                                             arguments, meanwhile)
    silences = [each for each in beside["silences"] if each["begin"] > departures[0].left - 0.05]
    if len(silences) != 1 or silences[0]["end"] < departures[0].returned:
        raise Failed(f"disturbance: the leaver was silent {beside['silences']} s, not once from {departures[0].left} until after "
                     f"{departures[0].returned}")
    before, after = read_heard(heard, flows)
    own = int(ipaddress.ip_address(leaver()))
    others = sum(was != own and was != now for was, now in zip(before, after))
    own_flows = sum(was == own for was in before)
    return {"others": others, "own": own_flows, "back": beside["moved"] - own_flows - others,
            "lost": beside["lost"], "sent": beside["sent"],
            "new": 100 * (1 - beside["flood_reached"] / beside["flood_sent"]),
            "gone": 1000 * max(0.0, silences[0]["begin"] - departures[0].left),
            "return": 1000 * (silences[0]["end"] - departures[0].returned)}


def choose_anew(session, name, peer, flows, endpoints):
    """The address of each of the same new flows, on a device of its own."""
    directory = session.make_directory(name)
    heard = directory / "heard"
    packets.measure_once(functools.partial(peer.balanced, endpoints=endpoints), directory, [flows], 1, 0,
                         [*network.DNAT, "--once", "--one-way", "--heard", heard])
    return read_heard(heard, flows)[0]


def moved_share(with_leaver, without):
    own = int(ipaddress.ip_address(leaver()))
    return sum(was not in (own, now) for was, now in zip(with_leaver, without)) / len(with_leaver)


def measure(session):
    chosen = packets.choose(session, "disturbance", "balanced", limits=False)
    rows = []
    for flows in session.arguments.flows or [FLOWS]:
        runs = session.runs(3, 1)
        seen = []
        if viaduct := chosen.get(report.FIRST):
            for run in range(1, runs + 1):
                figures = depart(session, viaduct, session.make_directory(report.FIRST), flows)
                seen.append(figures)
                say(f"disturbance run {run} of {runs}: {figures['others']} established flows of others moved, "
                    f"{figures['own']} of the leaver, {figures['lost']} of {figures['sent']} packets lost, {figures['new']:.2f} % of "
                    f"new flows' first ones, nothing more to the leaver after {figures['gone']:.1f} ms, and again {figures['return']:.1f} ms after its return")
            rows += rows_of(flows, seen)
        moved = {}
        # Nothing in it is left to chance but a device's own seed: once.
        for name, peer in chosen.items():
            maps = [choose_anew(session, name, peer, flows, endpoints) for endpoints in (everyone(), without_leaver())]
            moved[name] = [100 * moved_share(*maps)]
            say(f"disturbance, {name}: {moved[name][0]:.2f} % of new flows move that were not the leaver's")
        row = report.Row(f"disturbance, new flows of others that move ({flows:,} flows)", None, "%", moved)
        rows.append(bars.judge_most(row, 100 * MOVED_MOST))
    return rows


def rows_of(flows, seen):
    def row(title, unit, quantity, most):
        figures = [one[quantity] for one in seen]
        return bars.judge_most(report.Row(f"disturbance, {title}", None, unit, {report.FIRST: figures}), most)

    own = statistics.median(one["own"] for one in seen)
    return [row(f"established flows of others that moved, of {flows:,}", "flows", "others", 0),
            row(f"moves of established flows besides the leaver's {own:,.0f}", "moves", "back", 0),
            row(f"packets of established flows lost, of {seen[0]['sent']:,}", "packets", "lost", 0),
            row("first packets of new flows lost", "%", "new", NEW_LOST_MOST),
            row("until nothing goes to the leaver", "ms", "gone", GONE_MOST),
            row("until something goes to it again", "ms", "return", GONE_MOST)]
