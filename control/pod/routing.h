// What pods bring beside their ports: the gateway of their network, masquerading of what they send, and the
// node's ports that lead to them. All of it follows from the records, so that it comes and goes with them.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "pod/record.h"

namespace viaduct::pod {

/// The router's interface on a network's bridge; one a network, stable.
std::string gateway_name(const std::string& network);
/// Addresses of pods on networks with a gateway whose IPAM names none get the first address of their network
/// as theirs, as the bridge plugin does.
void choose_gateways(Record& record);

/// Adds this pod's gateway addresses to its network's interface in `desired`, which is made if it is not
/// there. What is configured on the same bridge with the same address is the gateway then. `shared` names the
/// interfaces that pods made.
void add_gateway(const Record& record, model::Config& desired, std::set<std::string>& shared);
/// Masquerades and port forwards of this pod. A mapping without a host address stands at every address that
/// `desired`'s interfaces have in the default VRF.
void add_translation(const Record& record, const model::Config& desired, model::Config& into);
/// Throws Refused where a port that this pod publishes is held already, and names the holder: one of `others`
/// or a port forward that was configured. `desired` has all but this pod.
void refuse_clashes(const Record& record, const model::Config& desired, const std::vector<Record>& others);
/// Throws Refused where a port cannot be published.
void check_mappings(const Record& record, const model::Config& translation);

}  // namespace viaduct::pod
