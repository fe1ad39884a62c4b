// Translation's counters. Flows are counted by walking them when somebody asks: nothing is counted twice,
// nothing drifts, and no worker shares a counter.
#include <unordered_map>

#include <spdlog/spdlog.h>

#include "dataplane_state.h"
#include "nat_state.h"
#include "tables/nat_rules.h"

namespace viaduct::dataplane {

namespace {

struct Count {
    std::uint64_t flows = 0;
    std::uint64_t ports = 0;
};
using Counts = std::unordered_map<std::uint32_t, Count>;

template <typename Key>
void count(const FlowTable<Key>& table, const NatRules& rules, Counts& counts) {
    const auto visit = [&](const typename FlowTable<Key>::Seen& flow) {
        const auto rule = flow.forward_tail->rule.load(std::memory_order_relaxed);
        if (rule == 0) return true;
        const auto& record = flow.forward;
        auto& own = counts[rule];
        ++own.flows;
        if (NatPorts::holds_port(record)) ++own.ports;
        // A masquerade's flow may have come by a port forward, too.
        if (record.new_destination == record.key.destination &&
            record.new_destination_port == record.key.destination_port) {
            return true;
        }
        const auto other =
            rules.destination(record.key.zone, record.key.protocol, ip_address(record.key.destination),
                              record.key.destination_port.to_host());
        if (other && other->rule != rule) ++counts[other->rule].flows;
        return true;
    };
    for (std::uint32_t bucket = 0; bucket < table.buckets();)
        bucket = table.visit(bucket, table.buckets() - bucket, visit);
}

}  // namespace

NatState Dataplane::nat() const {
    auto& s = *state_;
    std::shared_ptr<const Tables> tables;
    {
        const std::scoped_lock lock(s.mutex);
        tables = s.tables;
    }
    const auto& ports = s.flows.nat_ports();
    NatState state;
    state.mappings = ports.mappings().count();
    state.exhausted = ports.exhausted();
    const auto vrf_name = [&](Zone zone) {
        const auto found = tables->vrfs.find(zone);
        return found == tables->vrfs.end() ? std::string() : found->second.name;
    };
    ports.visit([&](const NatPorts::SpaceState& space) {
        if (space.taken == 0) return;
        state.addresses.push_back(
            {vrf_name(space.zone), space.outside, space.protocol, space.taken, space.shared});
    });
    if (tables->nat == nullptr) return state;
    Counts counts;
    count(*flows().v4, *tables->nat, counts);
    count(*flows().v6, *tables->nat, counts);
    for (const auto& rule : tables->nat->rules()) {
        const auto& counted = counts[rule.id];
        state.rules.push_back({rule.id, std::string(to_string(rule.kind)), rule.name, vrf_name(rule.zone),
                               counted.flows, counted.ports, ports.exhausted(rule.id)});
    }
    return state;
}

/// At most once in a while, whatever happens in between.
void Dataplane::tell_exhaustion() {
    constexpr std::uint32_t kPause = 10;
    auto& s = *state_;
    const auto now = s.crew.now.load(std::memory_order_relaxed);
    const auto& ports = s.flows.nat_ports();
    const auto all = ports.exhausted();
    if (all == s.exhausted_told || now - s.exhausted_told_at < kPause) return;
    std::string rules;
    if (s.tables->nat != nullptr) {
        for (const auto& rule : s.tables->nat->rules()) {
            const auto own = ports.exhausted(rule.id);
            auto& told = s.exhausted_by_rule[rule.id];
            if (own != told) rules += (rules.empty() ? " by " : ", ") + rule.name;
            told = own;
        }
    }
    spdlog::warn("{} packets found no port free for another translation{}; give the pool more addresses",
                 all - s.exhausted_told, rules);
    s.exhausted_told = all;
    s.exhausted_told_at = now;
}

}  // namespace viaduct::dataplane
