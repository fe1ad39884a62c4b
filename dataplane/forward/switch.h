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
/// On a wire: to its other end, whatever a frame says.
void switch_burst_wire(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                       std::uint16_t count);
/// On a port that is on no bridge, or is administratively down: everything is dropped by name.
void drop_burst_no_bridge(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                          std::uint16_t count);
void drop_burst_port_down(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                          std::uint16_t count);

/// Takes the first tag off a frame that has one and that nobody else holds.
void pop_tag(rte_mbuf* frame);

/// Sends a whole frame without a tag by a router interface that is in the topology, as its bridge delivers
/// it: to the port that the FDB names, with the tag that it wants, or to all members of the interface's VLAN.
/// `originated`: the node made the frame, and `from` says nothing; otherwise it came in by `from`. Other
/// router interfaces on the VLAN are not reached. May be called by FirstPackets::resolve().
void send_from_interface(Forwarder& forwarder, InterfaceIndex interface, PortIndex from, bool originated,
                         rte_mbuf* frame);

/// Sends a whole frame without a tag on by the bridge and VLAN of a router interface that is in the topology,
/// as if it had just come in by `from`. Router interfaces are not reached. Takes the frame over; may be
/// called by FirstPackets::resolve().
void send_on(Forwarder& forwarder, InterfaceIndex interface, PortIndex from, rte_mbuf* frame);

}  // namespace viaduct::dataplane
