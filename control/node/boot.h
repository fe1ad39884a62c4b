// Which run of the kernel this is: what the kernel held in another one is gone.
#pragma once

#include <string>

namespace viaduct::node {

/// The same until the machine starts anew.
std::string boot_id();

}  // namespace viaduct::node
