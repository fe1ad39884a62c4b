"""Processes that a test starts: each has a log, a deadline for everything that is waited for, and an end.

A process dies with the test run, also when that is killed (PR_SET_PDEATHSIG); a failure shows the end of its
log.
"""
import ctypes
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Failed(AssertionError):
    """Something that a test waited for or ran did not do what it should."""


def wait_until(condition, timeout, what, interval=0.02, tell=None):
    """Returns the first true value of condition(); Failed after `timeout` seconds. An exception of the
    condition counts as "not yet" and is told with the failure; `tell()` adds what is known then."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = None
        except Failed:
            raise
        except Exception as error:  # the condition may ask things that do not exist yet
            last = error
        if time.monotonic() > deadline:
            why = f"; last error: {last!r}" if last else ""
            more = "\n" + tell() if tell else ""
            raise Failed(f"waited {timeout} s for {what}{why}{more}")
        time.sleep(interval)


def die_with_parent():
    """For preexec_fn: the kernel kills the child when the thread that started it ends, so that a Process is
    started by the test's own thread."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def run(command, timeout=60, check=True, input=None, env=None, cwd=None):
    """Runs a command to its end; Failed with its output unless it succeeds. Returns CompletedProcess
    (text)."""
    command = [str(word) for word in command]
    merged = None if env is None else {**os.environ, **{key: str(value) for key, value in env.items()}}
    # A group of its own, so that a command that hangs ends with all that it started (nsenter forks). Nothing
    # is run between fork and exec: this has to be safe in many threads at once.
    given = subprocess.PIPE if input is not None else subprocess.DEVNULL
    with subprocess.Popen(
            command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="surrogateescape", env=merged, cwd=cwd, start_new_session=True) as child:
        try:
            out, err = child.communicate(input, timeout=timeout)
        except BaseException as error:
            os.killpg(child.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            out, err = child.communicate(timeout=10)
            raise Failed(f"{shlex.join(command)}: not done in {timeout} s\n{out}{err}") from None
    done = subprocess.CompletedProcess(command, child.returncode, out, err)
    if check and done.returncode != 0:
        raise Failed(f"{shlex.join(command)}: exit status {done.returncode}\n{out}{err}")
    return done


class Process:
    """A process that runs beside the test: its output is in a log file, its standard input is a pipe if
    asked."""

    def __init__(self, command, log, name=None, env=None, stdin=False, cwd=None):
        self.command = [str(word) for word in command]
        self.log = Path(log)
        self.name = name or Path(self.command[0]).name
        self.env = None if env is None else {**os.environ, **{key: str(value) for key, value in env.items()}}
        self.cwd = cwd
        self.wants_stdin = stdin
        self.child = None

    def start(self):
        assert not self.alive(), f"{self.name} runs already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            log.write(f"$ {shlex.join(self.command)}\n".encode())
            log.flush()
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.PIPE if self.wants_stdin else subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env=self.env, cwd=self.cwd, preexec_fn=die_with_parent)
        return self

    @property
    def pid(self):
        return self.child.pid

    @property
    def returncode(self):
        return self.child.returncode if self.child else None

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def text(self, start=0):
        try:
            return self.log.read_bytes()[start:].decode(errors="replace")
        except FileNotFoundError:
            return ""

    def size(self):
        return self.log.stat().st_size if self.log.exists() else 0

    def tail(self, lines=40):
        return f"--- last lines of {self.log} ---\n" + "\n".join(self.text().splitlines()[-lines:])

    def send(self, text):
        self.child.stdin.write(text.encode())
        self.child.stdin.flush()

    def wait_for(self, condition, timeout, what):
        """wait_until, but fails at once when the process ends."""

        def met():
            ended = not self.alive()  # asked first: what it did before its end still counts
            value = condition()
            if not value and ended:
                raise Failed(f"{self.name} ended with {self.returncode} before {what}\n{self.tail()}")
            return value

        return wait_until(met, timeout, f"{self.name}: {what}", tell=self.tail)

    def wait_log(self, text, timeout, start=0):
        """Waits until the log has `text` after byte `start`."""
        return self.wait_for(lambda: text in self.text(start), timeout, f'"{text}" in its log')

    def wait_end(self, timeout):
        wait_until(lambda: not self.alive(), timeout, f"the end of {self.name}", tell=self.tail)
        return self.returncode

    def kill(self):
        """kill -9, by pid."""
        if self.alive():
            self.child.kill()
        self._reap()

    def stop(self, timeout=10):
        """SIGTERM, after `timeout` seconds SIGKILL. Returns the exit status, None if it never ran."""
        if self.alive():
            self.child.terminate()
            try:
                self.child.wait(timeout)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self._reap()
        return self.returncode

    def _reap(self):
        if self.child is None:
            return
        self.child.wait()
        if self.child.stdin:
            try:
                self.child.stdin.close()
            except BrokenPipeError:
                pass

    def __enter__(self):
        return self if self.alive() else self.start()

    def __exit__(self, *_):
        self.stop()
