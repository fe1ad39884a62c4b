// What services remember of their flows and clients, older and younger than any picture of them.
#pragma once

#include "tables/affinities.h"
#include "tables/backend_loads.h"

namespace viaduct::dataplane {

struct ServiceState {
    BackendLoads loads;
    Affinities affinities;
};

}  // namespace viaduct::dataplane
