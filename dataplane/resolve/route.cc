// Which way: the longest prefix of the VRF's routes that the (translated) destination is in, and one of its
// next hops, chosen by the flow.
#include <algorithm>

#include <spdlog/fmt/fmt.h>

#include "resolve/host.h"
#include "resolve/packet_key.h"
#include "resolve/pipeline.h"

namespace viaduct::dataplane {

namespace {

constexpr std::string_view kStage = "route";

std::string prefix_text(const IpAddress& address, std::uint8_t length) {
    return Prefix{Prefix{address, length}.network(), length}.to_string();
}

/// Equal-cost next hops are chosen by the flow's hash, which no sender can foresee.
std::uint64_t flow_hash_of(Context& context) {
    if (context.hash == 0) {
        context.hash = for_family(context.packet.v4, [&]<typename Key>(const Key*) {
            return context.flows.of<Key>().hash(packet_key<Key>(context.packet, context.zone));
        });
    }
    return context.hash;
}

/// What came in by an interface that the host shares, and for which the router has no other way than back: an
/// address of the host's that the router does not know (yet), such as one that DHCP is offering it.
bool is_for_host(Context& context) {
    return !context.from_host && context.translation.destination == context.packet.destination &&
           leave_to_host(context, context.packet.routed.interface);
}

Step refuse(Context& context, Drop drop, std::string_view text) {
    if (drop != Drop::forwarding_off && is_for_host(context)) return Step::go_on;
    context.say(kStage, [&] { return std::string(text); });
    return context.refuse(drop);
}

Step choose_hop(Context& context, const RouteEntry& entry, const IpAddress& destination) {
    const auto& hop = entry.hops.size() == 1 ? entry.hops.front() : entry.hop_for(flow_hash_of(context));
    const auto& interface = context.tables.interfaces[hop.interface];
    if (hop.interface == context.packet.routed.interface && is_for_host(context)) return Step::go_on;
    auto& egress = context.egress;
    egress.interface = hop.interface;
    egress.next_hop = hop.via.value_or(destination);
    egress.mtu = entry.mtu == 0 ? interface.config.mtu : std::min(entry.mtu, interface.config.mtu);
    context.say(kStage, [&] {
        auto text = prefix_text(destination, context.route.length);
        if (hop.via) text += " via " + hop.via->to_string();
        text +=
            fmt::format(" dev {} mtu {} ({})", interface.config.name, egress.mtu, to_string(entry.origin));
        if (entry.hops.size() > 1) text += fmt::format(", one of {} next hops", entry.hops.size());
        return text;
    });
    return Step::go_on;
}

Step accept_local(Context& context, const RouteEntry& entry, const IpAddress& destination) {
    if (entry.broadcast) return refuse(context, Drop::group_not_routed, "a network's broadcast address");
    context.egress.interface = entry.hops.front().interface;
    context.say(kStage, [&] {
        return fmt::format("{} is the node's own, on {}", destination.to_string(),
                           context.tables.interfaces[context.egress.interface].config.name);
    });
    return Step::go_on;
}

}  // namespace

Step stage_route(Context& context) {
    if (context.bridged) return Step::go_on;
    const auto& destination = context.translation.destination;
    context.route = context.vrf->fib->find(destination);
    const auto* entry = context.route.entry;
    if (entry != nullptr && entry->action == RouteAction::local)
        return accept_local(context, *entry, destination);
    // What is link-local stays on its link (RFC 4291 2.5.6), and is never for somebody behind a router.
    const auto& source = context.packet.source;
    if (!destination.is_v4() && (destination.is_link_local() || source.is_link_local()))
        return refuse(context, Drop::martian, "link-local addresses are not routed");
    if (!(destination.is_v4() ? context.vrf->forwarding4 : context.vrf->forwarding6))
        return refuse(context, Drop::forwarding_off, "this VRF does not forward");
    if (entry == nullptr) return refuse(context, Drop::no_route, "no route leads to the destination");
    const auto matched = [&](std::string_view kind) {
        context.say(kStage, [&] {
            return fmt::format("{} {}", kind, prefix_text(destination, context.route.length));
        });
    };
    switch (entry->action) {
        case RouteAction::blackhole:
            matched("blackhole");
            return context.refuse(Drop::blackhole);
        case RouteAction::unreachable:
            matched("unreachable");
            return context.refuse(Drop::unreachable);
        case RouteAction::prohibit:
            matched("prohibit");
            return context.refuse(Drop::prohibited);
        case RouteAction::local:
        case RouteAction::unicast:
            break;
    }
    return choose_hop(context, *entry, destination);
}

}  // namespace viaduct::dataplane
