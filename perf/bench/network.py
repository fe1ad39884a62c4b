"""The network of the routed scenarios, the same for every peer, and what the generator is told of it.

    flows' sources 10.1.0.0/16 - near host - [near gateway  device  far gateway] - far host - destinations 10.2.0.0/16

Both hosts are the generator's ports and routers of their own, so that a device needs one neighbour and one route each
way, and no ARP. The far host believes that the pool of masquerade is behind the device; in the scenario `vxlan` it is
the other end of the tunnel.
"""
import ipaddress

from . import generator

NEAR_HOST, NEAR_HOST_MAC = "192.168.1.2", generator.NEAR_MAC
FAR_HOST, FAR_HOST_MAC = "192.168.2.2", generator.FAR_MAC
NEAR_GATEWAY, NEAR_GATEWAY_MAC = "192.168.1.1", "02:00:00:00:01:01"
FAR_GATEWAY, FAR_GATEWAY_MAC = "192.168.2.1", "02:00:00:00:01:02"
PREFIX_LENGTH = 24

SOURCES, DESTINATIONS = "10.1.0.0/16", "10.2.0.0/16"
DESTINATION = "10.2.0.1"
SERVICE, SERVICE_PORT = "10.96.0.10", 53  # destination NAT leads from here ...
BACKEND, BACKEND_PORT = DESTINATION, 5353  # ... to here
SERVICE_NETWORK = "10.96.0.0/16"
ENDPOINTS = 10  # of each service of the scenario `service`
SERVICES = 10_000  # of its variant, from SERVICE on
# 64 addresses with 64,512 ports each: the flows of every scenario fit twice, all to one destination.
POOL, POOL_FIRST, POOL_LAST = "192.0.2.0/24", "192.0.2.1", "192.0.2.64"
POOL_PORTS = (1024, 65535)

VNI = 7
INNER_FAR_MAC = "02:00:00:00:00:0c"  # behind the tunnel
UNDERLAY_MTU = 1600

ROUTE = ("--destination-mac", NEAR_GATEWAY_MAC, "--destination-ip", DESTINATION)
DNAT = ("--destination-mac", NEAR_GATEWAY_MAC, "--destination-ip", SERVICE, "--destination-port", SERVICE_PORT)
SERVICES_ALL = (*DNAT, "--destination-addresses", SERVICES)
MASQUERADE = ROUTE
VXLAN = ("--destination-mac", INNER_FAR_MAC, "--destination-ip", DESTINATION)

# What frames are like at port 1: {field of the generator's sample: condition}.
ROUTED = {"ttl": lambda ttl: ttl == 63}
FORWARDED = {**ROUTED, "destination": lambda address: address == BACKEND,
             "destination_port": lambda port: port == BACKEND_PORT}
BALANCED = {**ROUTED, "destination": lambda address: address in endpoints(),
            "destination_port": lambda port: port == BACKEND_PORT}
BALANCED_ALL = {**BALANCED, "destination": lambda address: ipaddress.ip_address(address) in ipaddress.ip_network(
    DESTINATIONS)}
MASQUERADED = {**ROUTED, "source": lambda address: in_pool(address)}
ENCAPSULATED = {"tunnelled": lambda tunnelled: tunnelled, "ttl": lambda ttl: ttl == 64}


def endpoints(number=0, count=ENDPOINTS):
    """Of the service of this number; addresses go round in DESTINATIONS, which has fewer than all together."""
    first = int(ipaddress.ip_address(DESTINATION))
    return [str(ipaddress.ip_address(first + (number * count + each) % 65_000)) for each in range(count)]


def endpoint_number(address):
    return int(ipaddress.ip_address(address)) - int(ipaddress.ip_address(DESTINATION))


def service_address(number):
    return str(ipaddress.ip_address(SERVICE) + number)


def in_pool(address):
    first, address, last = map(ipaddress.ip_address, (POOL_FIRST, address, POOL_LAST))
    return first <= address <= last
