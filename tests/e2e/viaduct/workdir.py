"""The directory in which a test run keeps everything: short, for Unix sockets, and named after the run's pid,
so that the next run takes away what a killed one left. Downloads that later runs want again have a cache
beside the build."""
import os
import secrets
import shutil
from pathlib import Path

from . import netns, process

ROOT = Path(os.environ.get("VIADUCT_TEST_TMP", "/tmp"))
REPOSITORY = Path(__file__).resolve().parents[3]


def build_directory():
    return Path(os.environ.get("VIADUCT_BUILD", REPOSITORY / "build"))


def cache_directory():
    """Sources that were fetched and programs that were built from them; may be deleted at any time."""
    directory = build_directory() / "e2e-cache"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def create():
    directory = ROOT / f"vd-{os.getpid()}-{secrets.token_hex(2)}"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    return directory


def remove(directory):
    """Unmounts what is mounted below, then removes; nothing mounted is ever descended into."""
    directory = Path(directory)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([path for path in mounts if path.startswith(f"{directory}/")]):
        process.run(["umount", "-l", mount], check=False)
    mounts = Path("/proc/self/mountinfo").read_text()
    if f" {directory}/" in mounts:
        raise process.Failed(f"something stays mounted below {directory}")
    shutil.rmtree(directory, ignore_errors=False)


def remove_stale():
    for directory in ROOT.glob("vd-*-*"):
        if directory.is_dir() and netns.is_stale(directory.name):
            remove(directory)
