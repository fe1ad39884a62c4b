// Of two routes with one prefix, a network's own one comes before a configured one, and an own address before
// both.
#include "tables/tables_builder.h"

#include <set>
#include <unordered_map>

#include "tables/nat_rules.h"

namespace viaduct::dataplane {

namespace {

/// fe80::/64 with the interface identifier made of the MAC address (RFC 4291 appendix A).
IpAddress link_local(const MacAddress& mac) {
    const auto& m = mac.bytes;
    const std::array<std::uint8_t, 16> bytes{
        0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<std::uint8_t>(m[0] ^ 2),
        m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
    return IpAddress::from_bytes(bytes).value_or(IpAddress{});
}

MacAddress mac_of(const model::Interface& interface) {
    return interface.mac ? *interface.mac : model::derived_mac(interface.name);
}

Prefix host_prefix(const IpAddress& address) {
    return {address, static_cast<std::uint8_t>(address.bits())};
}

RouteEntryPtr local_entry(InterfaceIndex interface, bool broadcast) {
    auto* entry = new RouteEntry(RouteAction::local, RouteOrigin::local, {{std::nullopt, interface, 1}});
    entry->broadcast = broadcast;
    return entry;
}

RouteAction action_of(model::RouteKind kind) {
    switch (kind) {
        case model::RouteKind::unicast:
            return RouteAction::unicast;
        case model::RouteKind::blackhole:
            return RouteAction::blackhole;
        case model::RouteKind::unreachable:
            return RouteAction::unreachable;
        case model::RouteKind::prohibit:
            break;
    }
    return RouteAction::prohibit;
}

/// Entries that are the same are one.
class Entries {
public:
    RouteEntryPtr shared(RouteEntryPtr entry) {
        std::size_t hash = entry->mtu * 31 + static_cast<std::size_t>(entry->action);
        for (const auto& hop : entry->hops) {
            hash = hash * 0x9e3779b97f4a7c15U + hop.interface * 257U + hop.weight;
            if (!hop.via) continue;
            for (const auto byte : hop.via->bytes())
                hash = hash * 31 + byte;
        }
        const auto [first, end] = known_.equal_range(hash);
        for (auto it = first; it != end; ++it) {
            if (it->second->same_as(*entry)) return it->second;
        }
        return known_.emplace(hash, std::move(entry))->second;
    }

private:
    std::unordered_multimap<std::size_t, RouteEntryPtr> known_;
};

}  // namespace

/// Of each VRF that has interfaces or a name of its own.
std::map<std::string, TablesBuilder::VrfRoutes> TablesBuilder::own_routes(const model::Config& config) const {
    std::map<std::string, VrfRoutes> vrfs;
    vrfs[std::string(model::kDefaultVrf)];
    for (const auto& [name, vrf] : config.vrfs)
        vrfs[name];
    // From the first route of one VRF to that of the next, however many there are.
    for (auto it = config.routes.begin(); it != config.routes.end();
         it = config.routes.lower_bound({it->second.vrf + '\0', Prefix{}}))
        vrfs[it->second.vrf];
    for (const auto& [name, interface] : config.interfaces) {
        auto& own = vrfs[interface.vrf].own;
        if (!interface.up) continue;
        const auto index = legs_.at(name).index;
        const auto connected = RouteEntryPtr(
            new RouteEntry(RouteAction::unicast, RouteOrigin::connected, {{std::nullopt, index, 1}}));
        const auto local = local_entry(index, false);
        own[host_prefix(link_local(mac_of(interface)))] = local;
        for (const auto& prefix : interface.addresses) {
            own[host_prefix(prefix.address)] = local;
            if (prefix.length == prefix.address.bits()) continue;
            own.emplace(Prefix{prefix.network(), prefix.length}, connected);
            // RFC 3021: a network of two addresses has none to spare.
            if (prefix.address.is_v4() && prefix.length < 31)
                own.emplace(host_prefix(prefix.last()), local_entry(index, true));
        }
    }
    return vrfs;
}

/// Null: no next hop is up.
RouteEntryPtr TablesBuilder::entry_of(const model::Route& route) const {
    std::vector<RouteHop> hops;
    for (const auto& hop : route.next_hops) {
        const auto leg = legs_.find(hop.interface);
        if (leg != legs_.end() && leg->second.up) hops.push_back({hop.via, leg->second.index, hop.weight});
    }
    if (route.kind == model::RouteKind::unicast && hops.empty()) return nullptr;
    return new RouteEntry(action_of(route.kind), RouteOrigin::configured, std::move(hops), route.mtu);
}

std::shared_ptr<const Fib> TablesBuilder::build_fib(const model::Config& config, const std::string& vrf,
                                                    const OwnRoutes& own) const {
    std::vector<FibRoute> routes;
    Entries entries;
    const auto least = RouteKey{vrf, Prefix{}};
    for (auto it = config.routes.lower_bound(least); it != config.routes.end(); ++it) {
        const auto& route = it->second;
        if (route.vrf != vrf) break;
        if (own.contains(route.prefix)) continue;
        if (auto entry = entry_of(route)) routes.push_back({route.prefix, entries.shared(std::move(entry))});
    }
    for (const auto& [prefix, entry] : own)
        routes.push_back({prefix, entry});
    return std::make_shared<const Fib>(Fib::build(routes));
}

std::shared_ptr<const Fib> TablesBuilder::changed_fib(const model::Config& config, const std::string& vrf,
                                                      const OwnRoutes& own, const VrfRoutes& before,
                                                      const std::vector<RouteKey>& touched) const {
    std::set<Prefix> prefixes;
    for (const auto& [of, prefix] : touched)
        if (of == vrf) prefixes.insert(prefix);
    const auto differs = [](const OwnRoutes& from, const Prefix& prefix, const RouteEntryPtr& entry) {
        const auto other = from.find(prefix);
        return other == from.end() || !other->second->same_as(*entry);
    };
    for (const auto& [prefix, entry] : own)
        if (differs(before.own, prefix, entry)) prefixes.insert(prefix);
    for (const auto& [prefix, entry] : before.own)
        if (differs(own, prefix, entry)) prefixes.insert(prefix);
    if (prefixes.empty()) return before.fib;
    auto fib = *before.fib;
    for (const auto& prefix : prefixes) {
        RouteEntryPtr entry;
        if (const auto found = own.find(prefix); found != own.end()) {
            entry = found->second;
        } else if (const auto route = config.routes.find({vrf, prefix}); route != config.routes.end()) {
            entry = entry_of(route->second);
        }
        fib = entry ? fib.with({prefix, entry}) : fib.without(prefix);
    }
    return std::make_shared<const Fib>(std::move(fib));
}

std::shared_ptr<const Tables> TablesBuilder::build(const model::Config& config, const InterfacePlaces& places,
                                                   const ZoneOf& zone_of, std::uint32_t generation,
                                                   const std::optional<std::vector<RouteKey>>& touched) {
    Legs legs;
    for (const auto& [name, interface] : config.interfaces)
        legs[name] = {places.at(name), interface.up};
    // An interface that came, went or is up now has a say in any configured route.
    const bool all = !touched || legs != legs_;
    legs_ = std::move(legs);
    auto vrfs = own_routes(config);
    for (auto& [name, vrf] : vrfs) {
        const auto before = vrfs_.find(name);
        vrf.fib = all || before == vrfs_.end() ? build_fib(config, name, vrf.own)
                                               : changed_fib(config, name, vrf.own, before->second, *touched);
    }
    vrfs_ = std::move(vrfs);

    auto tables = std::make_shared<Tables>();
    tables->generation = generation;
    tables->timeouts = config.timeouts;
    for (const auto& [name, routes] : vrfs_) {
        const auto found = config.vrfs.find(name);
        const auto settings = found == config.vrfs.end() ? model::Vrf{} : found->second;
        tables->vrfs[zone_of(name)] = {name, settings.forwarding4, settings.forwarding6, routes.fib};
    }
    for (const auto& [name, index] : places) {
        const auto& interface = config.interfaces.at(name);
        if (tables->interfaces.size() <= index) tables->interfaces.resize(index + std::size_t{1});
        const auto zone = zone_of(interface.vrf);
        tables->interfaces[index] = {interface, zone, mac_of(interface), &tables->vrfs.at(zone)};
    }
    tables->services = services_.build(config, zone_of);
    tables->nat = std::make_shared<const NatRules>(config, *tables);
    return tables;
}

}  // namespace viaduct::dataplane
