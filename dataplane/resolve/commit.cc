// The flow's two records, and how they come into the table.
#include "resolve/commit.h"

#include <algorithm>
#include <span>

#include "forward/checksum.h"
#include "forward/parse.h"
#include "resolve/nat.h"
#include "resolve/packet.h"
#include "resolve/packet_key.h"
#include "resolve/sctp.h"

namespace viaduct::dataplane {

namespace {

/// Sums of differences, 16-bit words as they stand in memory (RFC 1624).
class Difference {
public:
    void add(std::span<const std::uint8_t> before, std::span<const std::uint8_t> after) {
        for (std::size_t i = 0; i < before.size(); i += 2)
            add(load16(&before[i]), load16(&after[i]));
    }
    void add(std::uint16_t before, std::uint16_t after) { sum_ += (~std::uint32_t{before} & 0xffff) + after; }
    [[nodiscard]] std::uint16_t folded() const { return fold(sum_); }

private:
    std::uint32_t sum_ = 0;  // of at most 34 words
};

/// What each protocol's checksum covers besides its own bytes.
template <typename Key>
void set_differences(FlowRecord<Key>& record) {
    Difference addresses;
    addresses.add(record.key.source.bytes, record.new_source.bytes);
    addresses.add(record.key.destination.bytes, record.new_destination.bytes);
    record.l3_difference = addresses.folded();
    // ICMP's covers no pseudo header, ICMPv6's does (RFC 4443 2.3).
    Difference transport;
    if (record.key.protocol != kIcmp) transport = addresses;
    transport.add(record.key.source_port.raw, record.new_source_port.raw);
    transport.add(record.key.destination_port.raw, record.new_destination_port.raw);
    record.l4_difference = transport.folded();
}

std::uint16_t flags_of(const Context& context, bool translated) {
    const auto& to = context.translation;
    unsigned flags = 0;
    const auto protocol = context.packet.protocol;
    if (translated) {
        flags |= kFlowTranslate;
        if (!to.holds_port) flags |= kFlowStatic;
        if (to.mapping) flags |= kFlowMapping;
    }
    if (protocol == kTcp) flags |= kFlowTcp;
    if (to.counted && !context.reply) flags |= kFlowCounted;
    return static_cast<std::uint16_t>(flags);
}

/// What the fast path cannot execute: to be flooded, or with a checksum over the whole packet (RFC 9260 6.8);
/// and what the host alone may send, each packet to whom it says.
bool is_slow(const Context& context) {
    return !context.egress.known || context.from_host || changes_sctp(context.packet, context.translation);
}

}  // namespace

template <typename Key>
FlowRecord<Key> make_record(const Context& context) {
    using Address = typename Key::AddressType;
    const auto& to = context.translation;
    const auto& egress = context.egress;
    const auto& out = context.tables.interfaces[egress.interface];
    const auto& in = context.tables.interfaces[context.packet.routed.interface];
    FlowRecord<Key> record{};
    record.key = packet_key<Key>(context.packet, context.zone);
    record.new_source = address_bytes<Address>(to.source);
    record.new_destination = address_bytes<Address>(to.destination);
    record.new_source_port = Be16::from_host(to.source_port);
    record.new_destination_port = Be16::from_host(to.destination_port);
    const bool translated = record.new_source != record.key.source ||
                            record.new_destination != record.key.destination ||
                            record.new_source_port != record.key.source_port ||
                            record.new_destination_port != record.key.destination_port;
    set_differences(record);
    record.destination_mac = egress.destination_mac.bytes;
    record.source_mac = out.mac.bytes;
    if (context.bridged) {
        read_bytes(context.packet.routed.frame, record.source_mac.size(), record.source_mac.size(),
                   record.source_mac.data());
    }
    record.port = egress.port;
    record.vlan = egress.vlan;
    record.generation = context.tables.generation;
    record.ingress = context.packet.routed.interface;
    record.mtu = static_cast<std::uint16_t>(std::min(egress.mtu, std::uint32_t{UINT16_MAX}));
    unsigned flags = flags_of(context, translated);
    if (!context.reply) flags |= kFlowInitiator;
    if (is_slow(context)) flags |= kFlowSlow;
    if (context.bridged) flags |= kFlowBridged;
    if (context.packet.protocol == kTcp && (in.config.clamp_mss || out.config.clamp_mss))
        flags |= kFlowClampMss;
    if (egress.tunnel) {
        flags |= kFlowTunnel;
        record.tunnel = *egress.tunnel;
    }
    record.flags = static_cast<std::uint16_t>(flags);
    return record;
}

template <typename Key>
FlowRecord<Key> make_reverse(const Context& context, const FlowRecord<Key>& forward) {
    FlowRecord<Key> record{};
    record.key = {forward.new_destination,
                  forward.new_source,
                  forward.new_destination_port,
                  forward.new_source_port,
                  forward.key.protocol,
                  0,
                  context.tables.interfaces[context.egress.interface].zone};
    record.new_source = forward.key.destination;
    record.new_destination = forward.key.source;
    record.new_source_port = forward.key.destination_port;
    record.new_destination_port = forward.key.source_port;
    set_differences(record);
    record.ingress = context.egress.interface;
    constexpr unsigned kept = kFlowTranslate | kFlowStatic | kFlowMapping | kFlowTcp;
    record.flags = static_cast<std::uint16_t>(forward.flags & kept);
    return record;
}

template <typename Key>
void prepare_flow(const Context& context, Entry<Key>& entry) {
    entry.record = make_record<Key>(context);
    if (context.flow != kNoFlow) return;
    entry.reverse = make_reverse<Key>(context, entry.record);
    entry.places = context.flows.of<Key>().places(entry.record.key, entry.reverse.key);
}

template <typename Key>
Entered enter_flow(Context& context, Entry<Key>& entry) {
    auto& table = context.flows.of<Key>();
    if (context.flow != kNoFlow)
        return table.update(context.flow, entry.record) ? Entered::yes : Entered::again;
    for (;;) {
        const auto pair =
            table.insert(entry.places, entry.record, entry.reverse, context.translation.rule, context.now);
        switch (pair.result) {
            case FlowTable<Key>::Inserted::yes:
                context.flow = pair.forward;
                context.took_load = false;
                return Entered::yes;
            case FlowTable<Key>::Inserted::exists:
                give_back(context);
                return Entered::again;
            case FlowTable<Key>::Inserted::full:
                give_back(context);
                context.refuse(Drop::flow_table_full);
                return Entered::no;
            case FlowTable<Key>::Inserted::clashes:
                break;
        }
        if (!choose_again(context)) return Entered::no;
        prepare_flow(context, entry);
    }
}

template FlowRecord<FlowKey4> make_record<FlowKey4>(const Context&);
template FlowRecord<FlowKey6> make_record<FlowKey6>(const Context&);
template FlowRecord<FlowKey4> make_reverse<FlowKey4>(const Context&, const FlowRecord<FlowKey4>&);
template FlowRecord<FlowKey6> make_reverse<FlowKey6>(const Context&, const FlowRecord<FlowKey6>&);
template void prepare_flow<FlowKey4>(const Context&, Entry<FlowKey4>&);
template void prepare_flow<FlowKey6>(const Context&, Entry<FlowKey6>&);
template Entered enter_flow<FlowKey4>(Context&, Entry<FlowKey4>&);
template Entered enter_flow<FlowKey6>(Context&, Entry<FlowKey6>&);

}  // namespace viaduct::dataplane
