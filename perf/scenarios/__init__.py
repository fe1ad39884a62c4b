"""What is measured, one file a scenario. Each has a SUMMARY and measure(session) -> [report.Row]."""
from . import cni, dnat, l2, masquerade, memory, route, vxlan

SCENARIOS = {"l2": l2, "route": route, "dnat": dnat, "masquerade": masquerade, "vxlan": vxlan, "cni": cni,
             "memory": memory}
