// Builds a Topology from scratch for every change: plain, and some tens of microseconds at a thousand ports.
#include "topology_builder.h"

#include <algorithm>

#include "forward/guard.h"
#include "forward/host.h"
#include "forward/switch.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kEthernetHeader = 14;

void view_port(Topology& topology, const PlacedPort& placed, const BridgeView* bridge) {
    const auto& config = *placed.port;
    auto& view = topology.ports[placed.index];
    view.port = placed.device;
    view.bridge = bridge;
    view.admin_up = config.up;
    view.link_up = config.up && placed.device->link_up() &&
                   (placed.device->active_queues() > 0 || config.kind == model::PortKind::vxlan);
    view.frame_most = config.mtu + kEthernetHeader;
    view.fdb_limit = config.fdb_limit;
    topology.outer[placed.index] =
        config.kind == model::PortKind::uplink || config.kind == model::PortKind::vxlan;
    if (config.kind == model::PortKind::vxlan) {
        topology.tunnel_sets.push_back(std::make_unique<std::vector<TunnelIndex>>());
        view.tunnels = topology.tunnel_sets.back().get();
    }
    if (!config.up) {
        view.receive = drop_burst_port_down;
    } else if (bridge == nullptr) {
        view.receive = drop_burst_no_bridge;
    } else if (!config.host.empty()) {
        view.receive = host_burst;
    } else if (config.guard) {
        topology.guards.push_back(std::make_shared<const Guard>(*config.guard));
        view.guard = topology.guards.back().get();
        view.receive = guard_burst;
    } else {
        view.receive = bridge->switch_burst;
    }
    if (bridge == nullptr || bridge->switch_burst != switch_burst_vlan) return;
    view.untagged_vlan = config.vlan ? config.vlan->untagged : model::kDefaultVlan;
    if (!config.vlan || config.vlan->tagged.empty()) return;
    auto set = std::make_unique<VlanSet>();
    for (const auto& range : config.vlan->tagged) {
        for (std::uint32_t vlan = range.first; vlan <= range.last; ++vlan)
            set->set(vlan);
    }
    view.tagged = set.get();
    topology.vlan_sets.push_back(std::move(set));
}

/// Tunnels, and the frames that fit through all of their end's.
void view_tunnels(Topology& topology, const std::vector<PlacedTunnel>& tunnels) {
    std::map<PortIndex, std::vector<TunnelIndex>> sets;
    for (const auto& placed : tunnels) {
        if (topology.tunnels.size() <= placed.index) topology.tunnels.resize(placed.index + std::size_t{1});
        auto& tunnel = topology.tunnels[placed.index];
        tunnel = make_tunnel(*placed.vxlan, placed.remote, placed.port, placed.zone);
        sets[placed.port].push_back(placed.index);
        auto& end = topology.ports[placed.port];
        if (placed.mtu > tunnel.length) end.frame_most = std::min(end.frame_most, placed.mtu - tunnel.length);
    }
    for (auto& [port, set] : sets) {
        topology.tunnel_sets.push_back(std::make_unique<std::vector<TunnelIndex>>(std::move(set)));
        topology.ports[port].tunnels = topology.tunnel_sets.back().get();
    }
    topology.tunnel_ends = TunnelEnds(topology.tunnels);
}

/// Tells the two ends of each wire of each other.
void view_wires(Topology& topology, const std::vector<PlacedPort>& ports) {
    std::map<const BridgeView*, PortIndex> first;
    for (const auto& placed : ports) {
        auto& view = topology.ports[placed.index];
        if (view.bridge == nullptr || view.bridge->switch_burst != switch_burst_wire) continue;
        const auto [other, alone] = first.emplace(view.bridge, placed.index);
        if (alone) continue;
        view.link_end = other->second;
        topology.ports[other->second].link_end = placed.index;
    }
}

void view_interface(Topology& topology, const PlacedInterface& placed, const BridgeView* bridge) {
    const auto& config = *placed.interface;
    if (topology.interfaces.size() <= placed.index) topology.interfaces.resize(placed.index + std::size_t{1});
    auto& view = topology.interfaces[placed.index];
    view.bridge = bridge;
    view.vlan = config.vlan;
    view.zone = placed.zone;
    view.up = config.up;
    view.mac = config.mac ? *config.mac : model::derived_mac(config.name);
    view.mtu = config.mtu;
}

/// Tells interfaces of the ports by which the host shares them, and uplinks of the host on their bridge.
void view_hosts(Topology& topology, const std::vector<PlacedPort>& ports,
                const std::vector<PlacedInterface>& interfaces) {
    for (const auto& placed : ports) {
        if (placed.port->host.empty()) continue;
        auto& view = topology.ports[placed.index];
        const auto shared = std::ranges::find_if(
            interfaces, [&](const PlacedInterface& one) { return one.interface->name == placed.port->host; });
        if (shared == interfaces.end()) continue;
        view.host_of = shared->index;
        if (view.link_up) topology.interfaces[shared->index].host_port = placed.index;
        for (const auto& other : ports) {
            if (other.port->kind != model::PortKind::uplink || other.port->bridge != placed.port->bridge)
                continue;
            topology.ports[other.index].link_end = placed.index;
            view.link_end = other.index;
        }
    }
}

