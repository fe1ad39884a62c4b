// Bursts through a bridge. Theory of operation: two passes over at most kBurst frames. The first reads
// headers, refuses what is malformed and gathers runs: consecutive frames with the same Ethernet header, as
// most are that come from one guest. Of each run it computes the keys of source and destination and starts
// the loads of their FDB buckets. The second looks both up, once a run, and delivers or stages its frames,
// rewriting tags.
#include "forward/switch.h"

#include <cstring>

#include "forward/answers.h"
#include "forward/checksum.h"
#include "forward/forwarder.h"
#include "port/offload.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kEthernetHeader = 14;
constexpr std::uint32_t kTag = 4;
constexpr std::uint16_t kTagEthertype = 0x8100;  // IEEE 802.1Q customer tag; others are payload
constexpr std::uint64_t kGroupBit = 0x010000000000;
constexpr std::uint64_t kReservedGroups = 0x0180c2000000;  // ..00 to ..0f

/// A frame, and what its header says.
struct Classified {
    rte_mbuf* frame;
    std::uint64_t destination;  ///< FdbKey
    std::uint16_t vlan;         ///< 0 on a bridge that does not filter
    bool tagged;                ///< carries the tag of `vlan` now
};

/// Consecutive frames that are alike.
struct Run {
    Classified like;  ///< with the first one's frame
    std::uint64_t source;
    std::uint64_t source_hash;
    std::uint64_t destination_hash;
    std::uint64_t begin;  ///< the header's first eight bytes and the eight before its end
    std::uint64_t end;
    std::uint32_t tag;      ///< the four that follow, with `like.tagged`
    std::uint32_t longest;  ///< a frame of this kind may be
    std::uint16_t count;
};

std::uint64_t load_mac(const std::uint8_t* at) {
    return __builtin_bswap64(load64(at)) >> 16;
}

/// What is wrong with a frame at all, whatever it is for; count_ when nothing.
Drop check_frame(const PortView& port, const rte_mbuf* frame, const std::uint8_t* header) {
    if (frame->data_len < kEthernetHeader) return Drop::runt;
    const auto source = load_mac(header + 6);
    if ((source & kGroupBit) != 0 || source == 0) return Drop::bad_source;
    if ((load_mac(header) & ~std::uint64_t{0xf}) == kReservedGroups) return Drop::reserved_multicast;
    if (frame->pkt_len > port.frame_most) {
        const auto longest = longest_frame(frame);
        const bool tagged = read_be16(header + 12) == kTagEthertype;
        if (longest > port.frame_most + (tagged ? kTag : 0)) return Drop::oversize;
    }
    return Drop::count_;
}

/// Finds a frame's VLAN (802.1Q 6.9.1). Priority-tagged frames lose their tag, as they are of no VLAN.
Drop classify_vlan(const PortView& port, Classified& c, std::uint8_t* header) {
    c.tagged = read_be16(header + 12) == kTagEthertype;
    c.vlan = port.untagged_vlan;
    if (c.tagged) {
        if (c.frame->data_len < kEthernetHeader + kTag) return Drop::bad_vlan;
        const auto id = read_be16(header + 14) & 0xfff;
        if (id == 0xfff) return Drop::bad_vlan;
        if (id == 0) {
            pop_tag(c.frame);
            c.tagged = false;
        } else {
            c.vlan = static_cast<std::uint16_t>(id);
            // A frame tagged with the port's own untagged VLAN is a member's too.
            if (c.vlan != port.untagged_vlan && !port.carries_tagged(c.vlan)) return Drop::vlan_not_allowed;
        }
    }
    return c.vlan == 0 ? Drop::vlan_not_allowed : Drop::count_;
}

bool push_tag(rte_mbuf* frame, std::uint16_t vlan) {
    auto* header = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_prepend(frame, kTag));
    if (header == nullptr) return false;
    std::memmove(header, header + kTag, 12);
    header[12] = kTagEthertype >> 8;
    header[13] = kTagEthertype & 0xff;
    header[14] = static_cast<std::uint8_t>(vlan >> 8);
    header[15] = static_cast<std::uint8_t>(vlan);
    change_l2_length(frame, kTag);
    return true;
}

/// Gives a frame that nobody else holds the tag, or its absence, that its output wants.
bool retag(Classified& c, bool tagged) {
    if (c.tagged == tagged) return true;
    if (c.tagged) {
        pop_tag(c.frame);
    } else if (!push_tag(c.frame, c.vlan)) {
        return false;
    }
    c.tagged = tagged;
    return true;
}

