// Networks that have nothing to do with each other: from one isolated interface to another only what somebody
// has allowed, by a route, by a port forward or by the other one's list.
#include <algorithm>

#include <spdlog/fmt/fmt.h>

#include "resolve/pipeline.h"

namespace viaduct::dataplane {

namespace {

/// Why a packet may pass from one isolated network to another; empty: it may not.
std::string_view permission(const Context& context, const model::Interface& out) {
    const auto& packet = context.packet;
    if (context.answers || (context.kept && context.reply)) return "it answers";
    if (context.translation.destination != packet.destination) return "the destination is published";
    if (context.route.entry->origin == RouteOrigin::configured) return "a configured route leads there";
    const auto covers = [&](const Prefix& allowed) {
        return allowed.address.is_v4() == packet.v4 && allowed.contains(packet.source);
    };
    return std::ranges::any_of(out.allow_from, covers) ? "it is allowed from this source" : "";
}

}  // namespace

Step stage_isolation(Context& context) {
    constexpr std::string_view kStage = "isolation";
    if (context.bridged || !context.route) return Step::go_on;
    const auto ingress = context.packet.routed.interface;
    const auto egress = context.egress.interface;
    const auto& in = context.tables.interfaces[ingress].config;
    const auto& out = context.tables.interfaces[egress].config;
    if (ingress == egress || !in.isolated || !out.isolated) return Step::go_on;
    const auto why = permission(context, out);
    context.say(kStage, [&] {
        return fmt::format("{} and {} are isolated from each other{}{}", in.name, out.name,
                           why.empty() ? "" : "; ", why);
    });
    return why.empty() ? context.refuse(Drop::isolated) : Step::go_on;
}

}  // namespace viaduct::dataplane
