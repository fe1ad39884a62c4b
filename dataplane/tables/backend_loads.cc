#include "tables/backend_loads.h"

#include "tables/rule_id.h"

namespace viaduct::dataplane {

std::size_t BackendLoads::place(Zone zone, std::uint8_t protocol, const IpAddress& address,
                                std::uint16_t port) {
    const auto hash = hash_of(address, std::uint64_t{zone} << 32 | std::uint64_t{protocol} << 16 | port);
    return hash >> 20 & (kCounts - 1);
}

template <typename Key>
void BackendLoads::rebuild(const FlowTable<Key>& flows) {
    const auto count = [&](const typename FlowTable<Key>::Seen& flow) {
        if (flow.forward.has(kFlowCounted))
            counts_[place(flow.forward)].fetch_add(1, std::memory_order_relaxed);
        return true;
    };
    for (std::uint32_t bucket = 0; bucket < flows.buckets();)
        bucket = flows.visit(bucket, flows.buckets() - bucket, count);
}
template void BackendLoads::rebuild(const FlowTable<FlowKey4>&);
template void BackendLoads::rebuild(const FlowTable<FlowKey6>&);

}  // namespace viaduct::dataplane
