// VXLAN's receiving end (RFC 7348 4.1): packets for a tunnel's end lose their outer headers, and the frames
// in them go on through the bridge of the vxlan port as if they had come in by it.
#pragma once

#include "forward/parse.h"

namespace viaduct::dataplane {

class Forwarder;

/// True when the packet was for a tunnel's end and has been taken over: opened, or dropped by name. Its
/// destination port may be one (TunnelEnds::may_be).
template <typename Key>
bool open_tunnel(Forwarder& forwarder, const Parsed<Key>& packet);

extern template bool open_tunnel(Forwarder&, const Parsed<FlowKey4>&);
extern template bool open_tunnel(Forwarder&, const Parsed<FlowKey6>&);

}  // namespace viaduct::dataplane
