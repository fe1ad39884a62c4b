// The host beside the router: a kernel interface that has a router interface's addresses and its MAC address,
// so that the node's own programs go on living behind a device that the dataplane owns.
//
// Theory of operation. What comes in from outside for the shared MAC address goes to the router first, as
// ever; what is for a shared IP address and belongs to no translated flow, no rule and no tunnel it passes on
// to the host as it is. What the host sends goes to the router, too: its packets are flows like all others,
// so that a translated port never meets one of the host's own. But where a packet goes is the host's own
// decision, made by its routes and neighbours: only what it addresses to the shared MAC address is routed,
// all else leaves by the bridge as it is. Groups, ARP and whatever is not IP are bridged (resolve/host.cc is
// the other half).
#pragma once

#include "forward/topology.h"

namespace viaduct::dataplane {

/// A burst from the host's port. Frames have no tags.
void host_burst(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                std::uint16_t count);

}  // namespace viaduct::dataplane
