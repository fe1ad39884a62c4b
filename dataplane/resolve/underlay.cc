// The way of tunnels' own packets: the underlay's route to the peer, its next hop's MAC address, and the port
// behind which that is. What is found holds for one generation of flows and is used by the worker for every
// packet that follows; while the next hop is asked for, packets wait with it, within the neighbours' bounds.
#include <algorithm>

#include <rte_mbuf.h>

#include "resolve/delivery.h"
#include "resolve/node.h"
#include "resolve/resolver.h"
#include "tables/fib.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kEthernetHeader = 14;

struct Way {
    InterfaceIndex interface;
    IpAddress next_hop;
    std::uint32_t mtu;
};

std::optional<Way> find_way(const Resolver& resolver, const Tunnel& tunnel, TunnelIndex index) {
    const auto& tables = resolver.tables();
    const auto vrf = tables.vrfs.find(tunnel.zone);
    if (vrf == tables.vrfs.end()) return std::nullopt;
    const auto route = vrf->second.fib->find(tunnel.remote);
    if (!route || route.entry->action != RouteAction::unicast) return std::nullopt;
    // A tunnel keeps to one of several equal next hops.
    const auto& hop = route.entry->hop_for((index + std::uint64_t{1}) * 0x9e3779b97f4a7c15U);
    const auto& interface = tables.interfaces[hop.interface].config;
    if (!interface.up || resolver.topology().interfaces[hop.interface].bridge == nullptr) return std::nullopt;
    const auto mtu = route.entry->mtu == 0 ? interface.mtu : std::min(route.entry->mtu, interface.mtu);
    return Way{hop.interface, hop.via.value_or(tunnel.remote), mtu};
}

/// Asks for the next hop and has the packet wait, or drops it.
void wait_for(Resolver& resolver, const Tunnel& tunnel, const NeighbourKey& key, rte_mbuf* packet) {
    auto& shared = resolver.shared();
    const auto seen = shared.neighbours.peek(key);
    const bool asks = !seen || seen->state == NeighbourState::failed;
    const WaitingFrame waiting{packet, tunnel.port, key.interface, 0, true};
    if (asks && !shared.rate_limits.allow_solicitation(tunnel.port, resolver.now()))
        return resolver.drop_waiting(waiting, Drop::tx_tunnel_unresolved);
    std::vector<WaitingFrame> dropped;
    switch (shared.neighbours.ask(key, waiting, resolver.now(), dropped)) {
        case Neighbours::Asked::solicit:
            send_solicitation(resolver, key, std::nullopt);
            break;
        case Neighbours::Asked::waits:
            break;
        case Neighbours::Asked::known:  // another worker heard the answer: the next packet finds it
        case Neighbours::Asked::refused:
            dropped.push_back(waiting);
            break;
    }
    for (const auto& frame : dropped)
        resolver.drop_waiting(frame, Drop::neighbour_queue_full);
}

/// As the underlay's bridge delivers what it does not know where to. Not where tunnels' ends are on that
/// bridge: it could go into a tunnel again, this one even.
void flood(Resolver& resolver, const Tunnel& tunnel, const Way& way, const MacAddress& mac,
           rte_mbuf* packet) {
    const auto& topology = resolver.topology();
    const auto& view = topology.interfaces[way.interface];
    const auto& members = view.bridge->flood(view.vlan);
    const bool loops = std::any_of(members.begin(), members.end(), [&](const FloodMember& member) {
        return topology.ports[member.port].tunnels != nullptr;
    });
    if (loops) return resolver.forwarder().drop_outer(tunnel.port, Drop::tx_tunnel_unresolved, packet);
    if (packet->pkt_len > way.mtu)
        return resolver.forwarder().drop_outer(tunnel.port, Drop::tx_too_big, packet);
    Adjacency ethernet;
    ethernet.destination = mac;
    ethernet.source = resolver.tables().interfaces[way.interface].mac;
    push_ethernet(ethernet, tunnel.v4, packet);
    resolver.originate(packet, way.interface);
}

}  // namespace

void Resolver::send_outer(TunnelIndex index, rte_mbuf* packet) {
    const auto& tunnel = topology().tunnels[index];
    const auto way = find_way(*this, tunnel, index);
    if (!way) return forwarder_.drop_outer(tunnel.port, Drop::tx_tunnel_unresolved, packet);
    const NeighbourKey key{way->interface, way->next_hop};
    const auto mac = shared_.neighbours.find(key, now(), tables().generation);
    if (!mac) return wait_for(*this, tunnel, key, packet);
    const auto delivery = find_delivery(topology(), way->interface, *mac);
    if (!delivery) return flood(*this, tunnel, *way, *mac, packet);
    // A tunnel within a tunnel of ours is not gone into.
    if (topology().ports[delivery->port].tunnels != nullptr)
        return forwarder_.drop_outer(tunnel.port, Drop::tx_tunnel_unresolved, packet);
    const auto mtu = std::min(way->mtu, topology().ports[delivery->port].frame_most - kEthernetHeader);
    const Adjacency adjacency{tables().generation,
                              delivery->port,
                              delivery->vlan,
                              mtu,
                              *mac,
                              tables().interfaces[way->interface].mac};
    forwarder_.set_adjacency(index, adjacency);
    if (packet->pkt_len > mtu) return forwarder_.drop_outer(tunnel.port, Drop::tx_too_big, packet);
    forwarder_.leave(adjacency, tunnel.v4, packet);
}

void Resolver::resolve_waiting(const WaitingFrame& waiting) {
    if (!waiting.originated)
        return resolve_one({waiting.frame, waiting.from, waiting.interface, waiting.l2_length, false});
    // A tunnel's packet: its end may have lost the peer meanwhile.
    const auto& tunnels = topology().tunnels;
    const auto* ip = rte_pktmbuf_mtod(waiting.frame, const std::uint8_t*);
    if (const auto* ends = topology().ports[waiting.from].tunnels; ends != nullptr) {
        for (const auto index : *ends) {
            const auto remote = tunnels[index].remote.bytes();
            if (!std::equal(remote.begin(), remote.end(), ip + (tunnels[index].v4 ? 16 : 24))) continue;
            return send_outer(index, waiting.frame);
        }
    }
    forwarder_.drop_outer(waiting.from, Drop::tx_tunnel_unresolved, waiting.frame);
}

void Resolver::drop_waiting(const WaitingFrame& waiting, Drop why) {
    if (waiting.originated)
        return forwarder_.drop_outer(waiting.from, Drop::tx_tunnel_unresolved, waiting.frame);
    drop({waiting.frame, waiting.from, waiting.interface, waiting.l2_length, false}, why);
}

}  // namespace viaduct::dataplane
