// What people are told about neighbours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "viaduct/address.h"

#include "tables/neighbours.h"

namespace viaduct::dataplane {

struct NeighbourEntry {
    std::string interface;
    IpAddress address;
    MacAddress mac;  ///< zero where none is known
    NeighbourState state = NeighbourState::incomplete;
    std::uint32_t confirmed_seconds =
        0;                      ///< since the last proof that it is there; 0 also where there was none
    std::uint32_t waiting = 0;  ///< frames
};

struct NeighbourFilter {
    std::optional<std::string> interface;
    std::optional<IpAddress> address;
};

struct NeighbourSums {
    std::uint32_t entries = 0;
    std::uint32_t waiting = 0;  ///< frames
    std::uint32_t entries_most = 0;
    NeighbourCounters counters;
};

}  // namespace viaduct::dataplane
