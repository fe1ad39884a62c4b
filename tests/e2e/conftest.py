"""Fixtures of the end-to-end tests. A fixture that needs what the machine lacks skips with the reason;
everything is taken away after its test, and what a killed run left is taken away before the first.
"""
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from viaduct import (  # noqa: E402
    cnitool as cnitool_module, containerd as containerd_module, cri as cri_module, daemons, debian_source,
    docker as docker_module, hosts, isolation as isolation_module, netns, outside, podman as podman_module, pods, qemu, testpmd, workdir)


def needs_programs(*names):
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: configs/install-packages test")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Lets fixtures see whether their test failed: item.report_call."""
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


@pytest.fixture(scope="session", autouse=True)
def machine():
    """Root, and nothing left by runs that are dead."""
    if os.geteuid() != 0:
        pytest.skip("end-to-end tests run as root")
    netns.remove_stale()
    workdir.remove_stale()
    isolation_module.remove_stale()
    testpmd.remove_stale()
    daemons.remove_stale()


@pytest.fixture(scope="session")
def session_directory(machine):
    """The run's directory, short enough for Unix sockets below it."""
    directory = workdir.create()
    yield directory
    workdir.remove(directory)


@pytest.fixture
def directory(session_directory, request):
    """A new directory for one test; its logs' last lines are shown when the test fails."""
    number = len(list(session_directory.glob("t*")))
    path = session_directory / f"t{number}"
    path.mkdir()
    yield path
    report = getattr(request.node, "report_call", None)
    if report and report.failed:
        for log in sorted(path.rglob("*.log")):
            print(f"--- {log} ---\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:]))


@pytest.fixture
def make_netns(machine):
    """make_netns(label) -> Netns, any number of them."""
    needs_programs("ip", "nsenter")
    made = []

    def make(label="pod"):
        made.append(netns.Netns(label).create())
        return made[-1]

    yield make
    for each in made:
        each.delete()


@pytest.fixture
def dpdk(machine):
    """The module testpmd, whose processes the test starts in `with`."""
    needs_programs("dpdk-testpmd", "stdbuf")
    return testpmd


@pytest.fixture(scope="session")
def guest_files(session_directory):
    """Kernel and initrd for qemu.Guest."""
    try:
        return qemu.GuestFiles(session_directory)
    except qemu.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def isolation(directory):
    """A mount, network, pid, IPC and host name namespace of the test's own."""
    needs_programs("unshare", "nsenter")
    with isolation_module.Isolation(directory / "isolation") as it:
        yield it


@pytest.fixture
def make_outside(make_netns):
    """make_outside(node, …) -> the namespace behind an uplink of the node."""

    def make(node, **options):
        return outside.Outside(node, make_netns("outside"), **options)

    return make


@pytest.fixture
def make_podman(directory):
    """make_podman(plugin_dirs=…) -> Podman that runs."""
    needs_programs("podman", "runc", "conmon", "busybox")
    made = []

    def make(plugin_dirs=(daemons.REFERENCE_PLUGINS,)):
        made.append(podman_module.Podman(directory / f"podman{len(made)}", plugin_dirs))
        return made[-1].start()

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def make_docker(directory):
    """make_docker(node, plugin_socket) -> Docker's daemon in the node's network namespace, with that plugin."""
    needs_programs("docker", "containerd", "runc", "busybox")
    made = []

    def make(node, plugin_socket):
        try:
            made.append(docker_module.Docker(directory / f"docker{len(made)}", node, plugin_socket))
        except debian_source.Unavailable as reason:
            pytest.skip(str(reason))
        return made[-1].start()

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def make_containerd(directory):
    """make_containerd(conflists, plugin_dirs=…) -> Containerd that runs with these networks."""
    needs_programs("containerd", "ctr", "runc", "podman", "busybox")
    made = []

    def make(conflists, plugin_dirs=(daemons.REFERENCE_PLUGINS,)):
        made.append(containerd_module.Containerd(directory / f"cd{len(made)}", plugin_dirs))
        return made[-1].start(conflists)

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def make_cri(make_containerd):
    """make_cri(conflists, plugin_dirs=…) -> Cri on a containerd of its own."""
    made = []
    try:
        cri_module.load()
    except debian_source.Unavailable as reason:
        pytest.skip(str(reason))

    def make(conflists, **options):
        made.append(cri_module.Cri(make_containerd(conflists, **options)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def make_cnitool(directory, isolation):
    """make_cnitool(plugin_dirs=…) -> Cnitool, in the test's isolation."""
    try:
        binary = cnitool_module.build()
    except debian_source.Unavailable as reason:
        pytest.skip(str(reason))

    def make(plugin_dirs=(daemons.REFERENCE_PLUGINS,)):
        return cnitool_module.Cnitool(binary, directory, isolation, plugin_dirs)

    return make


@pytest.fixture(scope="session")
def reference_plugins():
    """The directory of the well-known plugins."""
    if not (daemons.REFERENCE_PLUGINS / "bridge").exists():
        pytest.skip("needs the reference plugins (package containernetworking-plugins)")
    return daemons.REFERENCE_PLUGINS


@pytest.fixture
def make_node(directory):
    """make_node(**options of Node) -> Node that runs. At the end of the test the ledger of each has to add
    up."""
    missing = daemons.missing_programs()
    if missing:
        pytest.skip(f"not built: {', '.join(missing)}")
    made = []

    def make(**options):
        made.append(daemons.Node(directory / f"n{len(made)}", **options))
        return made[-1].start()

    yield make
    try:
        for each in made:
            each.check_ledger()
    finally:
        for each in made:
            each.stop()


@pytest.fixture
def make_router(make_node, make_netns):
    """make_router({label: (network, gateway)}, **more) -> (node, {label: Host that is up}). `gateway`: whether the
    host has a default route. `more`: what the change puts
    besides, by kind."""

    def make(wanted, node_options=None, **more):
        node = make_node(**(node_options or {}))
        numbers = {}
        made = {}
        for label, (network, gateway) in wanted.items():
            numbers[network.name] = numbers.get(network.name, 1) + 1
            made[label] = hosts.Host(make_netns(label), network, numbers[network.name], gateway)
        pods.change(node, hosts.objects(made.values(), **more))
        for host in made.values():
            host.up()
        for host in made.values():
            pods.wait_link(node, host.port)
        return node, made

    return make


@pytest.fixture
def node(make_node):
    """A Node with its defaults."""
    return make_node()
