#include "flow_engine.h"

#include <spdlog/spdlog.h>

namespace viaduct::dataplane {

namespace {

/// What a dataplane has that was given no memory: tests and replays.
constexpr std::uint32_t kEntries4 = 65536;
constexpr std::uint32_t kEntries6 = 16384;

std::shared_ptr<FlowMemory> anonymous() {
    return std::make_shared<FlowMemory>(FlowMemoryOptions{.entries4 = kEntries4, .entries6 = kEntries6});
}

/// Flows whose answers bridges are to hand to the router, as stage_source tells of those that begin.
template <typename Key>
void rebuild(BridgedPairs& bridged, const FlowTable<Key>& table) {
    table.visit(0, table.buckets(), [&](const FlowTable<Key>::Seen& seen) {
        const bool turned_back = seen.forward.has(kFlowTranslate) &&
                                 seen.forward.ingress == seen.reverse.ingress &&
                                 seen.forward.new_source == seen.forward.key.source;
        if (turned_back) bridged.add(seen.reverse.key);
        return true;
    });
}

template <typename Key>
void take_over(FlowTable<Key>& table, ResolveShared& shared, BridgedPairs& bridged, std::string_view family,
               std::uint32_t now) {
    const auto flows = table.take_over(now);
    const auto holders = shared.nat_ports.rebuild(table);
    shared.services.loads.rebuild(table);
    rebuild(bridged, table);
    spdlog::info(
        "took over {} {} flows of an earlier process, {} of them with ports of their own; {} could "
        "not be kept",
        flows.kept, family, holders, flows.dropped);
}

}  // namespace

FlowEngine::FlowEngine(std::shared_ptr<FlowMemory> memory, std::uint64_t seed, std::uint32_t now)
    : memory_(memory ? std::move(memory) : anonymous()),
      shared_(seed),
      v4_(memory_->table4(), memory_->entries4(), memory_->seed(), &shared_.holdings),
      v6_(memory_->table6(), memory_->entries6(), memory_->seed(), &shared_.holdings),
      bridged_(seed) {
    if (!memory_->distrust().empty())
        spdlog::warn("flows start anew: the file of an earlier process {}", memory_->distrust());
    if (!memory_->taken_over()) return;
    take_over(v4_, shared_, bridged_, "IPv4", now);
    take_over(v6_, shared_, bridged_, "IPv6", now);
}

}  // namespace viaduct::dataplane
