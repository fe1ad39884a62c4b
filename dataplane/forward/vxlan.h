// VXLAN's receiving end (RFC 7348 4.1): packets for a tunnel's end lose their outer headers, and the frames
// in them go on through the bridge of the vxlan port as if they had come in by it.
#pragma once

#include "forward/parse.h"

namespace viaduct::dataplane {

class Forwarder;

/// The packet of a burst that was opened last: those that follow are mostly from the same peer.
template <typename Key>
struct LastOpened {
    Key key{};
    std::uint64_t end = 0;  ///< TunnelEnds::end
    std::uint32_t vni = 0;
    TunnelIndex tunnel = kNoTunnel;  ///< kNoTunnel: none has been
};

/// True when the packet was for a tunnel's end and has been taken over: opened, or dropped by name. Its
/// destination port may be one (TunnelEnds::may_be). `last` is the burst's own.
template <typename Key>
bool open_tunnel(Forwarder& forwarder, const Parsed<Key>& packet, LastOpened<Key>& last);

extern template bool open_tunnel(Forwarder&, const Parsed<FlowKey4>&, LastOpened<FlowKey4>&);
extern template bool open_tunnel(Forwarder&, const Parsed<FlowKey6>&, LastOpened<FlowKey6>&);

}  // namespace viaduct::dataplane
