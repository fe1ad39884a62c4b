// How the rules are laid out for look-up, and how their ids are made.
#include "tables/nat_rules.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "tables/rule_id.h"
#include "tables/tables.h"

namespace viaduct::dataplane {

namespace {

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
    return a > std::numeric_limits<std::uint64_t>::max() - b ? std::numeric_limits<std::uint64_t>::max()
                                                             : a + b;
}

std::uint64_t size_of(const model::AddressRange& range) {
    const auto distance = range.last.minus(range.first);
    return saturating_add(distance.value_or(std::numeric_limits<std::uint64_t>::max()), 1);
}

/// A number below `size` that depends on the hash.
std::uint64_t place_of(std::uint64_t hash, std::uint64_t size) {
    return size <= UINT32_MAX ? (hash >> 32) * size >> 32 : hash % size;
}

/// The address so far into the pool; `index` is below its size.
IpAddress at(const std::vector<NatRules::PoolRange>& pool, std::uint64_t index) {
    for (const auto& range : pool) {
        if (index < range.size) return range.first.plus(index).value_or(range.first);
        index -= range.size;
    }
    return pool.front().first;
}

}  // namespace

std::string_view to_string(NatRules::Kind kind) {
    switch (kind) {
        case NatRules::Kind::masquerade:
            return "masquerade";
        case NatRules::Kind::port_forward:
            return "port-forward";
        case NatRules::Kind::static_nat:
            return "static";
    }
    return "";
}

std::size_t NatRules::PlaceHash::operator()(const Place& place) const {
    return hash_of(place.address, std::uint64_t{place.zone} << 8 | place.protocol);
}

bool NatRules::Masquerade::covers(const IpAddress& inside, const IpAddress& destination) const {
    return source.contains(inside) && !excepts(destination);
}

bool NatRules::Masquerade::excepts(const IpAddress& destination) const {
    return std::ranges::any_of(except, [&](const Prefix& prefix) { return prefix.contains(destination); });
}

NatRules::NatRules(const model::Config& config, const Tables& tables) {
    std::unordered_map<std::string, Zone> zones;
    for (const auto& [zone, vrf] : tables.vrfs)
        zones.emplace(vrf.name, zone);
    for (const auto& entry : tables.interfaces) {
        auto& own = own_.emplace_back();
        own.zone = entry.zone;
        for (const auto& prefix : entry.config.addresses) {
            auto& first = prefix.address.is_v4() ? own.first4 : own.first6;
            // A link-local address is nobody's outside.
            if (!first && !prefix.address.is_link_local()) first = prefix.address;
            own.all.push_back(prefix.address);
        }
    }
    for (const auto& [name, rule] : config.static_nats) {
        if (const auto zone = zones.find(rule.vrf); zone != zones.end()) add(rule, zone->second);
    }
    for (const auto& [name, rule] : config.port_forwards) {
        if (const auto zone = zones.find(rule.vrf); zone != zones.end()) add(rule, zone->second);
    }
    for (const auto& [name, rule] : config.masquerades) {
        if (const auto zone = zones.find(rule.vrf); zone != zones.end()) add(rule, zone->second, tables);
    }
    for (auto& [place, forwards] : forwards_) {
        std::ranges::sort(forwards, {}, &Forward::first);
    }
}

void NatRules::add(const model::StaticNat& rule, Zone zone) {
    const auto id = (RuleId() << "static" << rule.vrf << rule.name << rule.outside << rule.inside).get();
    rules_.push_back({id, Kind::static_nat, zone, rule.name});
    by_outside_.emplace(Place{rule.outside, zone}, Source{rule.inside, id});
    by_inside_.emplace(Place{rule.inside, zone}, Source{rule.outside, id});
}

void NatRules::add(const model::PortForward& rule, Zone zone) {
    const auto protocol = static_cast<std::uint8_t>(rule.protocol);
    const auto id = (RuleId() << "port-forward" << rule.vrf << rule.name << std::uint16_t{protocol}
                              << rule.address << rule.port << rule.to << rule.to_port)
                        .get();
    rules_.push_back({id, Kind::port_forward, zone, rule.name});
    const auto last = std::max(rule.port, rule.port_last);
    forwards_[{rule.address, zone, protocol}].push_back({rule.port, last, rule.to, rule.to_port, id});
}

void NatRules::add(const model::Masquerade& rule, Zone zone, const Tables& tables) {
    RuleId hash;
    hash << "masquerade" << rule.vrf << rule.name << rule.port_low << rule.port_high << rule.block;
    Masquerade entry{};
    for (const auto& range : rule.pool) {
        hash << range.first << range.last;
        entry.pool.push_back({range.first, range.last, size_of(range)});
        entry.pool_size = saturating_add(entry.pool_size, entry.pool.back().size);
    }
    entry.id = hash.get();
    rules_.push_back({entry.id, Kind::masquerade, zone, rule.name});
    entry.zone = zone;
    entry.any_interface = rule.interface.empty();
    entry.source = rule.source;
    entry.except = rule.except;
    entry.port_low = rule.port_low;
    entry.port_high = rule.port_high;
    entry.block = rule.block;
    entry.endpoint_independent = rule.endpoint_independent;
    if (!entry.any_interface) {
        const auto found = std::ranges::find_if(
            tables.interfaces, [&](const InterfaceEntry& i) { return i.config.name == rule.interface; });
        if (found == tables.interfaces.end()) return;
        entry.interface = static_cast<InterfaceIndex>(found - tables.interfaces.begin());
    }
    auto& levels = levels_[rule.source.address.is_v4() ? 1 : 0];
    auto level = std::ranges::find(levels, rule.source.length, &Level::length);
    if (level == levels.end()) {
        level = std::ranges::find_if(levels, [&](const Level& l) { return l.length < rule.source.length; });
        level = levels.insert(level, Level{rule.source.length, {}});
    }
    const auto index = static_cast<std::uint32_t>(masquerades_.size());
    level->by_network[{rule.source.network(), zone}].push_back(index);
    masquerade_by_id_.emplace(entry.id, index);
    masquerades_.push_back(std::move(entry));
}

