// The node as a host on its own networks: which addresses it has, with which it speaks, who is its neighbour,
// and how it sends the frames that it makes itself.
#pragma once

#include <optional>

#include "viaduct/address.h"

#include "resolve/compose.h"
#include "resolve/context.h"
#include "tables/neighbours.h"

namespace viaduct::dataplane {

class Resolver;

/// fe80::/64 with the interface identifier made of the MAC address (RFC 4291 appendix A): every interface has
/// this one.
IpAddress link_local_address(const MacAddress& mac);
/// The group in which somebody is asked for (RFC 4291 2.7.1).
IpAddress solicited_node_group(const IpAddress& address);
/// RFC 2464 7.
MacAddress group_mac(const IpAddress& group);
IpAddress all_nodes_group();

/// One of the interface's own: configured, or its link-local one.
bool is_own_address(const InterfaceEntry& interface, const IpAddress& address);
/// Whether an address is in one of the interface's networks.
bool is_on_network(const InterfaceEntry& interface, const IpAddress& address);
/// Whether an address belongs on the interface's link: in one of its networks, link-local, or routed there
/// without a gateway.
bool is_on_link(const Tables& tables, InterfaceIndex interface, const IpAddress& address);
/// The own address to speak with to `peer` by an interface: in the peer's network, else the interface's first
/// of the family, else its link-local one or any of the VRF's. Nothing where the node has none.
std::optional<IpAddress> own_address_for(const Tables& tables, InterfaceIndex interface,
                                         const IpAddress& peer);

/// Sends what compose.h wrote. Without a buffer it is lost, as on a wire.
void send_own(Resolver& resolver, InterfaceIndex interface, const FrameBytes& bytes);
/// Asks who has an address: everybody, or by unicast whoever is thought to have it.
void send_solicitation(Resolver& resolver, const NeighbourKey& key, const std::optional<MacAddress>& to);
/// Tells everybody on the link that an own address is here: gratuitous ARP (RFC 5227 3), or an unsolicited
/// advertisement (RFC 4861 7.2.6).
void send_announcement(Resolver& resolver, InterfaceIndex interface, const IpAddress& address);
/// Asks whether somebody else has an own address (RFC 5227 2.1.1, RFC 4862 5.4.2). The node uses it
/// meanwhile, as RFC 4429 allows: a router that waits is a network that waits. Whoever answers is heard as
/// claiming it.
void send_probe(Resolver& resolver, InterfaceIndex interface, const IpAddress& address);
/// Somebody else claims an own address (RFC 5227 2.4 b, RFC 4862 5.4): counted, told to people, and answered
/// by an announcement, so that whoever believed him learns better; at most one in ten seconds.
void defend(Resolver& resolver, InterfaceIndex interface, const IpAddress& address,
            const MacAddress& claimer);

/// Whether the node answers on `interface` for an address that is not its own: a service's that is announced
/// on the link; or proxying is on, and a route leads to it by another interface.
bool is_proxied(const Tables& tables, InterfaceIndex interface, const IpAddress& address);

/// Hands on what a message told: waiting frames are resolved again.
void learn_neighbour(Resolver& resolver, const NeighbourKey& key, const MacAddress& mac,
                     Neighbours::Evidence evidence);

/// For routers that ask: sends one to whom, or to all.
void send_router_advertisement(Resolver& resolver, InterfaceIndex interface, const MacAddress& to_mac,
                               const IpAddress& to, bool last = false);

}  // namespace viaduct::dataplane
