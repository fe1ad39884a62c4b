"""A place of its own for container runtimes: mount, network, host name, IPC and pid namespaces, in which
/run, /etc/cni, /opt/cni, /var/lib/cni and the interfaces are nobody else's. Everything started in it ends
with it, for its first process is the init of its pid namespace; cgroups made by the runtimes are taken away
after that.
"""
import os
import signal
import time
from pathlib import Path

from . import netns, process

# $1: the directories to cover, ":" between them. A directory that the machine lacks is made in an overlay of
# its parent, so that the machine keeps lacking it.
_SETUP = r"""
set -eu
IFS=:
for directory in $1; do
  if [ ! -d "$directory" ]; then
    parent=$(dirname "$directory")
    scratch="$2/overlay$(echo "$parent" | tr / _)"
    mkdir -p "$scratch"
    mount -t tmpfs -o mode=0755 tmpfs "$scratch"
    mkdir "$scratch/upper" "$scratch/work"
    mount -t overlay -o "lowerdir=$parent,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$parent"
    mkdir -p "$directory"
  fi
  mount -t tmpfs -o mode=0755 tmpfs "$directory"
done
unset IFS
mkdir -p "$2/cgroup"
mount --rbind /sys/fs/cgroup "$2/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$2/cgroup" /sys/fs/cgroup
umount -l "$2/cgroup"
hostname vd-host
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo ready
exec sleep infinity
"""

COVERED = ("/run", "/etc/cni", "/opt/cni", "/var/lib/cni", "/var/lib/containers")
CGROUPS = Path("/sys/fs/cgroup")


def remove_cgroups(name):
    """Removes the cgroups of that name below every controller, deepest first; waits until the kernel lets
    them go."""

    def gone():
        tops = [top for top in [CGROUPS / name, *CGROUPS.glob(f"*/{name}")] if top.is_dir()]
        for top in tops:
            for directory, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(directory)
                except OSError:
                    pass  # still busy: the next turn
        return not any(top.is_dir() for top in tops)

    process.wait_until(gone, 10, f"the cgroups {name} to go", interval=0.1)


def remove_stale():
    """Cgroups of runs that are dead; their processes ended with their isolation."""
    for path in [*CGROUPS.glob("vd-*"), *CGROUPS.glob("*/vd-*")]:
        if netns.is_stale(path.name) and path.is_dir():
            remove_cgroups(path.name)


class _Inside(process.Process):
    """A process that nsenter made: signals go to it, not to nsenter, which waits for it and passes none
    on."""

    def stop(self, timeout=10):
        self._signal_child(signal.SIGTERM)
        try:
            self.child.wait(timeout)
        except Exception:  # it would not end
            self.kill()
        return super().stop(timeout)

    def kill(self):
        self._signal_child(signal.SIGKILL)
        super().kill()

    def _signal_child(self, number):
        if not self.alive():
            return
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            try:
                os.kill(int(pid), number)
            except ProcessLookupError:
                pass


class Isolation:
    """`directory` holds its log and mount points and is seen under the same name inside."""

    def __init__(self, directory, label="isolation"):
        self.directory = Path(directory)
        self.cgroup = netns.unique_name(label)  # the runtimes put their cgroups below this one
        self.holder = None

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        script = self.directory / "setup"
        script.write_text(_SETUP)
        # Mounts follow the machine's (slave), so that a namespace deleted outside is not kept alive in here.
        self.holder = process.Process(
            ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
             "--mount-proc", "--propagation", "slave", "sh", script, ":".join(COVERED), self.directory],
            self.directory / "isolation.log", "isolation").start()
        try:
            self.holder.wait_log("\nready\n", 15)
        except BaseException:
            self.stop()
            raise
        return self

    @property
    def init(self):
        """The pid, as seen outside, of the first process inside."""
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        return int(children[0])

    def command(self, *words):
        init = self.init
        # --fork comes with --pid; the working directory has to be one that is seen inside.
        return ["nsenter", "-t", str(init), "--mount", "--net", "--uts", "--ipc", "--pid", "--wd=/", "--",
                *map(str, words)]

    def run(self, *words, **options):
        return process.run(self.command(*words), **options)

    def output(self, *words, **options):
        return self.run(*words, **options).stdout

    def start_process(self, *words, log, **options):
        return _Inside(self.command(*words), log, **options).start()

    def path(self, inside):
        """Where a file that is seen inside as `inside` is seen from outside."""
        return Path(f"/proc/{self.init}/root") / str(inside).lstrip("/")

    def stop(self):
        if self.holder and self.holder.alive():
            try:
                os.kill(self.init, signal.SIGKILL)  # and with it the whole pid namespace
            except (ProcessLookupError, IndexError):
                pass
            deadline = time.monotonic() + 10
            while self.holder.alive() and time.monotonic() < deadline:
                time.sleep(0.01)
            self.holder.kill()
        remove_cgroups(self.cgroup)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