bool too_big(const PortView& port, const Classified& c) {
    // On a bridge that does not filter, a tag is seen in the frame itself.
    if (c.frame->pkt_len <= port.frame_most) return false;
    const auto* header = rte_pktmbuf_mtod(c.frame, const std::uint8_t*);
    return longest_frame(c.frame) > port.frame_most + (read_be16(header + 12) == kTagEthertype ? kTag : 0);
}

/// The rare half of looking at a source: new, moved, or last seen in an earlier second.
[[gnu::noinline]] void note_source(Forwarder& forwarder, PortIndex from, const PortView& port, FdbKey key,
                                   std::uint64_t hash, FdbValue value) {
    auto& fdb = *port.bridge->fdb;
    const auto tunnel = forwarder.source_tunnel();
    if (value.present() && (value.is_static() || (value.port() == from && value.tunnel() == tunnel))) {
        if (!value.is_static()) fdb.refresh(key, hash, value, forwarder.now());
        return;
    }
    if (!port.bridge->learning) return;
    const auto learned = fdb.learn(key, from, port.fdb_limit, forwarder.now(), tunnel);
    if (learned == Fdb::Learned::port_full || learned == Fdb::Learned::table_full) {
        forwarder.counters(from).not_learned.add(1);
    }
}

/// A copy for an output that wants another tag than the rest, or null.
rte_mbuf* copy_with_tag(Forwarder& forwarder, const Classified& c, bool tagged) {
    Classified copy = c;
    copy.frame = rte_pktmbuf_copy(c.frame, forwarder.pool(), 0, UINT32_MAX);
    if (copy.frame == nullptr) return nullptr;
    if (!retag(copy, tagged)) {
        rte_pktmbuf_free(copy.frame);
        return nullptr;
    }
    return copy.frame;
}

/// Adds `n` holders to each part of a frame, so that one frame stands at many outputs.
void share(rte_mbuf* frame, std::int16_t n) {
    for (auto* part = frame; part != nullptr; part = part->next)
        rte_mbuf_refcnt_update(part, n);
}

std::uint16_t l2_length(const Classified& c) {
    return kEthernetHeader + (c.tagged ? kTag : 0);
}

/// Where a flood starts, and who is counted for it.
struct FloodSource {
    PortIndex port;             ///< whose counters
    bool to_all = false;        ///< also to that one
    bool by_interface = false;  ///< a router interface sends it
    bool originated = false;    ///< made by the node: counted at each output
};

/// What is addressed to a group is for the router interfaces on the VLAN too; they only read it. Returns how
/// many got it.
std::uint64_t show_gateways(Forwarder& forwarder, const FloodSource& source, const BridgeView& bridge,
                            const Classified& c) {
    if ((c.destination & kGroupBit) == 0 || source.by_interface) return 0;
    const auto& gateways = bridge.gateways_on(c.vlan);
    for (const auto interface : gateways) {
        share(c.frame, 1);
        forwarder.deliver_shared({c.frame, source.port, interface, l2_length(c), true});
    }
    return gateways.size();
}

/// To every member of the VLAN but where it came from. Outputs that want the frame as it is share it; for the
/// others one copy is made and shared.
[[gnu::noinline]] void flood(Forwarder& forwarder, const FloodSource& source, const BridgeView& bridge,
                             Classified& c) {
    const auto& topology = forwarder.topology();
    rte_mbuf* other = nullptr;  // with the tag that `c.frame` does not have
    std::uint64_t outputs = show_gateways(forwarder, source, bridge, c);
    for (const auto& member : bridge.flood(c.vlan)) {
        if (member.port == source.port && !source.to_all) continue;
        ++outputs;
        auto& counters = forwarder.counters(member.port);
        if (source.originated) counters.originated.add(1);
        if (too_big(topology.ports[member.port], c)) {
            counters.offered.add(1);
            forwarder.count_drop(member.port, Drop::tx_too_big);
            continue;
        }
        const bool as_it_is = bridge.switch_burst == switch_burst_plain || member.tagged == c.tagged;
        rte_mbuf* frame = c.frame;
        if (!as_it_is) {
            if (other == nullptr) other = copy_with_tag(forwarder, c, member.tagged);
            frame = other;
        }
        if (frame == nullptr) {
            counters.offered.add(1);
            forwarder.count_drop(member.port, Drop::tx_no_buffer);
            continue;
        }
        share(frame, 1);
        if (topology.ports[member.port].tunnels != nullptr) {
            forwarder.replicate(member.port, frame);
        } else {
            forwarder.stage(member.port, frame);
        }
    }
    if (!source.originated) {
        if (outputs == 0) {
            forwarder.count_drop(source.port, Drop::no_output);
        } else {
            forwarder.counters(source.port).copies.add(outputs - 1);
        }
    }
    // Ours was one holder more than the outputs'.
    rte_pktmbuf_free(c.frame);
    if (other != nullptr) rte_pktmbuf_free(other);
}

