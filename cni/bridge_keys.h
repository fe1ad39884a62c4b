// The keys of the well-known "bridge" plugin, so that a user of it changes only "type". What Viaduct cannot
// do yet is refused by name: a network that silently lacks its gateway is found out much later.
#pragma once

#include <string>
#include <vector>

#include "viaduct/attachment.h"
#include "viaduct/json.h"

namespace viaduct::cni {

/// Reads them into `request`; each unsupported one adds a sentence with key and value to `unsupported`.
void read_bridge_keys(ObjectReader& reader, attachment::Request& request,
                      std::vector<std::string>& unsupported, Faults& faults);

}  // namespace viaduct::cni
