"""Two services with a million live flows each. The flows of one are counted and listed: how long that takes, and another
request meanwhile. (What it costs forwarding cannot be told with two CPUs: it takes the generator's.) Then the service is
deleted: how soon its packets are refused and the memory of its flows is free, and what the other's flows keep of their
throughput while every packet of the deleted one's clients, who go on, is looked at and refused."""
import contextlib
import functools
import os
import re
import threading
import time

from bench import network, report
from bench.session import say
from viaduct import process

from . import bars, packets

SUMMARY = "a service with a million live flows is listed and deleted, beside another one's million"
FLOWS = 1_000_000
SLICE = 0.01  # s
BEFORE, AFTER = 1.0, 3.0  # s in which nothing is asked for
WALKS = {"count": "/v1/flows/count?service=perf/service-0", "services": "/v1/services"}
PAGE = 10_000
SECONDS = 20  # of the generator
DELETE_MOST, GONE_MOST, FREE_MOST = 50, 50, 5000  # ms
API_MOST = 50  # ms that another request may take
KEPT_LEAST = 0.35  # of the other service's throughput, in any tenth of a second, beside clients that go on


class Timeline:
    """What is asked of the device in the generator's measurement, and when: {name: (begin, end)}, CLOCK_MONOTONIC."""

    def __init__(self, peer, device, traffic, flows):
        self.peer, self.node, self.traffic, self.flows = peer, device.node, traffic, flows
        self.spans, self.answers = {}, []
        self.listed = self.freed = 0
        self.error, self.done = None, False
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._run, self._probe)]

    def _guarded(self, work):
        try:
            # Both CPUs are busy with the generator and the device: who only asks must not wait for them.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            work()
        except Exception as error:  # told by the thread that measures
            self.error = error

    def _probe(self):
        """Another request all the while, and how long it took."""
        while not self.ended.wait(0.01):
            began = time.monotonic()
            self.node.dataplane_api("GET", "/v1/info")
            self.answers.append((began, time.monotonic() - began))

    @contextlib.contextmanager
    def _span(self, name):
        began = time.monotonic()
        yield
        self.spans[name] = (began, time.monotonic())
        self.ended.wait(BEFORE / 2)

    def _live(self):
        text = self.node.dataplane_api("GET", "/metrics").body
        return int(re.search(r'^viaduct_flows\{family="ipv4"\} (\d+)$', text, re.M)[1])

    def _list(self):
        """All pages; not parsed, which would take longer than all else."""
        cursor = ""
        while cursor is not None and not self.ended.is_set():
            answer = self.node.dataplane_api("GET", f"/v1/flows?service=perf/service-0&limit={PAGE}{cursor}", parse=False)
            if answer.status != 200:
                raise process.Failed(f"viaduct: its flows were not listed: {answer.body}")
            self.listed += answer.body.count('{"vrf"')
            found = re.search(r'"next":"([^"]+)"\}\s*$', answer.body[-100:])
            cursor = f"&cursor={found[1]}" if found else None

    def _run(self):
        while self._live() < 2 * self.flows and not self.ended.wait(0.1):
            pass
        self.ended.wait(2 * BEFORE)
        with self._span("before"):
            self.ended.wait(BEFORE)
        for name, target in WALKS.items():
            with self._span(name):
                self.node.dataplane_api("GET", target)
        with self._span("list"):
            self._list()
        with self._span("delete"):
            self.peer.delete_service(self.node, 0)
        began = self.spans["delete"][0]
        while self._live() > 1.01 * self.flows and not self.ended.wait(0.02):
            pass
        self.freed = time.monotonic() - began
        self.ended.wait(AFTER)
        self.done = True

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        if kind is None and not self.error and not self.done:
            self.error = f"it took longer than the generator ran; done by then: {', '.join(self.spans)}"
        if self.error and kind is None:
            raise process.Failed(f"listing and deleting failed: {self.error}") from self.error

    # --- what it looked like, of the generator's slices ---

    def rate(self, slices, span, destination=1):
        """Frames a second that came back of one service."""
        part = between(slices, span, destination)
        return sum(part) / len(part) / SLICE

    def least_share(self, slices, span, window=10):
        """Of the other service's rate before: the least of a tenth of a second within the span and after it."""
        usual = self.rate(slices, self.spans["before"])
        part = between(slices, (span[0], span[1] + 0.5), 1)
        return min(sum(part[at:at + window]) for at in range(len(part) - window + 1)) / window / SLICE / usual

    def slowest_answer(self, span):
        return max((took for began, took in self.answers if began < span[1] and began + took > span[0]), default=0)


