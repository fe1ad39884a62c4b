"""DPDK's dpdk-testpmd as a pod's application (virtio-user on a vhost-user socket) and, with its vhost PMD, as
a stand-in for the dataplane. Driven through its prompt on standard input; its output is the log.
"""
import re
import shutil
from pathlib import Path

from . import netns, process

PROMPT = "testpmd> "
START_SECONDS = 60
COMMAND_SECONDS = 30
RUNTIME = Path("/run/dpdk")
_COUNTER = re.compile(r"(RX|TX)-(packets|missed|bytes|errors|nombuf|dropped):\s+(\d+)")
_PORT = re.compile(r"NIC statistics for port (\d+)")


def remove_stale():
    for directory in RUNTIME.glob("vd-*"):
        if netns.is_stale(directory.name):
            shutil.rmtree(directory, ignore_errors=True)


def free_huge_megabytes():
    found = re.search(r"^HugePages_Free:\s+(\d+)$", Path("/proc/meminfo").read_text(), re.M)
    size = re.search(r"^Hugepagesize:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
    mounted = " hugetlbfs " in Path("/proc/mounts").read_text()
    return int(found[1]) * int(size[1]) // 1024 if found and size and mounted else 0


class Testpmd:
    """One dpdk-testpmd. `vdevs` are DPDK device strings; `main`, `worker` its CPUs, shared with everybody
    else.

    `prefix_command`: words before its own, such as those of Netns.command(). Huge pages: "auto" takes them
    when twice the memory is free, for others may be about to take some. virtio-user as server accepts the
    next connection when somebody asks for its link or, with `link_interrupt`, by itself.
    """

    __test__ = False  # for pytest, which would take the name for a test's

    def __init__(self, vdevs, log, name="testpmd", memory=64, huge="auto", main=0, worker=1, mode="io",
                 mbufs=4096, burst=32, options=(), prefix_command=(), link_interrupt=False):
        self.huge = huge == "on" or (huge == "auto" and free_huge_megabytes() >= 2 * memory)
        self.prefix = netns.unique_name("testpmd")
        cpus = ",".join(dict.fromkeys([str(main), str(worker)]))
        command = [*prefix_command, "stdbuf", "-oL", "dpdk-testpmd", "-l", cpus, "--main-lcore", main,
                   "-n", 1, "--no-pci", "--no-telemetry",
                   # Without it the memory table has more regions than vhost-user's eight: nothing arrives.
                   "--single-file-segments", "-m", memory,
                   "--file-prefix", self.prefix]
        # --in-memory leaves no files in the huge page mount; DPDK refuses it beside --no-huge.
        command += ["--in-memory"] if self.huge else ["--no-huge", "--no-shconf"]
        for vdev in vdevs:
            command += ["--vdev", vdev]
        command += ["--", "-i", "--nb-cores", 1, "--forward-mode", mode, "--total-num-mbufs", mbufs,
                    "--burst", burst, *options]
        command += [] if link_interrupt else ["--no-lsc-interrupt"]
        self.process = process.Process(command, log, name, stdin=True)

    def start(self):
        """Returns when the prompt is there; a virtio-user server waits for its client before that."""
        self.launch()
        return self.wait_ready()

    def launch(self):
        """Starts without waiting: for servers, whose client is started next."""
        self.process.start()
        return self

    def wait_ready(self, timeout=START_SECONDS):
        self.process.wait_log(PROMPT, timeout)
        return self

    def command(self, text, timeout=COMMAND_SECONDS):
        """Sends a line and returns what was printed until the next prompt."""
        start = self.process.size()
        self.process.send(text + "\n")

        def answer():
            printed = self.process.text(start)
            return printed if printed.rstrip("\n").endswith(PROMPT.rstrip()) or PROMPT in printed else None

        printed = self.process.wait_for(answer, timeout, f'the prompt after "{text}"')
        if "Bad arguments" in printed or "Command not found" in printed or "Ambiguous command" in printed:
            raise process.Failed(f'testpmd does not take "{text}":\n{printed}')
        return printed.replace(PROMPT, "")

    def start_forwarding(self, first_bursts=0):
        """With `first_bursts`, sends that many bursts to its peers before it forwards: with mac or macswap at
        both ends these travel to and fro until one stops, which shows both directions."""
        return self.command(f"start tx_first {first_bursts}" if first_bursts else "start")

    def stop_forwarding(self):
        return self.command("stop", timeout=60)

    def set_mode(self, mode):
        """io, mac, macswap, txonly, rxonly, icmpecho, ...; while stopped."""
        return self.command(f"set fwd {mode}")

    def set_peer(self, mac, port=0):
        """The destination address of what txonly and mac mode send."""
        return self.command(f"set eth-peer {port} {mac}")

    def set_burst(self, burst):
        return self.command(f"set burst {burst}")

    def set_tx_packet(self, *segments):
        """Sizes of the segments of txonly's frames, in bytes."""
        return self.command(f"set txpkts {','.join(map(str, segments))}")

    def mac(self, port=0):
        found = re.search(r"MAC address:\s+([0-9A-Fa-f:]{17})", self.command(f"show port info {port}"))
        return found[1].lower()

    def link_is_up(self, port=0):
        return bool(re.search(r"Link status:\s+up", self.command(f"show port info {port}")))

    def wait_link(self, port=0, timeout=30):
        process.wait_until(lambda: self.link_is_up(port), timeout,
                           f"the link of {self.process.name}'s port {port}", interval=0.1,
                           tell=self.process.tail)

    def stats(self, port=0):
        """{"rx_packets": 1, "rx_missed": 0, ..., "tx_packets": ...} since the last clear."""
        return self.all_stats()[port]

    def all_stats(self):
        ports, current = {}, None
        for line in self.command("show port stats all").splitlines():
            if found := _PORT.search(line):
                current = ports.setdefault(int(found[1]), {})
            for side, what, value in _COUNTER.findall(line):
                current[f"{side}_{what}".lower()] = int(value)
        return ports

    def clear_stats(self):
        return self.command("clear port stats all")

    def wait_packets(self, counter="rx_packets", at_least=1, port=0, timeout=30):
        """Waits until a counter reaches a number, and returns it."""
        last = {}

        def reached():
            last.update(self.stats(port))
            return last[counter] >= at_least and last[counter]

        return process.wait_until(reached, timeout,
                                  f"{at_least} {counter} of {self.process.name}'s port {port}", interval=0.1,
                                  tell=lambda: f"it has {last}")

    def kill(self):
        self.process.kill()
        self._remove_runtime()

    def stop(self):
        """Asks it to quit, which takes the sockets away; then SIGTERM, then SIGKILL."""
        if self.process.alive():
            try:
                self.process.send("quit\n")
                self.process.wait_end(10)
            except (process.Failed, OSError):
                pass
        self.process.stop()
        self._remove_runtime()

    def _remove_runtime(self):
        """DPDK leaves its empty runtime directory behind, also with --in-memory."""
        shutil.rmtree(RUNTIME / self.prefix, ignore_errors=True)

    def __enter__(self):
        return self if self.process.alive() else self.start()

    def __exit__(self, *_):
        self.stop()


def pod(socket, log, server=True, mac=None, queues=1, queue_size=256, name="pod", memory=64, **options):
    """A DPDK pod on a vhost-user socket; as `server` (the default, as the dataplane expects) it makes the
    socket and waits in launch()/wait_ready() until the dataplane connects."""
    vdev = f"net_virtio_user0,path={socket},queues={queues},queue_size={queue_size}"
    if server:
        vdev += ",server=1"
    if mac:
        vdev += f",mac={mac}"
    if queues > 1:
        options.setdefault("options", (f"--rxq={queues}", f"--txq={queues}"))
    return Testpmd([vdev], log, name=name, memory=memory, **options)


def vhost(sockets, log, client=True, name="vhost", memory=128, mbufs=8192, **options):
    """The vhost PMD on these sockets, io-forwarding between ports 0 and 1: stands for the dataplane where
    there is none. As `client` it connects, and again whenever the other end comes back."""
    vdevs = [f"net_vhost{number},iface={socket},queues=1" + (",client=1" if client else "")
             for number, socket in enumerate(sockets)]
    return Testpmd(vdevs, log, name=name, memory=memory, mbufs=mbufs, **options)
