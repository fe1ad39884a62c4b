// Tunnels among the objects in force: their places, what the topology shows of them, and what goes with them.
#include <algorithm>
#include <set>

#include "dataplane_state.h"
#include "tables/fib.h"
#include "tables/tables.h"

namespace viaduct::dataplane {

namespace {

/// Longest IP packet that the routes to an address carry; 0: there is no route yet.
std::uint32_t route_mtu(const Tables& tables, Zone zone, const IpAddress& to) {
    const auto vrf = tables.vrfs.find(zone);
    if (vrf == tables.vrfs.end() || !vrf->second.fib) return 0;
    const auto route = vrf->second.fib->find(to);
    if (!route || route.entry->action != RouteAction::unicast) return 0;
    std::uint32_t mtu = route.entry->mtu == 0 ? model::kMtuMost : route.entry->mtu;
    for (const auto& hop : route.entry->hops)
        mtu = std::min(mtu, tables.interfaces[hop.interface].config.mtu);
    return mtu;
}

}  // namespace

TunnelPlaces place_tunnels(const model::Config& config, const TunnelPlaces& before) {
    std::set<TunnelPlaces::key_type> tunnels;
    for (const auto& [name, port] : config.ports) {
        if (port.kind != model::PortKind::vxlan) continue;
        for (const auto& remote : port.vxlan.remotes)
            tunnels.emplace(name, remote);
    }
    return place(tunnels, before);
}

void check_tunnels(const model::Config& next, Faults& faults) {
    std::size_t tunnels = 0;
    for (const auto& [name, port] : next.ports)
        tunnels += port.kind == model::PortKind::vxlan ? port.vxlan.remotes.size() : 0;
    // A transaction that replaces all of them has both for a moment.
    if (tunnels <= kTunnelsMost / 2) return;
    faults.push_back(
        {"ports", "would have " + std::to_string(tunnels) +
                      " tunnels, one for each remote of each vxlan port; a dataplane has at most " +
                      std::to_string(kTunnelsMost / 2)});
}

std::vector<PlacedTunnel> Dataplane::placed_tunnels() const {
    auto& s = *state_;
    std::vector<PlacedTunnel> tunnels;
    for (const auto& [end, index] : s.tunnel_places) {
        const auto& [name, remote] = end;
        const auto port = s.ports.find(name);
        if (port == s.ports.end()) continue;  // it is leaving
        const auto& vxlan = port->second->config.vxlan;
        const auto zone = s.flows.zone(vxlan.vrf);
        tunnels.push_back(
            {index, port->second->index, &vxlan, remote, zone, route_mtu(*s.tables, zone, remote)});
    }
    return tunnels;
}

/// What was learned behind peers that are peers no more. After no worker has them.
void Dataplane::forget_tunnels(const TunnelPlaces& before) {
    auto& s = *state_;
    std::set<std::uint16_t> gone;
    for (const auto& [end, index] : before) {
        if (!s.tunnel_places.contains(end)) gone.insert(static_cast<std::uint16_t>(index + 1));
    }
    if (gone.empty()) return;
    for (auto& [name, bridge] : s.bridges)
        bridge.fdb->remove_if([&](FdbKey, FdbValue v) { return gone.contains(v.tunnel()); }, true);
}

std::uint16_t Dataplane::tunnel_of(const model::FdbEntry& entry) const {
    if (!entry.remote) return 0;
    const auto found = state_->tunnel_places.find({entry.port, *entry.remote});
    return found == state_->tunnel_places.end() ? std::uint16_t{0}
                                                : static_cast<std::uint16_t>(found->second + 1);
}

}  // namespace viaduct::dataplane
