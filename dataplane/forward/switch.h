// Switching: what happens to a burst of frames from one port of a bridge (IEEE 802.1Q clause 8.6).
#pragma once

#include "forward/topology.h"

namespace viaduct::dataplane {

/// On a bridge that filters VLANs: frames are classified, and tags come and go with the output port.
void switch_burst_vlan(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                       std::uint16_t count);
/// On a bridge that does not: a tag is payload.
void switch_burst_plain(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                        std::uint16_t count);
/// On a port that is on no bridge, or is administratively down: everything is dropped by name.
void drop_burst_no_bridge(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                          std::uint16_t count);
void drop_burst_port_down(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                          std::uint16_t count);

}  // namespace viaduct::dataplane
