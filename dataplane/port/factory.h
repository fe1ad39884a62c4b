// Makes ports from the model, within the process's limits.
#pragma once

#include "dataplane.h"

namespace viaduct::dataplane {

/// A factory of vhost-user, TAP and uplink ports. Raises the process's limit of descriptors to the most it
/// may have, and refuses a port whose descriptors would not fit: running out later would hurt the ports that
/// are there. The factory, all its copies and all ports share what TAP ports need. Throws std::runtime_error
/// when even that cannot be had.
PortFactory make_port_factory();

}  // namespace viaduct::dataplane