/// Into the tunnel that the FDB names, or into all of its end's: an entry may be without one, or older than
/// the topology.
[[gnu::noinline]] void send_by_tunnel(Forwarder& forwarder, FdbValue to, rte_mbuf* frame) {
    const auto& tunnels = forwarder.topology().tunnels;
    const auto index = static_cast<TunnelIndex>(to.tunnel() - 1);
    if (index < tunnels.size() && tunnels[index].present && tunnels[index].port == to.port()) {
        forwarder.stage_tunnel(index, frame);
    } else {
        forwarder.replicate(to.port(), frame);
    }
}

/// To the one port that the FDB names.
template <bool kVlanFiltering>
void send_to(Forwarder& forwarder, FdbValue found, Classified& c) {
    const auto to = found.port();
    const auto& port = forwarder.topology().ports[to];
    Drop refused = Drop::count_;
    if (too_big(port, c)) [[unlikely]]
        refused = Drop::tx_too_big;
    if constexpr (kVlanFiltering) {
        const bool untagged = c.vlan == port.untagged_vlan;
        if (!untagged && !port.carries_tagged(c.vlan)) {
            refused = Drop::tx_vlan_not_allowed;
        } else if (!retag(c, !untagged)) {
            refused = Drop::tx_no_buffer;
        }
    }
    if (refused != Drop::count_) [[unlikely]] {
        forwarder.counters(to).offered.add(1);
        return forwarder.drop(to, refused, c.frame);
    }
    if (port.tunnels != nullptr) return send_by_tunnel(forwarder, found, c.frame);
    forwarder.stage(to, c.frame);
}

/// The same, off the fast path: by whatever the bridge is.
void send_to(Forwarder& forwarder, const BridgeView& bridge, FdbValue found, Classified& c) {
    if (bridge.switch_burst == switch_burst_plain) {
        send_to<false>(forwarder, found, c);
    } else {
        send_to<true>(forwarder, found, c);
    }
}

/// A frame without a tag on the VLAN of a router interface.
Classified classify_by(const InterfaceView& interface, rte_mbuf* frame) {
    const auto to = load_mac(rte_pktmbuf_mtod(frame, const std::uint8_t*));
    return {frame, fdb_key(to, interface.vlan), interface.vlan, false};
}

template <bool kVlanFiltering>
void output(Forwarder& forwarder, PortIndex from, const BridgeView& bridge, const Run& run, rte_mbuf** frames,
            FdbValue found, bool may_answer) {
    const auto to = found.port();
    if (found.present() && to >= kGatewayFirst) [[likely]] {
        const auto interface = static_cast<InterfaceIndex>(to - kGatewayFirst);
        return forwarder.deliver({nullptr, from, interface, l2_length(run.like), false}, frames, run.count);
    }
    auto count = run.count;
    if (may_answer && (run.like.destination & kGroupBit) == 0) [[unlikely]]
        count = intercept_answers(forwarder, from, bridge, run.like.vlan, l2_length(run.like), frames, count);
    for (std::uint16_t i = 0; i < count; ++i) {
        auto c = run.like;
        c.frame = frames[i];
        if (!found.present()) [[unlikely]] {
            flood(forwarder, {from}, bridge, c);
        } else if (to == from) [[unlikely]] {
            forwarder.drop(from, Drop::same_port, c.frame);
        } else {
            send_to<kVlanFiltering>(forwarder, found, c);
        }
    }
}

/// Whether a frame is one of the run's: what was found of the first one's header holds for it, too.
template <bool kVlanFiltering>
bool is_alike(const Run& run, const rte_mbuf* frame, const std::uint8_t* header) {
    const bool tagged = kVlanFiltering && run.like.tagged;
    if (frame->data_len < kEthernetHeader + (tagged ? kTag : 0) || frame->pkt_len > run.longest) return false;
    if (((load64(header) ^ run.begin) | (load64(header + 6) ^ run.end)) != 0) return false;
    return !tagged || load32(header + kEthernetHeader) == run.tag;
}

