// What the stages of address translation share, and what whoever enters flows must call.
#pragma once

#include "resolve/context.h"

namespace viaduct::dataplane {

/// The ends of the flow's first packet, as it came and as it left: whichever direction is being resolved.
struct FlowEnds {
    IpAddress source;
    IpAddress destination;
    std::uint16_t source_port;
    std::uint16_t destination_port;
    Translation became;
};
FlowEnds initiator_ends(const Packet& packet, const Translation& kept, bool reply);

/// The packet's own addresses and ports.
Translation untranslated(const Packet& packet);

/// The address by which rules know a destination. To a loopback address only the host sends, and means the
/// node: the address from which it speaks.
const IpAddress& published_address(const IpAddress& destination, const IpAddress& source);

/// Ports, or an echo request's identifier, that may be changed.
bool can_change_ports(const Packet& packet);

/// The flow's translation may not go on: the flow goes, and its packet is a first packet again.
void forget_flow(Context& context);

/// Whether a flow that nothing translates is left so although a rule would now translate it: its other side
/// has answered, so it works as it is.
bool is_answered(const Context& context);

/// After FlowTable::insert said `clashes`: another port or identifier for the source. False: no more tries;
/// the packet is to be dropped for Drop::nat_exhausted, and that is counted.
bool choose_again(Context& context);

/// Gives back what this packet took, a port and a backend's load, when no flow came to be (dropped or held
/// later, another worker was first). Harmless when nothing was taken.
void give_back(Context& context);

}  // namespace viaduct::dataplane
