// What would become of a packet: the stages' own words, from the very pipeline that resolves first packets,
// in a dry run that enters, takes, counts and sends nothing.
#pragma once

#include <cstdint>
#include <optional>

#include "resolve/context.h"
#include "resolve/shared.h"

namespace viaduct::dataplane {

struct Traced {
    enum class Decision : std::uint8_t {
        dropped,    ///< for `reason`
        answered,   ///< by the node itself
        waits,      ///< the next hop is asked for first, or a fragment's others are waited for
        flooded,    ///< routed; behind which port the next hop is, the bridge does not know yet
        bridged,    ///< intercepted, but answers no flow any more
        forwarded,  ///< by `egress.port`
    };
    Decision decision = Decision::dropped;
    Drop reason = Drop::count_;
    Explanation why;
    std::optional<Packet> packet;       ///< as it came, when it could be read; without a frame
    std::optional<Translation> became;  ///< as it leaves, when it leaves
    std::optional<Egress> egress;       ///< likewise
    std::optional<FlowIndex> flow;      ///< that it belongs to, when there is one
    bool reply = false;                 ///< it goes that flow's reply direction
};
std::string_view to_string(Traced::Decision decision);

/// A frame that a bridge delivered to a router interface. Any thread, while the topology cannot go away; the
/// frame stays the caller's. Only nat's ports are touched: one is taken, and given back at once.
Traced trace_routed(const RoutedFrame& routed, const Topology& topology, FlowTables flows,
                    ResolveShared& shared, std::uint32_t now);

}  // namespace viaduct::dataplane
