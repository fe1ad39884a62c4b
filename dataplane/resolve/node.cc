#include "resolve/node.h"

#include <algorithm>
#include <cstring>

#include <rte_mbuf.h>

#include "resolve/resolver.h"
#include "tables/fib.h"
#include "tables/services.h"

namespace viaduct::dataplane {

namespace {

IpAddress v6(const std::array<std::uint8_t, 16>& bytes) {
    return *IpAddress::from_bytes(bytes);
}

}  // namespace

IpAddress link_local_address(const MacAddress& mac) {
    const auto& m = mac.bytes;
    return v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(m[0] ^ 2), m[1], m[2], 0xff, 0xfe,
               m[3], m[4], m[5]});
}

IpAddress solicited_node_group(const IpAddress& address) {
    const auto b = address.bytes();
    return v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, b[13], b[14], b[15]});
}

IpAddress all_nodes_group() {
    return v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

MacAddress group_mac(const IpAddress& group) {
    const auto b = group.bytes();
    return MacAddress{{0x33, 0x33, b[12], b[13], b[14], b[15]}};
}

bool is_own_address(const InterfaceEntry& interface, const IpAddress& address) {
    const auto& own = interface.config.addresses;
    if (std::any_of(own.begin(), own.end(), [&](const Prefix& p) { return p.address == address; }))
        return true;
    return !address.is_v4() && address == link_local_address(interface.mac);
}

bool is_on_link(const Tables& tables, InterfaceIndex index, const IpAddress& address) {
    const auto& interface = tables.interfaces[index];
    const auto& own = interface.config.addresses;
    if (!address.is_v4() && address.is_link_local()) return true;
    if (std::any_of(own.begin(), own.end(), [&](const Prefix& p) { return p.contains(address); }))
        return true;
    const auto route = interface.vrf->fib->find(address);
    if (!route || route.entry->action != RouteAction::unicast) return false;
    return std::any_of(route.entry->hops.begin(), route.entry->hops.end(), [&](const RouteHop& hop) {
        return hop.interface == index && (!hop.via || *hop.via == address);
    });
}

std::optional<IpAddress> own_address_for(const Tables& tables, InterfaceIndex index, const IpAddress& peer) {
    const auto& interface = tables.interfaces[index];
    const bool link_local = !peer.is_v4() && peer.is_link_local();
    if (link_local) return link_local_address(interface.mac);
    const IpAddress* first = nullptr;
    for (const auto& own : interface.config.addresses) {
        if (own.contains(peer)) return own.address;
        if (first == nullptr && own.address.is_v4() == peer.is_v4()) first = &own.address;
    }
    if (first != nullptr) return *first;
    for (const auto& other : tables.interfaces) {
        if (other.config.name.empty() || other.zone != interface.zone) continue;
        for (const auto& own : other.config.addresses) {
            if (own.address.is_v4() == peer.is_v4()) return own.address;
        }
    }
    return peer.is_v4() ? std::nullopt : std::optional(link_local_address(interface.mac));
}

void send_own(Resolver& resolver, InterfaceIndex interface, const FrameBytes& bytes) {
    auto* frame = rte_pktmbuf_alloc(resolver.pool());
    if (frame == nullptr) return;
    auto* data = rte_pktmbuf_append(frame, static_cast<std::uint16_t>(bytes.size()));
    if (data == nullptr) return rte_pktmbuf_free(frame);
    std::memcpy(data, bytes.data(), bytes.size());
    resolver.originate(frame, interface);
}

void send_solicitation(Resolver& resolver, const NeighbourKey& key, const std::optional<MacAddress>& to) {
    const auto& tables = resolver.tables();
    const auto& mac = tables.interfaces[key.interface].mac;
    if (key.address.is_v4()) {
        // Without an address of its own the node asks as a probe does (RFC 5227 2.1.1).
        const auto own = own_address_for(tables, key.interface, key.address).value_or(IpAddress{});
        return send_own(resolver, key.interface,
                        compose_arp({true, mac, own, {}, key.address}, to.value_or(kBroadcastMac)));
    }
    const auto group = solicited_node_group(key.address);
    const Ends ends{to.value_or(group_mac(group)), mac, to ? key.address : group, link_local_address(mac)};
    send_own(resolver, key.interface, compose_neighbour_solicitation(ends, key.address));
}

void send_announcement(Resolver& resolver, InterfaceIndex interface, const IpAddress& address) {
    const auto& mac = resolver.tables().interfaces[interface].mac;
    if (address.is_v4()) {
        return send_own(resolver, interface, compose_arp({true, mac, address, {}, address}, kBroadcastMac));
    }
    const auto group = all_nodes_group();
    send_own(
        resolver, interface,
        compose_neighbour_advertisement({group_mac(group), mac, group, address}, {address, false, true}));
}

void send_probe(Resolver& resolver, InterfaceIndex interface, const IpAddress& address) {
    const auto& mac = resolver.tables().interfaces[interface].mac;
    if (address.is_v4()) {
        return send_own(resolver, interface, compose_arp({true, mac, {}, {}, address}, kBroadcastMac));
    }
    const auto group = solicited_node_group(address);
    const auto nobody = *IpAddress::from_bytes(std::array<std::uint8_t, 16>{});
    send_own(resolver, interface,
             compose_neighbour_solicitation({group_mac(group), mac, group, nobody}, address));
}

void defend(Resolver& resolver, InterfaceIndex interface, const IpAddress& address,
            const MacAddress& claimer) {
    resolver.shared().neighbours.note_duplicate({{interface, address}, claimer});
    if (resolver.shared().rate_limits.allow_defence(interface, address, resolver.now()))
        send_announcement(resolver, interface, address);
}

bool is_on_network(const InterfaceEntry& interface, const IpAddress& address) {
    return std::ranges::any_of(interface.config.addresses,
                               [&](const Prefix& own) { return own.contains(address); });
}

bool is_proxied(const Tables& tables, InterfaceIndex index, const IpAddress& address) {
    const auto& interface = tables.interfaces[index];
    if (tables.services != nullptr && tables.services->announces(interface.zone, address) &&
        is_on_network(interface, address))
        return true;
    if (!interface.config.proxy_arp ||
        !(address.is_v4() ? interface.vrf->forwarding4 : interface.vrf->forwarding6))
        return false;
    if (address.is_multicast() || (!address.is_v4() && address.is_link_local())) return false;
    const auto route = interface.vrf->fib->find(address);
    if (!route || route.entry->action != RouteAction::unicast) return false;
    return std::none_of(route.entry->hops.begin(), route.entry->hops.end(),
                        [&](const RouteHop& hop) { return hop.interface == index; });
}

void learn_neighbour(Resolver& resolver, const NeighbourKey& key, const MacAddress& mac,
                     Neighbours::Evidence evidence) {
    std::vector<WaitingFrame> released;
    resolver.shared().neighbours.learn(key, mac, resolver.now(), evidence, released);
    for (const auto& waiting : released)
        resolver.resolve_waiting(waiting);
}

}  // namespace viaduct::dataplane
