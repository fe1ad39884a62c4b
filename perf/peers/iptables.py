"""The kernel with the rules that kube-proxy writes in its mode iptables, in a network namespace of its own. What is
timed is iptables-restore alone: no process that watches, compiles or writes rules. Of its two variants it is the quicker
one, with the kernel's own iptables: by way of nf_tables (1.8.9) 110,000 chains are not read in ten minutes."""
import shutil

from bench import services

from .kernel_rules import KernelRules

PROGRAM = "iptables-legacy-restore"


def missing(_scenario):
    return None if shutil.which(PROGRAM) else "iptables is not installed (configs/install-packages test)"


def program(directory):
    return KernelRules(directory, [PROGRAM, "--noflush"], services.iptables_rules, services.iptables_change)
