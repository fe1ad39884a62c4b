// Asking what would become of a frame: from the port that it comes in by, over the bridge, to the router.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "resolve/trace.h"

namespace viaduct::dataplane {

struct TraceRequest {
    std::string port;                 ///< by which the frame comes in
    std::vector<std::uint8_t> frame;  ///< whole, from the destination's MAC address on; at most 65,535 bytes
    /// The frame's destination is filled in: the router interface on the port's bridge and VLAN.
    bool to_gateway = false;
    /// The frame's source is to be an address that the port may send from; for a port that is trusted it
    /// stays.
    bool from_port = false;
};

struct TraceAnswer {
    Explanation why;             ///< the bridge's words, then resolve's
    std::string decision;        ///< Traced::Decision's words, or "bridged" or "flooded" by the bridge alone
    Drop reason = Drop::count_;  ///< with "dropped"
    std::string port;            ///< by which it leaves; empty: none, or not known
    std::string interface;       ///< of the router by which it leaves; empty: none
    Traced routed;               ///< what resolve said, when it was asked
};

}  // namespace viaduct::dataplane
