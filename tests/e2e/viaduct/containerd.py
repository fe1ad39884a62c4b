"""containerd in an isolation of its own, with `ctr run --cni` for plain containers; cri.py speaks to the same
daemon as a kubelet would.
"""
import json
import secrets
from pathlib import Path

from . import image, process
from .isolation import Isolation

# ctr knows only these two places, which the isolation covers with empty directories.
NETWORKS = "/etc/cni/net.d"
PLUGINS = "/opt/cni/bin"

_CONFIGURATION = """\
version = 2
root = "{directory}/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
                    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
                    "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
"""


class Containerd:
    """Plugins are linked from `plugin_dirs` into /opt/cni/bin, first match wins; `loopback` has to be among
    them, or pods of the CRI fail before any other plugin is asked."""

    def __init__(self, directory, plugin_dirs=("/usr/lib/cni",)):
        self.directory = Path(directory)
        self.socket = self.directory / "containerd.sock"
        self.plugin_dirs = plugin_dirs
        self.isolation = Isolation(self.directory / "isolation", "containerd")
        self.root = self.directory / "image"
        self.daemon = None
        self.containers = []

    def start(self, conflists=()):
        """The CRI reads networks when it starts and whenever the directory changes."""
        self.isolation.start()
        try:
            self._link_plugins()
            for conflist in conflists:
                self.add_network(conflist)
            image.make_root(self.root)
            (self.directory / "config.toml").write_text(_CONFIGURATION.format(
                directory=self.directory, socket=self.socket, image=image.NAME, plugins=PLUGINS,
                networks=NETWORKS))
            self.daemon = self.isolation.start_process(
                "containerd", "--config", self.directory / "config.toml",
                log=self.directory / "containerd.log")
            self.daemon.wait_for(lambda: self.ctr("version", check=False).returncode == 0, 30, "its API")
            self._import_image()
        except BaseException:
            self.stop()
            raise
        return self

    def _link_plugins(self):
        self.isolation.run("mkdir", "-p", PLUGINS, NETWORKS)
        done = set()
        for directory in self.plugin_dirs:
            for plugin in sorted(Path(directory).iterdir()):
                if plugin.name not in done:
                    done.add(plugin.name)
                    self.isolation.run("ln", "-s", plugin.resolve(), f"{PLUGINS}/{plugin.name}")

    def _import_image(self):
        """An image without a registry: podman turns the busybox tree into one that containerd takes."""
        tar = image.make_tar(self.root, self.directory / "image.tar")
        archive = self.directory / "image.docker.tar"
        podman = ["env", f"HOME={self.directory}", f"TMPDIR={self.directory}", "podman",
                  f"--root={self.directory}/podman", "--runroot=/run/podman-root",
                  f"--tmpdir={self.directory}/tmp", "--storage-driver=vfs", "--cgroup-manager=cgroupfs"]
        self.isolation.run(*podman, "import", "--change", 'CMD ["/bin/sleep","1000000"]', tar, image.NAME)
        self.isolation.run(*podman, "save", "-o", archive, image.NAME)
        self.ctr("--namespace", "k8s.io", "images", "import", "--snapshotter", "native", archive)

    def add_network(self, conflist, order=10):
        """ctr and the CRI use the first file by name."""
        self.isolation.run("sh", "-c", f"cat >{NETWORKS}/{order}-{conflist['name']}.conflist",
                           input=json.dumps(conflist, indent=1))
        return conflist["name"]

    def remove_network(self, name):
        self.isolation.run("sh", "-c", f"rm {NETWORKS}/*-{name}.conflist")

    def ctr(self, *words, **options):
        return self.isolation.run("ctr", "-a", self.socket, *words, **options)

    def run(self, name, *command):
        """`ctr run --cni -d`: a container on the first network. ctr itself never sends the DEL of one in the
        background, which makes remove() the time when only the namespace goes."""
        root = self.directory / "roots" / name
        root.parent.mkdir(exist_ok=True)
        process.run(["cp", "-a", self.root, root])
        self.ctr("run", "--cni", "-d", "--cgroup", f"/{self.isolation.cgroup}/{name}", "--rootfs", root, name,
                 *(command or ["/bin/sleep", "1000000"]))
        self.containers.append(name)

    def _foreground(self, name, *command):
        root = self.directory / "roots" / name
        root.parent.mkdir(exist_ok=True)
        process.run(["cp", "-a", self.root, root])
        return ["run", "--cni", "--rm", "--cgroup", f"/{self.isolation.cgroup}/{name}", "--rootfs", root, name,
                *command]

    def run_foreground(self, name, *command, check=True):
        """`ctr run --cni --rm`: waits for its end; the DEL comes then."""
        return self.ctr(*self._foreground(name, *command), check=check)

    def start_foreground(self, name, *command, log):
        """The same as a process that goes on; end_foreground() ends the container, and waits for it."""
        return self.isolation.start_process("ctr", "-a", self.socket, *self._foreground(name, *command), log=log)

    def end_foreground(self, name, running):
        self.ctr("task", "kill", "--signal", "SIGKILL", name)
        process.wait_until(lambda: not running.alive(), 15, f"ctr to end with its container {name}")

    def exec(self, name, *command, check=True):
        """A command of busybox or a path: ctr gives it no PATH."""
        first = command[0] if command[0].startswith("/") else f"/bin/{command[0]}"
        return self.ctr("task", "exec", "--exec-id", secrets.token_hex(4), name, first, *command[1:],
                        check=check)

    def address(self, name, ifname="eth0"):
        """The container's IPv4 address, read inside it."""
        words = self.exec(name, "ip", "-4", "-o", "addr", "show", "dev", ifname).stdout.split()
        return words[words.index("inet") + 1].partition("/")[0]

    def remove(self, name):
        self.ctr("task", "kill", "--signal", "SIGKILL", name, check=False)
        process.wait_until(lambda: self.ctr("task", "delete", name, check=False).returncode == 0, 15,
                           f"the end of the container {name}", interval=0.1)
        self.ctr("container", "delete", name)
        self.containers.remove(name)

    def stop(self):
        if self.daemon and self.daemon.alive():
            for name in list(self.containers):
                try:
                    self.remove(name)
                except process.Failed:
                    pass  # whatever hangs ends with the isolation
            self.daemon.stop()
        self.isolation.stop()

    def __enter__(self):
        return self if self.daemon else self.start()

    def __exit__(self, *_):
        self.stop()
