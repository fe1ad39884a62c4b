// The "ipam" object of a network configuration, for the built-in address management: what host-local accepts,
// and "exclude".
#pragma once

#include "viaduct/attachment.h"

namespace Json {
class Value;
}

namespace viaduct::cni {

/// Ranges, exclusions, routes and DNS into `request`; what is wrong into `faults`.
void read_ipam(const Json::Value& json, attachment::Request& request, Faults& faults);
/// runtimeConfig.ipRanges: range sets that come before the configured ones.
void read_ip_ranges(const Json::Value& list, const std::string& where, attachment::Request& request,
                    Faults& faults);
/// Faults for ranges of one set that overlap or differ in family, and for sets that overlap.
void check_ranges(const std::vector<attachment::RangeSet>& sets, Faults& faults);
/// [{"dst", "gw", "mtu", "advmss", "priority", "table", "scope"}]
void read_routes(const Json::Value& list, const std::string& where, std::vector<attachment::Route>& routes,
                 Faults& faults);
/// {"nameservers", "domain", "search", "options"}
attachment::Dns read_dns(const Json::Value& json, const std::string& where, Faults& faults);

}  // namespace viaduct::cni
