// Switches of one network interface under /proc/sys/net, in the namespace that they are meant for.
#pragma once

#include <optional>
#include <string>

#include "node/netns.h"

namespace viaduct::node {

/// "ipv4", "eth1", "rp_filter". Nothing: the kernel has no such switch.
std::optional<std::string> read_sysctl(const Namespace& ns, const std::string& family,
                                       const std::string& ifname, const std::string& name);
/// Throws Error; a kernel without IPv6 has no switches of it, and nothing is set.
void write_sysctl(const Namespace& ns, const std::string& family, const std::string& ifname,
                  const std::string& name, const std::string& value);

}  // namespace viaduct::node
