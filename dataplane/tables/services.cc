#include "tables/services.h"

#include <algorithm>
#include <unordered_map>

#include "tables/maglev.h"
#include "tables/nat_ports.h"
#include "tables/rule_id.h"

namespace viaduct::dataplane {

namespace {

constexpr std::size_t kCacheLine = 64;

std::string label_of(const model::Service& service) {
    return service.namespace_ + "/" + service.name + "/" + service.port;
}

std::uint32_t id_of(const model::Service& service) {
    return (RuleId() << "service" << service.vrf << label_of(service)).get();
}

std::uint64_t identity_of(const model::Backend& backend) {
    return hash_of(backend.address, backend.port);
}

}  // namespace

ServiceEntry::ServiceEntry(const model::Service& config, Zone zone, std::shared_ptr<ServiceCounters> counters)
    : config_(config),
      zone_(zone),
      id_(id_of(config)),
      counters_(std::move(counters)),
      label_(label_of(config)) {
    const auto& frontends = config_.frontends;
    for (const bool v4 : {false, true}) {
        for (const bool local_only : {false, true}) {
            const auto asks = [&](const model::Frontend& frontend) {
                return frontend.address.is_v4() == v4 &&
                       (frontend.local_only == local_only || (frontend.external && !local_only));
            };
            if (std::ranges::any_of(frontends, asks))
                fill(pools_[v4 ? 0 : 1][local_only ? 1 : 0], v4, local_only);
        }
    }
}

void ServiceEntry::fill(BackendPool& pool, bool v4, bool local_only) const {
    const auto& backends = config_.backends;
    const auto rank = [&](const model::Backend& backend) {
        return backend.draining ? 2 : backend.distant && !local_only ? 1 : 0;
    };
    int best = 2;
    for (std::size_t i = 0; i < backends.size(); ++i) {
        const auto& backend = backends[i];
        if (backend.address.is_v4() != v4 || (local_only && !backend.local) || rank(backend) > best) continue;
        if (rank(backend) < best) pool.members.clear();
        best = rank(backend);
        pool.members.push_back(static_cast<std::uint16_t>(i));
    }
    if (config_.balance == model::Balance::maglev) {
        std::vector<MaglevMember> members;
        members.reserve(pool.members.size());
        for (const auto i : pool.members)
            members.push_back({identity_of(backends[i]), backends[i].weight});
        pool.maglev = maglev_table(members);
        for (auto& slot : pool.maglev)
            slot = pool.members[slot];
    } else if (config_.balance != model::Balance::least_connections) {
        std::uint32_t sum = 0;
        for (const auto i : pool.members)
            pool.weights.push_back(sum += backends[i].weight);
    }
}

void ServiceEntry::fetch() const {
    const auto* const first = reinterpret_cast<const std::byte*>(&config_.protocol);
    const auto* const last = reinterpret_cast<const std::byte*>(&pools_) + sizeof(BackendPool);
    for (const auto* line = first; line < last + kCacheLine - 1; line += kCacheLine)
        __builtin_prefetch(line);
}

bool ServiceEntry::has_backend(bool v4) const {
    return std::ranges::any_of(config_.backends,
                               [&](const model::Backend& backend) { return backend.address.is_v4() == v4; });
}

const model::Backend* ServiceEntry::backend(const IpAddress& address, std::uint16_t port) const {
    const auto& backends = config_.backends;
    const auto place = [](const model::Backend& one) { return std::pair(one.address, one.port); };
    const auto found = std::ranges::lower_bound(backends, std::pair(address, port), {}, place);
    return found != backends.end() && found->address == address && found->port == port ? &*found : nullptr;
}

std::uint64_t Services::hash_place(Zone zone, std::uint8_t protocol, const IpAddress& address,
                                   std::uint16_t port) {
    return hash_of(address, std::uint64_t{zone} << 32 | std::uint64_t{protocol} << 16 | port);
}

Services::Match Services::find(Zone zone, std::uint8_t protocol, const IpAddress& address,
                               std::uint16_t port) const {
    return find({hash_place(zone, protocol, address, port), zone, protocol, port, &address});
}

void Services::fetch(Lookup& lookup) const {
    lookup.hash = hash_place(lookup.zone, lookup.protocol, *lookup.address, lookup.port);
    __builtin_prefetch(by_place_[shard_of(lookup.hash)].get());
}

void Services::fetch_slots(const Lookup& lookup) const {
    const auto* shard = by_place_[shard_of(lookup.hash)].get();
    if (shard == nullptr) return;
    for (const auto& slot : *shard)
        __builtin_prefetch(&slot);
}

void Services::fetch_entry(const Lookup& lookup) const {
    const auto* shard = by_place_[shard_of(lookup.hash)].get();
    if (shard == nullptr) return;
    const auto found = std::ranges::find(*shard, lookup.hash, &Slot::hash);
    if (found != shard->end()) found->service->fetch();
}

Services::Match Services::find(const Lookup& lookup) const {
    const auto* shard = by_place_[shard_of(lookup.hash)].get();
    if (shard == nullptr) return {};
    for (const auto& slot : *shard) {
        if (slot.hash != lookup.hash) continue;
        const auto& frontend = slot.frontend;
        const auto& service = *slot.service;
        if (frontend.port == lookup.port && frontend.address == *lookup.address &&
            service.zone() == lookup.zone &&
            static_cast<std::uint8_t>(service.config().protocol) == lookup.protocol)
            return {&service, &frontend};
    }
    return {};
}

const ServiceEntry* Services::find(std::uint32_t id) const {
    const auto hash = mix(id, 0);
    const auto* shard = by_id_[shard_of(hash)].get();
    if (shard == nullptr) return nullptr;
    const auto found = std::ranges::find(*shard, hash, &Slot::hash);
    return found == shard->end() ? nullptr : found->service.get();
}

template <typename Key>
const ServiceEntry* Services::of_flow(const FlowRecord<Key>& initiator, std::uint32_t rule) const {
    const auto& key = initiator.key;
    if (rule == 0 || (initiator.new_destination == key.destination &&
                      initiator.new_destination_port == key.destination_port))
        return nullptr;
    if (const auto* service = find(rule)) return service;
    const auto destination = ip_address(key.destination);
    return find(key.zone, key.protocol, destination.is_loopback() ? ip_address(key.source) : destination,
                key.destination_port.to_host())
        .service;
}
template const ServiceEntry* Services::of_flow(const FlowRecord<FlowKey4>&, std::uint32_t) const;
template const ServiceEntry* Services::of_flow(const FlowRecord<FlowKey6>&, std::uint32_t) const;

void Services::visit(const std::function<void(const ServiceEntry&)>& visit) const {
    for (const auto& shard : by_id_) {
        if (shard == nullptr) continue;
        for (const auto& slot : *shard)
            visit(*slot.service);
    }
}

/// Not by its id alone, which two services may have in common.
ServiceEntryPtr Services::entry_of(const model::Service& service) const {
    const auto* shard = by_id_[shard_of(mix(id_of(service), 0))].get();
    if (shard == nullptr) return nullptr;
    const auto found = std::ranges::find_if(*shard, [&](const Slot& slot) {
        return slot.service->config().key() == service.key() && slot.service->config().vrf == service.vrf;
    });
    return found == shard->end() ? nullptr : found->service;
}

namespace {

/// Copies a shard when it is touched first.
template <typename Shards>
class Touched {
public:
    using Shard = std::remove_const_t<typename Shards::value_type::element_type>;
    explicit Touched(Shards& shards) : shards_(shards) {}
    Shard& operator[](std::size_t index) {
        auto& mine = mine_[index];
        if (mine == nullptr) {
            mine = shards_[index] == nullptr ? std::make_shared<Shard>()
                                             : std::make_shared<Shard>(*shards_[index]);
            shards_[index] = mine;
        }
        return *mine;
    }

private:
    Shards& shards_;
    std::unordered_map<std::size_t, std::shared_ptr<Shard>> mine_;
};

}  // namespace

std::shared_ptr<const Services> ServicesBuilder::build(const model::Config& config, const ZoneOf& zone_of) {
    // One that is gone has no zone, and must not get one by asking.
    std::erase_if(zones_, [&](const auto& zone) {
        return zone.first != model::kDefaultVrf && !config.vrfs.contains(zone.first);
    });
    if (std::ranges::any_of(zones_, [&](const auto& zone) { return zone_of(zone.first) != zone.second; })) {
        before_.clear();
        zones_.clear();
        built_ = std::make_shared<const Services>();
    }
    if (before_ == config.services) return built_;

    auto next = std::make_shared<Services>(*built_);
    Touched places(next->by_place_);
    Touched ids(next->by_id_);
    const auto remove = [&](const ServiceEntry& entry) {
        const auto is_its = [&](const Services::Slot& slot) { return slot.service.get() == &entry; };
        for (const auto& frontend : entry.config().frontends) {
            const auto hash =
                Services::hash_place(entry.zone(), static_cast<std::uint8_t>(entry.config().protocol),
                                     frontend.address, frontend.port);
            std::erase_if(places[Services::shard_of(hash)], is_its);
        }
        std::erase_if(ids[Services::shard_of(mix(entry.id(), 0))], is_its);
        --next->size_;
    };
    const auto add = [&](const model::Service& service, std::shared_ptr<ServiceCounters> counters) {
        const auto [zone, is_new] = zones_.try_emplace(service.vrf, Zone{});
        if (is_new) zone->second = zone_of(service.vrf);
        if (counters == nullptr) counters = std::make_shared<ServiceCounters>();
        const auto entry = std::make_shared<const ServiceEntry>(service, zone->second, std::move(counters));
        for (const auto& frontend : service.frontends) {
            const auto hash = Services::hash_place(entry->zone(), static_cast<std::uint8_t>(service.protocol),
                                                   frontend.address, frontend.port);
            places[Services::shard_of(hash)].push_back({hash, entry, frontend});
        }
        const auto hash = mix(entry->id(), 0);
        ids[Services::shard_of(hash)].push_back({hash, entry, {}});
        ++next->size_;
    };
    auto announced = *built_->announced_;
    const auto count_announced = [&](const model::Service& service, Zone zone, bool comes) {
        for (const auto& frontend : service.frontends) {
            if (!frontend.announce) continue;
            const std::pair place(zone, frontend.address);
            auto& frontends = announced[place];
            frontends = comes ? frontends + 1 : frontends - 1;
            if (frontends == 0) announced.erase(place);
        }
    };
    Objects::differences(
        before_, config.services,
        [&](const model::ServiceKey&, const model::Service* before, const model::Service* after) {
            std::shared_ptr<ServiceCounters> counters;
            if (const auto entry = before == nullptr ? nullptr : next->entry_of(*before)) {
                counters = entry->shared_counters();
                count_announced(*before, entry->zone(), false);
                remove(*entry);
            }
            if (after != nullptr) {
                add(*after, std::move(counters));
                count_announced(*after, zones_.at(after->vrf), true);
            }
            return true;
        });
    if (announced != *next->announced_)
        next->announced_ = std::make_shared<const Services::Announced>(std::move(announced));
    before_ = config.services;
    built_ = std::move(next);
    return built_;
}

}  // namespace viaduct::dataplane
