"""viaduct-dataplane of this build, told what to do over its API, without control."""
import contextlib
from types import SimpleNamespace

from viaduct import daemons, process, testpmd

from bench import foremost, network, session

from .cni_network import CniNetwork
from .viaduct_services import MeasuredServices

SUBNET = "10.88.0.0/16"
MEMORY = 256  # MB of huge pages, without the flow table


def missing(scenario):
    names = daemons.PROGRAMS if scenario in ("cni", "program") else ["dataplane"]
    return session.built(*(daemons.PROGRAMS[name] for name in names))


class MeasuredNode(daemons.Node):
    """Its processes are put before others, as the peers' are."""

    def _process(self, name, command):
        return super()._process(name, [*foremost.COMMAND, *command])


@contextlib.contextmanager
def dataplane(directory, **options):
    """The dataplane alone, on CPU 1, in a network namespace of its own; a Node whose dataplane runs."""
    node = MeasuredNode(directory, lcores="1", **{"memory": MEMORY, "poll": "busy", **options})
    node.namespace.create()
    try:
        node.start_dataplane()
        yield node
    finally:
        node.stop()


def put(node, **objects):
    """One transaction: lists of bridges, ports, ..."""
    answer = node.dataplane_api("POST", "/v1/transactions", {"put": objects})
    if answer.status != 200:
        raise process.Failed(f"viaduct: the transaction was refused: {answer.body}")


def vhost_user_port(name, path, bridge, mode="client"):
    return {"name": name, "kind": "vhost-user", "bridge": bridge, "path": str(path), "mode": mode}


@contextlib.contextmanager
def l2(directory, paths):
    with dataplane(directory) as node:
        put(node, bridges=[{"name": "br0"}], ports=[vhost_user_port(path.name, path, "br0") for path in paths])
        yield device(node)


FLOWS = 4_194_304  # directions of flows that the table has room for


BYTES_A_DIRECTION = 140


def table_options(directions):
    needed = MEMORY + directions * BYTES_A_DIRECTION // 2**20
    if (free := testpmd.free_huge_megabytes()) < needed:
        session.say(f"viaduct: its flows lie in small pages, which costs: {free} MB of huge pages are free, {needed} needed")
    return "--flows", directions, "--flows6", 1024


def interface(name, bridge, mac, address, **settings):
    return {"name": name, "bridge": bridge, "mac": mac, "addresses": [f"{address}/{network.PREFIX_LENGTH}"],
            **settings}


def next_hop(prefix, interface, via):
    return {"prefix": prefix, "next_hops": [{"interface": interface, "via": via}]}


NEAR_INTERFACE = interface("near", "br0", network.NEAR_GATEWAY_MAC, network.NEAR_GATEWAY)
FAR_INTERFACE = interface("far", "br1", network.FAR_GATEWAY_MAC, network.FAR_GATEWAY, mtu=network.UNDERLAY_MTU)
NEAR_NEIGHBOUR = {"interface": "near", "address": network.NEAR_HOST, "mac": network.NEAR_HOST_MAC}
FAR_NEIGHBOUR = {"interface": "far", "address": network.FAR_HOST, "mac": network.FAR_HOST_MAC}
ROUTES = [next_hop(network.SOURCES, "near", network.NEAR_HOST),
          next_hop(network.DESTINATIONS, "far", network.FAR_HOST)]
PORT_FORWARD = {"name": "service", "protocol": "udp", "address": network.SERVICE, "port": network.SERVICE_PORT,
                "to": network.BACKEND, "to_port": network.BACKEND_PORT}
MASQUERADE = {"name": "sources", "source": network.SOURCES, "interface": "far",
              "pool": [f"{network.POOL_FIRST}-{network.POOL_LAST}"],
              "port_low": network.POOL_PORTS[0], "port_high": network.POOL_PORTS[1]}


def device(node):
    return SimpleNamespace(process=node.dataplane, cycles=lambda: None, node=node,
                           change=lambda number: change(node, number))


def change(node, number):
    """A route that no flow uses, and each time another one."""
    put(node, routes=[next_hop("172.20.0.0/16", "far", f"192.168.2.{3 + number % 2}")])


