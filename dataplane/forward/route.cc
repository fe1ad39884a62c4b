// The passes of the routed path, as route.h tells them.
#include "forward/route.h"

#include "forward/execute.h"
#include "forward/forwarder.h"
#include "forward/vxlan.h"

namespace viaduct::dataplane {

namespace {

/// The record of a packet whose likely entry is known. A chance match of signatures is told by the key; then
/// the right entry may lie elsewhere.
template <typename Key>
bool look_up(const FlowTable<Key>& table, Parsed<Key>& packet, FlowRecord<Key>& record) {
    if (packet.flow == kNoFlow) [[unlikely]]
        return false;
    if (table.read(packet.flow, packet.key, record)) [[likely]]
        return true;
    packet.flow = table.find(packet.key, packet.hash, record);
    return packet.flow != kNoFlow;
}

/// Whether a record that is not executable as it is has become so: it was of another generation. On a copy,
/// so that the record of the packets that need none can stay in registers.
template <typename Key>
bool renewed(FlowTable<Key>& table, const Topology& topology, const Parsed<Key>& packet,
             FlowRecord<Key>& record) {
    if (record.generation == topology.flow_generation) return false;
    auto copy = record;
    if (!renew(table, topology, packet.flow, copy)) return false;
    record.generation = copy.generation;
    return executable(topology, packet, record);
}

}  // namespace

template <typename Key>
void RoutedBursts<Key>::advance(Forwarder& forwarder) {
    const auto waiting = under_way();
    if (waiting) find(forwarder);
    start(forwarder, bursts_[collecting_]);
    if (waiting) carry_out(forwarder);
    collecting_ ^= 1U;
}

template <typename Key>
void RoutedBursts<Key>::start(Forwarder& forwarder, Burst& burst) {
    const auto& table = forwarder.flows().template of<Key>();
    const auto* interfaces = forwarder.topology().interfaces.data();
    const auto& ends = forwarder.topology().tunnel_ends;
    const auto step = table.likely_step();
    const auto* const end = &burst.frames[burst.count];
    auto* packet = burst.parsed.data();
    LastOpened<Key> opened;
    burst.aside_count = 0;
    for (const auto* routed = burst.frames.data(); routed != end; ++routed) {
        if (!parse(*routed, interfaces[routed->interface].zone, *packet)) [[unlikely]] {
            burst.put_aside(*routed);
            continue;
        }
        if (ends.may_be(packet->key.destination_port) && packet->key.protocol == kUdp &&
            open_tunnel(forwarder, *packet, opened))
            continue;
        packet->hash = table.hash(packet->key);
        table.prefetch(packet->hash, step);
        ++packet;
    }
    burst.parsed_count = static_cast<std::uint16_t>(packet - burst.parsed.data());
}

template <typename Key>
void RoutedBursts<Key>::find(Forwarder& forwarder) {
    const auto& table = forwarder.flows().template of<Key>();
    auto& burst = bursts_[collecting_ ^ 1U];
    const auto step = table.likely_step();
    const auto* const end = burst.parsed.data() + burst.parsed_count;
    for (auto* packet = burst.parsed.data(); packet != end; ++packet) {
        packet->flow = table.candidate(packet->hash, step);
        if (packet->flow != kNoFlow) table.fetch_tail(packet->flow);
    }
}

template <typename Key>
void RoutedBursts<Key>::carry_out(Forwarder& forwarder) {
    auto& table = forwarder.flows().template of<Key>();
    const auto& topology = forwarder.topology();
    auto& burst = bursts_[collecting_ ^ 1U];
    FlowRecord<Key> record;
    const auto* const end = burst.parsed.data() + burst.parsed_count;
    for (auto* at = burst.parsed.data(); at != end; ++at) {
        auto& packet = *at;
        if (!look_up(table, packet, record) ||
            (!executable(topology, packet, record) && !renewed(table, topology, packet, record)) ||
            (record.has(kFlowTcp) && opens_another(table, packet.flow, record, transport_of(packet)[13])) ||
            !rewrite(packet, record, transport_of(packet))) [[unlikely]] {
            burst.put_aside(*packet.routed);
            continue;
        }
        note(table, table.tail(packet.flow), packet, record, forwarder.now(), transport_of(packet));
        if (record.has(kFlowTunnel)) {
            forwarder.stage_tunnel(record.tunnel, packet.routed->frame);
        } else {
            forwarder.stage(record.port, packet.routed->frame);
        }
    }
    if (burst.aside_count != 0) resolve_aside(forwarder, burst);
    burst.count = 0;
}

template <typename Key>
void RoutedBursts<Key>::resolve_aside(Forwarder& forwarder, Burst& burst) {
    std::array<RoutedFrame, kBurst> frames;
    for (std::uint16_t i = 0; i < burst.aside_count; ++i)
        frames[i] = burst.frames[burst.aside[i]];
    forwarder.first_packets().resolve(frames.data(), burst.aside_count);
}

template class RoutedBursts<FlowKey4>;
template class RoutedBursts<FlowKey6>;

}  // namespace viaduct::dataplane
