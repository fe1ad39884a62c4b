"""viaduct-pktgen on CPU 0, and the share of time for which a device's thread had to wait for its CPU."""
import json
import shutil
from pathlib import Path

from viaduct import netns, process, testpmd, workdir

from . import foremost, session

PROGRAM = "perf/viaduct-pktgen"
NEAR_MAC, FAR_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
CPU = 0


def missing():
    return session.built(PROGRAM)


class Generator:
    """`directory` gets its sockets `vh0` and `vh1`, its log and its report. start(), start the device, wait()."""

    def __init__(self, directory, flows, seconds, warmup, arguments=()):
        self.paths = [directory / "vh0", directory / "vh1"]
        self.report = directory / "generator.json"
        self.limit = 90 + len(flows) * (seconds + warmup + 30)
        self.prefix = netns.unique_name("pktgen")
        command = [*foremost.COMMAND, workdir.build_directory() / PROGRAM, "--paths", ",".join(map(str, self.paths)),
                   "--flows", ",".join(map(str, flows)), "--seconds", seconds, "--warmup", warmup, "--cpu", CPU,
                   "--source-mac", NEAR_MAC, "--far-mac", FAR_MAC, "--json", self.report, "--file-prefix", self.prefix,
                   *arguments]
        if "--destination-mac" not in arguments:
            command += ["--destination-mac", FAR_MAC]
        self.process = process.Process(command, directory / "generator.log", "viaduct-pktgen")

    def start(self):
        """Returns when the first socket is there: the second comes when the device has connected to the first."""
        self.process.start()
        self.process.wait_for(self.paths[0].exists, 30, "its first socket")
        return self

    def wait(self, device):
        """The measurements, one for each number of flows. `device`: a Process that has to stay alive."""

        def ended():
            if not device.alive():
                raise process.Failed(f"{device.name} ended while it was measured\n{device.tail()}")
            return not self.process.alive()

        process.wait_until(ended, self.limit, "the generator's end", interval=0.05, tell=self.process.tail)
        if self.process.returncode != 0:
            raise process.Failed(f"the generator ended with {self.process.returncode}\n{self.process.tail(8)}\n"
                                 f"{device.tail(20)}")
        return json.loads(self.report.read_text())["measurements"]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.process.stop()
        shutil.rmtree(testpmd.RUNTIME / self.prefix, ignore_errors=True)  # there only if it was ended early


class WaitedShare:
    """Of a process's busiest thread: the time that it could have run and did not, because others had its CPU."""

    def __init__(self, pid):
        self.pid = pid
        self.before = self._read()

    def _read(self):
        times = {}
        for task in Path(f"/proc/{self.pid}/task").glob("*/schedstat"):
            try:
                ran, waited, _ = map(int, task.read_text().split())
            except OSError:
                continue
            times[task.parent.name] = (ran, waited)
        return times

    def read(self):
        best = (0, 0)
        for thread, (ran, waited) in self._read().items():
            ran_before, waited_before = self.before.get(thread, (0, 0))
            best = max(best, (ran - ran_before, waited - waited_before))
        return best[1] / sum(best) if sum(best) else 0.0
