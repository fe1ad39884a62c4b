// Which worker polls which queue: spread evenly, one owner a queue, and as few moves as possible when ports
// come and go.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "port/port.h"

namespace viaduct::dataplane {

using QueueId = std::pair<PortIndex, std::uint16_t>;
/// The owner of each queue: a worker's number.
using Ownership = std::map<QueueId, std::uint16_t>;

struct QueueCount {
    PortIndex index;
    std::uint16_t queues;  ///< in use
};

/// Owners for all queues in use. Queues keep the owner that `before` names unless loads would differ by more
/// than one; a port's queues prefer different workers. Pure; `workers` at least 1.
Ownership spread(const std::vector<QueueCount>& ports, const Ownership& before, std::uint16_t workers);

}  // namespace viaduct::dataplane
