// The order in which a first packet is resolved, as one list.
#pragma once

#include <span>

#include "resolve/context.h"

namespace viaduct::dataplane {

/// In order; a packet goes on to the next while they say go_on.
std::span<const Stage> pipeline();

/// Those that a packet goes through which is of no flow of its own and was translated already.
std::span<const Stage> pipeline_without_flow();

/// Runs the stages. On drop, `context.reason` says why.
Step run(std::span<const Stage> stages, Context& context);

// The stages, one file each, each called as its file is.
Step stage_sanity(Context& context);        // martians, spoofed and forged headers
Step stage_connection(Context& context);    // the flow that it belongs to, if there is one
Step stage_destination(Context& context);   // destination NAT: port forwards, one-to-one, later services
Step stage_host(Context& context);          // what the host beside the router sends by its own routes
Step stage_route(Context& context);         // which way: VRF, prefix, next hop
Step stage_local(Context& context);         // for the node itself: echo, refusals
Step stage_isolation(Context& context);     // may these two networks speak with each other
Step stage_reverse_path(Context& context);  // may this source come from here
Step stage_lifetime(Context& context);      // TTL, hop limit
Step stage_neighbour(Context& context);     // the next hop's MAC, and behind which port it is
Step stage_mtu(Context& context);           // too long for the way out
Step stage_source(Context& context);        // source NAT: masquerade, one-to-one, hairpin

}  // namespace viaduct::dataplane