/// Begins a run; not with a frame that is refused.
template <bool kVlanFiltering>
Drop begin_run(const PortView& port, rte_mbuf* frame, std::uint8_t* header, Run& run) {
    auto& c = run.like;
    c = {frame, 0, 0, false};
    auto refused = check_frame(port, frame, header);
    if (refused != Drop::count_) return refused;
    run.begin = load64(header);
    run.end = load64(header + 6);
    if constexpr (kVlanFiltering) {
        if (refused = classify_vlan(port, c, header); refused != Drop::count_) return refused;
        if (c.tagged) run.tag = load32(header + kEthernetHeader);
    }
    auto* kept = rte_pktmbuf_mtod(frame, std::uint8_t*);
    run.longest = port.frame_most + (read_be16(kept + 12) == kTagEthertype ? kTag : 0);
    // A priority tag is gone from this frame, and has to go from the next: none is alike.
    if (kept != header) run.longest = 0;
    header = kept;
    run.count = 1;
    const auto& fdb = *port.bridge->fdb;
    c.destination = fdb_key(load_mac(header), c.vlan);
    run.source = fdb_key(load_mac(header + 6), c.vlan);
    run.destination_hash = fdb.hash(c.destination);
    run.source_hash = fdb.hash(run.source);
    fdb.prefetch(run.destination_hash);
    fdb.prefetch(run.source_hash);
    return Drop::count_;
}

/// What a bridge must not forward, though from an uplink it is the host's (and the other way round): LLDP and
/// the like. PAUSE (IEEE 802.3 annex 31B) is for the device alone.
[[gnu::noinline]] void refuse(Forwarder& forwarder, PortIndex from, const PortView& port, Drop why,
                              rte_mbuf* frame) {
    constexpr std::uint64_t pause = kReservedGroups + 1;
    const bool passes = why == Drop::reserved_multicast && port.link_end != kNoPort &&
                        load_mac(rte_pktmbuf_mtod(frame, const std::uint8_t*)) != pause;
    if (passes) return forwarder.stage(port.link_end, frame);
    forwarder.drop(from, why, frame);
}

/// First pass. Frames that are left move together. Returns how many runs they make.
template <bool kVlanFiltering>
std::uint16_t gather(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                     std::uint16_t count, Run* runs) {
    std::uint16_t kept = 0;
    std::uint16_t begun = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        auto* frame = frames[i];
        auto* header = rte_pktmbuf_mtod(frame, std::uint8_t*);
        if (begun != 0 && is_alike<kVlanFiltering>(runs[begun - 1], frame, header)) [[likely]] {
            ++runs[begun - 1].count;
        } else if (const auto refused = begin_run<kVlanFiltering>(port, frame, header, runs[begun]);
                   refused == Drop::count_) {
            ++begun;
        } else {
            refuse(forwarder, from, port, refused, frame);
            continue;
        }
        frames[kept++] = frame;
    }
    return begun;
}

template <bool kVlanFiltering>
void switch_burst(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                  std::uint16_t count) {
    const auto& bridge = *port.bridge;
    const auto& fdb = *bridge.fdb;
    std::array<Run, kBurst> runs;
    const auto begun = gather<kVlanFiltering>(forwarder, from, port, frames, count, runs.data());

    // What an entry is that needs no looking after.
    const auto fresh = FdbValue::make(from, false, forwarder.now(), forwarder.source_tunnel());
    FdbKey last_source = 0;
    FdbKey last_destination = 0;
    FdbValue found;
    const bool may_answer = forwarder.flows().bridged->any();
    for (std::uint16_t i = 0; i < begun; ++i) {
        const auto& run = runs[i];
        if (run.source != last_source) {
            last_source = run.source;
            const auto value = fdb.find(run.source, run.source_hash);
            if (value.word != fresh.word) [[unlikely]] {
                note_source(forwarder, from, port, run.source, run.source_hash, value);
                last_destination = 0;  // what was just learned may be what the next frame asks for
            }
        }
        const auto destination = run.like.destination;
        if (destination != last_destination) {
            last_destination = destination;
            const bool group = (destination & kGroupBit) != 0;
            found = fdb.find(destination, run.destination_hash);
            // Only a static entry says where a group address goes.
            if (group && !found.is_static()) found = {};
        }
        output<kVlanFiltering>(forwarder, from, bridge, run, frames, found, may_answer);
        frames += run.count;
    }
}

