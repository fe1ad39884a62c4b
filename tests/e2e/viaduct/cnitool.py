"""cnitool, the CNI library's own command: built from Debian's source package golang-github-appc-cni (its -dev
package has the library without the command), and run in network namespaces of the tests.
"""
import json
import os
import shutil
from pathlib import Path

from . import debian_source, process, workdir

GO = Path("/usr/lib/go-1.19/bin/go")
PACKAGE = "golang-github-appc-cni"
IMPORT_PATH = "github.com/containernetworking/cni"


def build():
    """The path of cnitool, built once and kept in the cache; debian_source.Unavailable if it cannot be."""
    binary = workdir.cache_directory() / "cnitool"
    if binary.exists():
        return binary
    if not GO.exists():
        raise debian_source.Unavailable(f"cnitool needs {GO} (package golang-1.19-go)")
    source = debian_source.fetch(PACKAGE)
    work = workdir.create()
    try:
        place = work / "go/src" / IMPORT_PATH
        place.parent.mkdir(parents=True)
        place.symlink_to(source)
        environment = {"GOPATH": work / "go", "GO111MODULE": "off", "GOCACHE": work / "cache", "GOFLAGS": "",
                       "HOME": work, "CGO_ENABLED": "0", "GOROOT": ""}
        process.run([GO, "build", "-o", work / "cnitool", f"{IMPORT_PATH}/cnitool"], timeout=300,
                    env=environment, cwd=work)
        fresh = binary.with_name(f"cnitool-{work.name}")
        shutil.copy2(work / "cnitool", fresh)
        os.replace(fresh, binary)
    finally:
        workdir.remove(work)
    return binary


class Cnitool:
    """cnitool with a directory of conflists and a path of plugins. libcni keeps results in /var/lib/cni, so
    that everything runs in an isolation, where namespaces are made too."""

    def __init__(self, binary, directory, isolation, plugin_dirs=("/usr/lib/cni",)):
        self.binary = binary
        self.networks = Path(directory) / "net.d"
        self.isolation = isolation
        self.plugin_dirs = plugin_dirs
        self.networks.mkdir(parents=True, exist_ok=True)

    def add_network(self, conflist):
        (self.networks / f"{conflist['name']}.conflist").write_text(json.dumps(conflist, indent=1))
        return conflist["name"]

    def make_namespace(self, name):
        """A namespace inside the isolation; returns its path there."""
        self.isolation.run("ip", "netns", "add", name)
        return f"/run/netns/{name}"

    def delete_namespace(self, namespace):
        self.isolation.run("ip", "netns", "delete", Path(namespace).name)

    def run_in(self, namespace, *words, **options):
        return self.isolation.run("ip", "netns", "exec", Path(namespace).name, *words, **options)

    def call(self, verb, network, namespace, ifname="eth0", capabilities=None, args="", check=True):
        """Runs cnitool; returns CompletedProcess. `capabilities` becomes runtimeConfig, `args` CNI_ARGS."""
        environment = {"CNI_PATH": ":".join(map(str, self.plugin_dirs)), "NETCONFPATH": self.networks,
                       "CNI_IFNAME": ifname}
        if capabilities:
            environment["CAP_ARGS"] = json.dumps(capabilities)
        if args:
            environment["CNI_ARGS"] = args
        words = ["env", *(f"{key}={value}" for key, value in environment.items())]
        return self.isolation.run(*words, self.binary, verb, network, namespace, check=check)

    def add(self, network, namespace, **options):
        """The result, parsed."""
        return json.loads(self.call("add", network, namespace, **options).stdout)

    def check(self, network, namespace, **options):
        return self.call("check", network, namespace, **options)

    def delete(self, network, namespace, **options):
        return self.call("del", network, namespace, **options)
