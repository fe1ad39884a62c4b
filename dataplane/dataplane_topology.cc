// What workers forward by, from the objects in force: bridges' tables, static addresses, router interfaces,
// and the topology that shows them all.
#include <algorithm>

#include "dataplane_state.h"

namespace viaduct::dataplane {

namespace {

/// Where a bridge's FDB has a router interface.
FdbKey gateway_key(const model::Interface& interface) {
    const auto mac = interface.mac ? *interface.mac : model::derived_mac(interface.name);
    return fdb_key(mac.to_u64(), interface.vlan);
}

}  // namespace

void Dataplane::place_bridges(const model::Config& next) {
    auto& s = *state_;
    for (auto it = s.bridges.begin(); it != s.bridges.end();) {
        it = next.bridges.contains(it->first) ? std::next(it) : s.bridges.erase(it);
    }
    for (const auto& [name, bridge] : next.bridges) {
        auto& slot = s.bridges[name];
        const bool keep = slot.fdb && slot.config.fdb_size == bridge.fdb_size &&
                          slot.config.vlan_filtering == bridge.vlan_filtering &&
                          slot.config.wire == bridge.wire;
        if (!keep) slot.fdb = std::make_shared<Fdb>(bridge.fdb_size, options_.fdb_seed);
        slot.config = bridge;
    }
}

void Dataplane::place_statics(const FdbConfig& before) {
    auto& s = *state_;
    for (const auto& [key, entry] : before) {
        const auto bridge = s.bridges.find(entry.bridge);
        if (bridge == s.bridges.end() || s.config.fdb.contains(key)) continue;
        bridge->second.fdb->remove(fdb_key(entry.mac.to_u64(), entry.vlan));
    }
    for (const auto& [key, entry] : s.config.fdb) {
        auto& fdb = *s.bridges.at(entry.bridge).fdb;
        const auto index = s.ports.at(entry.port)->index;
        const auto fdb_entry = fdb_key(entry.mac.to_u64(), entry.vlan);
        const auto now = fdb.find(fdb_entry, fdb.hash(fdb_entry));
        const auto tunnel = tunnel_of(entry);
        if (!now.is_static() || now.port() != index || now.tunnel() != tunnel)
            fdb.set_static(fdb_entry, index, tunnel);
    }
}

/// Before a topology without them: no frame finds an interface that is not in its worker's topology.
void Dataplane::forget_gateways(const model::Config& next) {
    auto& s = *state_;
    for (const auto& [name, index] : s.interface_places) {
        const auto& old = s.config.interfaces.at(name);
        const auto kept = next.interfaces.find(name);
        if (kept != next.interfaces.end() && gateway_key(kept->second) == gateway_key(old) &&
            kept->second.bridge == old.bridge)
            continue;
        s.bridges.at(old.bridge).fdb->remove(gateway_key(old));
    }
}

/// After a topology with them, for the same reason.
void Dataplane::place_gateways() {
    auto& s = *state_;
    for (const auto& [name, index] : s.interface_places) {
        const auto& interface = s.config.interfaces.at(name);
        auto& fdb = *s.bridges.at(interface.bridge).fdb;
        const auto key = gateway_key(interface);
        const auto to = static_cast<PortIndex>(kGatewayFirst + index);
        const auto now = fdb.find(key, fdb.hash(key));
        if (!now.is_static() || now.port() != to) fdb.set_static(key, to);
    }
}

void Dataplane::publish(Flows flows) {
    auto& s = *state_;
    if (flows == Flows::resolve_again) s.renew_tables();
    std::vector<PlacedPort> ports;
    std::vector<QueueCount> counts;
    for (const auto& [name, slot] : s.ports) {
        ports.push_back({&slot->config, slot->index, slot->device.get()});
        counts.push_back({slot->index, slot->device->active_queues()});
    }
    std::map<std::string, PlacedBridge> bridges;
    for (const auto& [name, slot] : s.bridges)
        bridges.emplace(name, PlacedBridge{&slot.config, slot.fdb});

    std::vector<PlacedInterface> interfaces;
    for (const auto& [name, index] : s.interface_places) {
        const auto& interface = s.config.interfaces.at(name);
        interfaces.push_back({&interface, index, s.flows.zone(interface.vrf)});
    }
    const auto tunnels = placed_tunnels();
    const auto workers = static_cast<std::uint16_t>(options_.worker_lcores.size());
    auto owners = spread(counts, s.owners, workers);
    // A queue that changes hands is nobody's for one grace period: two workers never poll it at once.
    Ownership settled = owners;
    bool moves = false;
    for (const auto& [queue, owner] : s.owners) {
        const auto next = owners.find(queue);
        if (next == owners.end() || next->second == owner) continue;
        settled.erase(queue);
        moves = true;
    }
    if (moves) {
        s.install(build_topology(ports, bridges, interfaces, tunnels, settled, workers), settled);
        s.crew.synchronize();
    }
    s.install(build_topology(ports, bridges, interfaces, tunnels, owners, workers), owners);
}

bool Dataplane::links_changed() const {
    return std::any_of(state_->ports.begin(), state_->ports.end(), [](const auto& port) {
        return port.second->was_up != port.second->device->link_up();
    });
}

/// What was behind a link that went down may come up elsewhere: its addresses are learned anew.
void Dataplane::forget_behind_down_links() {
    auto& s = *state_;
    for (auto& [name, slot] : s.ports) {
        const bool up = slot->device->link_up();
        if (slot->was_up && !up && !slot->config.bridge.empty()) {
            const auto index = slot->index;
            s.bridges.at(slot->config.bridge).fdb->remove_if([=](FdbKey, FdbValue v) {
                return v.port() == index;
            });
        }
        slot->was_up = up;
    }
}

}  // namespace viaduct::dataplane
