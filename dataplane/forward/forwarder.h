// What one worker holds while it forwards: its counters, and the frames staged for each output until the end
// of the turn. Nothing here is shared with another worker but the hand-off rings.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include <rte_mbuf.h>

#include "viaduct/byte_order.h"

#include "forward/counters.h"
#include "forward/first_packets.h"
#include "forward/route.h"
#include "forward/topology.h"
#include "port/port.h"

struct rte_ring;

namespace viaduct::dataplane {

/// One worker's counters for every port.
using CounterBlock = std::array<PortCounters, kPortsMost>;

/// Where frames for another worker's queues go. Implemented by the worker; one call a burst.
class HandOff {
public:
    virtual ~HandOff() = default;
    /// Takes frames for `port`, to be sent by `worker`. Returns how many were taken.
    virtual std::uint16_t hand_off(std::uint16_t worker, PortIndex port, rte_mbuf** frames,
                                   std::uint16_t count) = 0;
};

class Forwarder {
public:
    /// `self`: this worker's number. The block is shared with readers of counters and outlives the forwarder.
    Forwarder(std::uint16_t self, rte_mempool* pool, CounterBlock& counters, HandOff& hand_off,
              FlowTables flows);
    /// Who resolves what forwarding cannot do by itself; before the first turn.
    void set_first_packets(FirstPackets& first_packets) { first_packets_ = &first_packets; }

    /// Before a turn: the topology to use and the coarse second it is.
    void begin(const Topology& topology, std::uint32_t now) {
        topology_ = &topology;
        now_ = now;
    }
    /// A burst from one queue of a port. Frames are taken over.
    void receive(PortIndex from, rte_mbuf** frames, std::uint16_t count);
    /// A burst that another worker handed over for `to`.
    void send_handed(PortIndex to, rte_mbuf** frames, std::uint16_t count);
    /// Ends a turn: frames for router interfaces are routed, and everything staged goes out.
    void flush();

    // --- for the switching functions ---

    void stage(PortIndex to, rte_mbuf* frame) {
        auto& stage = stages_[to];
        if (!stage.listed) {
            stage.listed = true;
            dirty_[dirty_count_++] = to;
        }
        stage.frames[stage.count++] = frame;
        if (stage.count == kBurst) [[unlikely]]
            flush_port(to);
    }
    /// A frame that a bridge delivers to a router interface. Routed by whole bursts, at the end of the turn
    /// at the latest.
    void deliver(const RoutedFrame& routed) {
        auto* frame = routed.frame;
        deliver(routed, &frame, 1);
    }
    /// Frames with the same Ethernet header, at least one; `like` says all but which.
    void deliver(RoutedFrame like, rte_mbuf** frames, std::uint16_t count) {
        switch (family_of(frames[0], like.l2_length)) {
            case kIpv4:
                return collect(v4_, like, frames, count);
            case kIpv6:
                return collect(v6_, like, frames, count);
            case kNeither:
                for (std::uint16_t i = 0; i < count; ++i) {
                    like.frame = frames[i];
                    deliver_shared(like);
                }
        }
    }
    /// One that is addressed to a group, and that others hold too: it may only be read.
    void deliver_shared(const RoutedFrame& routed) {
        for_resolve_[for_resolve_count_++] = routed;
        if (for_resolve_count_ == kBurst) [[unlikely]]
            resolve_collected();
    }
    /// A frame that leaves by a tunnel, which is there. Wrapped by whole bursts, at the end of the turn at
    /// the latest.
    void stage_tunnel(TunnelIndex tunnel, rte_mbuf* frame) {
        tunnelled_[tunnelled_count_++] = {frame, tunnel};
        if (tunnelled_count_ == kBurst) [[unlikely]]
            encapsulate();
    }
    /// A frame that leaves by a tunnel's end to every peer of it (head-end replication).
    void replicate(PortIndex port, rte_mbuf* frame);
    /// A frame that was in a packet from `from`; it goes on through the bridge of its tunnel's end after this
    /// call.
    void come_out(PortIndex from, TunnelIndex tunnel, rte_mbuf* frame);
    /// Where the burst comes from that is being switched: the tunnel's place and one more; 0: no tunnel.
    [[nodiscard]] std::uint16_t source_tunnel() const { return source_tunnel_; }
    /// What a resolver has found out about a tunnel's way.
    void set_adjacency(TunnelIndex tunnel, const Adjacency& adjacency) { adjacencies_[tunnel] = adjacency; }
    /// Sends a tunnel's packet, from its outer IP header on.
    void leave(const Adjacency& adjacency, bool v4, rte_mbuf* packet);
    /// Drops one: it had left by `port`, the tunnel's end, and was to be sent anew by the node itself.
    void drop_outer(PortIndex port, Drop why, rte_mbuf* packet);
    void drop(PortIndex at, Drop why, rte_mbuf* frame) {
        count_drop(at, why);
        rte_pktmbuf_free(frame);
    }
    void count_drop(PortIndex at, Drop why, std::uint64_t n = 1) {
        counters_[at].drops[static_cast<std::size_t>(why)].add(n);
    }
    [[nodiscard]] const Topology& topology() const { return *topology_; }
    [[nodiscard]] std::uint32_t now() const { return now_; }
    [[nodiscard]] rte_mempool* pool() const { return pool_; }
    [[nodiscard]] FlowTables flows() const { return flows_; }
    [[nodiscard]] FirstPackets& first_packets() { return *first_packets_; }
    [[nodiscard]] PortCounters& counters(PortIndex port) { return counters_[port]; }

private:
    struct Stage {
        std::uint16_t count = 0;
        bool listed = false;  ///< in dirty_, so that a port is there once however often it fills up in a turn
        std::array<rte_mbuf*, kBurst> frames;
    };

