"""What is measured, one file a scenario. Each has a SUMMARY and measure(session) -> [report.Row]."""
from . import change, cni, connections, deletion, disturbance, dnat, flood, http, idle, l2, masquerade, memory, newflows, program, route, service, tap_rr, tcp, \
    vxlan, workers

SCENARIOS = {"l2": l2, "route": route, "dnat": dnat, "service": service, "masquerade": masquerade, "vxlan": vxlan,
             "newflows": newflows, "connections": connections, "disturbance": disturbance, "deletion": deletion, "flood": flood, "change": change, "workers": workers, "cni": cni, "memory": memory,
             "program": program,
             "tcp": tcp, "tap-rr": tap_rr, "http": http, "idle": idle}
