// The packet itself: the first one of a flow is made what its record says by the same code as all later ones.
#include <cstring>

#include <rte_mbuf.h>

#include "forward/execute.h"
#include "port/offload.h"
#include "resolve/commit.h"
#include "resolve/cut.h"
#include "resolve/resolver.h"
#include "resolve/sctp.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint16_t kEthernetHeader = 14;
constexpr std::uint16_t kTag = 4;

/// By the port behind which the next hop is known to be.
void send_known(Resolver& resolver, const Egress& egress, rte_mbuf* frame) {
    if (egress.tunnel) return resolver.forwarder().stage_tunnel(*egress.tunnel, frame);
    resolver.forwarder().stage(egress.port, frame);
}

/// A packet's fragments. Its checksum is of the whole: it is finished before, and a long segment is cut into
/// its packets first.
std::vector<rte_mbuf*> cut_to_fit(rte_mbuf* frame, std::uint16_t l2_length, std::uint32_t mtu,
                                  rte_mempool* pool) {
    if (!left_to_cut(frame)) {
        finish_checksum(frame);
        return cut_packet(frame, l2_length, mtu, pool);
    }
    std::vector<rte_mbuf*> parts;
    Cutter cutter(frame, pool, 0);
    while (!cutter.done()) {
        rte_mbuf* packet = nullptr;
        const bool cut = cutter.next(&packet, 1) != 0;
        const auto pieces = cut ? cut_packet(packet, l2_length, mtu, pool) : std::vector<rte_mbuf*>();
        rte_pktmbuf_free(packet);
        parts.insert(parts.end(), pieces.begin(), pieces.end());
        if (!pieces.empty()) continue;
        // All of it or nothing, as with one packet: what is dropped is dropped by name.
        rte_pktmbuf_free_bulk(parts.data(), static_cast<unsigned>(parts.size()));
        return {};
    }
    return parts;
}

/// In fragments, by the port or flooded.
void send_cut(Resolver& resolver, const Context& context, rte_mbuf* frame) {
    const auto& egress = context.egress;
    const auto from = context.packet.routed.from;
    const auto l2_length = static_cast<std::uint16_t>(kEthernetHeader + (egress.vlan == 0 ? 0 : kTag));
    const auto parts = cut_to_fit(frame, l2_length, egress.mtu, resolver.pool());
    if (parts.empty()) return resolver.forwarder().drop(from, Drop::no_buffer, frame);
    rte_pktmbuf_free(frame);
    resolver.forwarder().counters(from).copies.add(parts.size() - 1);
    for (auto* part : parts) {
        if (egress.known) {
            send_known(resolver, egress, part);
        } else {
            resolver.send(from, part, egress.interface);
        }
    }
}

}  // namespace

template <typename Key>
void carry_out(Resolver& resolver, const Context& context, const FlowRecord<Key>& record) {
    const auto& packet = context.packet;
    const auto& routed = packet.routed;
    auto* frame = routed.frame;
    auto* ip = rte_pktmbuf_mtod_offset(frame, std::uint8_t*, packet.l3_offset);
    auto* transport = ip + (packet.l4_offset - packet.l3_offset);
    const Parsed<Key> parsed{record.key, context.hash, &routed, ip, context.flow, packet.length};
    if (context.flow != kNoFlow) {
        const auto& table = context.flows.of<Key>();
        note(table, table.tail(context.flow), parsed, record, context.now, transport);
    }
    const bool sctp = changes_sctp(packet, context.translation);
    if (sctp && !sctp_checksum_holds(packet)) return resolver.drop(routed, Drop::bad_checksum);
    if (!rewrite(parsed, record, transport)) return resolver.drop(routed, Drop::no_buffer);
    if (sctp) {
        std::memcpy(transport, &record.new_source_port, 4);
        auto moved = packet;
        moved.l3_offset = static_cast<std::uint16_t>(kEthernetHeader + (record.vlan == 0 ? 0 : kTag));
        moved.l4_offset = static_cast<std::uint16_t>(moved.l3_offset + (transport - ip));
        write_sctp_checksum(moved);
    }
    if (packet.longest > context.egress.mtu) return send_cut(resolver, context, frame);
    if (context.egress.known) return send_known(resolver, context.egress, frame);
    resolver.send(routed.from, frame, context.egress.interface);
}

template void carry_out<FlowKey4>(Resolver&, const Context&, const FlowRecord<FlowKey4>&);
template void carry_out<FlowKey6>(Resolver&, const Context&, const FlowRecord<FlowKey6>&);

}  // namespace viaduct::dataplane
