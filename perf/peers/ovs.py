"""Open vSwitch on DPDK: a bridge with the NORMAL action, or with OpenFlow rules that route, translate and encapsulate.
It has a database, run directory and network namespace of its own (its userspace bridge is a TAP in the namespace it
runs in)."""
import contextlib
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

from viaduct import netns, process, testpmd

from bench import foremost, network

VSWITCHD = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
BRIDGE, UNDERLAY = "br0", "under0"
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

    def add_flows(self, bridge, flows):
        process.run(["ovs-ofctl", "--names", "add-flows", f"unix:{self.directory}/{bridge}.mgmt", "-"],
                    env=self.environment, input="".join(f"{flow}\n" for flow in flows))

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


def vhost_user_port(bridge, path):
    return ["add-port", bridge, path.name, "--", "set", "Interface", path.name, "type=dpdkvhostuserclient",
            f"options:vhost-server-path={path}"]


def add_bridge(name, *settings):
    return ["add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", *settings]


@contextlib.contextmanager
def switch(directory, configuration, ports):
    """Open vSwitch with this configuration, whose `ports` are there without a fault."""
    with netns.Netns("ovs") as namespace:
        ovs = Ovs(directory, namespace)
        try:
            ovs.start([ovs.base(), *configuration])
            ovs.check_ports(ports)
            yield ovs
        finally:
            ovs.stop()


def device(ovs):
    return SimpleNamespace(process=ovs.process, cycles=ovs.cycles, change=lambda number: change(ovs, number))


def change(ovs, number):
    """A rule that no frame meets, and each time another one."""
    ovs.add_flows(BRIDGE, [f"table=1,in_port=vh0,ip,nw_dst=172.20.{number % 256}.0/24 actions=drop"])


@contextlib.contextmanager
def l2(directory, paths):
    configuration = [add_bridge(BRIDGE), *(vhost_user_port(BRIDGE, path) for path in paths)]
    with switch(directory, configuration, [path.name for path in paths]) as ovs:
        yield device(ovs)


# --- with its own OpenFlow rules for the same job; never with an action of the controller ---

CONNECTIONS = 8_000_000
TO_FAR = f"dec_ttl,mod_dl_src:{network.FAR_GATEWAY_MAC},mod_dl_dst:{network.FAR_HOST_MAC},output:vh1"
TO_NEAR = f"dec_ttl,mod_dl_src:{network.NEAR_GATEWAY_MAC},mod_dl_dst:{network.NEAR_HOST_MAC},output:vh0"
FROM_NEAR = f"in_port=vh0,dl_dst={network.NEAR_GATEWAY_MAC},ip"
FROM_FAR = f"in_port=vh1,dl_dst={network.FAR_GATEWAY_MAC},ip"


@contextlib.contextmanager
def router(directory, paths, flows, table=CONNECTIONS, groups=()):
    """One bridge with both ports that does nothing but `flows`, which may name `groups`; `table`: connections that it may
    track."""
    configuration = [add_bridge(BRIDGE, "fail_mode=secure"), *(vhost_user_port(BRIDGE, path) for path in paths)]
    with switch(directory, configuration, [path.name for path in paths]) as ovs:
        # Nothing of an earlier run is left in a switch that was just started; said all the same.
        ovs.appctl("dpctl/flush-conntrack")
        ovs.appctl("dpctl/ct-set-maxconns", table)
        for group in groups:
            add_group(ovs, group)
        ovs.add_flows(BRIDGE, flows)
        yield device(ovs)


def route(directory, paths):
    return router(directory, paths, [
        f"{FROM_NEAR},nw_dst={network.DESTINATIONS} actions={TO_FAR}",
        f"{FROM_FAR},nw_dst={network.SOURCES} actions={TO_NEAR}",
    ])


def translator(directory, paths, there, back, translation, **options):
    """`there`, `back`: matches of what is translated; table 1 routes what belongs to a connection."""
    return router(directory, paths, [
        f"{FROM_NEAR},{there} actions=ct(commit,zone=1,nat({translation}),table=1)",
        f"{FROM_FAR},{back} actions=ct(zone=1,nat,table=1)",
        f"table=1,{FROM_NEAR},nw_dst={network.DESTINATIONS},ct_state=+trk-inv actions={TO_FAR}",
        f"table=1,{FROM_FAR},nw_dst={network.SOURCES},ct_state=+trk+est actions={TO_NEAR}",
    ], **options)


