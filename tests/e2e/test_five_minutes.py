"""README's "Ordinary containers in five minutes", word for word, as on a machine that has nothing but one interface: its
commands are read out of the text and run one after the other."""
import json
import re
import shlex
from pathlib import Path

import pytest

from viaduct import daemons, image, process, workdir

README = Path(__file__).resolve().parents[2] / "README.md"
NODE, GATEWAY, FAR = "192.0.2.2", "192.0.2.1", "203.0.113.7"
PAGE = "page of nginx"


def script(title):
    return "\n".join(commands(title)) + "\n"


def commands(title):
    section = README.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block, f"README has no commands under {title}"
    return block[1].strip().splitlines()


class Machine:
    """Both daemons beside podman in an isolation, whose eth0 leads outside."""

    def __init__(self, podman, outside, directory):
        self.podman, self.isolation, self.outside, self.directory = podman, podman.isolation, outside, directory
        self.bin = directory / "bin"
        self.bin.mkdir()
        self._wrap_podman()
        for name in ("cli", "dataplane", "control"):
            (self.bin / daemons.program(name).name).symlink_to(daemons.program(name))
        self._import_nginx()
        # What the text writes below /etc stays here.
        process.run(["cp", "-a", "/etc", directory / "etc"])
        self.isolation.run("mount", "--bind", directory / "etc", "/etc")
        outside.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns",
                    str(self.isolation.init))
        outside.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off")
        outside.run("ip", "addr", "add", f"{GATEWAY}/24", "dev", "eth0")
        outside.run("ip", "addr", "add", FAR, "dev", "lo")
        outside.run("ip", "link", "set", "eth0", "up")
        for words in (f"addr add {NODE}/24 dev eth0", "link set eth0 up", f"route add default via {GATEWAY}"):
            self.isolation.run("ip", *words.split())
        self.file_prefix = daemons.netns.unique_name("five")
        self.running = []

    def _wrap_podman(self):
        """The podman of this machine, which keeps its state where the test put it."""
        options = [f"--root={self.podman.directory}/storage", "--runroot=/run/podman-root",
                   f"--tmpdir={self.podman.directory}/tmp", "--storage-driver=vfs"]
        (self.bin / "podman").write_text(f"""#!/bin/sh
export CONTAINERS_CONF={self.podman.directory}/containers.conf HOME={self.podman.directory}
export CONTAINERS_REGISTRIES_CONF={self.podman.directory}/registries.conf TMPDIR={self.podman.directory}
verb=$1
shift
case $verb in
    run) exec /usr/bin/podman {shlex.join(options)} run --cgroup-parent {self.isolation.cgroup} --cgroups no-conmon "$@" ;;
    *) exec /usr/bin/podman {shlex.join(options)} "$verb" "$@" ;;
esac
""")
        (self.bin / "podman").chmod(0o755)

    def _import_nginx(self):
        """There is no registry here: a web server by that name."""
        serve = image.serve_page_command(PAGE)
        self.podman.podman("import", "--change", f"CMD {json.dumps(serve)}", self.podman.directory / "image.tar",
                           "docker.io/library/nginx")

    def sh(self, line, **options):
        """As a person types it."""
        path = f"PATH={self.bin}:/usr/sbin:/usr/bin:/sbin:/bin"
        return self.isolation.run("env", path, "sh", "-ec", line, timeout=60, **options)

    def start(self):
        small = [word for pair in daemons.SMALL_FLOW_TABLES.items() for word in map(str, pair)]
        wanted = {"viaduct-dataplane": ["--lcores", "1", "--memory", "256", "--file-prefix", self.file_prefix, *small],
                  "viaduct-control": ["--store", str(self.directory / "state.db"),
                                      "--manifests", "/etc/viaduct/manifests"]}
        for name, options in wanted.items():
            self.running.append(self.isolation.start_process("env", f"PATH={self.bin}:/usr/sbin:/usr/bin:/sbin:/bin", name,
                                                             *options, log=self.directory / f"{name}.log"))
        process.wait_until(lambda: self.sh("viaduct link show", check=False).returncode == 0, 60, "the daemons")
        return self

    def stop(self):
        for each in reversed(self.running):
            each.stop()
        for directory in daemons.FLOW_DIRECTORIES:
            (directory / f"{self.file_prefix}-flows").unlink(missing_ok=True)
        for file in Path("/dev/hugepages").glob(f"{self.file_prefix}map_*"):
            file.unlink(missing_ok=True)

    def eth0(self):
        described = json.loads(self.isolation.output("ip", "-d", "-j", "addr", "show", "eth0"))[0]
        return (described["linkinfo"]["info_kind"], described["address"],
                [each["local"] for each in described["addr_info"] if each["family"] == "inet"])


