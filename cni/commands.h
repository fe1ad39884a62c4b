// CNI's commands, each as the specification tells it: what is asked of control and of a delegated IPAM
// plugin, in which order, so that a failure or a crash at any point leaves nothing that the next command does
// not repair.
#pragma once

#include <string>

#include "environment.h"
#include "network_config.h"

namespace viaduct::cni {

/// Runs the command; returns what goes to standard output (empty for none). Throws Error.
std::string run_command(const Environment& environment, const NetworkConfig& network);

}  // namespace viaduct::cni
