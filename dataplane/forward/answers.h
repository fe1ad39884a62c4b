// Answers that would pass the router by. When a router has turned a packet to a host on the bridge that its
// sender is on, too (a service's backend, a published port), and has left the source as it was, the answer
// is addressed to the sender itself, who knows nothing of the host that answers. The bridge hands it to the
// router instead, whose flow makes of it what the sender waits for. Linux has br_netfilter for that, which
// shows every bridged packet to connection tracking; here only what goes between two hosts that have such a
// flow is looked at (flow/bridged_pairs.h).
//
// A client that speaks at once to a service and to the backend itself, from one port, cannot be told from one
// that speaks to the service alone: both answers look the same, and are taken.
#pragma once

#include "forward/first_packets.h"
#include "forward/topology.h"

namespace viaduct::dataplane {

class Forwarder;

/// Hands the router those of the frames that answer a flow which it has translated, and fragments of which
/// only their whole packet tells; what turns out to answer none it passes on by the bridge. All have one
/// Ethernet header, whose destination is no group and no router interface; `from` is where they came in;
/// `vlan` is 0 on a bridge that does not filter. Frames that are left move together; returns how many they
/// are.
std::uint16_t intercept_answers(Forwarder& forwarder, PortIndex from, const BridgeView& bridge,
                                std::uint16_t vlan, std::uint16_t l2_length, rte_mbuf** frames,
                                std::uint16_t count);

/// Whether two interfaces are on one VLAN and of one zone: a bridge asks for the answers of both.
inline bool are_beside(const Topology& topology, InterfaceIndex one, InterfaceIndex other) {
    if (one >= topology.interfaces.size() || other >= topology.interfaces.size()) return false;
    const auto& a = topology.interfaces[one];
    const auto& b = topology.interfaces[other];
    return a.up && b.up && a.bridge == b.bridge && a.vlan == b.vlan && a.zone == b.zone;
}

/// Whether a record is that of such an answer, come to `interface`. It may name another one that is not
/// there: interfaces get other places with other names, and in another process.
template <typename Key>
inline bool is_translated_answer(const Topology& topology, const FlowRecord<Key>& record,
                                 InterfaceIndex interface) {
    return !record.has(kFlowInitiator) && record.has(kFlowTranslate) &&
           (record.ingress == interface || !are_beside(topology, record.ingress, interface));
}

}  // namespace viaduct::dataplane
