"""CHECK as viaduct-control sees it: the plugin's request, with the pod's network namespace as a descriptor, on one
connection after the other to control's socket. The time includes connecting and this client, so it is more than what
control itself takes."""
import array
import json
import os
import socket
import time

from viaduct import daemons, process

REQUESTS = 1000
IFNAME = "eth0"


def _ask(path, body, descriptor):
    """One request as the plugin sends it; milliseconds."""
    head = f"POST /v1/attachments/check HTTP/1.1\r\nHost: viaduct\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    began = time.perf_counter_ns()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(30)
        connection.connect(path)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        connection.sendmsg([head.encode() + body], ancillary)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    took = time.perf_counter_ns() - began
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise process.Failed(f"viaduct: CHECK on control's socket: {answer.decode(errors='replace')}")
    return took / 1e6


def measure(network, pod, percentile):
    def plugin(verb, config):
        outcome = daemons.run_plugin(network.binary, verb, config, pod["container"], pod["netns"], IFNAME,
                                     path=(network.plugins,), prefix=network.namespace.command())
        if outcome.status != 0:
            raise process.Failed(f"viaduct: {verb}: {outcome.output}")
        return outcome.output

    result = plugin("ADD", network.config)
    inside = next(each for each in result["interfaces"] if each.get("sandbox"))
    expected = {"network": network.config["name"], "container": pod["container"], "ifname": IFNAME,
                "mac": inside["mac"], "addresses": [each["address"] for each in result["ips"]]}
    descriptor = os.open(pod["netns"], os.O_RDONLY | os.O_CLOEXEC)
    try:
        body = json.dumps(expected).encode()
        times = [_ask(str(network.node.control_socket), body, descriptor) for _ in range(REQUESTS)]
    finally:
        os.close(descriptor)
        plugin("DEL", {**network.config, "prevResult": result})
    return {f"CHECK inside control {label}": percentile(times, share) for label, share in (("p50", 0.5), ("p99", 0.99))}
