// ICMP and ICMPv6 errors speak of a packet, whose beginning they carry. When that packet was translated on
// its way out, the error must go where the packet came from, and speak of the packet as its sender knows it
// (RFC 5508, RFC 4443). No flow is entered, prolonged or ended by an error: whoever can guess a flow's
// addresses and ports could otherwise end it.
//
// An error about no known flow is routed as it is where no rule would translate its ends, and dropped as
// unrelated otherwise; so is one for anybody but the sender of the packet inside.
#pragma once

#include <optional>

#include "resolve/context.h"

namespace viaduct::dataplane {

/// What an error about a flow becomes.
struct RelatedError {
    IpAddress source;  ///< of the error itself
    IpAddress destination;
    Translation inside;  ///< of the packet inside
};

/// Finds the flow that an error is about, by the packet inside it. Nothing: the packet inside cannot be read,
/// was not sent by whom the error is for, or is of no flow.
std::optional<RelatedError> relate_error(const Packet& packet, Zone zone, FlowTables flows);

/// Rewrites the error and the packet inside, with all checksums. The packet's frame must be writable.
void translate_error(const Packet& packet, const RelatedError& related);

}  // namespace viaduct::dataplane
