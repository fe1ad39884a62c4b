"""Files that Debian ships only in source packages (cnitool, the CRI's api.proto), or in packages that would start a
daemon where they are installed (dockerd): fetched once by apt-get with lists of its own, so that the machine's apt configuration is neither read for sources nor changed, and
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


def fetch(package, binary=False):
    """The directory in which the original tar of a source package is unpacked, or a binary package's files."""
    unpacked = workdir.cache_directory() / ("binary" if binary else "source") / package
    if unpacked.is_dir():
        return unpacked
    if not shutil.which("apt-get") or not Path(KEYRING).exists():
        raise Unavailable(f"Debian's {package} needs apt-get and debian-archive-keyring")
    work = workdir.create()
    try:
        archive = _download(package, work, binary)
        fresh = work / "unpacked"
        fresh.mkdir()
        process.run(["dpkg-deb", "-x", archive, fresh] if binary else
                    ["tar", "-xf", archive, "-C", fresh, "--strip-components=1"])
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


def _download(package, work, binary):
    for directory in ("lists/partial", "cache/archives/partial", "down"):
        (work / directory).mkdir(parents=True)
    name = release()
    kind = "deb" if binary else "deb-src"
    (work / "sources.list").write_text(
        f"{kind} [signed-by={KEYRING}] {MIRROR}/debian {name} main\n"
        f"{kind} [signed-by={KEYRING}] {MIRROR}/debian-security {name}-security main\n")
    apt = ["apt-get", "-qq"]
    for key, value in {"Dir::Etc::sourcelist": work / "sources.list", "Dir::Etc::sourceparts": "-",
                       "Dir::State::lists": work / "lists", "Dir::Cache": work / "cache",
                       "APT::Sandbox::User": "root", "Acquire::Retries": 2}.items():
        apt += ["-o", f"{key}={value}"]
    try:
        process.run([*apt, "update"], timeout=180)
        command = ["download", package] if binary else ["source", "--download-only", package]
        process.run([*apt, *command], timeout=300, cwd=work / "down")
    except process.Failed as failure:
        raise Unavailable(f"Debian's {package} cannot be fetched: {failure}") from None
    found = sorted((work / "down").glob("*.deb" if binary else "*.orig.tar.*"))
    found = [archive for archive in found if not archive.name.endswith(".asc")]
    if not found:
        raise Unavailable(f"Debian's {package} has no archive that could be unpacked")
    return found[0]
