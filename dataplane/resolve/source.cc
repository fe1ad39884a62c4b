// Source NAT, after routing: one-to-one rules, hairpin, masquerade; and which port.
#include <algorithm>

#include <spdlog/fmt/fmt.h>

#include "resolve/nat.h"
#include "resolve/packet_key.h"
#include "resolve/pipeline.h"
#include "resolve/service.h"
#include "tables/nat_ports.h"
#include "tables/nat_rules.h"

namespace viaduct::dataplane {

namespace {

constexpr std::string_view kStage = "source";
constexpr std::uint8_t kSctp = 132;
/// Ports of hairpin flows, which no rule of their own limits.
constexpr std::uint16_t kPortLow = 1024;
constexpr std::uint16_t kPortHigh = 65535;

/// Who translates the source.
struct Way {
    enum class Kind : std::uint8_t { none, one_to_one, hairpin, as_node, masquerade };
    Kind kind = Kind::none;
    std::uint32_t rule = 0;
    IpAddress address;  ///< unless masquerade
    const NatRules::Masquerade* masquerade = nullptr;
    std::optional<NatRules::Outside>
        first;  ///< whose ports are tried first; only once it is to be translated
};

/// Whether a packet leaves by the interface that it came by, to another host than its sender asked for.
bool is_turned_back(const Context& context) {
    return context.egress.interface == context.packet.routed.interface &&
           context.translation.destination != context.packet.destination;
}

/// Whether the backend of a packet that is turned back answers its client by the link that they share, from
/// an address that the client never asked. One that is reached by a route of its own, in no network of the
/// interface's (a routed network's pod), knows nobody but the router.
bool shares_link(const Context& context) {
    const auto& backend = context.translation.destination;
    if (context.egress.next_hop != backend) return true;
    const auto& own = context.tables.interfaces[context.egress.interface].config.addresses;
    return std::ranges::any_of(own, [&](const Prefix& network) { return network.contains(backend); });
}

/// Whether what goes from the backend to its client passes the bridge, which hands it to the router
/// (forward/answers.h): they are behind different ports, and not both outside the node, where others join
/// them.
bool passes_bridge(const Context& context) {
    const auto& outer = context.topology.outer;
    const auto from = context.packet.routed.from;
    if (!context.egress.known) return !outer[from];
    return context.egress.port != from && !(outer[context.egress.port] && outer[from]);
}

/// Whether the source must be the node's own, or the answer would pass the router by. Nobody takes packets
/// from himself.
bool is_answered_past(const Context& context) {
    if (context.packet.source == context.translation.destination) return true;
    return shares_link(context) && !passes_bridge(context);
}

/// From now on the bridge looks for the answers of the packet's flow, if they would go by it.
void expect_answers_on_bridge(const Context& context) {
    const bool own_source = context.translation.source == context.packet.source;
    if (context.dry || !own_source || !is_turned_back(context) || !shares_link(context)) return;
    for_family(context.packet.v4, [&]<typename Key>(const Key*) {
        using Address = typename Key::AddressType;
        Key answer{};
        answer.source = address_bytes<Address>(context.translation.destination);
        answer.destination = address_bytes<Address>(context.translation.source);
        context.flows.bridged->add(answer);
    });
}

Way way_out(const Context& context) {
    const auto& packet = context.packet;
    const auto& nat = *context.tables.nat;
    const auto egress = context.egress.interface;
    const bool turned_back = is_turned_back(context);
    if (const auto rule = nat.source(context.zone, packet.source);
        rule && (turned_back || egress != packet.routed.interface)) {
        return {Way::Kind::one_to_one, rule->rule, rule->address};
    }
    const bool hairpin = turned_back && is_answered_past(context);
    if (hairpin || context.as_node) {
        const auto& own = nat.own_address(egress, packet.v4);
        if (own) return {hairpin ? Way::Kind::hairpin : Way::Kind::as_node, context.translation.rule, *own};
    }
    const auto* rule = nat.masquerade(context.zone, packet.source, context.translation.destination, egress);
    if (rule != nullptr) return {Way::Kind::masquerade, rule->id, {}, rule};
    return {};
}

/// Whether a kept translation is what the way out would still make of the source.
bool agrees(const Context& context, const Way& way) {
    const auto& kept = context.translation;
    const auto& packet = context.packet;
    const bool changed = kept.source != packet.source || kept.source_port != packet.source_port;
    switch (way.kind) {
        case Way::Kind::none: {
            if (!changed || kept.source == packet.source) return true;
            // It began when its answers would have passed the router by, or when nobody knew.
            const auto& own = context.tables.nat->own_address(context.egress.interface, packet.v4);
            return is_turned_back(context) && own && *own == kept.source && is_answered(context);
        }
        case Way::Kind::one_to_one:
            if (kept.source == way.address) return true;
            break;
        case Way::Kind::hairpin:
        case Way::Kind::as_node:
            if (kept.source == way.address) return true;
            break;
        case Way::Kind::masquerade: {
            if (kept.rule != way.rule) break;
            const auto& nat = *context.tables.nat;
            // Without a pool the address belongs to the interface by which the packet leaves.
            if (!way.masquerade->pool.empty()) return nat.translates_to(*way.masquerade, kept.source);
            const auto& own = nat.own_address(context.egress.interface, packet.v4);
            return own && *own == kept.source;
        }
    }
    return !changed && is_answered(context);
}

/// A number that who sends the packet cannot foresee (RFC 6056).
std::uint64_t unforeseen(const Context& context) {
    if (context.hash != 0) return context.hash;
    return for_family(context.packet.v4, [&]<typename Key>(const Key*) {
        return context.flows.of<Key>().hash(packet_key<Key>(context.packet, context.zone));
    });
}

NatPorts::Request request_for(const Context& context, const NatRules::Outside& outside, unsigned attempt) {
    const auto& packet = context.packet;
    NatPorts::Request request{context.zone, packet.protocol, outside.address, outside.low, outside.high};
    request.start = unforeseen(context) + attempt * 0x9e3779b97f4a7c15U;
    if (attempt == 0) request.preferred = packet.source_port;
    // Another port would need a checksum over the whole packet (RFC 9260 6.8), and both ends know the ports
    // of an association by heart: an SCTP source keeps its port.
    if (packet.protocol == kSctp) request.low = request.high = request.preferred = packet.source_port;
    return request;
}

/// Whose ports, in the order in which they are tried.
std::optional<NatRules::Outside> outside_choice(const Context& context, const Way& way, unsigned nth) {
    if (way.kind == Way::Kind::masquerade) {
        return context.tables.nat->outside(*way.masquerade, context.egress.interface, context.packet.source,
                                           nth);
    }
    if (nth != 0) return std::nullopt;
    return NatRules::Outside{way.address, kPortLow, kPortHigh};
}

void use_port(Context& context, const IpAddress& address, std::uint16_t port, bool mapping) {
    auto& to = context.translation;
    to.source = address;
    to.source_port = port;
    to.holds_port = true;
    to.mapping = mapping;
    context.took_port = true;
}

NatMappings::Inside inside_of(const Context& context) {
    return {context.zone, context.packet.protocol, context.packet.source, context.packet.source_port};
}

/// A port that nobody else holds, of one of the outside addresses that the inside one may have.
bool take_port(Context& context, const Way& way, unsigned attempt, bool mapped) {
    for (unsigned nth = 0; nth < NatRules::kOutsidesMost; ++nth) {
        const auto outside = nth == 0 ? way.first : outside_choice(context, way, nth);
        if (!outside) return false;
        const auto port = context.nat_ports.take(request_for(context, *outside, attempt));
        if (!port) continue;
        if (!mapped) {
            use_port(context, outside->address, *port, false);
            return true;
        }
        const NatMappings::Outside mine{outside->address, *port};
        const auto in_force = context.nat_ports.mappings().enter(inside_of(context), mine, way.rule);
        // Another worker's came first: ours goes back. No room: a port for this destination alone.
        if (in_force && *in_force != mine) {
            context.nat_ports.release(context.zone, context.packet.protocol, mine.address, mine.port);
        }
        const auto& used = in_force ? *in_force : mine;
        use_port(context, used.address, used.port, in_force.has_value());
        return true;
    }
    return false;
}

/// A port that others hold too, for other destinations.
bool share_port(Context& context, const Way& way, unsigned attempt) {
    if (!way.first) return false;
    const auto request = request_for(context, *way.first, attempt);
    for (unsigned i = attempt; i < NatPorts::kTriesMost; ++i) {
        if (const auto port = context.nat_ports.share(request, i)) {
            use_port(context, way.first->address, *port, false);
            return true;
        }
    }
    return false;
}

bool choose_port(Context& context, const Way& way, unsigned attempt) {
    const bool mapped =
        attempt == 0 && way.kind == Way::Kind::masquerade && way.masquerade->endpoint_independent;
    if (mapped) {
        if (const auto mapping = context.nat_ports.mappings().use(inside_of(context), way.rule)) {
            use_port(context, mapping->address, mapping->port, true);
            return true;
        }
    }
    return take_port(context, way, attempt, mapped) || share_port(context, way, attempt);
}

void give_back_port(Context& context) {
    if (!context.took_port) return;
    context.took_port = false;
    const auto& to = context.translation;
    if (to.mapping) {
        context.nat_ports.release_mapping(inside_of(context), {to.source, to.source_port});
    } else {
        context.nat_ports.release(context.zone, context.packet.protocol, to.source, to.source_port);
    }
}

Step exhausted(Context& context, std::uint32_t rule) {
    if (!context.dry) context.nat_ports.count_exhausted(rule);
    context.say(kStage, [] { return std::string("no port is free for another translation"); });
    return context.refuse(Drop::nat_exhausted);
}

/// What has changed the destination; 0: nothing.
std::uint32_t destination_rule(const Context& context) {
    const auto& packet = context.packet;
    const auto& address = published_address(packet.destination, packet.source);
    if (const auto match = service_at(context, address, packet.destination_port)) return match.service->id();
    const auto rule =
        context.tables.nat->destination(context.zone, packet.protocol, address, packet.destination_port);
    return rule ? rule->rule : 0;
}

Step translate(Context& context, Way way) {
    auto& to = context.translation;
    const auto& packet = context.packet;
    to.rule = way.kind == Way::Kind::masquerade || to.rule == 0 ? way.rule : to.rule;
    if (way.kind == Way::Kind::one_to_one) {
        to.source = way.address;
    } else if (way.first = outside_choice(context, way, 0); !can_change_ports(packet)) {
        if (!way.first) return exhausted(context, way.rule);
        to.source = way.first->address;
    } else {
        // The node's own address, or one of the pool's that hosts have: nothing to be done unless it clashes.
        if (way.first && way.first->address == packet.source) return Step::go_on;
        if (!choose_port(context, way, 0)) return exhausted(context, way.rule);
    }
    context.say(kStage, [&] {
        constexpr std::array kNames{"", "one-to-one", "hairpin", "service:", "masquerade"};
        std::string name;
        for (const auto& rule : context.tables.nat->rules()) {
            if (rule.id == way.rule) name = " " + rule.name;
        }
        return fmt::format("{}{} as {} port {}", kNames[static_cast<std::size_t>(way.kind)], name,
                           to.source.to_string(), to.source_port);
    });
    if (context.dry) give_back_port(context);
    return Step::go_on;
}

}  // namespace

bool can_change_ports(const Packet& packet) {
    constexpr std::uint8_t kIcmp = 1;
    constexpr std::uint8_t kIcmp6 = 58;
    if (packet.protocol == kIcmp) return packet.icmp_type == 8;
    if (packet.protocol == kIcmp6) return packet.icmp_type == 128;
    return has_ports(packet.protocol);
}

Step stage_source(Context& context) {
    if (context.tables.nat == nullptr) return Step::go_on;
    if (context.kept && context.reply) return Step::go_on;
    if (context.bridged && !context.from_host) return Step::go_on;
    auto way = way_out(context);
    if (context.kept) {
        if (agrees(context, way)) {
            if (way.kind == Way::Kind::none) expect_answers_on_bridge(context);
            context.say(kStage, [&] {
                return fmt::format("kept for the flow: {} port {}", context.translation.source.to_string(),
                                   context.translation.source_port);
            });
            return Step::go_on;
        }
        context.say(kStage, [] { return std::string("another rule translates this flow's source now"); });
        const auto before = context.translation;
        forget_flow(context);
        // The destination was looked at by its own stage and stays.
        context.translation.destination = before.destination;
        context.translation.destination_port = before.destination_port;
        context.translation.counted = before.counted;
        take_load(context);
        context.translation.rule = destination_rule(context);
        way = way_out(context);
    }
    if (way.kind == Way::Kind::none) {
        expect_answers_on_bridge(context);
        context.say(kStage, [&] {
            const bool bridged = is_turned_back(context) && shares_link(context);
            return std::string(bridged ? "the source stays; the bridge hands the answers to the router"
                                       : "no rule; the source stays");
        });
        return Step::go_on;
    }
    return translate(context, way);
}

bool choose_again(Context& context) {
    auto& to = context.translation;
    const auto rule = to.rule;
    if (++context.nat_attempt >= NatPorts::kTriesMost || !can_change_ports(context.packet) ||
        context.packet.protocol == kSctp) {
        give_back(context);
        exhausted(context, rule);
        return false;
    }
    if (!context.took_port) {
        // Two flows have become one to their destination. The source keeps its address and gets another port,
        // which no pool knows of: the flow table alone says whether it is free.
        to.source_port = static_cast<std::uint16_t>(
            kPortLow + (unforeseen(context) >> 20) * context.nat_attempt % (kPortHigh - kPortLow));
        return true;
    }
    // The next one first, so that it is not the one that clashed.
    const auto before = to;
    auto way = way_out(context);
    way.first = outside_choice(context, way, 0);
    context.took_port = false;
    const bool found = choose_port(context, way, context.nat_attempt);
    const auto next = to;
    to = before;
    context.took_port = true;
    give_back_port(context);
    if (!found) {
        exhausted(context, rule);
        return false;
    }
    to = next;
    context.took_port = true;
    return true;
}

void give_back(Context& context) {
    give_back_load(context);
    give_back_port(context);
}

}  // namespace viaduct::dataplane
