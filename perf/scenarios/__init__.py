"""What is measured, one file a scenario. Each has a SUMMARY and measure(session) -> [report.Row]."""
from . import cni, l2, memory

SCENARIOS = {"l2": l2, "cni": cni, "memory": memory}
