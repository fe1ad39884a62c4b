// Services: an address and port at which one of several backends answers. What a cluster calls a service is
// one of these for each of its ports, whatever the number of addresses (ClusterIP, node ports, load
// balancers) at which it is found. Part of viaduct/model.h, which says how sets of them are read, checked and
// changed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/routing_model.h"

namespace viaduct::model {

/// How a new flow's backend is chosen among those that take new flows.
enum class Balance : std::uint8_t {
    maglev,             ///< by a table that every node makes the same of the same backends (NSDI 2016)
    random,             ///< by weight
    round_robin,        ///< by weight, one after the other
    least_connections,  ///< the fewest flows for its weight
};

/// A place at which a service is found.
struct Frontend {
    IpAddress address;
    std::uint16_t port = 0;
    /// For those outside: a node port, an external or a load balancer's address. A backend on another node
    /// sees the node as its client then, or it would answer past it.
    bool external = false;
    bool local_only = false;  ///< only backends of this node; where there is none, packets are dropped
    /// On the link that the address belongs to, ARP and ND are answered for it, as if it were the node's own.
    bool announce = false;
    bool restricted = false;  ///< only clients of the service's `allow_from`
    friend auto operator<=>(const Frontend&, const Frontend&) = default;
};

/// One endpoint.
struct Backend {
    IpAddress address;
    std::uint16_t port = 0;
    std::uint16_t weight = 1;  ///< share of new flows, 1..256
    bool local = false;        ///< on this node
    /// Gets no new flows while another one does; those that it has stay.
    bool draining = false;
    /// Others are nearer: gets no new flows while one of those does, but by frontends that are `local_only`,
    /// which ask whoever is on this node.
    bool distant = false;
    std::string name;  ///< for people ("apps/web-1"); may be empty
    friend auto operator<=>(const Backend&, const Backend&) = default;
};

inline constexpr std::size_t kFrontendsMost = 1024;
inline constexpr std::size_t kBackendsMost = 16384;
inline constexpr std::uint16_t kWeightMost = 256;
inline constexpr std::uint32_t kAffinityMost = 86400;  ///< Kubernetes' ClientIPConfig.timeoutSeconds

struct Service {
    std::string namespace_;  ///< "namespace" in JSON
    std::string name;
    std::string port;  ///< the name of the service's port, or its number where it has none
    std::string vrf = std::string(kDefaultVrf);
    Transport protocol = Transport::tcp;
    std::vector<Frontend> frontends;  ///< sorted, no place twice; of either family
    std::vector<Backend> backends;    ///< sorted, no place twice; a packet gets one of its own family
    Balance balance = Balance::maglev;
    std::uint32_t affinity = 0;      ///< seconds for which a client keeps its backend, 0: none
    std::vector<Prefix> allow_from;  ///< clients of restricted frontends; sorted, none twice
    [[nodiscard]] auto key() const { return std::tie(namespace_, name, port); }
    friend bool operator==(const Service&, const Service&) = default;
};

using ServiceKey = std::tuple<std::string, std::string, std::string>;

std::string_view to_string(Balance balance);  ///< "maglev", "random", "round-robin", "least-connections"

}  // namespace viaduct::model
