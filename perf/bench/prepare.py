"""What a comparison needs before it can begin on a machine that has none of it: packages, and this tree's programs."""
import os
import subprocess
from pathlib import Path

from viaduct import process

TOP = Path(__file__).resolve().parents[2]
PROGRAMS = ["dataplane/viaduct-dataplane", "control/viaduct-control", "control/viaduct", "cni/viaduct-cni",
            "perf/viaduct-pktgen", "perf/viaduct-inprocess", "perf/viaduct-micro"]


def run(what, *command):
    environment = os.environ | {"CXX": "ccache g++", "CCACHE_BASEDIR": str(TOP), "CCACHE_NOHASHDIR": "1"}
    if subprocess.run(command, env=environment, stdout=2).returncode != 0:
        raise process.Failed(f"{what} failed: {' '.join(map(str, command))}")


def prepare(build):
    """Installs what is missing and builds what is not up to date, in `build`, with progress on standard error."""
    run("installing packages", TOP / "configs/install-packages", "build", "run", "perf")
    ninja = build / "build.ninja"
    if not ninja.exists():
        run("configuring the build", "meson", "setup", build, TOP)
    elif "perf/viaduct-micro:" not in ninja.read_text():
        # Configured before Google Benchmark was there, by quickstart for one.
        run("configuring the build", "meson", "setup", "--reconfigure", build, TOP)
    run("the build", "ninja", "-C", build, *PROGRAMS)
