"""A node: viaduct-dataplane and viaduct-control in one temporary directory, and what speaks to them (the
command line, their APIs, the CNI plugin run as a runtime runs it). Command lines are in one place,
Node.*_command.
"""
import http.client
import json
import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

from . import netns, process, testpmd, workdir

START_SECONDS = 60
API_SECONDS = 60
SOCKET_PATH_MOST = 107
SMALL_FLOW_TABLES = {"--flows": 65536, "--flows6": 16384}
FLOW_DIRECTORIES = (Path("/dev/hugepages"), Path("/dev/shm"))
REFERENCE_PLUGINS = Path("/usr/lib/cni")

PROGRAMS = {"dataplane": "dataplane/viaduct-dataplane", "control": "control/viaduct-control",
            "cli": "control/viaduct", "cni": "cni/viaduct-cni"}

Answer = namedtuple("Answer", "status body")  # HTTP status; parsed JSON, or text if it is none
CniOutcome = namedtuple("CniOutcome", "status output stderr")  # exit status; parsed output or None; text


def program(name):
    return workdir.build_directory() / PROGRAMS[name]


def missing_programs():
    return [str(program(name)) for name in PROGRAMS if not program(name).exists()]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("viaduct", timeout=timeout)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def http_request(path, method, target, body=None, timeout=API_SECONDS, parse=True):
    """One request on a Unix socket. `body` is sent as JSON unless it is bytes, which go as they are. Unless `parse`, the
    answer stays text."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection = _UnixConnection(path, timeout)
    try:
        headers = {"Content-Type": "application/json"} if data is not None else {}
        connection.request(method, target, data, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if not parse:
        return Answer(answer.status, text)
    try:
        return Answer(answer.status, json.loads(text) if text else None)
    except ValueError:
        return Answer(answer.status, text)


def run_plugin(binary, command, config, container="", netns_path="", ifname="eth0", path=(REFERENCE_PLUGINS,),
               prefix=(), timeout=60, **environment):
    """Runs any CNI plugin as a runtime does: exactly its six variables, a minimal PATH and what `environment`
    adds or, with None, takes away. `config`: an object, or bytes for input that is none."""
    given = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns_path,
             "CNI_IFNAME": ifname, "CNI_PATH": ":".join(map(str, path)),
             "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}
    words = [f"{key}={value}" for key, value in given.items() if value is not None]
    data = config.decode(errors="surrogateescape") if isinstance(config, bytes) else json.dumps(config)
    done = process.run([*prefix, "env", "-i", *words, binary], input=data, check=False, timeout=timeout)
    try:
        output = json.loads(done.stdout) if done.stdout else None
    except ValueError:
        raise process.Failed(f"{binary} printed something else than JSON: {done.stdout!r}") from None
    return CniOutcome(done.returncode, output, done.stderr)


class Node:
    """Both daemons; `own_namespace` keeps the interfaces that they make out of the machine's namespace.
    Nothing is started before start(). The directory survives stop(), so that start() is a restart with the
    same state."""

    def __init__(self, directory, lcores="1", memory=256, poll="adaptive", huge="auto", dataplane_options=(),
                 control_options=(), own_namespace=True):
        self.directory = Path(directory)
        self.control_socket = self.directory / "control.sock"
        self.dataplane_socket = self.directory / "dataplane.sock"
        self.store = self.directory / "state/viaduct.db"
        self.run_dir = self.directory / "run"
        self.plugins = self.directory / "bin"  # ours under its installed name, and the reference plugins
        self.lcores, self.memory, self.poll, self.huge = lcores, memory, poll, huge
        self.dataplane_options, self.control_options = tuple(dataplane_options), tuple(control_options)
        self.file_prefix = netns.unique_name("dataplane")
        self.namespace = netns.Netns("node") if own_namespace else None
        self.dataplane = self.control = None
        if len(str(self.dataplane_socket)) > SOCKET_PATH_MOST:
            raise process.Failed(f"{self.dataplane_socket}: longer than a Unix socket's path may be")

    # --- the command lines ---

    def dataplane_command(self):
        return [program("dataplane"), "--api-socket", self.dataplane_socket, "--lcores", self.lcores,
                "--memory", self.memory, "--poll", self.poll, "--huge", self.huge,
                "--file-prefix", self.file_prefix, *self._flow_options(), *self.dataplane_options]

    def _flow_options(self):
        """Smaller tables than a node's: most tests have few flows, and many dataplanes one after another."""
        return [word for option, size in SMALL_FLOW_TABLES.items() if option not in self.dataplane_options
                for word in (option, size)]

    def control_command(self):
        return [program("control"), "--api-socket", self.control_socket, "--dataplane-socket",
                self.dataplane_socket, "--store", self.store, "--run-dir", self.run_dir,
                *self.control_options]

    def _process(self, name, command):
        if self.namespace:
            command = self.namespace.command(*command)
        return process.Process(command, self.directory / f"{name}.log", f"viaduct-{name}")

    # --- life and death ---

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self._link_plugins()
        if self.namespace and not self.namespace.exists():
            self.namespace.create()
        try:
            self.start_dataplane()
            self.start_control()
            self.wait_in_sync()
        except BaseException:
            self.stop()
            raise
        return self

    def _link_plugins(self):
        self.plugins.mkdir(exist_ok=True)
        links = {"viaduct": program("cni")}
        if REFERENCE_PLUGINS.is_dir():
            links.update({entry.name: entry for entry in REFERENCE_PLUGINS.iterdir()})
        for name, target in links.items():
            if not (self.plugins / name).is_symlink():
                (self.plugins / name).symlink_to(target)

    def start_dataplane(self, wait=True):
        self.dataplane = self._process("dataplane", self.dataplane_command()).start()
        if wait:
            self.dataplane.wait_for(lambda: self.dataplane_api("GET", "/v1/info").status == 200,
                                    START_SECONDS, "an answer of its API")

    def start_control(self, wait=True):
        self.control = self._process("control", self.control_command()).start()
        if wait:
            self.control.wait_for(lambda: self.api("GET", "/v1/health").status == 200, START_SECONDS,
                                  "an answer of its API")

    def in_sync(self):
        health = self.api("GET", "/v1/health").body
        return health["dataplane"] == "connected" and health["in_sync"]

    def wait_in_sync(self, timeout=START_SECONDS):
        self.control.wait_for(self.in_sync, timeout, "the dataplane to be in sync")

    def stop_control(self):
        return self.control.stop() if self.control else None

    def stop_dataplane(self):
        status = self.dataplane.stop() if self.dataplane else None
        self._remove_runtime()
        return status

    def kill_control(self):
        self.control.kill()

    def kill_dataplane(self):
        """kill -9. DPDK's runtime directory stays, as it would on a node."""
        self.dataplane.kill()

    def stop(self):
        """Both, the namespace and all that DPDK leaves behind."""
        try:
            self.stop_control()
            self.stop_dataplane()
        finally:
            self._remove_runtime()
            self._forget_flows()
            if self.namespace:
                self.namespace.delete()

    def _remove_runtime(self):
        shutil.rmtree(testpmd.RUNTIME / self.file_prefix, ignore_errors=True)
        for file in Path("/dev/hugepages").glob(f"{self.file_prefix}map_*"):
            file.unlink(missing_ok=True)

    def _forget_flows(self):
        """What the next dataplane would take over: it stays over restarts, and goes with the node."""
        for directory in FLOW_DIRECTORIES:
            (directory / f"{self.file_prefix}-flows").unlink(missing_ok=True)

    def logs(self):
        return "\n".join(each.tail() for each in (self.dataplane, self.control) if each)

    # --- what speaks to it ---

    def api(self, method, path, body=None, **options):
        """A request to control."""
        return http_request(self.control_socket, method, path, body, **options)

    def dataplane_api(self, method, path, body=None, **options):
        return http_request(self.dataplane_socket, method, path, body, **options)

    def cli(self, *words, json=True, check=True):
        """`viaduct …`: its parsed JSON (None if it printed nothing), its text, or CompletedProcess if not
        check."""
        options = ["--socket", self.control_socket] + ["-j"] * bool(json)
        done = process.run([program("cli"), *options, *words], check=check)
        if not check:
            return done
        return _parse(done.stdout) if json else done.stdout

    def cni(self, command, config, container="", netns_path="", ifname="eth0", **options):
        """The plugin, as a runtime runs it; see run_plugin."""
        return run_plugin(program("cni"), command, config, container, netns_path, ifname,
                          path=options.pop("path", (self.plugins,)), **options)

    def network(self, name="vd", cni_version="1.0.0", **settings):
        """A plugin's configuration (not a list) of a network of this node."""
        return {"cniVersion": cni_version, "name": name, **self.plugin_settings(**settings)}

    def conflist(self, name="vd", cni_version="1.0.0", **settings):
        """A conflist for the runtimes, of Viaduct alone."""
        return {"cniVersion": cni_version, "name": name, "plugins": [self.plugin_settings(**settings)]}

    def plugin_settings(self, **settings):
        return {"type": "viaduct", "controlSocket": str(self.control_socket), **settings}

    # --- the ledger ---

    def ledger(self):
        """What the dataplane counted: {"in", "out", "dropped", "held"} in frames; the fields' names are here
        and nowhere else. Copies made by flooding and what the node itself made count as coming in, what it took
        for itself as going out."""
        stats = self.dataplane_api("GET", "/v1/stats").body
        totals = stats.get("total", stats)
        return {"in": totals["rx_packets"] + totals["copies"] + totals["originated"],
                "out": totals["tx_packets"] + totals["consumed"],
                "dropped": totals["dropped"], "held": totals["held"]}

    def check_ledger(self, timeout=10):
        """Fails unless in = out + dropped + held; while traffic flows that is so only within a burst, so that
        it is asked again until it is. Does nothing when the dataplane is not there."""
        if not (self.dataplane and self.dataplane.alive()):
            return
        last = {}

        def balanced():
            last.update(self.ledger())
            return last["in"] == last["out"] + last["dropped"] + last["held"]

        process.wait_until(balanced, timeout, "the dataplane's ledger to add up",
                           tell=lambda: f"it has {last}")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def _parse(text):
    return json.loads(text) if text.strip() else None


def remove_stale():
    """What dead runs' dataplanes left in memory that outlives them."""
    left = [*Path("/dev/hugepages").glob("vd-*map_*")]
    for directory in FLOW_DIRECTORIES:
        left += directory.glob("vd-*-flows")
    for file in left:
        if netns.is_stale(file.name):
            os.unlink(file)
