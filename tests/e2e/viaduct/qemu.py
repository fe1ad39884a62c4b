"""A guest with an unmodified Linux kernel on a vhost-user socket: QEMU under TCG (KVM is not used, also where
the machine has it), Debian's linux-image-cloud-amd64 and an initrd of busybox. Commands run through its
serial console.
"""
import re
import secrets
import shutil
from pathlib import Path

from . import image, process

BOOT_SECONDS = 180  # 4 s on an idle machine; TCG shares its cores with pollers
COMMAND_SECONDS = 60
READY = "@guest-ready@"

# In the order in which they depend on each other.
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "failover", "net_failover", "virtio_net")

_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in {modules}; do
  [ -e /modules/$module.ko ] && insmod /modules/$module.ko
done
ip link set lo up
for word in $(cat /proc/cmdline); do
  case $word in
    vd.address=*) address=${{word#*=}} ;;
    vd.gateway=*) gateway=${{word#*=}} ;;
    vd.mtu=*) mtu=${{word#*=}} ;;
  esac
done
tries=0
while [ ! -e /sys/class/net/eth0 ] && [ $tries -lt 100 ]; do tries=$((tries + 1)); usleep 100000; done
[ -n "$mtu" ] && ip link set eth0 mtu $mtu
ip link set eth0 up
[ -n "$address" ] && ip addr add $address dev eth0
[ -n "$gateway" ] && ip route add default via $gateway
stty -echo
export PS1= PS2=
echo {ready}
while :; do sh; done
"""


class Unavailable(Exception):
    """What the guest needs and the machine lacks."""


def _kernel():
    """(vmlinuz, its module directory) of the newest cloud kernel installed."""
    for kernel in sorted(Path("/boot").glob("vmlinuz-*-cloud-amd64"), reverse=True):
        modules = Path("/usr/lib/modules") / kernel.name.removeprefix("vmlinuz-")
        if modules.is_dir():
            return kernel, modules
    raise Unavailable("a guest needs a kernel in /boot (package linux-image-cloud-amd64)")


def _copy_module(modules, name, directory):
    """As a plain .ko, whichever way the package compresses it; a module that is built in needs no file."""
    for path in modules.rglob(f"{name}.ko*"):
        unpack = {".ko": ["cat"], ".xz": ["xz", "-dc"], ".zst": ["zstd", "-dc"]}[path.suffix]
        process.run(["sh", "-c", f'"$@" >"{directory}/{name}.ko"', "sh", *unpack, path])
        return
    if f"/{name}.ko" not in (modules / "modules.builtin").read_text():
        raise Unavailable(f"{modules} has no module {name}")


class GuestFiles:
    """Kernel and initrd, made once for a test run in `directory`."""

    def __init__(self, directory):
        for program in ("qemu-system-x86_64", "cpio"):
            if not shutil.which(program):
                raise Unavailable(f"a guest needs {program}")
        self.kernel, modules = _kernel()
        root = image.make_root(Path(directory) / "guest-root")
        (root / "modules").mkdir()
        for name in MODULES:
            _copy_module(modules, name, root / "modules")
        init = root / "init"
        init.write_text(_INIT.format(modules=" ".join(MODULES), ready=READY))
        init.chmod(0o755)
        self.initrd = Path(directory) / "guest-initrd"
        process.run(["sh", "-c", f"find . | cpio --quiet -o -H newc >'{self.initrd}'"], cwd=root)
        shutil.rmtree(root)


class Guest:
    """One guest. `socket`: its vhost-user socket, which QEMU makes and waits on when `server` (as a pod
    does); `address` with its prefix length. `device` are further options of virtio-net-pci, such as
    "csum=off"."""

    def __init__(self, files, socket, log, mac="02:00:00:00:00:99", address="", gateway="", server=True,
                 memory=256, mtu=None, device="", name="guest"):
        words = ["console=ttyS0", "quiet", "panic=-1", "rdinit=/init", "net.ifnames=0"]
        words += [f"vd.address={address}"] * bool(address) + [f"vd.gateway={gateway}"] * bool(gateway)
        words += [f"vd.mtu={mtu}"] * bool(mtu)
        chardev = f"socket,id=c0,path={socket}" + (",server=on" if server else ",reconnect=1")
        self.process = process.Process(
            ["qemu-system-x86_64", "-accel", "tcg", "-smp", 1, "-m", memory, "-nodefaults", "-no-reboot",
             "-display", "none", "-serial", "stdio", "-kernel", files.kernel, "-initrd", files.initrd,
             "-append", " ".join(words),
             # The other end of the socket maps the guest's memory: it has to be a file that can be shared.
             "-object", f"memory-backend-memfd,id=m0,size={memory}M,share=on",
             "-machine", "q35,memory-backend=m0",
             "-chardev", chardev, "-netdev", "vhost-user,id=n0,chardev=c0",
             # vectors=0: without KVM, QEMU 7.2 crashes when the guest masks the control queue's MSI-X vector.
             "-device", f"virtio-net-pci,netdev=n0,mac={mac},vectors=0" + (f",{device}" if device else "")],
            log, name, stdin=True)

    def launch(self):
        """Starts without waiting: a server waits for the other end before it boots."""
        self.process.start()
        return self

    def wait_ready(self, timeout=BOOT_SECONDS):
        self.process.wait_log(READY, timeout)
        return self

    def start(self):
        return self.launch().wait_ready()

    def run(self, command, timeout=COMMAND_SECONDS, check=True):
        """Runs a line of shell in the guest; returns (exit status, output)."""
        mark = secrets.token_hex(4)
        start = self.process.size()
        self.process.send(f"{{ {command}\n}} 2>&1; status=$?; echo; echo @end-$status-{mark}\n")
        pattern = re.compile(rf"@end-(\d+)-{mark}")
        found = self.process.wait_for(lambda: pattern.search(self.process.text(start)), timeout,
                                      f'the end of "{command}"')
        output = self.process.text(start)[:found.start()].replace("\r\n", "\n").strip("\n")
        status = int(found[1])
        if check and status != 0:
            raise process.Failed(f'"{command}" in the guest: exit status {status}\n{output}')
        return status, output

    def ping(self, address, count=3, timeout=60):
        """Pings from the guest until `address` answers, then `count` - 1 times more without a loss."""
        process.wait_until(lambda: self.run(f"ping -c1 -W2 {address}", check=False)[0] == 0, timeout,
                           f"an answer of {address} to the guest", tell=self.process.tail)
        if count > 1:
            _, output = self.run(f"ping -c{count - 1} -W5 {address}")
            if " 0% packet loss" not in output:
                raise process.Failed(f"the guest lost pings to {address}:\n{output}")

    def fetch(self, address, port=80, timeout=30):
        """The page at http://address:port/index.html with its header, fetched by the guest."""
        request = "GET /index.html HTTP/1.0\\r\\n\\r\\n"
        return self.run(f"printf '{request}' | nc -w {timeout // 2} {address} {port}", timeout)[1]

    def serve(self, body, port=80):
        """Serves `body` at /index.html in the background."""
        self.run(f"echo '{body}' >/www/index.html; httpd -p {port} -h /www")

    def stop(self):
        self.process.stop(5)

    def kill(self):
        self.process.kill()

    def __enter__(self):
        return self if self.process.alive() else self.start()

    def __exit__(self, *_):
        self.stop()
