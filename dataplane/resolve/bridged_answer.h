// Whether a frame that a bridge carries past the router answers a flow which the router has translated
// (forward/answers.h): told from whole headers, for what the fast path does not read by itself. And what
// becomes of one that turns out to answer none.
#pragma once

#include "forward/first_packets.h"
#include "forward/topology.h"

namespace viaduct::dataplane {

class Resolver;

/// `bridged.interface` is the router interface by whose zone it is asked. A fragment of either end's answers
/// is one, for its flow is known only once its packet is whole; so is an ICMP error about such a flow, and
/// one whose packet is not in the first part of its frame. Unless `dry`, a TCP flow that is over is forgotten
/// when its ports are used again past the router. The thread is a worker's, or keeps the flows' memory from
/// going away.
bool is_bridged_answer(const RoutedFrame& bridged, const Topology& topology, FlowTables flows, bool dry);

/// What has been put together of intercepted fragments: resolved at the interface whose flow it answers, or
/// passed on. Takes the frame over, and likewise below.
void resolve_intercepted(Resolver& resolver, const RoutedFrame& whole);
/// An intercepted frame that answers no flow after all goes on by the bridge, in fragments if it is longer
/// than its sender's link carries.
void pass_on(Resolver& resolver, const RoutedFrame& intercepted);

}  // namespace viaduct::dataplane