/// Lists, for each VLAN in use, the members that are up.
void view_floods(BridgeView& bridge, const Topology& topology, const std::vector<PortIndex>& members) {
    bridge.floods.emplace_back();
    if (bridge.switch_burst != switch_burst_vlan) {
        for (auto index : members)
            bridge.floods[0].push_back({index, false});
        return;
    }
    // The cost follows the memberships that there are, not ports times VLANs.
    const auto add = [&](std::size_t vlan, FloodMember member) {
        if (bridge.flood_of_vlan[vlan] == 0) {
            bridge.flood_of_vlan[vlan] = static_cast<std::uint16_t>(bridge.floods.size());
            bridge.floods.emplace_back();
        }
        bridge.floods[bridge.flood_of_vlan[vlan]].push_back(member);
    };
    for (auto index : members) {
        const auto& port = topology.ports[index];
        if (port.untagged_vlan != 0) add(port.untagged_vlan, {index, false});
        if (port.tagged == nullptr) continue;
        for (auto vlan = port.tagged->_Find_first(); vlan < port.tagged->size();
             vlan = port.tagged->_Find_next(vlan)) {
            if (vlan != port.untagged_vlan) add(vlan, {index, true});
        }
    }
}

/// Lists the router interfaces that are up beside the members of their VLAN, which may have none.
void view_gateways(BridgeView& bridge, const Topology& topology) {
    bridge.gateways.resize(bridge.floods.size());
    for (std::size_t i = 0; i < topology.interfaces.size(); ++i) {
        const auto& interface = topology.interfaces[i];
        if (interface.bridge != &bridge || !interface.up) continue;
        auto& list = bridge.flood_of_vlan[interface.vlan];
        if (interface.vlan != 0 && list == 0) {
            list = static_cast<std::uint16_t>(bridge.floods.size());
            bridge.floods.emplace_back();
            bridge.gateways.emplace_back();
        }
        bridge.gateways[list].push_back(static_cast<InterfaceIndex>(i));
    }
}

void view_queues(Topology& topology, const Ownership& owners, std::uint16_t workers) {
    for (auto it = owners.begin(); it != owners.end();) {
        const auto index = it->first.first;
        auto* device = topology.ports[index].port;
        std::vector<TxRoute> routes;
        for (; it != owners.end() && it->first.first == index; ++it) {
            const auto [id, owner] = *it;
            routes.push_back({owner, id.second});
            if (device == nullptr) continue;
            auto& view = topology.workers[owner];
            const bool polled = device->readiness() == Readiness::polled;
            (polled ? view.polled : view.signalled).push_back({device, index, id.second});
            if (!polled)
                view.signalled_mask[index] =
                    static_cast<std::uint16_t>(view.signalled_mask[index] | 1U << id.second);
            if (polled && device->wait_descriptor(id.second) < 0) view.unwakeable = true;
        }
        for (std::uint16_t worker = 0; worker < workers; ++worker) {
            auto& route = topology.workers[worker].tx[index];
            route = routes[worker % routes.size()];
            for (const auto& own : routes) {
                if (own.worker == worker) route = own;
            }
        }
    }
}

}  // namespace

std::unique_ptr<Topology> build_topology(const std::vector<PlacedPort>& ports,
                                         const std::map<std::string, PlacedBridge>& bridges,
                                         const std::vector<PlacedInterface>& interfaces,
                                         const std::vector<PlacedTunnel>& tunnels, const Ownership& owners,
                                         std::uint16_t workers) {
    auto topology = std::make_unique<Topology>();
    topology->workers.resize(workers);
    std::map<std::string, BridgeView*> views;
    for (const auto& [name, placed] : bridges) {
        auto view = std::make_unique<BridgeView>();
        view->name = name;
        view->fdb = placed.fdb;
        view->learning = placed.bridge->learning;
        view->switch_burst = placed.bridge->wire             ? switch_burst_wire
                             : placed.bridge->vlan_filtering ? switch_burst_vlan
                                                             : switch_burst_plain;
        views[name] = view.get();
        topology->bridges.push_back(std::move(view));
    }
    std::map<BridgeView*, std::vector<PortIndex>> members;
    for (const auto& placed : ports) {
        const auto found = views.find(placed.port->bridge);
        auto* bridge = found == views.end() ? nullptr : found->second;
        view_port(*topology, placed, bridge);
        if (bridge != nullptr && topology->ports[placed.index].link_up)
            members[bridge].push_back(placed.index);
    }
    view_wires(*topology, ports);
    for (const auto& placed : interfaces)
        view_interface(*topology, placed, views.at(placed.interface->bridge));
    view_hosts(*topology, ports, interfaces);
    view_tunnels(*topology, tunnels);
    for (auto& bridge : topology->bridges) {
        view_floods(*bridge, *topology, members[bridge.get()]);
        view_gateways(*bridge, *topology);
    }
    view_queues(*topology, owners, workers);
    return topology;
}

}  // namespace viaduct::dataplane
