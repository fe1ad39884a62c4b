"""An application and its database, as a compose file has them: PostgreSQL on a network that leads nowhere, an
application on that one and on one whose port is published, and who is on neither reaches nothing of them."""
import os
import pwd
import re
import shutil
from pathlib import Path

import pytest

from viaduct import debian_source, pods, process

OUTSIDE, CLIENT = "198.51.100.1", "198.51.100.2"
PORT = 5432


def programs():
    """Where postgres, initdb, psql and pgbench are: the machine's, or Debian's packages unpacked."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if installed:
        return installed[-1].parent
    try:
        found = [sorted(debian_source.fetch(package, binary=True).glob("usr/lib/postgresql/*/bin"))
                 for package in ("postgresql-15", "postgresql-client-15")]
    except debian_source.Unavailable as reason:
        pytest.skip(str(reason))
    server, client = found[0][-1], found[1][-1]
    for name in ("psql", "pgbench"):
        if not (server / name).exists():
            shutil.copy2(client / name, server / name)
    done = process.run([server / "postgres", "--version"], check=False)
    if done.returncode != 0:
        pytest.skip(f"PostgreSQL does not run here: {done.stderr.strip()}")
    return server


class Database:
    """PostgreSQL in a namespace, in a directory of its own, as nobody: it does not run as root."""

    USER = "nobody"

    def __init__(self, space, directory):
        self.space, self.programs, self.directory = space, programs(), Path(directory) / "postgres"
        self.directory.mkdir()
        account = pwd.getpwnam(self.USER)
        os.chown(self.directory, account.pw_uid, account.pw_gid)
        for parent in [directory, *Path(directory).parents][:3]:
            if str(parent) != "/tmp":
                parent.chmod(0o755)

    def _as_nobody(self, *words):
        return ["setpriv", f"--reuid={self.USER}", "--regid=nogroup", "--clear-groups", *map(str, words)]

    def __enter__(self):
        data = self.directory / "data"
        process.run(self._as_nobody(self.programs / "initdb", "-D", data, "-A", "trust", "-U", "app", "-N"), timeout=120)
        (data / "pg_hba.conf").write_text("host all all all trust\nlocal all all trust\n")
        self.server = self.space.start(*self._as_nobody(self.programs / "postgres", "-D", data, "-k", self.directory,
                                                        "-c", "listen_addresses=*", "-c", "fsync=off"),
                                       log=self.directory.parent / "postgres.log")
        self.server.wait_log("ready to accept connections", 60)
        return self

    def __exit__(self, *_):
        self.server.stop()

    def query(self, space, address, text, check=True):
        return space.run("env", "PGCONNECT_TIMEOUT=3", self.programs / "psql", "-h", address, "-U", "app", "-d",
                         "postgres", "-Atc", text, check=check, timeout=60)

    def bench(self, space, address, *options):
        return space.run(self.programs / "pgbench", "-h", address, "-U", "app", *options, "postgres", timeout=120).stdout


def test_an_application_and_its_database(node, make_netns, make_outside, directory):
    world = make_outside(node).address(f"{CLIENT}/24")
    pods.change(node, {"bridges": [{"name": "up"}], "ports": [world.port("up")],
                       "interfaces": [{"name": "out", "bridge": "up", "addresses": [f"{OUTSIDE}/24"]}]})
    for words in (("back", "--internal", "--subnet", "10.73.1.0/24"), ("front", "--subnet", "10.73.2.0/24")):
        node.cli("net", "create", *words)
    db, app, other = make_netns("db"), make_netns("app"), make_netns("other")
    at = node.cli("net", "attach", db.name, "back")["addresses"][0]["address"].partition("/")[0]
    node.cli("net", "attach", app.name, "front", "--publish", "8080:80")
    node.cli("net", "attach", app.name, "back")
    node.cli("net", "attach", other.name, "front")
    with Database(db, directory) as database:
        database.query(app, at, "create table pages (id int primary key, body text); "
                                "insert into pages select i, repeat(md5(i::text), 1000) from generate_series(1, 200) i")
        # 6.4 MB in one answer, and back.
        assert database.query(app, at, "select sum(length(body)) from pages").stdout.strip() == "6400000"
        assert len(database.query(app, at, "select body from pages").stdout) == 200 * 32001
        database.bench(app, at, "-i", "-s", "1", "-q")
        # Many connections, each transaction a new one, while control is killed and comes back.
        running = app.start(database.programs / "pgbench", "-h", at, "-U", "app", "-c", 4, "-C", "-T", 4, "postgres",
                            log=directory / "pgbench.log")
        node.kill_control()
        node.start_control()
        node.wait_in_sync()
        assert running.wait_end(60) == 0
        report = (directory / "pgbench.log").read_text()
        assert int(re.search(r"transactions actually processed: (\d+)", report)[1]) > 20, report
        assert re.search(r"failed transactions: 0 ", report), report
        # Who is on the other network alone, or outside, has no way to the database.
        assert database.query(other, at, "select 1", check=False).returncode != 0
        assert database.query(world.space, at, "select 1", check=False).returncode != 0
        page = directory / "www"
        page.mkdir()
        (page / "index.html").write_text(database.query(app, at, "select left(body, 32) from pages where id = 7").stdout)
        with app.start("busybox", "httpd", "-f", "-p", "80", "-h", page, log=directory / "httpd.log"):
            got = process.wait_until(lambda: world.space.run("curl", "-s", "--max-time", "3", f"http://{OUTSIDE}:8080/",
                                                             check=False).stdout, 20, "the application's page")
        assert got.strip() == "8f14e45fceea167a5a36dedd4bea2543"  # md5 of 7
