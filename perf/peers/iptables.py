"""The kernel with the rules that kube-proxy writes in its mode iptables, in a network namespace of its own. What is
timed is iptables-restore alone: no process that watches, compiles or writes rules."""
import shutil

from bench import services

from .kernel_rules import KernelRules


def missing(_scenario):
    return None if shutil.which("iptables-restore") else "iptables is not installed (configs/install-packages test)"


def program(directory):
    return KernelRules(directory, ["iptables-restore", "--noflush"], services.iptables_rules,
                       services.iptables_change, ["iptables-restore", "--version"])
