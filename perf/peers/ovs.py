"""Open vSwitch on DPDK: a bridge with the NORMAL action, with a database, run directory and network namespace of its
own (its userspace bridge is a TAP in the namespace it runs in)."""
import contextlib
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

from viaduct import netns, process, testpmd

from bench import foremost

VSWITCHD = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
BRIDGE = "br0"
START_SECONDS = 60


def missing(_scenario):
    if VSWITCHD.exists() and shutil.which("ovsdb-server"):
        return None
    return f"{VSWITCHD} is not installed (configs/install-packages perf)"


class Ovs:
    def __init__(self, directory, namespace):
        self.directory = directory / "ovs"
        self.directory.mkdir()
        self.namespace = namespace
        self.prefix = netns.unique_name("ovs")
        self.database = f"unix:{self.directory}/db.sock"
        self.control = self.directory / "vswitchd.ctl"
        self.environment = {f"OVS_{name}": self.directory for name in ("RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR")}
        self.server = self.process = None

    def start(self, configuration):
        """`configuration`: lists of words for ovs-vsctl, done before the switch starts."""
        database = self.directory / "conf.db"
        process.run(["ovsdb-tool", "create", database, SCHEMA])
        self.server = process.Process(["ovsdb-server", database, f"--remote=p{self.database}",
                                       f"--unixctl={self.directory}/server.ctl", "--no-chdir"],
                                      self.directory / "ovsdb.log", "ovsdb-server", env=self.environment).start()
        self.server.wait_for((self.directory / "db.sock").exists, START_SECONDS, "its socket")
        self.vsctl("init", wait=False)
        for words in configuration:
            self.vsctl(*words, wait=False)
        command = [*self.namespace.command(), *foremost.COMMAND, VSWITCHD, self.database,
                   f"--unixctl={self.control}", "--no-chdir", "-vconsole:warn", "-vsyslog:off"]
        self.process = process.Process(command, self.directory / "vswitchd.log", "ovs-vswitchd",
                                       env=self.environment).start()
        self.process.wait_for(lambda: self.get("Open_vSwitch", ".", "dpdk_initialized") == "true", START_SECONDS,
                              "its start with DPDK")

    def vsctl(self, *words, wait=True):
        options = ["--timeout=30"] if wait else ["--timeout=30", "--no-wait"]
        return process.run(["ovs-vsctl", f"--db={self.database}", *options, *words], env=self.environment).stdout

    def get(self, table, record, column):
        return self.vsctl("get", table, record, column, wait=False).strip()

    def appctl(self, *words):
        return process.run(["ovs-appctl", f"--target={self.control}", "--timeout=30", *words],
                           env=self.environment).stdout

    def check_ports(self, names):
        for name in names:
            error = self.get("Interface", name, "error")
            if error != "[]":
                raise process.Failed(f"ovs: port {name}: {error}")

    def cycles(self):
        """Cycles a frame in which something was done, receive and send included."""
        found = re.search(r"avg processing cycles per packet: ([\d.]+)", self.appctl("dpif-netdev/pmd-stats-show"))
        return float(found[1]) if found else None

    def stop(self):
        if self.process and self.process.alive():
            try:
                self.appctl("exit", "--cleanup")
                self.process.wait_end(10)
            except process.Failed:
                pass
        for each in (self.process, self.server):
            if each:
                each.stop()
        shutil.rmtree(testpmd.RUNTIME / self.prefix, ignore_errors=True)

    def base(self):
        """The processor for forwarding is CPU 1; everything else is on CPU 0."""
        return ["set", "Open_vSwitch", ".", "other_config:dpdk-init=true", "other_config:dpdk-socket-mem=256",
                "other_config:pmd-cpu-mask=0x2", "other_config:dpdk-lcore-mask=0x1",
                f'other_config:dpdk-extra="--no-pci --in-memory --no-telemetry --file-prefix={self.prefix}"']


@contextlib.contextmanager
def l2(directory, paths):
    names = [path.name for path in paths]
    with netns.Netns("ovs") as namespace:
        ovs = Ovs(directory, namespace)
        try:
            configuration = [ovs.base(), ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev"]]
            for name, path in zip(names, paths):
                configuration.append(["add-port", BRIDGE, name, "--", "set", "Interface", name,
                                      "type=dpdkvhostuserclient", f"options:vhost-server-path={path}"])
            ovs.start(configuration)
            ovs.check_ports(names)
            yield SimpleNamespace(process=ovs.process, cycles=ovs.cycles)
        finally:
            ovs.stop()
