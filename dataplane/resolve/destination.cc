// Destination NAT, before routing: a flow's own translation while its rule still means it, else services,
// port forwards and one-to-one rules.
#include <spdlog/fmt/fmt.h>

#include "resolve/nat.h"
#include "resolve/packet_key.h"
#include "resolve/pipeline.h"
#include "resolve/service.h"
#include "tables/nat_rules.h"

namespace viaduct::dataplane {

Translation untranslated(const Packet& packet) {
    return {packet.source, packet.destination, packet.source_port, packet.destination_port};
}

FlowEnds initiator_ends(const Packet& packet, const Translation& kept, bool reply) {
    if (!reply) {
        return {packet.source, packet.destination, packet.source_port, packet.destination_port, kept};
    }
    auto became = kept;
    became.source = packet.destination;
    became.source_port = packet.destination_port;
    became.destination = packet.source;
    became.destination_port = packet.source_port;
    return {kept.destination, kept.source, kept.destination_port, kept.source_port, became};
}

void forget_flow(Context& context) {
    if (!context.dry) {
        for_family(context.packet.v4, [&]<typename Key>(const Key*) {
            return context.flows.of<Key>().remove(context.flow,
                                                  packet_key<Key>(context.packet, context.zone));
        });
    }
    context.flow = kNoFlow;
    context.kept.reset();
    context.reply = false;
    context.translation = untranslated(context.packet);
}

bool is_answered(const Context& context) {
    return for_family(context.packet.v4, [&]<typename Key>(const Key*) {
        const auto& table = context.flows.of<Key>();
        const auto peer = table.tail(context.flow).peer.load(std::memory_order_relaxed);
        return peer != kNoFlow && table.tail(peer).packets.load(std::memory_order_relaxed) != 0;
    });
}

const IpAddress& published_address(const IpAddress& destination, const IpAddress& source) {
    return destination.is_loopback() ? source : destination;
}

namespace {

/// Whether today's rules make the same of the destination of the flow's first packet.
bool destination_agrees(Context& context, const FlowEnds& ends) {
    const auto& address = published_address(ends.destination, ends.source);
    if (const auto match = service_at(context, address, ends.destination_port))
        return service_keeps(context, match, ends);
    const auto rule = context.tables.nat->destination(context.zone, context.packet.protocol, address,
                                                      ends.destination_port);
    const bool changed =
        ends.became.destination != ends.destination || ends.became.destination_port != ends.destination_port;
    if (!rule) return !changed;
    if (rule->address == ends.became.destination && rule->port == ends.became.destination_port) return true;
    // A rule that came later does not break what works without it.
    return !changed && (context.reply || is_answered(context));
}

/// Whether a rule that translates the source so is still there. By which interface the packet leaves is not
/// known yet; stage_source looks again.
bool source_agrees(const Context& context, const FlowEnds& ends) {
    const auto& to = ends.became;
    if (to.source == ends.source && to.source_port == ends.source_port) return true;
    const auto& nat = *context.tables.nat;
    if (const auto one_to_one = nat.source(context.zone, ends.source)) {
        return one_to_one->address == to.source && to.source_port == ends.source_port;
    }
    if (const auto* rule = nat.masquerade(to.rule)) {
        return rule->zone == context.zone && rule->covers(ends.source, to.destination) &&
               nat.translates_to(*rule, to.source);
    }
    // Hairpin: the rule is the one that changed the destination, which was asked already. Or the same host
    // with another port, where two flows met in one reply's key.
    return to.destination != ends.destination || to.source == ends.source;
}

/// Whose translation it is, for people.
std::string holder(const Context& context, const FlowEnds& ends) {
    const auto match =
        service_at(context, published_address(ends.destination, ends.source), ends.destination_port);
    const bool changed =
        ends.became.destination != ends.destination || ends.became.destination_port != ends.destination_port;
    return match && changed ? match.service->label() : "the flow";
}

}  // namespace

Step stage_destination(Context& context) {
    constexpr std::string_view kStage = "destination";
    if (context.tables.nat == nullptr) {
        context.translation = context.kept.value_or(untranslated(context.packet));
        return Step::go_on;
    }
    if (context.kept) {
        const auto ends = initiator_ends(context.packet, *context.kept, context.reply);
        if (destination_agrees(context, ends) && source_agrees(context, ends)) {
            context.translation = *context.kept;
            context.say(kStage, [&] {
                return fmt::format("kept for {}: {} port {}", holder(context, ends),
                                   context.translation.destination.to_string(),
                                   context.translation.destination_port);
            });
            return Step::go_on;
        }
        context.say(kStage,
                    [] { return std::string("the rule that translated this flow is gone or changed"); });
        forget_flow(context);
    }
    if (context.packet.routed.intercepted) {
        context.say(kStage, [] { return std::string("answers no flow any more: goes on by the bridge"); });
        return Step::passed;
    }
    context.translation = untranslated(context.packet);
    const auto& packet = context.packet;
    const auto& address = published_address(packet.destination, packet.source);
    if (const auto match = service_at(context, address, packet.destination_port))
        return choose_backend(context, match);
    const auto rule =
        context.tables.nat->destination(context.zone, packet.protocol, address, packet.destination_port);
    if (!rule) {
        context.say(kStage, [] { return std::string("no rule; the destination stays"); });
        return Step::go_on;
    }
    context.translation.destination = rule->address;
    context.translation.destination_port = rule->port;
    context.translation.rule = rule->rule;
    context.say(kStage, [&] {
        for (const auto& named : context.tables.nat->rules()) {
            if (named.id != rule->rule) continue;
            return fmt::format("{} {} to {} port {}", to_string(named.kind), named.name,
                               rule->address.to_string(), rule->port);
        }
        return std::string();
    });
    return Step::go_on;
}

}  // namespace viaduct::dataplane
