// From objects to the picture that workers forward by.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "forward/topology.h"
#include "worker/spread.h"

namespace viaduct::dataplane {

/// A port in force, as the builder needs it.
struct PlacedPort {
    const model::Port* port;
    PortIndex index;
    Port* device;
};

struct PlacedBridge {
    const model::Bridge* bridge;
    std::shared_ptr<Fdb> fdb;
};

/// A router interface in force. Its bridge exists.
struct PlacedInterface {
    const model::Interface* interface;
    InterfaceIndex index;
    Zone zone;
};

/// A pair of a tunnel's end and a peer of it.
struct PlacedTunnel {
    TunnelIndex index;
    PortIndex port;
    const model::Vxlan* vxlan;
    IpAddress remote;
    Zone zone;
    std::uint32_t mtu;  ///< longest packet on the way to the peer; 0: not known
};

/// A fresh topology; `owners` names a worker for every queue in use of every port that is up.
std::unique_ptr<Topology> build_topology(const std::vector<PlacedPort>& ports,
                                         const std::map<std::string, PlacedBridge>& bridges,
                                         const std::vector<PlacedInterface>& interfaces,
                                         const std::vector<PlacedTunnel>& tunnels, const Ownership& owners,
                                         std::uint16_t workers);

}  // namespace viaduct::dataplane
