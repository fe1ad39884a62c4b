// Running another plugin as a runtime would (CNI specification, section 4).
#pragma once

#include <string>

#include "viaduct/attachment.h"
#include "viaduct/http.h"

#include "network_config.h"

namespace viaduct::cni {

/// CNI_* of one run.
struct Invocation {
    std::string command;
    std::string container;
    std::string netns;
    std::string ifname;
    std::string args;
    std::string path;
};

/// A pipe that lives as long as this process and the delegates that it starts: who holds `reading` knows when
/// all of them are gone.
struct LifeLine {
    http::Descriptor reading;
    http::Descriptor writing;  ///< inherited by delegates
    LifeLine();
};

/// Runs the plugin `type` with `input`; its standard error is ours. Returns its standard output. Throws
/// Error: its own when it failed in CNI's way, kDelegateFailed otherwise.
std::string run_delegate(const std::string& type, const Invocation& invocation, const std::string& input);

}  // namespace viaduct::cni
