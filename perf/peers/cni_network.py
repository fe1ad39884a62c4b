"""What the scenario `cni` needs to run a peer's plugin."""
from dataclasses import dataclass
from pathlib import Path


@dataclass
class CniNetwork:
    binary: Path
    config: dict
    namespace: object  # a Netns: where the runtime, and with it the plugin, runs
    plugins: Path      # CNI_PATH
    node: object = None  # daemons.Node, of Viaduct
