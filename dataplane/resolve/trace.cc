#include "resolve/trace.h"

#include <spdlog/fmt/fmt.h>

#include "resolve/commit.h"
#include "resolve/host.h"
#include "resolve/icmp_translate.h"
#include "resolve/messages.h"
#include "resolve/nat.h"
#include "resolve/packet.h"
#include "resolve/packet_key.h"
#include "resolve/pipeline.h"

namespace viaduct::dataplane {

namespace {

using Decision = Traced::Decision;

std::string protocol_text(std::uint8_t protocol) {
    switch (protocol) {
        case 1:
            return "icmp";
        case 6:
            return "tcp";
        case 17:
            return "udp";
        case 58:
            return "icmp6";
        case 132:
            return "sctp";
        default:
            return fmt::format("protocol {}", protocol);
    }
}

std::string end_text(const IpAddress& address, std::uint16_t port) {
    if (port == 0) return address.to_string();
    return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port)
                           : fmt::format("[{}]:{}", address.to_string(), port);
}

std::string packet_text(const Packet& packet) {
    return fmt::format("{} {} > {}, {} {}, {} bytes", protocol_text(packet.protocol),
                       end_text(packet.source, packet.source_port),
                       end_text(packet.destination, packet.destination_port), packet.v4 ? "TTL" : "hop limit",
                       packet.ttl, packet.length);
}

Traced dropped(Traced traced, Drop reason) {
    traced.decision = Decision::dropped;
    traced.reason = reason;
    traced.why.push_back(
        {"drop", fmt::format("{}: {}", dataplane::reason(reason).name, dataplane::reason(reason).meaning)});
    return traced;
}

/// What is no flow, in words; nothing when it is one.
std::optional<Decision> own_way(const Packet& packet, Explanation& why) {
    const auto type = packet.icmp_type;
    if (!packet.v4 && packet.protocol == 58 && packet.l4_offset != 0 && type >= 133 && type <= 137) {
        why.push_back({"neighbour discovery", "for the node itself, which learns from it and may answer"});
        return Decision::answered;
    }
    if (packet.fragment) {
        why.push_back({"fragments", "waits until its packet is whole, which is resolved then"});
        return Decision::waits;
    }
    return std::nullopt;
}

template <typename Key>
void say_actions(Context& context) {
    const auto record = make_record<Key>(context);
    const auto& to = context.translation;
    context.say("flow", [&] {
        if (context.flow != kNoFlow) return fmt::format("existing flow {}", context.flow);
        return std::string("a new flow, and its reply direction with the translation turned round");
    });
    context.say("actions", [&] {
        auto text = fmt::format("{}, from {} to {}", context.bridged ? "TTL as it is" : "TTL less one",
                                MacAddress{record.source_mac}.to_string(),
                                MacAddress{record.destination_mac}.to_string());
        if (record.has(kFlowTranslate)) {
            text += fmt::format(", {} > {}", end_text(to.source, to.source_port),
                                end_text(to.destination, to.destination_port));
        }
        if (record.vlan != 0) text += fmt::format(", tag of VLAN {}", record.vlan);
        if (record.has(kFlowTunnel)) text += fmt::format(", outer header of tunnel {}", record.tunnel);
        if (record.has(kFlowClampMss)) text += fmt::format(", MSS for {}", record.mtu);
        return text + (record.has(kFlowSlow) ? "; each packet by resolve" : "; the rest by the fast path");
    });
}

/// After the stages: how the packet would leave.
void conclude(Context& context, Traced& traced) {
    const auto& egress = context.egress;
    traced.became = context.translation;
    traced.egress = egress;
    if (context.flow != kNoFlow) traced.flow = context.flow;
    traced.reply = context.reply;
    if (egress.destination_mac.is_zero()) {
        traced.decision = Decision::waits;
        return;
    }
    for_family(context.packet.v4, [&]<typename Key>(const Key*) { say_actions<Key>(context); });
    traced.decision = egress.known ? Decision::forwarded : Decision::flooded;
}

/// The stages over a packet, or over what an ICMP error has become.
Step run_dry(Context& context) {
    if (!is_icmp_error(context.packet)) return run(pipeline(), context);
    const auto step = stage_sanity(context);
    if (step != Step::go_on) return step;
    context.translation = untranslated(context.packet);
    const auto related = relate_error(context.packet, context.zone, context.flows);
    context.say("icmp error", [&]() -> std::string {
        if (!related) return "about no flow that is known: dropped where a rule would translate, else routed";
        return fmt::format("about a flow: goes to {} as from {}", related->destination.to_string(),
                           related->source.to_string());
    });
    context.answers = related.has_value();
    if (related) {
        context.translation.source = related->source;
        context.translation.destination = related->destination;
    }
    return run(pipeline_without_flow(), context);
}

}  // namespace

std::string_view to_string(Traced::Decision decision) {
    switch (decision) {
        case Decision::dropped:
            return "dropped";
        case Decision::answered:
            return "answered";
        case Decision::waits:
            return "waits";
        case Decision::flooded:
            return "flooded";
        case Decision::bridged:
            return "bridged";
        case Decision::forwarded:
            break;
    }
    return "forwarded";
}

Traced trace_routed(const RoutedFrame& routed, const Topology& topology, FlowTables flows,
                    ResolveShared& shared, std::uint32_t now) {
    Traced traced;
    const auto& tables = *topology.tables;
    if (routed.interface >= tables.interfaces.size() || !tables.interfaces[routed.interface].config.up)
        return dropped(std::move(traced), Drop::interface_down);
    const auto& interface = tables.interfaces[routed.interface];
    if (is_arp(routed)) {
        traced.why.push_back({"arp", "for the node itself, which learns from it and may answer"});
        traced.decision = Decision::answered;
        return traced;
    }
    Packet packet;
    if (const auto refused = read_packet(routed, packet); refused != Drop::count_)
        return dropped(std::move(traced), refused);
    traced.packet = packet;
    traced.packet->routed.frame = nullptr;
    traced.why.push_back({"packet", packet_text(packet)});
    if (const auto way = own_way(packet, traced.why)) {
        traced.decision = *way;
        return traced;
    }
    Context context{
        packet,          topology, tables, flows, shared.neighbours, shared.nat_ports, shared.rate_limits,
        shared.services, nullptr,  now,    true};
    context.why = &traced.why;
    context.zone = interface.zone;
    context.vrf = interface.vrf;
    context.from_host = is_from_host(topology, routed);
    switch (run_dry(context)) {
        case Step::go_on:
            conclude(context, traced);
            break;
        case Step::consumed:
            traced.decision = Decision::answered;
            break;
        case Step::held:
            traced.decision = Decision::waits;
            break;
        case Step::passed:
            traced.decision = Decision::bridged;
            break;
        case Step::drop:
            return dropped(std::move(traced), context.reason);
    }
    return traced;
}

}  // namespace viaduct::dataplane
