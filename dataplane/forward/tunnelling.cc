// Tunnels in the turn of a worker: what goes into them is wrapped by bursts and leaves by the underlay's
// ports, what comes out of them is switched as if it had come in by the tunnel's end.
//
// In the ledger a tunnel's end sends frames and receives them as any port does. The packets that carry them
// are the node's own: originated where they leave, consumed where they came in.
#include <algorithm>

#include "forward/forwarder.h"
#include "port/offload.h"

namespace viaduct::dataplane {

void Forwarder::encapsulate() {
    std::array<Tunnelled, kBurst> burst;  // what is sent may itself be for a tunnel
    const auto count = tunnelled_count_;
    std::copy_n(tunnelled_.begin(), count, burst.begin());
    tunnelled_count_ = 0;
    for (std::uint16_t begin = 0; begin < count;) {
        auto end = begin;
        while (end < count && burst[end].tunnel == burst[begin].tunnel)
            ++end;
        wrap(&burst[begin], static_cast<std::uint16_t>(end - begin));
        begin = end;
    }
}

/// A frame in a packet says nothing of what is left to be done: it is done here.
void Forwarder::wrap_finished(const Tunnelled& one) {
    if (!left_to_cut(one.frame)) {
        auto* frame = one.frame;
        if (rte_mbuf_refcnt_read(frame) != 1) {
            frame = rte_pktmbuf_copy(one.frame, pool_, 0, UINT32_MAX);
            if (frame == nullptr) return refuse_to_wrap(one, Drop::tx_no_buffer);
            rte_pktmbuf_free(one.frame);
        }
        finish_checksum(frame);
        const Tunnelled finished{frame, one.tunnel};
        return wrap(&finished, 1);
    }
    Cutter cutter(one.frame, pool_, 0);
    std::uint32_t made = 0;
    while (!cutter.done()) {
        Tunnelled piece{nullptr, one.tunnel};
        if (cutter.next(&piece.frame, 1) == 0) break;
        ++made;
        wrap(&piece, 1);
    }
    if (!cutter.done()) {
        // What is left of it counts as one more.
        counters_[topology_->tunnels[one.tunnel].port].copies.add(made);
        return refuse_to_wrap(one, Drop::tx_no_buffer);
    }
    counters_[topology_->tunnels[one.tunnel].port].copies.add(made - 1);
    rte_pktmbuf_free(one.frame);
}

void Forwarder::refuse_to_wrap(const Tunnelled& one, Drop why) {
    const auto port = topology_->tunnels[one.tunnel].port;
    counters_[port].offered.add(1);
    drop(port, why, one.frame);
}

/// Frames for one tunnel.
void Forwarder::wrap(const Tunnelled* run, std::uint16_t count) {
    const auto index = run->tunnel;
    const auto& tunnel = topology_->tunnels[index];
    auto& counters = counters_[tunnel.port];
    std::uint64_t offered = 0;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        auto* frame = run[i].frame;
        if ((frame->ol_flags & kLeftToDo) != 0) [[unlikely]] {
            wrap_finished(run[i]);
            continue;
        }
        ++offered;
        const auto length = frame->pkt_len;
        // Asked anew for each: sending the first may have found out the way.
        const auto& adjacency = adjacencies_[index];
        const bool known = adjacency.generation == topology_->flow_generation;
        const auto most = known ? adjacency.mtu : std::uint32_t{UINT16_MAX};
        auto refused = Drop::count_;
        if (!topology_->ports[tunnel.port].link_up) {
            refused = Drop::tx_link_down;
        } else if (length + tunnel.length > most) {
            refused = Drop::tx_too_big;
        } else if (!push_outer(tunnel, frame, pool_)) {
            refused = Drop::tx_no_buffer;
        }
        if (refused != Drop::count_) [[unlikely]] {
            drop(tunnel.port, refused, frame);
            continue;
        }
        ++packets;
        bytes += length;
        if (known) [[likely]] {
            leave(adjacency, tunnel.v4, frame);
        } else {
            first_packets_->send_outer(index, frame);
        }
    }
    counters.offered.add(offered);
    counters.tx_packets.add(packets);
    counters.tx_bytes.add(bytes);
}

void Forwarder::leave(const Adjacency& adjacency, bool v4, rte_mbuf* packet) {
    push_ethernet(adjacency, v4, packet);
    counters_[adjacency.port].originated.add(1);
    stage(adjacency.port, packet);
}

void Forwarder::drop_outer(PortIndex port, Drop why, rte_mbuf* packet) {
    auto& counters = counters_[port];
    counters.originated.add(1);
    counters.offered.add(1);
    drop(port, why, packet);
}

void Forwarder::replicate(PortIndex port, rte_mbuf* frame) {
    const auto& tunnels = *topology_->ports[port].tunnels;
    if (tunnels.empty()) {
        counters_[port].offered.add(1);
        return drop(port, Drop::tx_no_peer, frame);
    }
    if (tunnels.size() > 1) {
        for (auto* part = frame; part != nullptr; part = part->next)
            rte_mbuf_refcnt_update(part, static_cast<std::int16_t>(tunnels.size() - 1));
        counters_[port].copies.add(tunnels.size() - 1);
    }
    for (const auto tunnel : tunnels)
        stage_tunnel(tunnel, frame);
}

void Forwarder::come_out(PortIndex from, TunnelIndex tunnel, rte_mbuf* frame) {
    if (out_count_ == out_.size()) [[unlikely]]
        return drop(from, Drop::tunnel_nested, frame);
    counters_[from].consumed.add(1);
    out_[out_count_++] = {frame, tunnel};
}

void Forwarder::take_in_from_tunnels() {
    std::array<Tunnelled, kOutMost> out;  // what is switched may come out of another tunnel
    const auto count = out_count_;
    std::copy_n(out_.begin(), count, out.begin());
    out_count_ = 0;
    for (std::uint32_t begin = 0; begin < count;) {
        // A run from one peer goes on as one burst.
        std::array<rte_mbuf*, kBurst> frames;
        const auto tunnel = out[begin].tunnel;
        std::uint16_t run = 0;
        while (begin < count && run < kBurst && out[begin].tunnel == tunnel)
            frames[run++] = out[begin++].frame;
        source_tunnel_ = static_cast<std::uint16_t>(tunnel + 1);
        take_in(topology_->tunnels[tunnel].port, frames.data(), run);
        source_tunnel_ = 0;
    }
}

}  // namespace viaduct::dataplane
