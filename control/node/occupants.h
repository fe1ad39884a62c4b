// Who is in a network namespace. The dataplane's own descriptors keep the namespace of a port alive, so that
// the kernel never says that a container has ended: whether anybody else is left has to be looked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "node/netns.h"

namespace viaduct::node {

/// Whether a process that this one can see is in the namespace with that inode, or a mount that it can see
/// keeps it: one that is not below `own_mounts`. Looks at every process: for when leads_to() says no.
bool is_occupied(std::uint64_t inode, const std::string& own_mounts);
/// Whether `path` leads to the namespace with that inode.
bool leads_to(const std::string& path, std::uint64_t inode);
/// The namespaces of all processes that this one can see, each once.
std::vector<Namespace> namespaces_of_processes();
/// "eth0", "eth1", ...: the first that no interface in `ns` has. Throws Error.
std::string free_interface_name(const Namespace& ns);

}  // namespace viaduct::node
