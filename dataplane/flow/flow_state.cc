// TCP's states as Linux's connection tracking names them, from flags that each direction has shown.
#include "flow/flow_state.h"

#include <algorithm>

namespace viaduct::dataplane {

namespace {

constexpr std::uint8_t kProtocolIcmp = 1;
constexpr std::uint8_t kProtocolTcp = 6;
constexpr std::uint8_t kProtocolUdp = 17;
constexpr std::uint8_t kProtocolIcmp6 = 58;
constexpr std::uint8_t kProtocolSctp = 132;

/// Active within this many seconds: not to be lost for a newcomer.
constexpr std::uint32_t kEstablishedLately = 600;
constexpr std::uint32_t kAnsweredLately = 30;
constexpr std::uint32_t kClosingLately = 10;

FlowState tcp_state(const FlowTail& initiator, const FlowTail& reply) {
    const auto first = initiator.tcp_seen.load(std::memory_order_relaxed);
    const auto second = reply.tcp_seen.load(std::memory_order_relaxed);
    const auto either = first | second;
    if ((either & kTcpReset) != 0) return FlowState::closed;
    // A flow whose beginning nobody saw is believed once both sides acknowledge; a flood of stray segments
    // gets no further than a flood of SYNs.
    if (second == 0) return (first & kTcpSyn) != 0 ? FlowState::syn_sent : FlowState::unreplied;
    if ((first & second & kTcpFin) != 0) return FlowState::time_wait;
    if ((either & kTcpFin) != 0) return FlowState::fin_wait;
    return (first & second & kTcpAck) != 0 ? FlowState::established : FlowState::syn_received;
}

}  // namespace

std::string_view to_string(FlowState state) {
    switch (state) {
        case FlowState::unreplied:
            return "unreplied";
        case FlowState::replied:
            return "replied";
        case FlowState::syn_sent:
            return "syn_sent";
        case FlowState::syn_received:
            return "syn_received";
        case FlowState::established:
            return "established";
        case FlowState::fin_wait:
            return "fin_wait";
        case FlowState::time_wait:
            return "time_wait";
        case FlowState::closed:
            return "closed";
    }
    return "unknown";
}

FlowState flow_state(std::uint8_t protocol, const FlowTail& initiator, const FlowTail& reply) {
    if (protocol == kProtocolTcp) return tcp_state(initiator, reply);
    return reply.packets.load(std::memory_order_relaxed) != 0 ? FlowState::replied : FlowState::unreplied;
}

std::uint32_t flow_timeout(FlowState state, std::uint8_t protocol, const model::FlowTimeouts& timeouts) {
    switch (state) {
        case FlowState::syn_sent:
            return timeouts.tcp_syn_sent;
        case FlowState::syn_received:
            return timeouts.tcp_syn_received;
        case FlowState::established:
            return timeouts.tcp_established;
        case FlowState::fin_wait:
            return timeouts.tcp_fin_wait;
        case FlowState::time_wait:
            return timeouts.tcp_time_wait;
        case FlowState::closed:
            return timeouts.tcp_close;
        case FlowState::unreplied:
        case FlowState::replied:
            break;
    }
    switch (protocol) {
        case kProtocolTcp:
            return timeouts.tcp_syn_sent;
        case kProtocolUdp:
            return state == FlowState::replied ? timeouts.udp_replied : timeouts.udp;
        case kProtocolIcmp:
        case kProtocolIcmp6:
            return timeouts.icmp;
        case kProtocolSctp:
            return timeouts.sctp;
        default:
            return timeouts.other;
    }
}

std::uint32_t shortest_timeout(const model::FlowTimeouts& t) {
    return std::min({t.tcp_syn_sent, t.tcp_syn_received, t.tcp_established, t.tcp_fin_wait, t.tcp_time_wait,
                     t.tcp_close, t.udp, t.udp_replied, t.icmp, t.sctp, t.other});
}

std::uint32_t flow_idle(const FlowTail& one, const FlowTail& other, std::uint32_t now) {
    const auto since = [now](const FlowTail& tail) {
        return static_cast<std::int32_t>(now - tail.seen.load(std::memory_order_relaxed));
    };
    return static_cast<std::uint32_t>(std::max(0, std::min(since(one), since(other))));
}

Yield flow_yield(FlowState state, std::uint32_t idle) {
    switch (state) {
        case FlowState::unreplied:
        case FlowState::syn_sent:
        case FlowState::syn_received:
            return Yield::half_open;
        case FlowState::closed:
        case FlowState::time_wait:
            return Yield::closed;
        case FlowState::fin_wait:
            return idle >= kClosingLately ? Yield::closing : Yield::never;
        case FlowState::replied:
            return idle >= kAnsweredLately ? Yield::answered : Yield::never;
        case FlowState::established:
            return idle >= kEstablishedLately ? Yield::last : Yield::never;
    }
    return Yield::never;
}

}  // namespace viaduct::dataplane
