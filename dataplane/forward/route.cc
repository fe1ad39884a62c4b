// Theory of operation: three passes over at most kBurst packets. The first reads headers, makes keys and
// hashes and starts the loads of buckets; the second finds each packet's likely entry by signature and starts
// the loads of record and tail; the third reads the record, carries it out and stages the frame. What a pass
// does not like is put aside, and goes to resolve as one burst in the end.
#include "forward/route.h"

#include "forward/execute.h"
#include "forward/forwarder.h"
#include "forward/vxlan.h"

namespace viaduct::dataplane {

namespace {

/// What is put aside for resolve.
struct Aside {
    std::uint16_t count = 0;
    std::array<RoutedFrame, kBurst> frames;

    void add(const RoutedFrame& routed) { frames[count++] = routed; }
};

template <typename Key>
std::uint16_t parse_burst(Forwarder& forwarder, const FlowTable<Key>& table, const RoutedFrame* frames,
                          std::uint16_t count, Parsed<Key>* parsed, Aside& aside) {
    const auto* interfaces = forwarder.topology().interfaces.data();
    const auto& ends = forwarder.topology().tunnel_ends;
    const auto step = table.likely_step();
    LastOpened<Key> opened;
    std::uint16_t kept = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        auto& packet = parsed[kept];
        if (!parse(frames[i], interfaces[frames[i].interface].zone, packet)) [[unlikely]] {
            aside.add(frames[i]);
            continue;
        }
        if (ends.may_be(packet.key.destination_port) && packet.key.protocol == kUdp &&
            open_tunnel(forwarder, packet, opened))
            continue;
        packet.hash = table.hash(packet.key);
        table.prefetch(packet.hash, step);
        ++kept;
    }
    return kept;
}

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
void route_burst(Forwarder& forwarder, const RoutedFrame* frames, std::uint16_t count) {
    auto& table = forwarder.flows().template of<Key>();
    const auto& topology = forwarder.topology();
    std::array<Parsed<Key>, kBurst> parsed;
    Aside aside;
    const auto kept = parse_burst(forwarder, table, frames, count, parsed.data(), aside);
    const auto step = table.likely_step();
    for (std::uint16_t i = 0; i < kept; ++i) {
        parsed[i].flow = table.candidate(parsed[i].hash, step);
        if (parsed[i].flow != kNoFlow) table.fetch_tail(parsed[i].flow);
    }
    FlowRecord<Key> record;
    for (std::uint16_t i = 0; i < kept; ++i) {
        auto& packet = parsed[i];
        if (!look_up(table, packet, record) ||
            (!executable(topology, packet, record) && !renewed(table, topology, packet, record)) ||
            !rewrite(packet, record, transport_of(packet))) [[unlikely]] {
            aside.add(*packet.routed);
            continue;
        }
        note(table, table.tail(packet.flow), packet, record, forwarder.now(), transport_of(packet));
        if (record.has(kFlowTunnel)) {
            forwarder.stage_tunnel(record.tunnel, packet.routed->frame);
        } else {
            forwarder.stage(record.port, packet.routed->frame);
        }
    }
    if (aside.count != 0) forwarder.first_packets().resolve(aside.frames.data(), aside.count);
}

template void route_burst<FlowKey4>(Forwarder&, const RoutedFrame*, std::uint16_t);
template void route_burst<FlowKey6>(Forwarder&, const RoutedFrame*, std::uint16_t);

}  // namespace viaduct::dataplane