def dnat(directory, paths):
    return translator(directory, paths, f"udp,nw_dst={network.SERVICE},tp_dst={network.SERVICE_PORT}",
                      f"nw_src={network.DESTINATIONS}", f"dst={network.BACKEND}:{network.BACKEND_PORT}")


def add_group(ovs, group):
    process.run(["ovs-ofctl", "-OOpenFlow15", "add-group", f"unix:{ovs.directory}/{BRIDGE}.mgmt", group],
                env=ovs.environment)


def service(directory, paths):
    return balanced(directory, paths, network.endpoints())


def balanced(directory, paths, endpoints):
    """What a new connection's hash says, a bucket an endpoint; those that are known need one look-up of connections."""
    buckets = ",".join(
        f"bucket=bucket_id={network.endpoint_number(address)},"
        f"actions=ct(commit,zone=1,nat(dst={address}:{network.BACKEND_PORT}),table=2)" for address in endpoints)
    is_service = f"udp,nw_dst={network.SERVICE},tp_dst={network.SERVICE_PORT}"
    return router(directory, paths, [
        f"{FROM_NEAR},{is_service} actions=ct(zone=1,nat,table=1)",
        f"{FROM_FAR},nw_src={network.DESTINATIONS} actions=ct(zone=1,nat,table=1)",
        f"table=1,{FROM_NEAR},{is_service},ct_state=+trk-inv actions=group:1",
        f"table=1,{FROM_NEAR},nw_dst={network.DESTINATIONS},ct_state=+trk-inv actions={TO_FAR}",
        f"table=1,{FROM_FAR},nw_dst={network.SOURCES},ct_state=+trk+est actions={TO_NEAR}",
        f"table=2,{FROM_NEAR} actions={TO_FAR}",
    ], groups=[f"group_id=1,type=select,selection_method=dp_hash,{buckets}"])


def masquerade(directory, paths, **options):
    low, high = network.POOL_PORTS
    return translator(directory, paths, f"nw_src={network.SOURCES}", f"nw_dst={network.POOL}",
                      f"src={network.POOL_FIRST}-{network.POOL_LAST}:{low}-{high}", **options)


@contextlib.contextmanager
def vxlan(directory, paths):
    """A bridge with port 0 and the tunnel; another with port 1, whose internal port has the tunnel's address."""
    near, far = paths
    configuration = [
        add_bridge(BRIDGE, "fail_mode=secure"), vhost_user_port(BRIDGE, near),
        ["add-port", BRIDGE, "vx0", "--", "set", "Interface", "vx0", "type=vxlan",
         f"options:remote_ip={network.FAR_HOST}", f"options:local_ip={network.FAR_GATEWAY}",
         f"options:key={network.VNI}"],
        add_bridge(UNDERLAY, "fail_mode=secure", f'other_config:hwaddr="{network.FAR_GATEWAY_MAC}"'),
        vhost_user_port(UNDERLAY, far),
    ]
    with switch(directory, configuration, [near.name, far.name, "vx0"]) as ovs:
        address = f"{network.FAR_GATEWAY}/{network.PREFIX_LENGTH}"
        ovs.namespace.run("ip", "address", "add", address, "dev", UNDERLAY)
        ovs.namespace.run("ip", "link", "set", UNDERLAY, "up")
        ovs.appctl("ovs/route/add", address, UNDERLAY)
        ovs.appctl("tnl/neigh/set", UNDERLAY, network.FAR_HOST, network.FAR_HOST_MAC)
        ovs.add_flows(BRIDGE, ["in_port=vh0 actions=output:vx0", "in_port=vx0 actions=output:vh0"])
        ovs.add_flows(UNDERLAY, ["in_port=vh1 actions=LOCAL", "in_port=LOCAL actions=output:vh1"])
        yield device(ovs)
