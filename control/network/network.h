// A network as a person makes it: a name, how its pods are connected, and where their addresses come from.
// What it is in the dataplane (a bridge, the router's interface on it) and what a pod on it asks for follow
// from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "viaduct/attachment.h"
#include "viaduct/fault.h"
#include "viaduct/model.h"

namespace Json {
class Value;
}

namespace viaduct::network {

inline constexpr std::size_t kSubnetsMost = 16;

enum class Driver : std::uint8_t {
    bridge,  ///< pods share the subnets and reach each other directly
    routed,  ///< each pod is a host of its own; everything goes by the gateway
    wire,    ///< two pods, and whatever one sends the other gets
};
std::string_view to_string(Driver driver);

struct Subnet {
    Prefix prefix;                     ///< without host bits
    std::optional<IpAddress> gateway;  ///< absent: nobody routes
    std::optional<Prefix> range;       ///< pods' addresses come from this part; absent: from all of it
    friend bool operator==(const Subnet&, const Subnet&) = default;
};

struct Network {
    std::string name;  ///< of its bridge and of its router's interface, too
    Driver driver = Driver::bridge;
    std::vector<Subnet> subnets;
    std::uint32_t mtu = 1500;
    bool internal = false;   ///< nothing leads out of it or into it
    bool masquerade = true;  ///< what pods send elsewhere has the node's address
    bool isolated = true;  ///< nobody on it reaches another isolated network, but by what is published there
    std::string foreign_id;    ///< of the container engine that made it; empty: a person did
    std::int64_t created = 0;  ///< seconds since 1970
    [[nodiscard]] bool has_router() const { return driver != Driver::wire && !internal; }
    friend bool operator==(const Network&, const Network&) = default;
};

/// What somebody asks for: subnets may be missing.
struct Wanted {
    Network network;
    bool ipv6 = false;  ///< an IPv6 subnet is wanted where none was named
};

/// JSON. As "subnets" and "ipam" of other tools, each subnet may also be a text alone.
Json::Value to_json(const Network& network);
Network network_from_json(const Json::Value& json, Faults& faults);
Wanted wanted_from_json(const Json::Value& json, Faults& faults);

/// Gateways where none was named, and what is wrong within the network itself. `network` has its subnets.
void complete(Network& network, Faults& faults);

model::Bridge bridge_of(const Network& network);
/// The router's interface; nothing when it has none.
std::optional<model::Interface> interface_of(const Network& network);
/// What every pod of the network asks for; the key's network is set.
attachment::Request request_of(const Network& network);
/// "network shop": what faults stand under.
std::string place_of(const Network& network);

}  // namespace viaduct::network
