// Services' connections. Flows are counted by walking them when somebody asks, as translation's are: nothing
// is counted twice, nothing drifts, and no worker shares a counter.
#include <algorithm>
#include <unordered_map>

#include "dataplane_state.h"
#include "service_traffic.h"
#include "tables/services.h"

namespace viaduct::dataplane {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

/// By service; only those that are asked for have an entry.
using Counts = std::unordered_map<const ServiceEntry*, std::vector<BackendTraffic>>;

template <typename Key>
void count(const FlowTable<Key>& table, const Services& services, Counts& counts) {
    const auto visit = [&](const typename FlowTable<Key>::Seen& flow) {
        const auto& record = flow.forward;
        const auto* service = services.of_flow(record, flow.forward_tail->rule.load(kRelaxed));
        if (service == nullptr) return true;
        const auto found = counts.find(service);
        if (found == counts.end()) return true;
        const auto* backend =
            service->backend(ip_address(record.new_destination), record.new_destination_port.to_host());
        // Its next packet will go to another one.
        if (backend == nullptr) return true;
        auto& traffic = found->second[static_cast<std::size_t>(backend - service->config().backends.data())];
        ++traffic.connections;
        traffic.tx_packets += flow.forward_tail->packets.load(kRelaxed);
        traffic.tx_bytes += flow.forward_tail->bytes.load(kRelaxed);
        traffic.rx_packets += flow.reverse_tail->packets.load(kRelaxed);
        traffic.rx_bytes += flow.reverse_tail->bytes.load(kRelaxed);
        return true;
    };
    for (std::uint32_t bucket = 0; bucket < table.buckets();)
        bucket = table.visit(bucket, table.buckets() - bucket, visit);
}

std::vector<const ServiceEntry*> sorted(const Services& services, const std::optional<ServiceName>& only) {
    std::vector<const ServiceEntry*> entries;
    services.visit([&](const ServiceEntry& entry) {
        if (!only || only->matches(entry.config())) entries.push_back(&entry);
    });
    std::ranges::sort(entries, {}, [](const ServiceEntry* entry) { return entry->config().key(); });
    return entries;
}

}  // namespace

std::optional<ServiceName> service_name(std::string_view text) {
    const auto first = text.find('/');
    if (first == std::string_view::npos) return std::nullopt;
    const auto second = text.find('/', first + 1);
    ServiceName name{std::string(text.substr(0, first)),
                     std::string(text.substr(first + 1, second - first - 1)), std::nullopt};
    if (second != std::string_view::npos) name.port = text.substr(second + 1);
    const bool whole = model::is_name(name.namespace_) && model::is_name(name.name) &&
                       (!name.port || model::is_name(*name.port));
    return whole ? std::optional(std::move(name)) : std::nullopt;
}

std::string to_string(const ServiceName& name) {
    return name.namespace_ + "/" + name.name + (name.port ? "/" + *name.port : "");
}

std::shared_ptr<const Services> Dataplane::State::services() const {
    const std::scoped_lock lock(mutex);
    return tables->services;
}

void Dataplane::visit_services(const std::optional<ServiceName>& only,
                               const std::function<void(const ServiceTraffic&)>& visit) const {
    const auto services = state_->services();
    if (services == nullptr) return;
    const auto entries = sorted(*services, only);
    if (entries.empty()) return;
    Counts counts;
    for (const auto* entry : entries)
        counts[entry].resize(entry->config().backends.size());
    count(*flows().v4, *services, counts);
    count(*flows().v6, *services, counts);
    for (const auto* entry : entries) {
        visit({&entry->config(), entry->counters().flows.load(kRelaxed),
               entry->counters().refused.load(kRelaxed), std::move(counts[entry])});
    }
}

ServiceSums Dataplane::service_sums(std::size_t most) const {
    ServiceSums sums;
    sums.affinities = state_->flows.shared().services.affinities.size();
    const auto services = state_->services();
    if (services == nullptr) return sums;
    sums.services = services->size();
    services->visit([&](const ServiceEntry& entry) {
        const ServiceSum one{entry.label(), entry.counters().flows.load(kRelaxed),
                             entry.counters().refused.load(kRelaxed)};
        sums.flows += one.flows;
        sums.refused += one.refused;
        if (sums.services <= most) sums.each.push_back(one);
    });
    std::ranges::sort(sums.each, {}, &ServiceSum::label);
    return sums;
}

}  // namespace viaduct::dataplane
