"""Kubernetes manifests of services and their endpoints, and the directory in which control reads them."""
import json
from pathlib import Path

NAMESPACE = "apps"
READY = {"ready": True, "serving": True, "terminating": False}
DRAINING = {"ready": False, "serving": True, "terminating": True}


def port(number, target=None, protocol="TCP", **settings):
    return {"name": f"{protocol.lower()}-{number}", "port": number, "targetPort": target or number, "protocol": protocol,
            **settings}


def service(name, addresses, *ports, **spec):
    """`addresses`: its ClusterIPs, of one family or both."""
    families = "RequireDualStack" if len(addresses) > 1 else "SingleStack"
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"clusterIPs": list(addresses), "ipFamilyPolicy": families, "ports": list(ports), **spec}}


def endpoint_slice(name, family, ports, endpoints):
    """`ports`: of the service; `endpoints`: [(address, conditions)]."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": f"IPv{family}",
            "metadata": {"name": f"{name}-{family}", "namespace": NAMESPACE,
                         "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": each["name"], "port": each["targetPort"], "protocol": each["protocol"]} for each in ports],
            "endpoints": [{"addresses": [address], "conditions": conditions} for address, conditions in endpoints]}


class Directory:
    """A directory of manifests that control follows."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.mkdir(parents=True)

    def write(self, name, *documents):
        """At once, as a program that means it renames a file."""
        temporary = self.path / f".{name}.new"
        temporary.write_text("\n---\n".join(json.dumps(each) for each in documents))
        temporary.rename(self.path / f"{name}.yaml")

    def remove(self, name):
        (self.path / f"{name}.yaml").unlink()


def programmed(node, name):
    """What the node's dataplane has of a service, by its own word: control may not have told it yet. {port's name: its
    object}."""
    return {each["port"]: each for each in node.dataplane_api("GET", "/v1/config").body["services"]
            if (each["namespace"], each["name"]) == (NAMESPACE, name)}


def backends(node, name, port_name):
    """{address: whether it drains}."""
    found = programmed(node, name).get(port_name, {}).get("backends", ())
    return {each["address"]: bool(each.get("draining")) for each in found}
