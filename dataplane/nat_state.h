// What people are told about address translation: how many flows each rule has, and how full its outside
// addresses are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "viaduct/address.h"

namespace viaduct::dataplane {

struct NatState {
    struct Rule {
        std::uint32_t id = 0;  ///< as in flows
        std::string kind;      ///< "masquerade", "port-forward" or "static"
        std::string name;
        std::string vrf;
        std::uint64_t flows = 0;
        std::uint64_t ports = 0;      ///< flows that hold a port of a pool
        std::uint64_t exhausted = 0;  ///< packets that found none
    };
    struct Address {
        std::string vrf;
        IpAddress address;
        std::uint8_t protocol = 0;  ///< IANA number
        std::uint32_t ports = 0;    ///< taken, of 65,536
        std::uint32_t shared = 0;   ///< further flows on those ports, to other destinations
    };
    std::vector<Rule> rules;
    std::vector<Address> addresses;  ///< that have ports taken
    std::uint32_t mappings = 0;      ///< endpoint-independent ones
    std::uint64_t exhausted = 0;     ///< of all rules, also those that are gone
};

}  // namespace viaduct::dataplane
