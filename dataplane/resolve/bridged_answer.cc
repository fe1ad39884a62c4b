#include "resolve/bridged_answer.h"

#include "forward/answers.h"
#include "forward/execute.h"
#include "forward/tcp.h"
#include "resolve/icmp_translate.h"
#include "resolve/messages.h"
#include "resolve/packet.h"
#include "resolve/packet_key.h"

namespace viaduct::dataplane {

namespace {

/// A client that uses the ports of a connection which is over for one past the router is answered by a SYN.
template <typename Key>
bool is_over_and_opened_again(const FlowTable<Key>& table, FlowIndex flow, const Packet& packet) {
    return packet.protocol == kTcp && (packet.tcp_flags & kTcpFlagSyn) != 0 && is_over(table, flow);
}

template <typename Key>
bool answers_flow(const Packet& packet, Zone zone, FlowTables flows, bool dry) {
    const auto key = packet_key<Key>(packet, zone);
    if (!flows.bridged->may_have<Key>(reinterpret_cast<const std::uint8_t*>(&key))) return false;
    if (packet.fragment) return true;
    if (is_icmp_error(packet)) return relate_error(packet, zone, flows).has_value();
    auto& table = flows.of<Key>();
    FlowRecord<Key> record;
    const auto flow = table.find(key, table.hash(key), record);
    if (flow == kNoFlow || !is_translated_answer(record, packet.routed.interface)) return false;
    if (!is_over_and_opened_again(table, flow, packet)) return true;
    if (!dry) table.remove(flow, key);
    return false;
}

}  // namespace

bool is_bridged_answer(const RoutedFrame& bridged, Zone zone, FlowTables flows, bool dry) {
    Packet packet;
    if (is_arp(bridged) || read_packet(bridged, packet) != Drop::count_) return false;
    return for_family(packet.v4,
                      [&]<typename Key>(const Key*) { return answers_flow<Key>(packet, zone, flows, dry); });
}

}  // namespace viaduct::dataplane