void drop_burst(Forwarder& forwarder, PortIndex from, Drop why, rte_mbuf** frames, std::uint16_t count) {
    forwarder.count_drop(from, why, count);
    rte_pktmbuf_free_bulk(frames, count);
}

}  // namespace

void pop_tag(rte_mbuf* frame) {
    auto* header = rte_pktmbuf_mtod(frame, std::uint8_t*);
    std::memmove(header + kTag, header, 12);
    rte_pktmbuf_adj(frame, kTag);
    change_l2_length(frame, -static_cast<int>(kTag));
}

void switch_burst_vlan(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                       std::uint16_t count) {
    switch_burst<true>(forwarder, from, port, frames, count);
}

void switch_burst_plain(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                        std::uint16_t count) {
    switch_burst<false>(forwarder, from, port, frames, count);
}

void switch_burst_wire(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                       std::uint16_t count) {
    const auto to = port.link_end;
    if (to == kNoPort) return drop_burst(forwarder, from, Drop::no_output, frames, count);
    const auto& end = forwarder.topology().ports[to];
    for (std::uint16_t i = 0; i < count; ++i) {
        Classified c{frames[i], 0, 0, false};
        if (c.frame->data_len < kEthernetHeader) {
            forwarder.drop(from, Drop::runt, c.frame);
        } else if (too_big(port, c)) {
            forwarder.drop(from, Drop::oversize, c.frame);
        } else if (too_big(end, c)) {
            forwarder.counters(to).offered.add(1);
            forwarder.drop(to, Drop::tx_too_big, c.frame);
        } else if (end.tunnels != nullptr) {
            forwarder.replicate(to, c.frame);
        } else {
            forwarder.stage(to, c.frame);
        }
    }
}

void send_from_interface(Forwarder& forwarder, InterfaceIndex interface, PortIndex from, bool originated,
                         rte_mbuf* frame) {
    const auto& view = forwarder.topology().interfaces[interface];
    const auto& bridge = *view.bridge;
    auto c = classify_by(view, frame);
    FdbValue found;
    if ((c.destination & kGroupBit) == 0)
        found = bridge.fdb->find(c.destination, bridge.fdb->hash(c.destination));
    // The host speaks for itself, with the interface's own addresses: it need not hear from the router that
    // somebody has them.
    const bool to_all = !originated || view.host_port == kNoPort;
    if (!found.present())
        return flood(forwarder, {to_all ? from : view.host_port, to_all, true, originated}, bridge, c);
    const auto to = found.port();
    if (originated && to == kGatewayFirst + interface && view.host_port != kNoPort) {
        // What the router says to its own address is for the host that shares it.
        forwarder.counters(view.host_port).originated.add(1);
        return forwarder.stage(view.host_port, frame);
    }
    if (to >= kGatewayFirst) {
        // Another router interface of ours on the same VLAN: packets between two of them take a route.
        if (!originated) forwarder.count_drop(from, Drop::no_output);
        return rte_pktmbuf_free(frame);
    }
    if (originated) forwarder.counters(to).originated.add(1);
    send_to(forwarder, bridge, found, c);
}

void send_on(Forwarder& forwarder, InterfaceIndex interface, PortIndex from, rte_mbuf* frame) {
    const auto& view = forwarder.topology().interfaces[interface];
    const auto& bridge = *view.bridge;
    auto c = classify_by(view, frame);
    const auto found = bridge.fdb->find(c.destination, bridge.fdb->hash(c.destination));
    if (!found.present()) return flood(forwarder, {from, false, true}, bridge, c);
    if (found.port() == from) return forwarder.drop(from, Drop::same_port, frame);
    if (found.port() >= kGatewayFirst) return forwarder.drop(from, Drop::no_output, frame);
    send_to(forwarder, bridge, found, c);
}

void drop_burst_no_bridge(Forwarder& forwarder, PortIndex from, const PortView&, rte_mbuf** frames,
                          std::uint16_t count) {
    drop_burst(forwarder, from, Drop::no_bridge, frames, count);
}

void drop_burst_port_down(Forwarder& forwarder, PortIndex from, const PortView&, rte_mbuf** frames,
                          std::uint16_t count) {
    drop_burst(forwarder, from, Drop::port_down, frames, count);
}

}  // namespace viaduct::dataplane
