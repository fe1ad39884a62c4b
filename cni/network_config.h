// The network configuration on standard input, as runtimes really send it: keys in any case, null for absent,
// and the keys of the well-known "bridge" plugin besides our own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "viaduct/attachment.h"

#include "environment.h"

namespace Json {
class Value;
}

namespace viaduct::cni {

inline constexpr std::size_t kInputMost = 1U << 20U;  ///< bytes of standard input

/// The versions of the specification that we speak, oldest first.
const std::vector<std::string>& versions();
/// True when `version` is `other` or newer; both are of versions().
bool at_least(const std::string& version, const std::string& other);

enum class Ipam { none, builtin, delegated };

/// What every command needs. Read leniently: a DEL must succeed although the rest has become wrong.
struct NetworkConfig {
    std::string text;  ///< the whole standard input
    std::shared_ptr<const Json::Value> json;
    std::string version;
    std::string name;
    std::string control_socket = "/run/viaduct/control.sock";
    Ipam ipam = Ipam::none;
    std::string ipam_type;
    const Json::Value* previous = nullptr;  ///< prevResult, inside json
    /// GC: the container ids and interface names to keep; nothing when the runtime told none.
    std::optional<std::vector<std::pair<std::string, std::string>>> valid;
};

/// Throws Error: 6 when it is not JSON, 1 for a version that we do not speak, 7 for what is wrong.
/// `version` is set as soon as it is known, for the error's sake.
NetworkConfig read_network(const std::string& text, std::string& version);

/// What ADD and STATUS ask control for. Throws Error: 2 for a key whose work is not done yet, 7 for what is
/// wrong.
attachment::Request read_request(const NetworkConfig& network, const Environment& environment,
                                 const Arguments& arguments);
/// isDefaultGateway: a default route for each family that has addresses or ranges and no such route yet. To
/// be called again when a delegated IPAM plugin has given the addresses.
void add_default_routes(attachment::Request& request);

}  // namespace viaduct::cni