std::optional<NatRules::Destination> NatRules::destination(Zone zone, std::uint8_t protocol,
                                                           const IpAddress& address,
                                                           std::uint16_t port) const {
    if (!forwards_.empty()) {
        const auto found = forwards_.find({address, zone, protocol});
        if (found != forwards_.end()) {
            const auto& forwards = found->second;
            auto after = std::ranges::upper_bound(forwards, port, {}, &Forward::first);
            if (after != forwards.begin() && port <= (--after)->last) {
                return Destination{
                    after->to, static_cast<std::uint16_t>(after->to_port + port - after->first), after->rule};
            }
        }
    }
    if (by_outside_.empty()) return std::nullopt;
    const auto found = by_outside_.find({address, zone, 0});
    if (found == by_outside_.end()) return std::nullopt;
    return Destination{found->second.address, port, found->second.rule};
}

std::optional<NatRules::Source> NatRules::source(Zone zone, const IpAddress& inside) const {
    if (by_inside_.empty()) return std::nullopt;
    const auto found = by_inside_.find({inside, zone, 0});
    if (found == by_inside_.end()) return std::nullopt;
    return found->second;
}

const NatRules::Masquerade* NatRules::masquerade(Zone zone, const IpAddress& source,
                                                 const IpAddress& destination, InterfaceIndex egress) const {
    for (const auto& level : levels_[source.is_v4() ? 1 : 0]) {
        const auto found = level.by_network.find({Prefix{source, level.length}.network(), zone, 0});
        if (found == level.by_network.end()) continue;
        for (const auto index : found->second) {
            const auto& rule = masquerades_[index];
            if (!rule.any_interface && rule.interface != egress) continue;
            return rule.excepts(destination) ? nullptr : &rule;
        }
    }
    return nullptr;
}

const NatRules::Masquerade* NatRules::masquerade(std::uint32_t id) const {
    const auto found = masquerade_by_id_.find(id);
    return found == masquerade_by_id_.end() ? nullptr : &masquerades_[found->second];
}

std::optional<NatRules::Outside> NatRules::outside(const Masquerade& rule, InterfaceIndex egress,
                                                   const IpAddress& inside, unsigned nth) const {
    const auto size = rule.pool.empty() ? 1 : rule.pool_size;
    Outside outside{{}, rule.port_low, rule.port_high};
    std::uint64_t index = 0;
    if (rule.block != 0) {
        const auto host = inside.minus(rule.source.network());
        const auto ports = std::uint32_t{rule.port_high} - rule.port_low + 1U;
        const auto blocks = ports / rule.block;
        if (nth != 0 || !host || blocks == 0 || *host / blocks >= size) return std::nullopt;
        index = *host / blocks;
        outside.low = static_cast<std::uint16_t>(rule.port_low + *host % blocks * rule.block);
        outside.high = static_cast<std::uint16_t>(outside.low + rule.block - 1);
    } else {
        if (nth >= std::min<std::uint64_t>(size, kOutsidesMost)) return std::nullopt;
        index = size == 1 ? 0 : place_of(hash_of(inside, rule.id), size) + nth;
        if (index >= size) index -= size;
    }
    if (!rule.pool.empty()) {
        outside.address = at(rule.pool, index);
        return outside;
    }
    const auto& own = own_address(egress, inside.is_v4());
    if (!own) return std::nullopt;
    outside.address = *own;
    return outside;
}

bool NatRules::translates_to(const Masquerade& rule, const IpAddress& outside) const {
    if (!rule.pool.empty()) {
        return std::ranges::any_of(rule.pool, [&](const PoolRange& range) {
            return range.first <= outside && outside <= range.last;
        });
    }
    for (std::size_t i = 0; i < own_.size(); ++i) {
        if (own_[i].zone != rule.zone || (!rule.any_interface && rule.interface != i)) continue;
        if (std::ranges::find(own_[i].all, outside) != own_[i].all.end()) return true;
    }
    return false;
}

bool NatRules::translates(Zone zone, const IpAddress& source, const IpAddress& destination) const {
    if (by_inside_.contains({source, zone, 0}) || by_outside_.contains({destination, zone, 0})) return true;
    return std::ranges::any_of(masquerades_, [&](const Masquerade& rule) {
        return rule.zone == zone && (rule.covers(source, destination) || translates_to(rule, destination));
    });
}

const std::optional<IpAddress>& NatRules::own_address(InterfaceIndex interface, bool v4) const {
    static const std::optional<IpAddress> none;
    if (interface >= own_.size()) return none;
    return v4 ? own_[interface].first4 : own_[interface].first6;
}

}  // namespace viaduct::dataplane
