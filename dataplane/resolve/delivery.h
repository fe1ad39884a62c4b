// How a frame from a router interface leaves for a MAC address, when its bridge knows.
#pragma once

#include <optional>

#include "viaduct/address.h"

#include "forward/topology.h"

namespace viaduct::dataplane {

struct Delivery {
    PortIndex port = 0;
    std::uint16_t vlan = 0;             ///< tag to leave with; 0: none
    std::optional<TunnelIndex> tunnel;  ///< where the port is a tunnel's end
};

/// Behind which port the bridge has the MAC. Nothing: it does not know, or it is a port that cannot be sent
/// by, or another router interface, or an end with several peers of which none is known to have it; frames
/// are delivered as a flood is.
inline std::optional<Delivery> find_delivery(const Topology& topology, InterfaceIndex interface,
                                             const MacAddress& mac) {
    const auto& view = topology.interfaces[interface];
    const auto& fdb = *view.bridge->fdb;
    const auto key = fdb_key(mac.to_u64(), view.vlan);
    const auto found = fdb.find(key, fdb.hash(key));
    if (!found.present() || found.port() >= kGatewayFirst) return std::nullopt;
    const auto& port = topology.ports[found.port()];
    if (port.port == nullptr) return std::nullopt;
    Delivery delivery{found.port(), 0, std::nullopt};
    if (view.vlan != 0 && view.vlan != port.untagged_vlan) {
        if (!port.carries_tagged(view.vlan)) return std::nullopt;
        delivery.vlan = view.vlan;
    }
    if (port.tunnels == nullptr) return delivery;
    const auto tunnel = static_cast<TunnelIndex>(found.tunnel() - 1);
    if (tunnel >= topology.tunnels.size() || topology.tunnels[tunnel].port != delivery.port)
        return std::nullopt;
    delivery.tunnel = tunnel;
    return delivery;
}

}  // namespace viaduct::dataplane
