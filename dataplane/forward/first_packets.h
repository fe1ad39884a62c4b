// Where forwarding hands over what it cannot do by itself: the first packet of a flow, a packet of a flow
// that an older configuration resolved, and everything that is no flow (ARP, ND, ICMP errors, fragments).
#pragma once

#include <cstdint>

#include "flow/bridged_pairs.h"
#include "flow/flow_table.h"
#include "forward/tunnel.h"
#include "port/port.h"

struct rte_mbuf;

namespace viaduct::dataplane {

/// A frame that a bridge delivers to a router interface on it.
struct RoutedFrame {
    rte_mbuf* frame;
    PortIndex from;            ///< where it came in: its drops are counted there
    InterfaceIndex interface;  ///< to which it was delivered
    std::uint16_t l2_length;   ///< bytes before the IP header: 14, or 18 with a tag
    bool shared;               ///< group-addressed: others hold the frame too, it may only be read
    bool intercepted = false;  ///< for another station: taken from the bridge (forward/answers.h)
};

/// Implemented by resolve; one call a burst.
class FirstPackets {
public:
    virtual ~FirstPackets() = default;
    /// Takes the frames over. Must not call back into forwarding's routed path; it stages what leaves.
    virtual void resolve(const RoutedFrame* frames, std::uint16_t count) = 0;
    /// A tunnel's packet, from its outer IP header on, whose way this worker has not found out for the
    /// present generation of flows. Takes it over: sends it (Forwarder::leave) and tells the way for those
    /// that follow, has it wait, or drops it (Forwarder::drop_outer).
    virtual void send_outer(TunnelIndex tunnel, rte_mbuf* packet) = 0;
    /// Whether a frame that a bridge is about to carry past the router interface answers a flow which the
    /// router has translated; asked of what forwarding cannot tell by itself. The frame stays the caller's.
    [[nodiscard]] virtual bool is_answer(const RoutedFrame& bridged) = 0;
    /// Frames that wait in it, for a neighbour's answer or for their other fragments. Any thread.
    [[nodiscard]] virtual std::uint64_t held() const { return 0; }
};

/// Both tables of a dataplane, and what bridges read of them.
struct FlowTables {
    FlowTable<FlowKey4>* v4 = nullptr;
    FlowTable<FlowKey6>* v6 = nullptr;
    BridgedPairs* bridged = nullptr;  ///< not null where there is a forwarder
    template <typename Key>
    [[nodiscard]] FlowTable<Key>& of() const {
        if constexpr (Key::kWords == 2) {
            return *v4;
        } else {
            return *v6;
        }
    }
};

}  // namespace viaduct::dataplane
