// Where the node's own kernel sends packets: what it reaches by itself is no network to give to pods.
#pragma once

#include <vector>

#include "viaduct/address.h"

#include "node/netns.h"

namespace viaduct::node {

/// The destinations of all routes of the main table, both families; default routes are left out. Throws
/// Error.
std::vector<Prefix> destinations(const Namespace& ns);

}  // namespace viaduct::node
