"""podman with its CNI backend, in an isolation of its own: networks from conflists, containers with fixed
addresses, on the kernel's netns as podman makes them.
"""
import json
from pathlib import Path

from . import image, process
from .isolation import Isolation

_CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_backend = "cni"
cni_plugin_dirs = [{plugin_dirs}]
network_config_dir = "{networks}"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


class Podman:
    """`plugin_dirs`: where podman finds CNI plugins, first match wins. Containers are started with `run`."""

    def __init__(self, directory, plugin_dirs=("/usr/lib/cni",)):
        self.directory = Path(directory)
        self.networks = self.directory / "net.d"
        self.plugin_dirs = plugin_dirs
        self.isolation = Isolation(self.directory / "isolation", "podman")

    def start(self):
        self.networks.mkdir(parents=True)
        dirs = ", ".join(f'"{directory}"' for directory in self.plugin_dirs)
        (self.directory / "containers.conf").write_text(
            _CONFIGURATION.format(plugin_dirs=dirs, networks=self.networks))
        (self.directory / "registries.conf").write_text("")
        self.isolation.start()
        try:
            tar = image.make_tar(image.make_root(self.directory / "image"), self.directory / "image.tar")
            self.podman("import", "--change", 'CMD ["/bin/sleep","1000000"]', tar, image.NAME)
        except BaseException:
            self.stop()
            raise
        return self

    def podman(self, *words, **options):
        """Runs podman; Failed unless it succeeds (check=False: returns whatever came of it)."""
        return self.isolation.run(
            "env", f"CONTAINERS_CONF={self.directory}/containers.conf",
            f"CONTAINERS_REGISTRIES_CONF={self.directory}/registries.conf", f"HOME={self.directory}",
            f"TMPDIR={self.directory}", "podman", f"--root={self.directory}/storage",
            "--runroot=/run/podman-root", f"--tmpdir={self.directory}/tmp", "--storage-driver=vfs",
            *words, **options)

    def add_network(self, conflist):
        """Makes a network of a conflist and returns its name."""
        (self.networks / f"{conflist['name']}.conflist").write_text(json.dumps(conflist, indent=1))
        return conflist["name"]

    def remove_network(self, name):
        (self.networks / f"{name}.conflist").unlink()

    def run(self, name, network, *command, ip=None, mac=None, publish=(), options=(), of=image.NAME):
        """Starts a container of the image `of` in the background."""
        settings = [f"ip={ip}"] * bool(ip) + [f"mac={mac}"] * bool(mac)
        network += ":" + ",".join(settings) if settings else ""
        words = ["run", "-d", "--name", name, "--network", network,
                 "--cgroup-parent", self.isolation.cgroup, "--cgroups", "no-conmon"]
        for mapping in publish:
            words += ["-p", mapping]
        return self.podman(*words, *options, of, *command)

    def exec(self, name, *command, check=True):
        return self.podman("exec", name, *command, check=check)

    def inspect(self, name):
        return json.loads(self.podman("inspect", name).stdout)[0]

    def address(self, name, network):
        return self.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"]

    def restart(self, name):
        self.podman("restart", "-t", "0", name)

    def remove(self, name):
        self.podman("rm", "-f", "-t", "0", name)

    def names(self):
        return [each["Names"][0] for each in json.loads(self.podman("ps", "-a", "--format", "json").stdout)]

    def stop(self):
        """Removes the containers as an operator would, so that the plugin sees its DELs; then the
        isolation."""
        try:
            if self.isolation.holder and self.isolation.holder.alive():
                self.podman("rm", "-a", "-f", "-t", "0", check=False)
        except process.Failed:
            pass  # whatever hangs ends with the isolation
        self.isolation.stop()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
