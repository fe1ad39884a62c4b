"""Requests a second of wrk against nginx between two ordinary pods of a node, both families."""
import re
import shutil

from bench import report
from peers import pods as pod_pairs
from viaduct import process

from .bars import Bar, judge

SUMMARY = "wrk against nginx between two ordinary pods, against a kernel bridge with veth"
CONNECTIONS = 16
BARS = [Bar("bridge", {CONNECTIONS: 0.9})]
CONFIGURATION = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx-error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
  uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  server {{ listen 80; listen [::]:80; location / {{ return 200 "{body}"; }} }}
}}
"""


def requests(client, server, address, seconds, directory):
    (directory / "nginx.conf").write_text(CONFIGURATION.format(directory=directory, body="x" * 1024))
    serving = server.start("nginx", "-e", directory / "nginx-error.log", "-c", directory / "nginx.conf",
                           log=directory / "nginx.log")
    try:
        process.wait_until(lambda: ":80" in server.output("ss", "-Hltn"), 10, "nginx to listen")
        host = f"[{address}]" if ":" in address else address
        answer = client.output("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://{host}/", timeout=seconds + 30)
    finally:
        serving.stop()
    if "Non-2xx" in answer or "Socket errors" in answer:
        raise process.Failed(f"wrk: {answer}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", answer)[1])


def measure(session):
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None and not shutil.which(program, path="/usr/sbin"):
            raise process.Failed(f"{program} is not installed (configs/install-packages perf)")
    seconds = max(1, int(session.seconds(5, 2)))

    def once(client, server, directory):
        return {f"IPv{family}": requests(client.space, server.space, server.addresses[family], seconds, directory) / 1000
                for family in (4, 6)}

    found = pod_pairs.measure(session, "http", session.runs(3, 1), once)
    return judge([report.Row(f"http over {family}", CONNECTIONS, "thousand requests a second", figures)
                  for family, figures in found.items()], BARS)
