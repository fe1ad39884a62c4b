// Everything that resolve reads and nobody changes: one immutable picture of VRFs, interfaces, routes and
// translation rules, built by the main thread with each topology and freed with it after a grace period.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "flow/record.h"

namespace viaduct::dataplane {

class Fib;       // tables/fib.h
class NatRules;  // tables/nat_rules.h
class Services;  // tables/services.h

struct VrfEntry;

/// A router interface. Its index is its place in Tables::interfaces, and the topology's.
struct InterfaceEntry {
    model::Interface config;  ///< without a name: nobody has this place
    Zone zone = 0;
    MacAddress mac;                 ///< the configured or the derived one
    const VrfEntry* vrf = nullptr;  ///< in Tables::vrfs
};

/// A VRF, by zone.
struct VrfEntry {
    std::string name;
    bool forwarding4 = true;
    bool forwarding6 = true;
    std::shared_ptr<const Fib> fib;  ///< never null; both families
};

struct Tables {
    std::vector<InterfaceEntry> interfaces;
    std::map<Zone, VrfEntry> vrfs;
    std::shared_ptr<const NatRules> nat;
    std::shared_ptr<const Services> services;  ///< null: none, in tests
    model::FlowTimeouts timeouts;
    std::uint32_t generation = 0;  ///< stamped on what is resolved by these tables
};

}  // namespace viaduct::dataplane
