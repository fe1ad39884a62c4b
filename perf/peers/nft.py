"""The kernel with the rules that kube-proxy writes in its mode nftables, in a network namespace of its own. What is
timed is `nft -f` alone: no process that watches, compiles or writes rules."""
import shutil

from bench import services

from .kernel_rules import KernelRules


def missing(_scenario):
    return None if shutil.which("nft") else "nftables is not installed (configs/install-packages test)"


def program(directory):
    return KernelRules(directory, ["nft", "-f"], services.nft_rules, services.nft_change)