    enum Family : std::uint8_t { kIpv4, kIpv6, kNeither };
    static Family family_of(const rte_mbuf* frame, std::uint16_t l2_length) {
        Be16 ethertype;
        std::memcpy(&ethertype, rte_pktmbuf_mtod_offset(frame, const void*, l2_length - 2), sizeof ethertype);
        if (ethertype == Be16::from_host(0x0800)) return kIpv4;
        return ethertype == Be16::from_host(0x86dd) ? kIpv6 : kNeither;
    }
    template <typename Key>
    void collect(RoutedBursts<Key>& bursts, RoutedFrame& like, rte_mbuf** frames, std::uint16_t count) {
        for (std::uint16_t i = 0; i < count; ++i) {
            like.frame = frames[i];
            bursts.collect(*this, like);
        }
    }
    struct Tunnelled {
        rte_mbuf* frame;
        TunnelIndex tunnel;
    };
    /// Frames that came out of tunnels in one turn and wait to be switched: a burst of each family and what
    /// comes out while these are.
    static constexpr std::uint32_t kOutMost = 8 * kBurst;

    void take_in(PortIndex from, rte_mbuf** frames, std::uint16_t count);
    void take_in_from_tunnels();
    void encapsulate();
    void wrap(const Tunnelled* run, std::uint16_t count);
    void wrap_finished(const Tunnelled& one);
    void refuse_to_wrap(const Tunnelled& one, Drop why);
    void resolve_collected();
    void flush_routed();
    void flush_filled();
    void flush_port(PortIndex to);
    void transmit(PortIndex to, const PortView& port, std::uint16_t queue, rte_mbuf** frames,
                  std::uint16_t count);
    void drop_rest(PortIndex to, Drop why, rte_mbuf** frames, std::uint16_t count);

    std::uint16_t self_;
    FlowTables flows_;
    FirstPackets* first_packets_ = nullptr;
    rte_mempool* pool_;
    CounterBlock& counters_;
    HandOff& hand_off_;
    const Topology* topology_ = nullptr;
    std::uint32_t now_ = 0;
    // Frames for router interfaces.
    RoutedBursts<FlowKey4> v4_;
    RoutedBursts<FlowKey6> v6_;
    std::uint16_t for_resolve_count_ = 0;
    std::array<RoutedFrame, kBurst> for_resolve_;
    std::array<Tunnelled, kBurst> tunnelled_;  ///< to go into tunnels
    std::uint16_t tunnelled_count_ = 0;
    std::uint16_t source_tunnel_ = 0;
    std::uint32_t out_count_ = 0;
    std::array<Tunnelled, kOutMost> out_;  ///< come out of tunnels
    std::vector<Adjacency> adjacencies_;   ///< by TunnelIndex
    std::uint32_t dirty_count_ = 0;
    std::array<PortIndex, kPortsMost> dirty_{};
    std::unique_ptr<std::array<Stage, kPortsMost>> stage_memory_;
    std::array<Stage, kPortsMost>& stages_;
};

}  // namespace viaduct::dataplane
