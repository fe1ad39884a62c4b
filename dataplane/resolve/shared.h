// What all workers' resolvers share and packets change, each part bounded and safe for any worker.
#pragma once

#include <cstdint>

#include "tables/nat_ports.h"
#include "tables/neighbours.h"
#include "tables/rate_limits.h"

namespace viaduct::dataplane {

/// Owned by the dataplane; outlives the workers.
struct ResolveShared {
    /// `seed`: what makes hashes and times unpredictable, or repeatable in a replay.
    explicit ResolveShared(std::uint64_t seed, NatPortsOptions nat = {}, NeighbourLimits limits = {})
        : neighbours(seed, limits), nat_ports(nat), rate_limits(seed) {}

    Neighbours neighbours;
    NatPorts nat_ports;
    RateLimits rate_limits;
};

}  // namespace viaduct::dataplane
