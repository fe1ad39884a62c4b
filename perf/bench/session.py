"""One run of perf/compare: its arguments, its directory, its progress lines; takes away what dead runs left."""
import os
import shutil
import signal
import sys
from pathlib import Path

from viaduct import daemons, netns, process, testpmd, workdir

Failed = process.Failed


class Session:
    def __init__(self, arguments):
        self.arguments = arguments
        self.directory = None
        self._made = 0

    def __enter__(self):
        netns.remove_stale()
        workdir.remove_stale()
        testpmd.remove_stale()
        daemons.remove_stale()
        self.directory = workdir.create()
        # SIGTERM ends a run as Ctrl-C does, with everything taken away. After SIGKILL the kernel ends what was started
        # (PR_SET_PDEATHSIG), and the next run takes the rest away.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, *_):
        if self.arguments.keep_logs:
            for log in self.directory.rglob("*.log"):
                kept = Path(self.arguments.keep_logs) / log.relative_to(self.directory)
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(log, kept)
        workdir.remove(self.directory)

    def make_directory(self, label):
        self._made += 1
        directory = self.directory / f"{self._made}-{label}"
        directory.mkdir()
        return directory

    def runs(self, standard, quick):
        return self.arguments.runs or (quick if self.arguments.quick else standard)

    def seconds(self, standard, quick):
        return self.arguments.seconds or (quick if self.arguments.quick else standard)

    def flows(self):
        return self.arguments.flows or ([1000] if self.arguments.quick else [1000, 1_000_000])

    def choose_peers(self, known, scenario):
        """`known`: {name: peer} of the scenario, in order. Says which are left out, and why."""
        wanted = self.arguments.peers.split(",") if self.arguments.peers else list(known)
        for name in wanted:
            if name not in known:
                raise Failed(f'--peers: "{name}" is not known here; there are {", ".join(known)}')
        chosen = {}
        for name, peer in known.items():
            if name not in wanted:
                continue
            if reason := peer.missing(scenario):
                say(f"{name} is left out: {reason}")
            else:
                chosen[name] = peer
        return chosen


def say(text):
    """Progress; standard output is for the figures."""
    print(text, file=sys.stderr, flush=True)


def built(*names):
    """Why programs of this build cannot be run, or None. Names are relative to the build directory."""
    missing = [str(workdir.build_directory() / name) for name in names
               if not os.access(workdir.build_directory() / name, os.X_OK)]
    return f"{', '.join(missing)} is not built (meson setup build && ninja -C build)" if missing else None
