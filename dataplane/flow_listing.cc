#include "flow_listing.h"

#include <algorithm>
#include <set>

#include "viaduct/fault.h"

#include "tables/services.h"

namespace viaduct::dataplane {

namespace {

/// One page looks at so many buckets at most, so that a request is answered soon also when nothing matches.
constexpr std::uint32_t kBucketsOfAPage = 65536;

template <typename Key>
using Seen = typename FlowTable<Key>::Seen;

template <typename Key>
const ServiceEntry* service_of(const Seen<Key>& flow, const FlowNames& names) {
    if (names.services == nullptr || names.services->empty()) return nullptr;
    return names.services->of_flow(flow.forward, flow.forward_tail->rule.load(std::memory_order_relaxed));
}

template <typename Address>
IpAddress address_of(const Address& address) {
    return *IpAddress::from_bytes(address.bytes);
}

/// The filter with names already looked up.
class Matcher {
public:
    Matcher(const FlowFilter& filter, const FlowNames& names) : filter_(filter), names_(names) {
        if (filter.vrf) {
            for (const auto& [zone, name] : names.vrfs) {
                if (name == *filter.vrf) zone_ = zone;
            }
            if (!zone_) throw Refused("vrf", "\"" + *filter.vrf + "\" does not exist");
        }
        if (!filter.service) return;
        if (names.services != nullptr) {
            names.services->visit([&](const ServiceEntry& entry) {
                if (filter.service->matches(entry.config())) services_.insert(&entry);
            });
        }
        if (services_.empty())
            throw Refused("service", "\"" + to_string(*filter.service) + "\" does not exist");
    }

    template <typename Key>
    [[nodiscard]] bool operator()(const Seen<Key>& flow) const {
        const auto& record = flow.forward;
        if (zone_ && record.key.zone != *zone_) return false;
        if (filter_.protocol && record.key.protocol != *filter_.protocol) return false;
        if (filter_.state && flow.state != *filter_.state) return false;
        if (filter_.port) {
            const auto port = Be16::from_host(*filter_.port);
            if (record.key.source_port != port && record.key.destination_port != port &&
                record.new_source_port != port && record.new_destination_port != port)
                return false;
        }
        if (filter_.service && !services_.contains(service_of<Key>(flow, names_))) return false;
        if (filter_.source && !filter_.source->contains(address_of(record.key.source))) return false;
        return !filter_.destination || filter_.destination->contains(address_of(record.key.destination)) ||
               filter_.destination->contains(address_of(record.new_destination));
    }

private:
    const FlowFilter& filter_;
    const FlowNames& names_;
    std::optional<Zone> zone_;
    std::set<const ServiceEntry*> services_;
};

std::string_view name_at(const std::vector<std::string>& names, std::size_t index) {
    return index < names.size() ? std::string_view(names[index]) : std::string_view();
}

template <typename Key>
ListedFlow described(const Seen<Key>& flow, const FlowNames& names) {
    const auto& record = flow.forward;
    const auto& key = record.key;
    constexpr auto kRelaxed = std::memory_order_relaxed;
    ListedFlow listed;
    if (const auto vrf = names.vrfs.find(key.zone); vrf != names.vrfs.end()) listed.vrf = vrf->second;
    listed.protocol = key.protocol;
    listed.state = flow.state;
    listed.sent = {address_of(key.source), address_of(key.destination), key.source_port.to_host(),
                   key.destination_port.to_host()};
    if (record.has(kFlowTranslate)) {
        listed.translated = {address_of(record.new_source), address_of(record.new_destination),
                             record.new_source_port.to_host(), record.new_destination_port.to_host()};
    }
    if (const auto* service = service_of<Key>(flow, names)) listed.service = service->label();
    if (record.generation == names.generation) {
        listed.interface = name_at(names.interfaces, record.ingress);
        listed.port = name_at(names.ports, record.port);
    }
    const auto created = flow.forward_tail->created.load(kRelaxed);
    listed.age = static_cast<std::int32_t>(names.now - created) < 0 ? 0 : names.now - created;
    listed.idle = flow_idle(*flow.forward_tail, *flow.reverse_tail, names.now);
    listed.timeout = flow_timeout(flow.state, key.protocol, names.timeouts);
    listed.packets = flow.forward_tail->packets.load(kRelaxed);
    listed.bytes = flow.forward_tail->bytes.load(kRelaxed);
    listed.reply_packets = flow.reverse_tail->packets.load(kRelaxed);
    listed.reply_bytes = flow.reverse_tail->bytes.load(kRelaxed);
    return listed;
}

/// Of one table, from `from` on; lowers `most` by what it listed.
template <typename Key>
std::optional<FlowIndex> list(const FlowTable<Key>& table, const FlowNames& names, const Matcher& matches,
                              FlowIndex from, std::uint32_t& most,
                              const std::function<void(const ListedFlow&)>& visit) {
    std::optional<FlowIndex> next;
    const auto first = from / FlowBucket::kPlaces;
    if (first >= table.buckets()) return next;
    table.visit(first, kBucketsOfAPage, [&](const Seen<Key>& flow) {
        if (flow.index < from || !matches.template operator()<Key>(flow)) return true;
        if (most == 0) {
            next = flow.index;
            return false;
        }
        --most;
        visit(described<Key>(flow, names));
        return true;
    });
    const auto end = std::uint64_t{first} + kBucketsOfAPage;
    if (!next && end < table.buckets()) next = static_cast<FlowIndex>(end * FlowBucket::kPlaces);
    return next;
}

/// Calls `act` with each matching flow of both tables.
template <typename Act>
void each(FlowTables tables, const Matcher& matches, const Act& act) {
    const auto walk = [&]<typename Key>(FlowTable<Key>& table) {
        table.visit(0, table.buckets(), [&](const Seen<Key>& flow) {
            if (matches.template operator()<Key>(flow)) act(table, flow);
            return true;
        });
    };
    walk(*tables.v4);
    walk(*tables.v6);
}

}  // namespace

std::optional<FlowCursor> list_flows(FlowTables tables, const FlowNames& names, const FlowFilter& filter,
                                     FlowCursor from, std::uint32_t most,
                                     const std::function<void(const ListedFlow&)>& visit) {
    const Matcher matches(filter, names);
    if (!from.v6) {
        if (const auto next = list(*tables.v4, names, matches, from.index, most, visit))
            return FlowCursor{false, *next};
        from = {true, 0};
        // A page that is full ends here; whether there are IPv6 flows, the next one says.
        if (most == 0) return from;
    }
    if (const auto next = list(*tables.v6, names, matches, from.index, most, visit))
        return FlowCursor{true, *next};
    return std::nullopt;
}

FlowCount count_flows(FlowTables tables, const FlowNames& names, const FlowFilter& filter) {
    FlowCount count;
    each(tables, Matcher(filter, names), [&](const auto&, const auto& flow) {
        ++count.flows;
        ++count.states[static_cast<std::size_t>(flow.state)];
    });
    return count;
}

std::uint64_t flush_flows(FlowTables tables, const FlowNames& names, const FlowFilter& filter) {
    std::uint64_t flushed = 0;
    each(tables, Matcher(filter, names), [&](auto& table, const auto& flow) {
        if (table.remove(flow.index, flow.forward.key)) ++flushed;
    });
    return flushed;
}

}  // namespace viaduct::dataplane
