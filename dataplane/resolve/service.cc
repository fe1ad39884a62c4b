#include "resolve/service.h"

#include <algorithm>
#include <array>
#include <limits>

#include <spdlog/fmt/fmt.h>

#include "resolve/packet_key.h"
#include "tables/maglev.h"
#include "tables/rule_id.h"
#include "tables/service_state.h"

namespace viaduct::dataplane {

namespace {

constexpr std::string_view kStage = "service";
/// Fewer are in the caches anyway.
constexpr std::size_t kServicesFetched = 50;

/// Whether the client is a pod of this node or the node itself.
bool is_inside(const Context& context) {
    return !context.topology.outer[context.packet.routed.from];
}

/// What comes from inside to an address that is for those outside goes to any backend, as it would by the
/// cluster's own address: Kubernetes' Service API, externalTrafficPolicy.
bool wants_local(const Context& context, const model::Frontend& frontend) {
    return frontend.local_only && !(frontend.external && is_inside(context));
}

/// For those outside a backend elsewhere must answer by this node. Of a policy Local only those inside come
/// to one elsewhere, and its backends see who their clients are.
bool needs_own_source(const Context& context, const model::Frontend& frontend,
                      const model::Backend& backend) {
    return frontend.external && !backend.local && !context.from_host && !frontend.local_only;
}

bool may_come(const Services::Match& match, const IpAddress& client) {
    return !match.frontend->restricted ||
           std::ranges::any_of(match.service->config().allow_from,
                               [&](const Prefix& prefix) { return prefix.contains(client); });
}

/// The same on every node, so that it does not matter to which one a packet comes. With affinity the client
/// alone decides.
std::uint64_t maglev_hash(const Packet& packet, const ServiceEntry& service) {
    const auto client = hash_of(packet.source, service.id());
    if (service.config().affinity != 0) return client;
    const auto ports = std::uint64_t{packet.source_port} << 16 | packet.destination_port;
    return mix(client, hash_of(packet.destination, ports));
}

/// A member by weight; `turn` is any number.
std::uint16_t by_weight(const BackendPool& pool, std::uint32_t turn) {
    const auto wanted = turn % pool.weights.back();
    const auto found = std::ranges::upper_bound(pool.weights, wanted);
    return pool.members[static_cast<std::size_t>(found - pool.weights.begin())];
}

std::uint16_t least_loaded(const Context& context, const ServiceEntry& service, const BackendPool& pool) {
    const auto& backends = service.config().backends;
    const auto load = [&](std::uint16_t member) {
        const auto& backend = backends[member];
        const std::uint64_t flows = context.services.loads.flows(context.zone, context.packet.protocol,
                                                                 backend.address, backend.port);
        return (flows << 16) / backend.weight;
    };
    auto best = pool.members.front();
    auto least = std::numeric_limits<std::uint64_t>::max();
    // Of those that have as few, not always the first.
    const auto begin = static_cast<std::size_t>(context.hash >> 32) % pool.members.size();
    for (std::size_t i = 0; i < pool.members.size() && least != 0; ++i) {
        const auto member = pool.members[(begin + i) % pool.members.size()];
        const auto now = load(member);
        if (now >= least) continue;
        least = now;
        best = member;
    }
    return best;
}

std::uint16_t balanced(const Context& context, const ServiceEntry& service, const BackendPool& pool) {
    switch (service.config().balance) {
        case model::Balance::maglev:
            break;
        case model::Balance::random:
            return by_weight(pool, static_cast<std::uint32_t>(mix(context.hash, context.now) >> 16));
        case model::Balance::round_robin: {
            auto& next = service.counters().next;
            return by_weight(pool, context.dry ? next.load(std::memory_order_relaxed)
                                               : next.fetch_add(1, std::memory_order_relaxed));
        }
        case model::Balance::least_connections:
            return least_loaded(context, service, pool);
    }
    const auto hash = maglev_hash(context.packet, service);
    return pool.maglev[maglev_slot(hash, pool.maglev.size())];
}

/// The one that the client had last, if it still takes new flows.
const model::Backend* remembered(const Context& context, const ServiceEntry& service,
                                 const BackendPool& pool) {
    if (service.config().affinity == 0) return nullptr;
    const auto place = context.services.affinities.find(service.id(), context.packet.source, context.now);
    if (!place) return nullptr;
    const auto* backend = service.backend(place->address, place->port);
    if (backend == nullptr) return nullptr;
    const auto index = static_cast<std::uint16_t>(backend - service.config().backends.data());
    return std::ranges::binary_search(pool.members, index) ? backend : nullptr;
}

Step refuse_for(Context& context, const ServiceEntry& service, Drop why, std::string_view words) {
    if (!context.dry) service.counters().refused.fetch_add(1, std::memory_order_relaxed);
    context.say(kStage, [&] { return fmt::format("{}: {}", service.label(), words); });
    return context.refuse(why);
}

}  // namespace

void fetch_services(const Tables& tables, std::span<const Packet* const> packets) {
    const auto* services = tables.services.get();
    if (services == nullptr || services->size() < kServicesFetched || packets.size() < 2) return;
    std::array<Services::Lookup, kBurst> lookups;
    std::array<const std::uint16_t*, kBurst> slots{};
    std::array<Services::Match, kBurst> matches;
    for (std::size_t i = 0; i < packets.size(); ++i) {
        const auto& packet = *packets[i];
        lookups[i] = {0, tables.interfaces[packet.routed.interface].zone, packet.protocol,
                      packet.destination_port, &packet.destination};
        services->fetch(lookups[i]);
    }
    for (std::size_t i = 0; i < packets.size(); ++i)
        services->fetch_slots(lookups[i]);
    for (std::size_t i = 0; i < packets.size(); ++i)
        services->fetch_entry(lookups[i]);
    for (std::size_t i = 0; i < packets.size(); ++i) {
        const auto [service, frontend] = matches[i] = services->find(lookups[i]);
        if (service == nullptr) continue;
        __builtin_prefetch(&service->counters(), 1);
        const auto& pool = service->pool(packets[i]->v4, frontend->local_only);
        if (pool.maglev.empty()) continue;
        slots[i] = &pool.maglev[maglev_slot(maglev_hash(*packets[i], *service), pool.maglev.size())];
        __builtin_prefetch(slots[i]);
    }
    for (std::size_t i = 0; i < packets.size(); ++i) {
        if (slots[i] != nullptr) __builtin_prefetch(&matches[i].service->config().backends[*slots[i]]);
    }
}

Services::Match service_at(const Context& context, const IpAddress& address, std::uint16_t port) {
    const auto* services = context.tables.services.get();
    if (services == nullptr || services->empty()) return {};
    return services->find(context.zone, context.packet.protocol, address, port);
}

bool service_keeps(Context& context, const Services::Match& match, const FlowEnds& ends) {
    const auto& [service, frontend] = match;
    const bool changed =
        ends.became.destination != ends.destination || ends.became.destination_port != ends.destination_port;
    // A service that came later does not break what works without it.
    if (!changed) return context.reply || is_answered(context);
    const auto* backend = service->backend(ends.became.destination, ends.became.destination_port);
    if (backend == nullptr || !may_come(match, ends.source)) return false;
    // An answer does not tell from where its client came; the client's own next packet does.
    if (!context.reply && !backend->local && wants_local(context, *frontend)) return false;
    context.as_node = needs_own_source(context, *frontend, *backend);
    return true;
}

void take_load(Context& context) {
    const auto& to = context.translation;
    if (context.dry || !to.counted) return;
    context.services.loads.add(context.zone, context.packet.protocol, to.destination, to.destination_port);
    context.took_load = true;
}

void give_back_load(Context& context) {
    if (!context.took_load) return;
    context.took_load = false;
    const auto& to = context.translation;
    context.services.loads.remove(context.zone, context.packet.protocol, to.destination, to.destination_port);
}

Step choose_backend(Context& context, const Services::Match& match) {
    const auto& service = *match.service;
    const auto& frontend = *match.frontend;
    const auto& packet = context.packet;
    if (!may_come(match, packet.source))
        return refuse_for(context, service, Drop::service_client, "the client is not among those that may");
    const bool local_only = wants_local(context, frontend);
    const auto& pool = service.pool(packet.v4, local_only);
    if (pool.members.empty()) {
        if (local_only && service.has_backend(packet.v4))
            return refuse_for(context, service, Drop::no_local_endpoint, "no backend is on this node");
        return refuse_for(context, service, Drop::no_endpoint, "nobody is behind it");
    }
    const auto* kept = remembered(context, service, pool);
    if (context.hash == 0) {
        context.hash = for_family(packet.v4, [&]<typename Key>(const Key*) {
            return context.flows.of<Key>().hash(packet_key<Key>(packet, context.zone));
        });
    }
    const auto& backend =
        kept != nullptr ? *kept : service.config().backends[balanced(context, service, pool)];
    auto& to = context.translation;
    to.destination = backend.address;
    to.destination_port = backend.port;
    to.rule = service.id();
    to.counted = service.config().balance == model::Balance::least_connections;
    context.as_node = needs_own_source(context, frontend, backend);
    if (!context.dry) {
        service.counters().flows.fetch_add(1, std::memory_order_relaxed);
        // At once, and not when the flow is entered: packets of one burst are all decided before that.
        take_load(context);
        if (const auto seconds = service.config().affinity; seconds != 0)
            context.services.affinities.keep(service.id(), packet.source, {backend.address, backend.port},
                                             context.now, seconds);
    }
    context.say(kStage, [&] {
        return fmt::format(
            "{} to {} port {}{}, {} of {} {}backend{}", service.label(), backend.address.to_string(),
            backend.port, backend.name.empty() ? "" : " (" + backend.name + ")",
            kept != nullptr ? "which the client had last,"
                            : "chosen by " + std::string(to_string(service.config().balance)),
            pool.members.size(), local_only ? "local " : "", pool.members.size() == 1 ? "" : "s");
    });
    return Step::go_on;
}

}  // namespace viaduct::dataplane