@contextlib.contextmanager
def router(directory, paths, table=FLOWS, more_routes=(), **objects):
    """Two bridges with a port and an interface each, static neighbours and routes, and `objects`. `table`: directions
    of flows that it has room for."""
    near, far = paths
    with dataplane(directory, dataplane_options=table_options(table)) as node:
        put(node, bridges=[{"name": "br0"}, {"name": "br1"}],
            ports=[vhost_user_port(near.name, near, "br0"), vhost_user_port(far.name, far, "br1")],
            interfaces=[NEAR_INTERFACE, FAR_INTERFACE], neighbours=[NEAR_NEIGHBOUR, FAR_NEIGHBOUR],
            routes=[*ROUTES, *more_routes],
            **objects)
        yield device(node)


def route(directory, paths, **options):
    return router(directory, paths, **options)


def dnat(directory, paths, **options):
    return router(directory, paths, port_forwards=[PORT_FORWARD], **options)


def service_of(number, endpoints):
    return {"namespace": "perf", "name": f"service-{number}", "port": "main", "protocol": "udp",
            "frontends": [{"address": network.service_address(number), "port": network.SERVICE_PORT}],
            "backends": [{"address": address, "port": network.BACKEND_PORT} for address in endpoints]}


def services_of(count):
    """So many services, each with endpoints of its own."""
    return [service_of(number, network.endpoints(number)) for number in range(count)]


def service(directory, paths, count=1, **options):
    return router(directory, paths, services=services_of(count), **options)


def balanced(directory, paths, endpoints, **options):
    """One service with these endpoints; put_endpoints(node, endpoints) gives it others."""
    return router(directory, paths, services=[service_of(0, endpoints)], **options)


def cluster_services(directory, paths, count, **options):
    """So many services in a network of which they are all that can be reached, as control makes it."""
    unreachable = {"prefix": network.SERVICE_NETWORK, "kind": "unreachable"}
    return router(directory, paths, more_routes=[unreachable], services=services_of(count), **options)


def delete_service(node, number):
    key = {key: service_of(number, [])[key] for key in ("namespace", "name", "port")}
    answer = node.dataplane_api("POST", "/v1/transactions", {"delete": {"services": [key]}})
    if answer.status != 200:
        raise process.Failed(f"viaduct: the service was not deleted: {answer.body}")


def put_endpoints(node, endpoints):
    put(node, services=[service_of(0, endpoints)])


def masquerade(directory, paths, **options):
    return router(directory, paths, masquerades=[MASQUERADE], **options)


@contextlib.contextmanager
def vxlan(directory, paths):
    """A bridge with port 0 and the tunnel; another with port 1 and the interface that has the tunnel's address."""
    near, far = paths
    with dataplane(directory, dataplane_options=table_options(FLOWS)) as node:
        tunnel = {"name": "vx0", "kind": "vxlan", "bridge": "br0", "vni": network.VNI, "local": network.FAR_GATEWAY,
                  "remotes": [network.FAR_HOST]}
        put(node, bridges=[{"name": "br0"}, {"name": "br1"}],
            ports=[vhost_user_port(near.name, near, "br0"), vhost_user_port(far.name, far, "br1"), tunnel],
            interfaces=[FAR_INTERFACE], neighbours=[FAR_NEIGHBOUR],
            fdb=[{"bridge": "br0", "mac": network.INNER_FAR_MAC, "port": "vx0", "remote": network.FAR_HOST}])
        yield device(node)


@contextlib.contextmanager
def cni(directory, **options):
    """Both daemons as they come (the worker sleeps when idle), pods on a TAP with built-in addresses."""
    with daemons.Node(directory, **options) as node:
        config = node.network(bridge="br0", ipam={"type": "viaduct", "ranges": [[{"subnet": SUBNET}]]})
        yield CniNetwork(daemons.program("cni"), config, node.namespace, node.plugins, node)


@contextlib.contextmanager
def program(directory):
    with contextlib.ExitStack() as stack:
        yield MeasuredServices(directory, stack)
