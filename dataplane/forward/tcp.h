// What a flow's tail notes of its TCP segments: enough to tell how far the connection has come, and whether a
// reset or a close could be real. Nobody is stopped by it; who sends a segment that no receiver would take
// changes nothing here.
#pragma once

#include <cstdint>

#include "flow/record.h"
#include "forward/checksum.h"

namespace viaduct::dataplane {

enum TcpFlags : std::uint8_t { kTcpFlagFin = 1, kTcpFlagSyn = 2, kTcpFlagReset = 4, kTcpFlagAck = 16 };

/// Window scale of who was not seen opening the connection: the largest that there is (RFC 7323 2.3).
inline constexpr std::uint8_t kTcpScaleMost = 14;

/// Segments that open, close or reset. `tcp`: 20 bytes or more, of which `here` are in this segment of the
/// frame; `peer`: the tail of the other direction.
void note_tcp_edge(FlowTail& tail, const FlowTail& peer, const std::uint8_t* tcp, std::uint32_t here);

/// What this side accepts moves on. An acknowledgement of what the other side could not have sent yet is not
/// believed, and the right edge of the window never moves back (RFC 9293 3.8.6).
inline void note_tcp_acknowledgement(FlowTail& tail, std::uint8_t seen, const std::uint8_t* tcp) {
    const auto ack = read_be32(tcp + 8);
    const auto scale = (seen & kTcpSyn) != 0 ? tail.tcp_scale.load(std::memory_order_relaxed) : kTcpScaleMost;
    const auto window = static_cast<std::uint32_t>(read_be16(tcp + 14)) << scale;
    const auto before = tail.tcp_window.load(std::memory_order_relaxed);
    const auto advance = ack - tail.tcp_ack.load(std::memory_order_relaxed);
    if ((seen & kTcpAck) == 0) [[unlikely]] {
        tail.tcp_seen.store(static_cast<std::uint8_t>(seen | kTcpAck), std::memory_order_relaxed);
    } else if (advance > before + 1) [[unlikely]] {
        return;
    }
    const auto left = before > advance ? before - advance : 0;
    tail.tcp_ack.store(ack, std::memory_order_relaxed);
    tail.tcp_window.store((seen & kTcpAck) == 0 || window > left ? window : left, std::memory_order_relaxed);
}

}  // namespace viaduct::dataplane
