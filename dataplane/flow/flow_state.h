// How far a flow has come and what follows from it: when it is forgotten, and whether it may have to give way
// to a newer one. Derived from what both directions' tails show, never stored.
#pragma once

#include <cstdint>
#include <string_view>

#include "viaduct/routing_model.h"

#include "flow/record.h"

namespace viaduct::dataplane {

enum class FlowState : std::uint8_t {
    unreplied,  ///< only the initiator has sent
    replied,
    syn_sent,
    syn_received,  ///< answered, not yet acknowledged
    established,
    fin_wait,   ///< one side has closed
    time_wait,  ///< both have
    closed      ///< reset
};
inline constexpr std::size_t kFlowStates = 8;
std::string_view to_string(FlowState state);

/// `initiator` and `reply` are the tails of the two directions; `protocol` is the key's.
FlowState flow_state(std::uint8_t protocol, const FlowTail& initiator, const FlowTail& reply);

/// Seconds after the last packet of either direction.
std::uint32_t flow_timeout(FlowState state, std::uint8_t protocol, const model::FlowTimeouts& timeouts);
/// The shortest of all timeouts: whatever was seen since then need not be looked at.
std::uint32_t shortest_timeout(const model::FlowTimeouts& timeouts);

/// Seconds since the later of both directions' last packets; 0 when a worker's clock is ahead of `now`.
std::uint32_t flow_idle(const FlowTail& one, const FlowTail& other, std::uint32_t now);

/// In which order flows give way when there is no room; `never` does not.
enum class Yield : std::uint8_t {
    never,      ///< answered or established, and active lately
    last,       ///< established and long idle
    answered,   ///< answered and idle
    closing,    ///< one side has closed, and idle
    closed,     ///< both have, or it was reset
    half_open,  ///< unreplied, or a handshake that is not complete
};
Yield flow_yield(FlowState state, std::uint32_t idle);

}  // namespace viaduct::dataplane
