// What services remember of their flows and clients, older and younger than any picture of them.
#pragma once

#include <cstdint>

#include "tables/affinities.h"
#include "tables/backend_loads.h"

namespace viaduct::dataplane {

struct ServiceState {
    explicit ServiceState(std::uint64_t seed) : affinities(seed) {}

    BackendLoads loads;
    Affinities affinities;
};

}  // namespace viaduct::dataplane
