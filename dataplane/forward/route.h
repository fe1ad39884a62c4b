// Bursts through a router: packets of flows that are known leave as their records say, the rest goes to
// resolve.
#pragma once

#include <cstdint>

#include "forward/first_packets.h"

namespace viaduct::dataplane {

class Forwarder;

/// Takes over frames that bridges delivered to router interfaces; all have the ethertype of Key's family and
/// none is shared. At most kBurst.
template <typename Key>
void route_burst(Forwarder& forwarder, const RoutedFrame* frames, std::uint16_t count);

extern template void route_burst<FlowKey4>(Forwarder&, const RoutedFrame*, std::uint16_t);
extern template void route_burst<FlowKey6>(Forwarder&, const RoutedFrame*, std::uint16_t);

}  // namespace viaduct::dataplane
