#include "resolve/bridged_answer.h"

#include <algorithm>

#include <rte_mbuf.h>

#include "forward/answers.h"
#include "forward/execute.h"
#include "forward/switch.h"
#include "forward/tcp.h"
#include "port/offload.h"
#include "resolve/cut.h"
#include "resolve/icmp_translate.h"
#include "resolve/messages.h"
#include "resolve/packet.h"
#include "resolve/packet_key.h"
#include "resolve/resolver.h"

namespace viaduct::dataplane {

namespace {

/// A client that uses the ports of a connection which is over for one past the router is answered by a SYN.
template <typename Key>
bool is_over_and_opened_again(const FlowTable<Key>& table, FlowIndex flow, const Packet& packet) {
    return packet.protocol == kTcp && (packet.tcp_flags & kTcpFlagSyn) != 0 && is_over(table, flow);
}

/// Whether what an error is about lies in another part of the frame than its begin: it is read once the
/// packet is put in one piece.
bool lies_apart(const Packet& packet) {
    constexpr std::uint32_t error_and_headers = 8 + 128;
    const auto* frame = packet.routed.frame;
    return frame->data_len < std::min<std::uint32_t>(frame->pkt_len, packet.l4_offset + error_and_headers);
}

template <typename Key>
bool answers_flow(const Packet& packet, const Topology& topology, FlowTables flows, bool dry) {
    const auto zone = topology.interfaces[packet.routed.interface].zone;
    const auto key = packet_key<Key>(packet, zone);
    if (!flows.bridged->may_have<Key>(reinterpret_cast<const std::uint8_t*>(&key))) return false;
    if (packet.fragment) return true;
    if (is_icmp_error(packet)) return lies_apart(packet) || relate_error(packet, zone, flows).has_value();
    auto& table = flows.of<Key>();
    FlowRecord<Key> record;
    const auto flow = table.find(key, table.hash(key), record);
    if (flow == kNoFlow || !is_translated_answer(topology, record, packet.routed.interface)) return false;
    if (!is_over_and_opened_again(table, flow, packet)) return true;
    if (!dry) table.remove(flow, key);
    return false;
}

}  // namespace

bool is_bridged_answer(const RoutedFrame& bridged, const Topology& topology, FlowTables flows, bool dry) {
    Packet packet;
    if (is_arp(bridged) || read_packet(bridged, packet) != Drop::count_) return false;
    return for_family(
        packet.v4, [&]<typename Key>(const Key*) { return answers_flow<Key>(packet, topology, flows, dry); });
}

void resolve_intercepted(Resolver& resolver, const RoutedFrame& whole) {
    const auto& topology = resolver.topology();
    // Its first fragment may be from an interface that is no more.
    if (whole.interface >= topology.interfaces.size() ||
        topology.interfaces[whole.interface].bridge == nullptr)
        return resolver.drop(whole, Drop::interface_down);
    const auto& view = topology.interfaces[whole.interface];
    for (const auto interface : view.bridge->gateways_on(view.vlan)) {
        auto asked = whole;
        asked.interface = interface;
        if (is_bridged_answer(asked, topology, resolver.forwarder().flows(), false))
            return resolver.resolve_one(asked);
    }
    pass_on(resolver, whole);
}

void pass_on(Resolver& resolver, const RoutedFrame& intercepted) {
    constexpr std::uint16_t kEthernetHeader = 14;
    auto& forwarder = resolver.forwarder();
    auto* frame = intercepted.frame;
    const auto from = intercepted.from;
    const auto interface = intercepted.interface;
    if (intercepted.l2_length != kEthernetHeader) pop_tag(frame);
    const auto most = resolver.topology().ports[from].frame_most;
    if (frame->pkt_len <= most || left_to_cut(frame)) return send_on(forwarder, interface, from, frame);
    finish_checksum(frame);
    const auto parts = cut_packet(frame, kEthernetHeader, most - kEthernetHeader, resolver.pool());
    if (parts.empty()) return forwarder.drop(from, Drop::no_buffer, frame);
    rte_pktmbuf_free(frame);
    forwarder.counters(from).copies.add(parts.size() - 1);
    for (auto* part : parts)
        send_on(forwarder, interface, from, part);
}

}  // namespace viaduct::dataplane
