#include "forward/tcp.h"

#include <algorithm>

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kHeader = 20;

/// The window scale option of a SYN (RFC 7323 2.2), 0 without one.
std::uint8_t window_scale(const std::uint8_t* tcp, std::uint32_t here) {
    const auto end = std::min<std::uint32_t>(here, (tcp[12] >> 4) * 4U);
    for (std::uint32_t at = kHeader; at < end;) {
        const auto kind = tcp[at];
        if (kind == 0) break;
        if (kind == 1) {
            ++at;
            continue;
        }
        if (at + 1 >= end || tcp[at + 1] < 2) break;
        if (kind == 3 && tcp[at + 1] == 3 && at + 2 < end) return std::min(tcp[at + 2], kTcpScaleMost);
        at += tcp[at + 1];
    }
    return 0;
}

/// Whether the other side would take a segment with this sequence number. One that has acknowledged nothing
/// yet has said nothing about it.
bool in_window(const FlowTail& peer, std::uint32_t sequence) {
    if ((peer.tcp_seen.load(std::memory_order_relaxed) & kTcpAck) == 0) return true;
    return sequence - peer.tcp_ack.load(std::memory_order_relaxed) <=
           peer.tcp_window.load(std::memory_order_relaxed);
}

void see(FlowTail& tail, int what) {
    tail.tcp_seen.store(static_cast<std::uint8_t>(what), std::memory_order_relaxed);
}

/// The first SYN, or that of a connection after one that was closed.
void open(FlowTail& tail, const std::uint8_t* tcp, std::uint32_t here) {
    tail.tcp_scale.store(window_scale(tcp, here), std::memory_order_relaxed);
    // The window of a SYN is not scaled.
    tail.tcp_window.store(read_be16(tcp + 14), std::memory_order_relaxed);
    tail.tcp_ack.store(read_be32(tcp + 8), std::memory_order_relaxed);
    const bool acknowledges = (tcp[13] & kTcpFlagAck) != 0;
    see(tail, acknowledges ? kTcpSyn | kTcpAck : kTcpSyn);
}

}  // namespace

void note_tcp_edge(FlowTail& tail, const FlowTail& peer, const std::uint8_t* tcp, std::uint32_t here) {
    const auto flags = tcp[13];
    auto seen = tail.tcp_seen.load(std::memory_order_relaxed);
    if ((flags & kTcpFlagReset) != 0) {
        if (in_window(peer, read_be32(tcp + 4))) see(tail, seen | kTcpReset);
        return;
    }
    if ((flags & kTcpFlagSyn) != 0) {
        const bool again = (seen & kTcpSyn) != 0 && (seen & (kTcpFin | kTcpReset)) == 0;
        if (!again) open(tail, tcp, here);
        return;
    }
    // Who goes on talking was not reset: the reset was forged, and well guessed.
    if ((seen & kTcpReset) != 0) {
        seen = static_cast<std::uint8_t>(seen & ~kTcpReset);
        tail.tcp_seen.store(seen, std::memory_order_relaxed);
    }
    if ((flags & kTcpFlagAck) != 0) note_tcp_acknowledgement(tail, seen, tcp);
    if ((flags & kTcpFlagFin) != 0 && in_window(peer, read_be32(tcp + 4))) {
        see(tail, tail.tcp_seen.load(std::memory_order_relaxed) | kTcpFin);
    }
}

}  // namespace viaduct::dataplane
