// The ends of the fast path: frames come in by bursts, leave by bursts, and every one of them is counted.
#include "forward/forwarder.h"

namespace viaduct::dataplane {

Forwarder::Forwarder(std::uint16_t self, rte_mempool* pool, CounterBlock& counters, HandOff& hand_off,
                     FlowTables flows)
    : self_(self),
      flows_(flows),
      pool_(pool),
      counters_(counters),
      hand_off_(hand_off),
      adjacencies_(kTunnelsMost),
      stage_memory_(std::make_unique<std::array<Stage, kPortsMost>>()),
      stages_(*stage_memory_) {}

void Forwarder::receive(PortIndex from, rte_mbuf** frames, std::uint16_t count) {
    take_in(from, frames, count);
    while (out_count_ != 0)
        take_in_from_tunnels();
}

void Forwarder::take_in(PortIndex from, rte_mbuf** frames, std::uint16_t count) {
    std::uint64_t bytes = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        rte_prefetch0(rte_pktmbuf_mtod(frames[i], void*));
        bytes += frames[i]->pkt_len;
    }
    auto& counters = counters_[from];
    counters.rx_packets.add(count);
    counters.rx_bytes.add(bytes);
    const auto& port = topology_->ports[from];
    port.receive(*this, from, port, frames, count);
}

void Forwarder::send_handed(PortIndex to, rte_mbuf** frames, std::uint16_t count) {
    const auto& port = topology_->ports[to];
    const auto route = topology_->workers[self_].tx[to];
    if (port.port == nullptr) return drop_rest(to, Drop::tx_gone, frames, count);
    if (route.worker == TxRoute::kNobody)
        return drop_rest(to, port.link_up ? Drop::tx_moving : Drop::tx_link_down, frames, count);
    // Queues may have moved since the frames were handed over: they go on to the queue's present owner.
    if (route.worker != self_) {
        const auto taken = hand_off_.hand_off(route.worker, to, frames, count);
        return drop_rest(to, Drop::tx_handoff_full, frames + taken,
                         static_cast<std::uint16_t>(count - taken));
    }
    transmit(to, port, route.queue, frames, count);
}

void Forwarder::resolve_collected() {
    const auto count = for_resolve_count_;
    for_resolve_count_ = 0;
    first_packets_->resolve(for_resolve_.data(), count);
}

/// All passes that are left. What has been staged is sent before the last one: its loads take that time.
void Forwarder::flush_routed() {
    if (v4_.collected()) v4_.advance(*this);
    if (v6_.collected()) v6_.advance(*this);
    if (for_resolve_count_ != 0) resolve_collected();
    if (v4_.under_way()) v4_.find(*this);
    if (v6_.under_way()) v6_.find(*this);
    flush_filled();
    if (v4_.under_way()) v4_.carry_out(*this);
    if (v6_.under_way()) v6_.carry_out(*this);
}

void Forwarder::flush() {
    // What comes out of tunnels may be for router interfaces, and in it other tunnels.
    bool more = true;
    while (more) {
        flush_routed();
        more = out_count_ != 0;
        while (out_count_ != 0)
            take_in_from_tunnels();
    }
    while (tunnelled_count_ != 0)
        encapsulate();
    // A stage that filled up in the middle of the turn was emptied then, and may be empty now.
    for (std::uint32_t i = 0; i < dirty_count_; ++i) {
        stages_[dirty_[i]].listed = false;
        if (stages_[dirty_[i]].count != 0) flush_port(dirty_[i]);
    }
    dirty_count_ = 0;
}

/// Sends by the ports for which there is so much that nothing is lost by not waiting for more.
void Forwarder::flush_filled() {
    for (std::uint32_t i = 0; i < dirty_count_; ++i) {
        if (stages_[dirty_[i]].count >= kBurst / 2) flush_port(dirty_[i]);
    }
}

void Forwarder::flush_port(PortIndex to) {
    auto& stage = stages_[to];
    const auto count = stage.count;
    auto* frames = stage.frames.data();
    stage.count = 0;
    const auto& port = topology_->ports[to];
    counters_[to].offered.add(count);
    if (!port.link_up) return drop_rest(to, Drop::tx_link_down, frames, count);
    const auto route = topology_->workers[self_].tx[to];
    if (route.worker == TxRoute::kNobody) return drop_rest(to, Drop::tx_moving, frames, count);
    if (route.worker == self_) return transmit(to, port, route.queue, frames, count);
    const auto taken = hand_off_.hand_off(route.worker, to, frames, count);
    drop_rest(to, Drop::tx_handoff_full, frames + taken, static_cast<std::uint16_t>(count - taken));
}

void Forwarder::transmit(PortIndex to, const PortView& port, std::uint16_t queue, rte_mbuf** frames,
                         std::uint16_t count) {
    // Taken frames are gone after the call, so their lengths are read before.
    std::uint64_t bytes = 0;
    for (std::uint16_t i = 0; i < count; ++i)
        bytes += frames[i]->pkt_len;
    const auto taken = port.port->transmit(queue, frames, count);
    for (std::uint16_t i = taken; i < count; ++i)
        bytes -= frames[i]->pkt_len;
    auto& counters = counters_[to];
    counters.tx_packets.add(taken);
    counters.tx_bytes.add(bytes);
    if (taken < count) {
        const auto why = !port.port->link_up()  ? Drop::tx_link_down
                         : port.port->limited() ? Drop::tx_over_rate
                                                : Drop::tx_full;
        drop_rest(to, why, frames + taken, static_cast<std::uint16_t>(count - taken));
    }
}

void Forwarder::drop_rest(PortIndex to, Drop why, rte_mbuf** frames, std::uint16_t count) {
    if (count == 0) return;
    count_drop(to, why, count);
    rte_pktmbuf_free_bulk(frames, count);
}

}  // namespace viaduct::dataplane
