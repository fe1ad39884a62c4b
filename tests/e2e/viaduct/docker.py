"""Docker's own daemon in an isolation of its own, in the network namespace of a node whose plugin it uses. It comes as
Debian's package, unpacked and not installed, so that the machine gets no daemon."""
from pathlib import Path

from . import debian_source, image, process
from .isolation import Isolation

PLUGINS = Path("/run/docker/plugins")


class Docker:
    """`node`: started with its plugin's socket at `plugin_socket`, outside the isolation."""

    def __init__(self, directory, node, plugin_socket):
        self.directory, self.node, self.plugin_socket = Path(directory), node, plugin_socket
        self.programs = debian_source.fetch("docker.io", binary=True)
        self.socket = self.directory / "docker.sock"
        self.isolation = Isolation(self.directory / "isolation", "docker")
        self.daemon = None

    def start(self):
        self.isolation.start()
        try:
            self.isolation.run("mkdir", "-p", PLUGINS)
            self.isolation.run("ln", "-s", self.plugin_socket, PLUGINS / "viaduct.sock")
            self.start_daemon()
            tar = image.make_tar(image.make_root(self.directory / "image"), self.directory / "image.tar")
            self.docker("import", "--change", 'CMD ["/bin/sleep","1000000"]', tar, image.NAME)
        except BaseException:
            self.stop()
            raise
        return self

    def command(self, *words):
        """In everything of the isolation's but its network."""
        return ["nsenter", f"--net={self.node.namespace.path}", "--", "nsenter", "-t", str(self.isolation.init), "--mount",
                "--uts", "--ipc", "--pid", "--wd=/", "--", *map(str, words)]

    def start_daemon(self):
        path = f"{self.programs / 'usr/sbin'}:{self.programs / 'usr/bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
        self.daemon = process.Process(self.command(
            "env", f"PATH={path}", self.programs / "usr/sbin/dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none",
            "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false", "--storage-driver=vfs", "--oom-score-adjust=0",
            f"--data-root={self.directory}/data", "--exec-root=/run/docker", f"--pidfile={self.directory}/docker.pid",
            "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self.isolation.cgroup}",
            "-H", f"unix://{self.socket}"), self.directory / "dockerd.log", "dockerd").start()
        self.daemon.wait_for(lambda: self.docker("version", check=False).returncode == 0, 60, "an answer of its API")

    def docker(self, *words, **options):
        return process.run(self.command("docker", "-H", f"unix://{self.socket}", *words), **options)

    def run(self, name, network, *command, options=()):
        return self.docker("run", "-d", "--name", name, "--network", network, "--init=false", *options, image.NAME, *command)

    def exec(self, name, *command, check=True):
        return self.docker("exec", name, *command, check=check)

    def stop(self):
        try:
            if self.daemon and self.daemon.alive():
                self.docker("ps", "-aq", check=False)
                self.docker("container", "prune", "-f", check=False)
        except process.Failed:
            pass  # whatever hangs ends with the isolation
        self.isolation.stop()
        if self.daemon:
            self.daemon.stop()
