// The next hop's MAC address, and the port of the bridge behind which it is. Without the first the packet
// waits and the next hop is asked; without the second it is flooded, and no flow is made of it, so that the
// next one finds what was learned meanwhile.
#include <algorithm>

#include <spdlog/fmt/fmt.h>

#include "resolve/messages.h"
#include "resolve/node.h"
#include "resolve/pipeline.h"
#include "resolve/recent_hops.h"
#include "resolve/resolver.h"

namespace viaduct::dataplane {

namespace {

constexpr std::string_view kStage = "neighbour";
constexpr std::uint32_t kEthernetHeader = 14;

/// Without a delivery `known` is false.
void leave_by(Context& context, const MacAddress& mac, const std::optional<Delivery>& delivery) {
    auto& egress = context.egress;
    egress.destination_mac = mac;
    egress.known = delivery.has_value();
    if (!delivery) return;
    egress.port = delivery->port;
    egress.vlan = delivery->vlan;
    egress.tunnel = delivery->tunnel;
    // A port may carry less than its interface says: a tunnel's end does, by its outer headers.
    egress.mtu = std::min(egress.mtu, context.topology.ports[delivery->port].frame_most - kEthernetHeader);
}

Step waits(Context& context, const NeighbourKey& key) {
    context.say(kStage,
                [&] { return fmt::format("{} is asked for; the packet waits", key.address.to_string()); });
    // A trace goes on: what would become of the packet after the answer.
    if (context.dry) return Step::go_on;
    auto& resolver = *context.resolver;
    const auto& routed = context.packet.routed;
    const auto seen = context.neighbours.peek(key);
    const bool asks = !seen || seen->state == NeighbourState::failed;
    if (asks && !context.rate_limits.allow_solicitation(routed.from, context.now))
        return context.refuse(Drop::neighbour_queue_full);
    std::vector<WaitingFrame> dropped;
    const auto asked = context.neighbours.ask(
        key, {routed.frame, routed.from, routed.interface, routed.l2_length, false}, context.now, dropped);
    for (const auto& waiting : dropped)
        resolver.drop_waiting(waiting, Drop::neighbour_queue_full);
    switch (asked) {
        case Neighbours::Asked::solicit:
            send_solicitation(resolver, key, std::nullopt);
            return Step::held;
        case Neighbours::Asked::waits:
            return Step::held;
        case Neighbours::Asked::known:
            return stage_neighbour(context);  // another worker heard the answer
        case Neighbours::Asked::refused:
            break;
    }
    return context.refuse(Drop::neighbour_queue_full);
}

std::optional<MacAddress> known_mac(Context& context, const NeighbourKey& key) {
    if (!context.dry) return context.neighbours.find(key, context.now, context.tables.generation);
    const auto seen = context.neighbours.peek(key);
    return !seen || seen->mac.is_zero() ? std::nullopt : std::optional(seen->mac);
}

}  // namespace

Step stage_neighbour(Context& context) {
    if (context.bridged) return Step::go_on;
    auto& egress = context.egress;
    const NeighbourKey key{egress.interface, egress.next_hop};
    const auto& interface = context.tables.interfaces[egress.interface];
    if (!interface.config.up || context.topology.interfaces[egress.interface].bridge == nullptr) {
        context.say(kStage, [&] { return fmt::format("{} is down", interface.config.name); });
        return context.refuse(Drop::interface_down);
    }
    const auto* recent = context.recent_hops == nullptr ? nullptr : context.recent_hops->find(key);
    if (recent != nullptr) {
        leave_by(context, recent->mac, recent->delivery);
        return Step::go_on;
    }
    const auto mac = known_mac(context, key);
    if (!mac) return waits(context, key);
    const auto delivery = find_delivery(context.topology, egress.interface, *mac);
    leave_by(context, *mac, delivery);
    if (context.recent_hops != nullptr) context.recent_hops->add({key, *mac, delivery});
    context.say(kStage, [&] {
        const auto* where = egress.known ? "behind a known port" : "behind no known port: flooded";
        return fmt::format("{} has {}, {}", key.address.to_string(), mac->to_string(), where);
    });
    return Step::go_on;
}

}  // namespace viaduct::dataplane
