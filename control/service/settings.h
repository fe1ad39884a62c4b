// What services are made with on this node.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/routing_model.h"

namespace viaduct::service {

struct Settings {
    std::string vrf = std::string(model::kDefaultVrf);
    /// Where ClusterIPs are allocated, at most one network a family; the first is that of services that ask
    /// for no family. Kubernetes: --service-cluster-ip-range.
    std::vector<Prefix> ranges;
    /// Kubernetes: --service-node-port-range.
    std::uint16_t node_port_first = 30000;
    std::uint16_t node_port_last = 32767;
    /// At which of the node's addresses node ports are found; none: at all.
    std::vector<Prefix> node_port_networks;
    std::string node_name;  ///< as endpoints name it
    /// The ranges are the services' also while there is none of them.
    bool always_claims = false;
};

/// What a manifest's object could not have, told like a reader's fault.
struct Fault {
    std::string object;  ///< "Service apps/web"
    std::string where;   ///< "web.yaml:12"
    std::string reason;
    friend bool operator==(const Fault&, const Fault&) = default;
};

}  // namespace viaduct::service
