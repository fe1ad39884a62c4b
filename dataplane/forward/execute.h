// Carrying out what a flow's record says on one packet: addresses, ports and TTL with their checksums, the
// Ethernet header, and the flow's counters. Resolve uses the same for the first packet.
#pragma once

#include <cstdint>
#include <cstring>

#include <rte_mbuf.h>

#include "flow/flow_table.h"
#include "forward/mss.h"
#include "forward/parse.h"
#include "forward/tcp.h"
#include "forward/topology.h"
#include "port/offload.h"

namespace viaduct::dataplane {

namespace detail {

inline constexpr std::uint16_t kEthernet = 14;
inline constexpr std::uint16_t kVlanTag = 4;
/// The shortest Ethernet frame's payload: shorter packets are padded to it, longer ones need not be.
inline constexpr std::uint32_t kShortestPayload = 46;
/// What decrementing the TTL, the low byte in memory of its word, adds to a complemented sum: ~m + (m - 1).
inline constexpr std::uint32_t kTtlDifference = 0xfffe;

template <typename Key>
inline constexpr bool kVersion4 = Key::kWords == 2;

/// A transport checksum that a guest left to the hardware: as yet it sums the pseudo header alone, and is not
/// complemented. Only addresses are in it.
template <typename Key>
[[gnu::noinline]] void adjust_partial(std::uint8_t* checksum, const FlowRecord<Key>& record) {
    const auto words = [](const auto& address) {
        std::uint32_t sum = 0;
        for (std::size_t i = 0; i < address.bytes.size(); i += 2)
            sum += load16(&address.bytes[i]);
        return sum;
    };
    const auto before = fold(words(record.key.source) + words(record.key.destination));
    const auto after = fold(words(record.new_source) + words(record.new_destination));
    store16(checksum, fold(std::uint32_t{load16(checksum)} + checksum_difference(before, after)));
}

/// Ports or identifier. Returns where the checksum is that covers them, from the transport header's begin; 0
/// where the protocol has neither.
template <typename Key>
inline std::uint32_t translate_ports(std::uint8_t* transport, const FlowRecord<Key>& record) {
    const auto protocol = record.key.protocol;
    if (protocol == kTcp || protocol == kUdp) [[likely]] {
        std::memcpy(transport, &record.new_source_port, 4);
        return protocol == kTcp ? 16 : 6;
    }
    if (protocol != (kVersion4<Key> ? kIcmp : kIcmp6)) return 0;
    // A request's identifier is its source port, a reply's its destination port (flow/key.h).
    const bool request = transport[0] == (kVersion4<Key> ? 8 : 128);
    store16(transport + 4, request ? record.new_source_port.raw : record.new_destination_port.raw);
    return 2;
}

template <typename Key>
inline void translate(const rte_mbuf* frame, std::uint8_t* ip, std::uint8_t* transport,
                      const FlowRecord<Key>& record) {
    static_assert(offsetof(FlowRecord<Key>, new_destination) ==
                  offsetof(FlowRecord<Key>, new_source) + sizeof(record.new_source));
    static_assert(offsetof(FlowRecord<Key>, new_destination_port) ==
                  offsetof(FlowRecord<Key>, new_source_port) + 2);
    std::memcpy(ip + (kVersion4<Key> ? 12 : 8), &record.new_source, 2 * sizeof(record.new_source));
    const auto offset = translate_ports(transport, record);
    if (offset == 0) return;
    auto* checksum = transport + offset;
    const auto before = load16(checksum);
    if ((frame->ol_flags & RTE_MBUF_F_TX_L4_MASK) != 0) [[unlikely]]
        return adjust_partial(checksum, record);
    const bool udp = record.key.protocol == kUdp;
    if (udp && before == 0) return;  // the sender made none (RFC 768)
    const auto after = adjusted_checksum(before, record.l4_difference);
    store16(checksum, udp && after == 0 ? std::uint16_t{0xffff} : after);
}

/// The Ethernet header before `ip`, with the tag that the record wants. False: no room for a tag.
template <typename Key>
inline bool write_ethernet(rte_mbuf* frame, std::uint16_t l2_length, std::uint8_t* ip,
                           const FlowRecord<Key>& record) {
    auto* header = ip - kEthernet;
    const std::uint16_t wanted = record.vlan == 0 ? kEthernet : kEthernet + kVlanTag;
    if (wanted != l2_length) [[unlikely]] {
        if (wanted > l2_length) {
            if (rte_pktmbuf_prepend(frame, kVlanTag) == nullptr) return false;
            change_l2_length(frame, kVlanTag);
        } else {
            rte_pktmbuf_adj(frame, kVlanTag);
            change_l2_length(frame, -kVlanTag);
        }
    }
    if (record.vlan != 0) {
        header -= kVlanTag;
        // The ethertype stands right before the packet, with a tag or without.
        header[12] = 0x81;
        header[13] = 0x00;
        store16(header + 14, __builtin_bswap16(record.vlan));
    }
    std::memcpy(header, record.destination_mac.data(), 6);
    std::memcpy(header + 6, record.source_mac.data(), 6);
    return true;
}

/// Cuts off what follows the packet in a frame that is longer than padding would make it: it might be more
/// than the way out carries.
void trim(rte_mbuf* frame, std::uint32_t length);

template <typename Key>
[[gnu::noinline]] void clamp(const rte_mbuf* frame, const Parsed<Key>& packet, std::uint8_t* tcp,
                             const FlowRecord<Key>& record) {
    if ((tcp[13] & kTcpFlagSyn) == 0) return;
    const auto end = packet.routed->l2_length + std::uint32_t{packet.length};
    const auto before = static_cast<std::uint32_t>(tcp - rte_pktmbuf_mtod(frame, std::uint8_t*));
    const auto here = std::min<std::uint32_t>(frame->data_len, end) - before;
    const bool whole = (frame->ol_flags & RTE_MBUF_F_TX_L4_MASK) == 0;
    clamp_mss(tcp, here, static_cast<std::uint16_t>(record.mtu - kIpHeader<Key> - 20), whole);
}

template <typename Key>
inline void note_tcp(const FlowTable<Key>& table, FlowTail& tail, const Parsed<Key>& packet,
                     const std::uint8_t* tcp) {
    const auto flags = tcp[13];
    const auto seen = tail.tcp_seen.load(std::memory_order_relaxed);
    if ((flags & (kTcpFlagSyn | kTcpFlagFin | kTcpFlagReset)) != 0 || (seen & kTcpReset) != 0) [[unlikely]] {
        const auto* frame = packet.routed->frame;
        const auto before = static_cast<std::uint32_t>(tcp - rte_pktmbuf_mtod(frame, const std::uint8_t*));
        const auto peer = tail.peer.load(std::memory_order_relaxed);
        return note_tcp_edge(tail, table.tail(peer), tcp, frame->data_len - before);
    }
    if ((flags & kTcpFlagAck) != 0) note_tcp_acknowledgement(tail, seen, tcp);
}

}  // namespace detail

/// Bytes of the longest IP packet that a wire will see of this one.
template <typename Key>
inline std::uint32_t longest_packet(const Parsed<Key>& packet) {
    const auto* frame = packet.routed->frame;
    return left_to_cut(frame) ? longest_frame(frame) - packet.routed->l2_length : packet.length;
}

/// Whether the record says what to do with this packet now; if not, it is for resolve. A frame that others
/// hold too cannot be changed.
template <typename Key>
inline bool executable(const Topology& topology, const Parsed<Key>& packet, const FlowRecord<Key>& record) {
    const auto differs = (record.generation ^ topology.flow_generation) |
                         static_cast<std::uint32_t>(record.ingress ^ packet.routed->interface) |
                         (record.flags & std::uint32_t{kFlowSlow});
    return differs == 0 && rte_mbuf_refcnt_read(packet.routed->frame) == 1 &&
           (packet.length <= record.mtu || longest_packet(packet) <= record.mtu);
}

/// Whether a record of another generation says what resolve would say now, because nothing has changed since
/// but routes and services that have nothing to do with it.
template <typename Key>
[[nodiscard]] bool still_holds(const Topology& topology, const FlowRecord<Key>& record);
/// Gives such a record the present generation, here and in the table.
template <typename Key>
[[nodiscard]] bool renew(FlowTable<Key>& table, const Topology& topology, FlowIndex flow,
                         FlowRecord<Key>& record);

/// Whether a flow's TCP connection is over. By the index alone: the record of who asks can stay in registers.
template <typename Key>
[[nodiscard]] bool is_over(const FlowTable<Key>& table, FlowIndex flow);

/// Whether this packet opens another TCP connection than the flow's, which is over, and so is to have its
/// destination chosen as any new one has: a client uses a port again while the flow is still kept (Linux's
/// connection tracking forgets it then, too). `flags`: of its TCP header.
template <typename Key>
inline bool opens_another(const FlowTable<Key>& table, FlowIndex flow, const FlowRecord<Key>& record,
                          std::uint8_t flags) {
    return (flags & (kTcpFlagSyn | kTcpFlagAck)) == kTcpFlagSyn && record.has(kFlowInitiator) &&
           record.new_destination != record.key.destination && is_over(table, flow);
}

/// Where the transport header begins in a packet that parse() took.
template <typename Key>
inline std::uint8_t* transport_of(const Parsed<Key>& packet) {
    return packet.ip + kIpHeader<Key>;
}

/// Counts a packet of the direction whose tail this is, and notes what TCP shows.
template <typename Key>
inline void note(const FlowTable<Key>& table, FlowTail& tail, const Parsed<Key>& packet,
                 const FlowRecord<Key>& record, std::uint32_t now, const std::uint8_t* transport) {
    const auto add = [](std::atomic<std::uint64_t>& counter, std::uint64_t n) {
        counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    };
    add(tail.packets, 1);
    add(tail.bytes, packet.length);
    // The line is written with every packet, but the second is what others poll for.
    if (tail.seen.load(std::memory_order_relaxed) != now) [[unlikely]]
        tail.seen.store(now, std::memory_order_relaxed);
    if (record.has(kFlowTcp)) detail::note_tcp(table, tail, packet, transport);
}

/// Makes the packet the one that leaves by record.port. False: the frame has no room for its tag, and nothing
/// has happened to it.
template <typename Key>
inline bool rewrite(const Parsed<Key>& packet, const FlowRecord<Key>& record, std::uint8_t* transport) {
    auto* frame = packet.routed->frame;
    auto* ip = packet.ip;
    const std::uint32_t payload = frame->pkt_len - packet.routed->l2_length;
    if (payload > packet.length && payload > detail::kShortestPayload) [[unlikely]]
        detail::trim(frame, packet.routed->l2_length + std::uint32_t{packet.length});
    if (record.has(kFlowClampMss)) [[unlikely]]
        detail::clamp(frame, packet, transport, record);
    if (!detail::write_ethernet(frame, packet.routed->l2_length, ip, record)) [[unlikely]]
        return false;
    const std::uint8_t hops = record.has(kFlowBridged) ? 0 : 1;
    std::uint32_t difference = hops * detail::kTtlDifference;
    if (record.has(kFlowTranslate)) {
        difference += record.l3_difference;
        detail::translate(frame, ip, transport, record);
    }
    if constexpr (detail::kVersion4<Key>) {
        ip[8] = static_cast<std::uint8_t>(ip[8] - hops);
        store16(ip + 10, adjusted_checksum(load16(ip + 10), difference));
    } else {
        ip[7] = static_cast<std::uint8_t>(ip[7] - hops);
    }
    return true;
}

}  // namespace viaduct::dataplane
