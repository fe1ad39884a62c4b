#!/usr/bin/python3
"""Runs a CNI plugin as a runtime does, by exec, for one pod after the other, and takes the time from before the exec
to the exit. A process of its own and small, so that posix_spawn costs little and the same for every plugin.

Standard input: {"binary", "environment", "config", "directory", "verbs", "pods": [{"container", "netns"}]}.
Standard output: {"times": {verb: [milliseconds]}, "began", "ended": seconds of the monotonic clock}.
"""
import json
import os
import sys
import time

IFNAME = "eth0"


def run(job, verb, pod, config, output):
    """The milliseconds. What the plugin printed is in the file `output`."""
    environment = {**job["environment"], "CNI_COMMAND": verb, "CNI_CONTAINERID": pod["container"],
                   "CNI_NETNS": pod["netns"], "CNI_IFNAME": IFNAME}
    actions = [(os.POSIX_SPAWN_OPEN, 0, config, os.O_RDONLY, 0),
               (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
               (os.POSIX_SPAWN_DUP2, 1, 2)]
    began = time.perf_counter_ns()
    child = os.posix_spawn(job["binary"], [job["binary"]], environment, file_actions=actions)
    status = os.waitpid(child, 0)[1]
    took = time.perf_counter_ns() - began
    if status != 0:
        with open(output, encoding="utf-8", errors="replace") as printed:
            sys.exit(f"{job['binary']}: {verb} of {pod['container']} failed: {printed.read().strip()}")
    return took / 1e6


def main():
    job = json.load(sys.stdin)
    prefix = os.path.join(job["directory"], f"runner-{os.getpid()}")
    plain, complete, output = f"{prefix}.conf", f"{prefix}.prev.conf", f"{prefix}.out"
    with open(plain, "w", encoding="utf-8") as file:
        json.dump(job["config"], file)
    times = {verb: [] for verb in job["verbs"]}
    began = time.monotonic()
    for pod in job["pods"]:
        for verb in job["verbs"]:
            times[verb].append(run(job, verb, pod, plain if verb == "ADD" else complete, output))
            if verb == "ADD":
                # What comes after it is given its result, as libcni does.
                with open(output, encoding="utf-8") as result, open(complete, "w", encoding="utf-8") as file:
                    json.dump({**job["config"], "prevResult": json.load(result)}, file)
    json.dump({"times": times, "began": began, "ended": time.monotonic()}, sys.stdout)


main()
