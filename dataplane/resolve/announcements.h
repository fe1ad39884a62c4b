// What the node says on its links without being asked: whether somebody else has an address of its own and
// that it is here, when it or its interface comes up or its MAC changes, and router advertisements at their
// times. One worker's, off the fast path.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "viaduct/address.h"

#include "flow/record.h"
#include "tables/tables.h"

namespace viaduct::dataplane {

class Resolver;

class Announcements {
public:
    /// About once a second: notices new tables, and sends what is due.
    void due(Resolver& resolver);

private:
    /// An address and where it lives: when any of it changes, others' caches are wrong.
    using Address = std::pair<InterfaceIndex, IpAddress>;
    struct Life {
        MacAddress mac;
        std::string bridge;
        std::uint16_t vlan = 0;
        std::uint32_t next = 0;  ///< second of the next announcement
        unsigned left = 0;       ///< announcements
        [[nodiscard]] auto identity() const { return std::tie(mac, bridge, vlan); }
    };
    struct Advertised {
        std::uint32_t next = 0;
        std::uint32_t sent = 0;
    };

    void notice(Resolver& resolver);
    void announce(Resolver& resolver);
    void advertise(Resolver& resolver);

    std::uint32_t generation_ = 0;
    std::map<Address, Life> addresses_;
    std::map<InterfaceIndex, Advertised> advertised_;
};

}  // namespace viaduct::dataplane
