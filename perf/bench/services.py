"""A cluster of services, the same for every peer: UDP, one port each, endpoints of their own. As Kubernetes manifests,
and as the rules that kube-proxy writes of it for iptables-restore and for nft (its modes of those names)."""
import hashlib
import ipaddress
from dataclasses import dataclass, field

PORT, TARGET_PORT = 80, 8080
CLUSTER_NETWORK = "10.244.0.0/16"  # --cluster-cidr: who comes from elsewhere is masqueraded
ENDPOINT_NETWORK = "10.200.0.0/13"
_FIRST_SERVICE = int(ipaddress.ip_address("10.96.0.1"))
_FIRST_ENDPOINT = int(ipaddress.ip_address("10.200.0.1"))
_FIRST_OTHER = int(ipaddress.ip_address("10.204.0.1"))


@dataclass
class Service:
    number: int
    endpoints: list = field(default_factory=list)

    @property
    def name(self):
        return f"s{self.number}"

    @property
    def address(self):
        return str(ipaddress.ip_address(_FIRST_SERVICE + self.number))

    def replace(self, endpoint, by):
        self.endpoints[self.endpoints.index(endpoint)] = by


def cluster(count, endpoints):
    """`count` services of `endpoints` each."""
    return [Service(number, [str(ipaddress.ip_address(_FIRST_ENDPOINT + number * endpoints + i)) for i in range(endpoints)])
            for number in range(count)]


def other_endpoint(number):
    """An address that no service of a cluster has had."""
    return str(ipaddress.ip_address(_FIRST_OTHER + number))


# --- manifests ---

def service_manifest(service):
    return f"""apiVersion: v1
kind: Service
metadata: {{name: {service.name}, namespace: apps}}
spec:
  clusterIP: {service.address}
  selector: {{app: {service.name}}}
  ports:
  - {{port: {PORT}, targetPort: {TARGET_PORT}, protocol: UDP}}
"""


def slice_manifest(service):
    endpoints = "\n".join(
        f"""- addresses: [{address}]
  conditions: {{ready: true, serving: true, terminating: false}}
  nodeName: node-{number}
  targetRef: {{kind: Pod, namespace: apps, name: {service.name}-{number}}}"""
        for number, address in enumerate(service.endpoints))
    return f"""apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {service.name}-abcde
  namespace: apps
  labels: {{kubernetes.io/service-name: {service.name}}}
addressType: IPv4
ports:
- {{port: {TARGET_PORT}, protocol: UDP}}
endpoints:
{endpoints}
"""


# --- kube-proxy, "iptables" ---

def _chain(kind, *words):
    digest = hashlib.sha256("/".join(words).encode()).hexdigest().upper()[:16]
    return f"KUBE-{kind}-{digest}"


def _iptables_service(service):
    """(chains, rules) of its own; a chain that is named is emptied first."""
    label = f'"apps/{service.name}"'
    own = _chain("SVC", service.name)
    chains, rules = [own], [
        f"-A {own} -m comment --comment {label} -m udp -p udp -d {service.address}/32 --dport {PORT} "
        f"! -s {CLUSTER_NETWORK} -j KUBE-MARK-MASQ"]
    count = len(service.endpoints)
    for number, address in enumerate(service.endpoints):
        endpoint = _chain("SEP", service.name, address)
        chains.append(endpoint)
        left = count - number
        share = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        rules += [f"-A {own} -m comment --comment {label} {share}-j {endpoint}",
                  f"-A {endpoint} -m comment --comment {label} -s {address}/32 -j KUBE-MARK-MASQ",
                  f"-A {endpoint} -m comment --comment {label} -m udp -p udp -j DNAT --to-destination "
                  f"{address}:{TARGET_PORT}"]
    return chains, rules


def _restore_text(chains, rules):
    return "\n".join(["*nat", *(f":{chain} - [0:0]" for chain in chains), *rules, "COMMIT", ""])


def iptables_rules(services):
    """The whole table, for iptables-restore --noflush."""
    chains, rules = ["KUBE-SERVICES", "KUBE-MARK-MASQ"], ["-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000"]
    for service in services:
        more_chains, more_rules = _iptables_service(service)
        chains += more_chains
        rules += more_rules
        rules.append(f'-A KUBE-SERVICES -m comment --comment "apps/{service.name} cluster IP" -m udp -p udp '
                     f"-d {service.address}/32 --dport {PORT} -j {_chain('SVC', service.name)}")
    rules += ["-A PREROUTING -j KUBE-SERVICES", "-A OUTPUT -j KUBE-SERVICES"]
    return _restore_text(chains, rules)


def iptables_change(service, gone):
    """What changes when `gone` was replaced: the service's chains, and the chain of nobody any more."""
    chains, rules = _iptables_service(service)
    endpoint = _chain("SEP", service.name, gone)
    return _restore_text([*chains, endpoint], [*rules, f"-X {endpoint}"])


# --- kube-proxy, "nftables" ---

def _nft_names(service, address=""):
    own = f"service-{_chain('', service.name)[-8:]}-apps/{service.name}/udp/"
    return f"endpoint-{_chain('', service.name, address)[-8:]}-apps/{service.name}/udp/__{address}/{TARGET_PORT}" \
        if address else own


def _nft_service(service):
    own = _nft_names(service)
    lines = [f"add chain ip kube-proxy {own}"]
    for address in service.endpoints:
        endpoint = _nft_names(service, address)
        lines += [f"add chain ip kube-proxy {endpoint}", f"flush chain ip kube-proxy {endpoint}",
                  f"add rule ip kube-proxy {endpoint} ip saddr {address} jump mark-for-masquerade",
                  f"add rule ip kube-proxy {endpoint} meta l4proto udp dnat to {address}:{TARGET_PORT}"]
    chosen = ", ".join(f"{number} : goto {_nft_names(service, address)}"
                       for number, address in enumerate(service.endpoints))
    return [*lines, f"flush chain ip kube-proxy {own}",
            f"add rule ip kube-proxy {own} ip daddr {service.address} udp dport {PORT} ip saddr != {CLUSTER_NETWORK} "
            "jump mark-for-masquerade",
            f"add rule ip kube-proxy {own} numgen random mod {len(service.endpoints)} vmap {{ {chosen} }}"]


def nft_rules(services):
    """The whole table, for nft -f."""
    lines = ["add table ip kube-proxy", "add chain ip kube-proxy mark-for-masquerade",
             "add rule ip kube-proxy mark-for-masquerade mark set mark or 0x4000",
             "add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict ; }",
             "add chain ip kube-proxy services",
             "add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @service-ips",
             "add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100 ; }",
             "add rule ip kube-proxy nat-prerouting jump services",
             "add chain ip kube-proxy nat-output { type nat hook output priority -100 ; }",
             "add rule ip kube-proxy nat-output jump services"]
    for service in services:
        lines += _nft_service(service)
        lines.append(f"add element ip kube-proxy service-ips {{ {service.address} . udp . {PORT} : "
                     f"goto {_nft_names(service)} }}")
    return "\n".join([*lines, ""])


def nft_change(service, gone):
    """What changes when `gone` was replaced."""
    endpoint = _nft_names(service, gone)
    return "\n".join([*_nft_service(service), f"flush chain ip kube-proxy {endpoint}",
                      f"delete chain ip kube-proxy {endpoint}", ""])
