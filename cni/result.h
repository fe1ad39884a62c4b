// Results in the shape of the version asked for, and the results that others give us: prevResult, and what a
// delegated IPAM plugin printed.
#pragma once

#include <string>
#include <vector>

#include "viaduct/attachment.h"

#include "environment.h"
#include "network_config.h"

namespace viaduct::cni {

/// The result of an ADD. `previous`: the result of the plugins before this one in the chain, to which ours is
/// added; a null pointer when it is the first. Throws Error 7 when it is of no known shape.
Json::Value make_result(const std::string& version, const attachment::Request& request,
                        const attachment::Attached& attached, const Json::Value* previous);

/// What CHECK is to find, from prevResult. Throws Error 7 when it does not have the interface.
attachment::Expected expected_from(const Json::Value& previous, const attachment::Key& key);

/// Addresses, routes and (unless the network has its own) DNS of an IPAM plugin's result into `request`.
/// Throws Error with kDelegateFailed when it is of no known shape.
void take_ipam_result(const std::string& text, const std::string& type, attachment::Request& request);

/// VERSION's answer.
std::string version_text(const std::string& version);

}  // namespace viaduct::cni
