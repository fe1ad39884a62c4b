// May this source come in here (RFC 3704)? Loose: some route leads to it. Strict: out by this interface.
#include <algorithm>

#include "resolve/pipeline.h"

namespace viaduct::dataplane {

Step stage_reverse_path(Context& context) {
    constexpr std::string_view kStage = "reverse path";
    const auto ingress = context.packet.routed.interface;
    const auto& interface = context.tables.interfaces[ingress].config;
    // From the link that the host shares, what is for it: whom it believes there is the host's own affair.
    const bool hosts = context.from_host || (context.bridged && context.egress.interface == ingress);
    if (interface.reverse_path == model::ReversePath::off || hosts) {
        context.say(kStage, [] { return std::string("not asked"); });
        return Step::go_on;
    }
    const auto* entry = context.source_route.entry;
    const bool reachable = entry != nullptr && entry->action == RouteAction::unicast;
    const auto leads_here = [&](const RouteHop& hop) { return hop.interface == ingress; };
    if (!reachable) {
        context.say(kStage, [&] { return "no route leads to " + context.packet.source.to_string(); });
        return context.refuse(Drop::reverse_path);
    }
    if (interface.reverse_path == model::ReversePath::strict &&
        std::ranges::none_of(entry->hops, leads_here)) {
        context.say(kStage, [&] {
            return context.packet.source.to_string() + " is not reached by " + interface.name;
        });
        return context.refuse(Drop::reverse_path);
    }
    context.say(kStage, [] { return std::string("the source is reachable"); });
    return Step::go_on;
}

}  // namespace viaduct::dataplane
