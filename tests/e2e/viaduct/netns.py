"""Network namespaces of the tests: named vd-<pid of the run>-<number>-<label>, so that a run takes away what
a dead run left and never what another run uses."""
import itertools
import os
import re
from pathlib import Path

from . import process

DIRECTORY = Path("/run/netns")
_OURS = re.compile(r"^vd-(\d+)-")
_NUMBERS = itertools.count(1)


def unique_name(label):
    return f"vd-{os.getpid()}-{next(_NUMBERS):04x}-{label}"


def is_stale(name):
    """True for a name that a run gave which is no more."""
    found = _OURS.match(name)
    return bool(found) and not Path(f"/proc/{found[1]}").exists()


def remove_stale():
    names = sorted(entry.name for entry in DIRECTORY.iterdir()) if DIRECTORY.is_dir() else []
    for name in names:
        if is_stale(name):
            process.run(["ip", "netns", "delete", name], check=False)


class Netns:
    """A network namespace, with lo up. Made by create(), deleted by delete() or at the end of a `with`."""

    def __init__(self, label="pod"):
        self.name = unique_name(label)
        self.path = str(DIRECTORY / self.name)

    def create(self):
        process.run(["ip", "netns", "add", self.name])
        try:
            self.run("ip", "link", "set", "lo", "up")
        except BaseException:
            self.delete()
            raise
        return self

    def exists(self):
        return os.path.exists(self.path)

    def delete(self):
        if self.exists():
            process.run(["ip", "netns", "delete", self.name])

    def command(self, *words):
        """The words that run a command in this namespace."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, words)]

    def run(self, *words, **options):
        return process.run(self.command(*words), **options)

    def output(self, *words, **options):
        return self.run(*words, **options).stdout

    def start(self, *words, log, **options):
        """A process beside the test, in this namespace."""
        return process.Process(self.command(*words), log, **options).start()

    def ping(self, address, count=3, timeout=20):
        """Fails unless `address` answers all of `count` pings, of which the first may be retried until
        then."""
        process.wait_until(
            lambda: self.run("ping", "-n", "-c1", "-W1", address, check=False).returncode == 0, timeout,
            f"an answer of {address} to a ping from {self.name}")
        if count > 1:
            self.run("ping", "-n", "-c", count - 1, "-i0.05", "-W5", address)

    def __enter__(self):
        return self.create()

    def __exit__(self, *_):
        self.delete()
