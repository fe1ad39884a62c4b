"""A busybox userland from Debian's busybox-static: the root directory of every container, and the image that
podman and containerd import. It needs no registry.
"""
import os
import shutil
import tarfile
from pathlib import Path

from . import process

BUSYBOX = Path("/bin/busybox")
NAME = "localhost/vd-busybox:latest"


def make_root(directory):
    """Fills `directory` with busybox and a link for each of its commands. Returns it."""
    root = Path(directory)
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "www", "run"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy2(BUSYBOX, root / "bin/busybox")
    for applet in process.run([BUSYBOX, "--list"]).stdout.split():
        if applet != "busybox":
            os.symlink("busybox", root / "bin" / applet)
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    return root


def make_tar(root, path):
    """`root` as a tar that `podman import` takes."""
    with tarfile.open(path, "w") as tar:
        for entry in sorted(Path(root).iterdir()):
            tar.add(entry, arcname=entry.name)
    return Path(path)


def serve_page_command(body, port=80):
    """What a container runs to serve `body` at /index.html."""
    return ["/bin/sh", "-c", f"echo '{body}' >/www/index.html; exec httpd -f -p {port} -h /www"]


def fetch_page_command(address, port=80):
    """What a container runs to fetch the page; nc, for busybox's wget crashes as a static binary of glibc."""
    return ["/bin/sh", "-c", f"printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} {port}"]
