"""Files that Debian ships only in source packages (cnitool, the CRI's api.proto): fetched once by apt-get
with lists of its own, so that the machine's apt configuration is neither read for sources nor changed, and
kept in the cache directory.
"""
import shutil
from pathlib import Path

from . import process, workdir

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org"


class Unavailable(Exception):
    """The source cannot be had here; its text is why a test is skipped."""


def release():
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise Unavailable("/etc/os-release names no Debian release")


def fetch(package):
    """The directory in which the original tar of a source package is unpacked."""
    unpacked = workdir.cache_directory() / "source" / package
    if unpacked.is_dir():
        return unpacked
    if not shutil.which("apt-get") or not Path(KEYRING).exists():
        raise Unavailable(f"the Debian source of {package} needs apt-get and debian-archive-keyring")
    work = workdir.create()
    try:
        tar = _download(package, work)
        fresh = work / "unpacked"
        fresh.mkdir()
        process.run(["tar", "-xf", tar, "-C", fresh, "--strip-components=1"])
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copytree(fresh, f"{unpacked}.new-{work.name}", symlinks=True)
            Path(f"{unpacked}.new-{work.name}").rename(unpacked)
        except OSError:
            if not unpacked.is_dir():  # another run may have been faster
                raise
            shutil.rmtree(f"{unpacked}.new-{work.name}", ignore_errors=True)
    finally:
        workdir.remove(work)
    return unpacked


def _download(package, work):
    for directory in ("lists/partial", "cache/archives/partial", "down"):
        (work / directory).mkdir(parents=True)
    name = release()
    (work / "sources.list").write_text(
        f"deb-src [signed-by={KEYRING}] {MIRROR}/debian {name} main\n"
        f"deb-src [signed-by={KEYRING}] {MIRROR}/debian-security {name}-security main\n")
    apt = ["apt-get", "-qq"]
    for key, value in {"Dir::Etc::sourcelist": work / "sources.list", "Dir::Etc::sourceparts": "-",
                       "Dir::State::lists": work / "lists", "Dir::Cache": work / "cache",
                       "APT::Sandbox::User": "root", "Acquire::Retries": 2}.items():
        apt += ["-o", f"{key}={value}"]
    try:
        process.run([*apt, "update"], timeout=180)
        process.run([*apt, "source", "--download-only", package], timeout=300, cwd=work / "down")
    except process.Failed as failure:
        raise Unavailable(f"the Debian source of {package} cannot be fetched: {failure}") from None
    tars = sorted((work / "down").glob("*.orig.tar.*"))
    tars = [tar for tar in tars if not tar.name.endswith(".asc")]
    if not tars:
        raise Unavailable(f"the Debian source of {package} has no original tar")
    return tars[0]
