// The objects of the configuration that stand for a taken interface: a bridge with the uplink and the host's
// TAP on it, the router interface that both share, and the host's routes for everybody behind the router.
#pragma once

#include <string>

#include "viaduct/model.h"

#include "node/interface_state.h"

namespace viaduct::host {

struct TakeRequest;

/// Bridge, interface and uplink have the kernel interface's name, and this one the host's TAP.
std::string host_port_name(const std::string& interface);

/// Throws Refused when the name is no object's name, or an object has it.
void check_free(const model::Config& config, const std::string& interface);
/// `netns`: where the kernel interface will be.
model::Change objects_of(const TakeRequest& request, const node::InterfaceState& state,
                         const model::Config& config, const std::string& netns);
/// Whether what the host needs of it to be reached is still there.
bool is_whole(const model::Config& config, const std::string& interface);
/// Takes away what objects_of() makes, as far as it is there; routes of the host's go along.
model::Change removal_of(const model::Config& config, const std::string& interface);
/// Of these the uplink and the host's port alone.
model::Change removal_of_ports(const model::Config& config, const std::string& interface);
/// And whatever refers to it.
model::Change removal_with_dependents(const model::Config& config, const std::string& interface);

}  // namespace viaduct::host
