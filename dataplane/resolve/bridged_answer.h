// Whether a frame that a bridge carries past the router answers a flow which the router has translated
// (forward/answers.h): told from whole headers, for what the fast path does not read by itself.
#pragma once

#include "forward/first_packets.h"

namespace viaduct::dataplane {

/// `bridged.interface` is the router interface by whose zone it is asked. A fragment of either end's answers
/// is one, for its flow is known only once its packet is whole; so is an ICMP error about such a flow.
/// Unless `dry`, a TCP flow that is over is forgotten when its ports are used again past the router. The
/// thread is a worker's, or keeps the flows' memory from going away.
bool is_bridged_answer(const RoutedFrame& bridged, Zone zone, FlowTables flows, bool dry);

}  // namespace viaduct::dataplane