@pytest.fixture
def lone_machine(make_podman, make_netns, directory):
    missing = daemons.missing_programs()
    if missing:
        pytest.skip(f"not built: {', '.join(missing)}")
    plugins = directory / "cni"
    plugins.mkdir()
    (plugins / "viaduct").symlink_to(daemons.program("cni"))
    made = Machine(make_podman((plugins,)), make_netns("outside"), directory)
    try:
        yield made.start()
    finally:
        made.stop()


def test_word_for_word(lone_machine):
    machine = lone_machine
    before = machine.eth0()
    lines = commands("Ordinary containers in five minutes")
    done = {}
    for line in lines:
        if line.startswith("viaduct net detach"):
            # What the text says, before it is all taken away.
            assert machine.eth0() == ("tun", *before[1:])
            for client, url in ((machine.outside, f"http://{NODE}:8080/"),
                                (machine.isolation, f"http://{NODE}:8080/")):
                page = process.wait_until(lambda: client.run("curl", "-s", "--max-time", "3", f"{url}index.html",
                                                             check=False).stdout, 20, url)
                assert PAGE in page
            machine.sh(f"podman exec web ping -c 2 -W 5 {FAR}")
            machine.sh(f"podman exec web ping -c 2 -W 5 {NODE}")
            machine.sh(f"ping -c 2 -W 5 {FAR}")
        done[line] = machine.sh(line).stdout
    assert PAGE in next(text for line, text in done.items() if line.startswith("curl"))
    assert "eth0" in done["viaduct uplink show"] and "taken from the host" in done["viaduct uplink show"]
    assert machine.eth0() == before
    machine.sh(f"ping -c 2 -W 5 {FAR}")
    assert "8080" not in machine.isolation.output("ip", "rule")
    assert machine.sh("viaduct -j link show").stdout.strip() in ("[]", ""), "nothing is left"


def test_services_word_for_word(lone_machine):
    machine = lone_machine
    made, looked = re.split(r"(?<=\nEOF\n)", script("Services from manifests"))
    machine.sh(made)
    process.wait_until(lambda: "default/web-3" in machine.sh("viaduct service show web", check=False).stdout, 10,
                       "the service to be read, as it is by the time that a person has typed on")
    said = machine.sh(looked).stdout
    assert said.count(PAGE) == 2, said
    assert all(f"default/web-{number}" in said for number in (1, 2, 3)), said
    page = machine.outside.run("curl", "-s", "--max-time", "5", f"http://{NODE}:30080/index.html").stdout
    assert PAGE in page
    # One replica less, and nobody notices.
    machine.sh("viaduct net detach web-2 shop; podman rm -f -t 0 web-2")
    process.wait_until(lambda: "web-2" not in machine.sh("viaduct service show web").stdout, 10, "the endpoint to go")
    for _ in range(10):
        assert PAGE in machine.sh("curl -s --max-time 5 http://10.96.0.80/index.html").stdout
    machine.sh("viaduct net detach web-1 shop; viaduct net detach web-3 shop; podman rm -f -t 0 web-1 web-3")
    machine.sh("viaduct net rm shop; rm /etc/viaduct/manifests/web.yaml; viaduct uplink del eth0")


def test_podman_publishes_on_the_node(lone_machine):
    """`podman run -p`, by CNI: podman keeps the port bound itself, and the page comes all the same, at whatever name the
    node has."""
    machine = lone_machine
    before = machine.eth0()
    machine.sh("viaduct uplink add eth0 --take --force")
    machine.podman.add_network({
        "cniVersion": "1.0.0", "name": "shop", "plugins": [{
            "type": "viaduct", "bridge": "br0", "isDefaultGateway": True, "ipMasq": True,
            "capabilities": {"portMappings": True, "ips": True, "mac": True},
            "ipam": {"type": "viaduct", "ranges": [[{"subnet": "10.92.0.0/24"}]]}}]})
    machine.sh("podman run -d --name web --network shop -p 8080:80 docker.io/library/nginx")
    machine.sh("podman run -d --name box --network shop docker.io/library/nginx")
    for client, address in ((machine.outside, NODE), (machine.isolation, NODE), (machine.isolation, "127.0.0.1")):
        page = process.wait_until(lambda: client.run("curl", "-s", "--max-time", "3", f"http://{address}:8080/index.html",
                                                     check=False).stdout, 20, f"the page at {address}")
        assert PAGE in page
    fetch = shlex.join(image.fetch_page_command(NODE, 8080))
    assert PAGE in machine.sh(f"podman exec box {fetch}").stdout
    machine.sh("podman rm -f -t 0 web box")
    process.wait_until(lambda: "8080" not in machine.isolation.output("ip", "rule"), 20, "the rules to go")
    machine.sh("viaduct uplink del eth0")
    assert machine.eth0() == before
