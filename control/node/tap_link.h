// The kernel's side of a TAP port that a person configured: the dataplane makes the interface, control brings
// it up.
#pragma once

#include "viaduct/model.h"

namespace viaduct::node {

/// Brings the port's interface up or down in its namespace, as the port says. Ports of other kinds are left
/// alone. Any thread. Throws Error, also when the namespace is another than the port's inode says.
void set_link(const model::Port& port);

}  // namespace viaduct::node
