// What the flows of an earlier process hold is found again by walking them: the flow table is the only truth
// that outlives a process.
#include "tables/nat_ports.h"

namespace viaduct::dataplane {

template <typename Key>
std::uint32_t NatPorts::rebuild(const FlowTable<Key>& flows) {
    std::uint32_t holding = 0;
    const auto hold = [&](const typename FlowTable<Key>::Seen& flow) {
        const auto& record = flow.forward;
        if (!holds_port(record)) return true;
        const auto outside = ip_address(flow.reverse.key.destination);
        const auto port = record.new_source_port.to_host();
        auto* space = find_or_make(flow.reverse.key.zone, record.key.protocol, outside);
        if (space == nullptr) return true;
        ++holding;
        if (record.has(kFlowMapping)) {
            const NatMappings::Inside inside{record.key.zone, record.key.protocol,
                                             ip_address(record.key.source), record.key.source_port.to_host()};
            const auto rule = flow.forward_tail->rule.load(std::memory_order_relaxed);
            if (mappings_.use(inside, rule)) return true;
            mappings_.enter(inside, {outside, port}, rule);
        }
        if (!space->take(port)) space->add_holder(port);
        return true;
    };
    for (std::uint32_t bucket = 0; bucket < flows.buckets();) {
        bucket = flows.visit(bucket, flows.buckets() - bucket, hold);
    }
    return holding;
}
template std::uint32_t NatPorts::rebuild(const FlowTable<FlowKey4>&);
template std::uint32_t NatPorts::rebuild(const FlowTable<FlowKey6>&);

}  // namespace viaduct::dataplane
