"""Real servers in containers of podman: nginx, PostgreSQL and an echo of datagrams and streams. Their image is made
here: a root directory with nothing but configuration, and /usr of the machine over it, so that they are Debian's own
programs as they are installed, and no registry is needed.
"""
import os
import shutil
from pathlib import Path

from . import image, pods

NAME = "localhost/vd-debian:latest"
HTTP, SQL, ECHO = 80, 5432, 7  # the ports at which they listen
NOBODY = 65534

_NGINX = """\
user nobody nogroup;
daemon off;
worker_processes 1;
pid {pid};
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100;
    server {{
        listen {port};
        listen [::]:{port};
        location / {{ return 200 "$server_addr $remote_addr:$remote_port $connection\\n"; }}
    }}
}}
"""

_ECHO = """\
import socket, socketserver, threading

class Stream(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)

class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, answers = self.request
        answers.sendto(data, self.client_address)

for kind, handler in ((socketserver.ThreadingTCPServer, Stream), (socketserver.UDPServer, Datagram)):
    kind.address_family, kind.daemon_threads, kind.request_queue_size = socket.AF_INET6, True, 100
    threading.Thread(target=kind(("::", 7), handler).serve_forever).start()
"""

_POSTGRES = """\
set -e
PATH=$1:/usr/bin
initdb -D /data/db -A trust -U app -N >/dev/null
echo 'host all all all trust' >>/data/db/pg_hba.conf
exec postgres -D /data/db -k /tmp -c listen_addresses='*' -c fsync=off
"""


def postgres_programs():
    """The directory of postgres and psql, None: they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def missing():
    """What configs/install-packages has not brought."""
    wanted = ("podman", "runc", "conmon", "busybox", "ss", "nginx", "wrk", "python3")
    lacking = [name for name in wanted if not shutil.which(name)]
    return lacking if postgres_programs() else [*lacking, "postgresql"]


def nginx_configuration(pid="/run/nginx.pid"):
    """Of a server that says who it is, who asks, and on which of its connections. Each connection ends after 100
    requests with `Connection: close`: who has much to ask must get to another server some time."""
    return _NGINX.format(pid=pid, port=HTTP)


def _make_root(directory):
    root = Path(directory)
    for name in ("data", "dev", "etc", "proc", "run", "srv", "sys", "tmp", "usr", "var/lib/nginx", "var/log/nginx"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        os.symlink(f"usr/{name}", root / name)
    (root / "tmp").chmod(0o1777)
    os.chown(root / "data", NOBODY, NOBODY)
    (root / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\nnobody:x:{NOBODY}:{NOBODY}::/:/bin/sh\n")
    (root / "etc/group").write_text(f"root:x:0:\nnogroup:x:{NOBODY}:\n")
    (root / "etc/nginx.conf").write_text(nginx_configuration())
    (root / "srv/echo.py").write_text(_ECHO)
    return root


class Server:
    """A container with its addresses by family; `pid` is its first process's number in podman's isolation."""

    def __init__(self, servers, name, address, pid):
        self.servers, self.name, self.address, self.pid = servers, name, address, pid

    def established(self, port):
        """How many TCP connections the server has at a port, those that open or end included."""
        return len(self.servers.podman.isolation.output(
            "nsenter", "-t", self.pid, "-n", "ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport", "=",
            f":{port}").splitlines())

    def stop(self, signal="KILL", timeout=20):
        """The signal that ends it, its end, and the interface gone by the plugin's DEL."""
        self.servers.podman.podman("kill", "--signal", signal, self.name)
        self.servers.podman.podman("wait", self.name, timeout=timeout)
        self.servers.podman.remove(self.name)


class Servers:
    """Containers of one podman (Podman that runs) on one of its networks."""

    def __init__(self, podman, network, node):
        self.podman, self.network, self.node = podman, network, node
        tar = image.make_tar(_make_root(podman.directory / "debian"), podman.directory / "debian.tar")
        podman.podman("import", tar, NAME)

    def _run(self, name, *command, options=()):
        done = self.podman.run(name, self.network, *command, options=("-v", "/usr:/usr:ro", *options), of=NAME)
        container = done.stdout.split()[-1]
        texts = [each["address"].partition("/")[0] for each in pods.attachment(self.node, container)["addresses"]]
        address = {6 if ":" in text else 4: text for text in texts}
        pid = self.podman.podman("inspect", "--format", "{{.State.Pid}}", name).stdout.strip()
        return Server(self, name, address, pid)

    def nginx(self, name):
        """It ends gracefully by SIGQUIT."""
        return self._run(name, "nginx", "-e", "stderr", "-c", "/etc/nginx.conf")

    def postgres(self, name):
        return self._run(name, "sh", "-c", _POSTGRES, "sh", postgres_programs(), options=("--user", "nobody"))

    def echo(self, name):
        return self._run(name, "python3", "-u", "/srv/echo.py")
