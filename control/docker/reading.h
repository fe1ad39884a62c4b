// What Docker asks for, out of its JSON (moby's libnetwork/docs/remote.md, netlabel and drivers/remote/api).
// Docker sends members that no driver needs and adds some with every version: those are left alone, but what
// a person asked for and cannot have is refused.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/attachment.h"

#include "network/network.h"

namespace Json {
class Value;
}

namespace viaduct::docker {

inline constexpr std::size_t kIdMost = 128;
inline constexpr std::size_t kShortId = 12;  ///< digits that Docker shows

/// Docker's ids of a network and of an endpoint on it.
struct EndpointId {
    std::string network;
    std::string endpoint;
};

struct Endpoint {
    EndpointId id;
    std::vector<Prefix> addresses;  ///< from Docker's address management, whoever that is
    std::optional<MacAddress> mac;
    Labels labels;  ///< of its driver option "viaduct.labels"
};

/// All of these throw Refused.
network::Wanted read_network(const Json::Value& request);
EndpointId read_endpoint_id(const Json::Value& request);
Endpoint read_endpoint(const Json::Value& request);
/// The ports to publish of "com.docker.network.portmap" in "Options".
std::vector<attachment::PortMapping> read_port_map(const Json::Value& request);
/// A member that must be a text or absent.
std::string read_text(const Json::Value& request, const char* key, std::size_t most = 4096);

}  // namespace viaduct::docker