def between(slices, span, destination):
    first, last = (round((at - slices["begin"]) / SLICE) for at in span)
    return slices["returned"][destination][first:max(first + 1, last)]


def measure_once(session, peer, flows):
    """{quantity: figure}"""
    arguments = [*network.DNAT, "--destination-addresses", 2, "--watch-destination", network.endpoints(0)[0], "--slice", SLICE]
    timelines = []

    def meanwhile(device, traffic):
        timelines.append(Timeline(peer, device, traffic, flows))
        return timelines[0]

    device = functools.partial(peer.cluster_services, count=2, table=6 * flows)
    (measurement,), waited, _ = packets.measure_once(device, session.make_directory(report.FIRST), [2 * flows], SECONDS,
                                                     packets.warmup_of(session), arguments, meanwhile)
    timeline, slices = timelines[0], measurement["slices"]
    deleted, _ = timeline.spans["delete"]
    gone = [each["begin"] for each in measurement["silences"] if each["begin"] > deleted - 0.05]
    figures = {"gone": 1000 * max(0.0, gone[-1] - deleted), "free": 1000 * timeline.freed, "listed": timeline.listed,
               "rate": timeline.rate(slices, timeline.spans["before"]) / 1e6, "waited": waited}
    for name, span in timeline.spans.items():
        figures |= {f"{name} took": 1000 * (span[1] - span[0]), f"{name} answer": 1000 * timeline.slowest_answer(span)}
    figures["kept"] = timeline.least_share(slices, timeline.spans["delete"])
    return figures


def measure(session):
    viaduct = packets.choose(session, "deletion", "cluster_services", limits=False).get(report.FIRST)
    if viaduct is None:
        return []
    rows = []
    for flows in session.arguments.flows or [FLOWS]:
        runs = session.runs(3, 1)
        seen = []
        for run in range(1, runs + 1):
            seen.append(measure_once(session, viaduct, flows))
            say(f"deletion run {run} of {runs}: " + ", ".join(f"{name} {figure:.4g}" for name, figure in seen[-1].items()))
        rows += rows_of(flows, seen)
    return rows


def rows_of(flows, seen):
    def row(title, unit, quantity, most=None):
        made = report.Row(f"deletion, {title}", None, unit, {report.FIRST: [one[quantity] for one in seen]})
        return made if most is None else bars.judge_most(made, most)

    kept = row("throughput that the other service's flows keep in each tenth of a second", "of 1", "kept")
    found = kept.median(report.FIRST)
    kept.bar = f"bar: at least {KEPT_LEAST:g}: {'met' if found >= KEPT_LEAST else 'not met'}"
    live = f"{2 * flows:,} flows"
    return [row(f"the transaction, with {flows:,} live flows", "ms", "delete took", DELETE_MOST),
            row("until nothing goes to its endpoints", "ms", "gone", GONE_MOST),
            row("until its flows' memory is free", "ms", "free", FREE_MOST), kept,
            row(f"a count of one service's among {live}", "ms", "count took"),
            row(f"GET /v1/services with {live}", "ms", "services took"),
            row(f"a list of {seen[0]['listed']:,} among {live}", "ms", "list took"),
            *(row(f"the slowest other request beside the {name}", "ms", f"{name} answer", API_MOST)
              for name in (*WALKS, "list"))]
