#include "worker/flow_sweep.h"

#include <algorithm>

namespace viaduct::dataplane {

namespace {

std::uint32_t part(std::uint32_t buckets, unsigned number, unsigned workers) {
    return static_cast<std::uint32_t>(std::uint64_t{buckets} * number / workers);
}

}  // namespace

FlowSweep::FlowSweep(FlowTables flows, unsigned number, unsigned workers)
    : flows_(flows),
      v4_{part(flows.v4->buckets(), number, workers), part(flows.v4->buckets(), number + 1, workers)},
      v6_{part(flows.v6->buckets(), number, workers), part(flows.v6->buckets(), number + 1, workers)} {}

template <typename Key>
void FlowSweep::sweep(Share share, std::uint32_t& buckets, std::uint32_t now,
                      const model::FlowTimeouts& timeouts) {
    const auto count = std::min(buckets, share.end - share.first);
    if (count == 0) return;
    flows_.of<Key>().expire(share.first, count, now, timeouts);
    buckets -= count;
    at_ += count;
}

void FlowSweep::step(std::uint32_t buckets, std::uint32_t now, const model::FlowTimeouts& timeouts) {
    if (resting_) {
        if (now == began_) return;
        began_ = now;
        at_ = 0;
        resting_ = false;
    }
    const auto size4 = v4_.end - v4_.first;
    const auto size = size4 + v6_.end - v6_.first;
    if (at_ < size4) sweep<FlowKey4>({v4_.first + at_, v4_.end}, buckets, now, timeouts);
    if (at_ >= size4) sweep<FlowKey6>({v6_.first + at_ - size4, v6_.end}, buckets, now, timeouts);
    if (at_ < size) return;
    resting_ = true;
    swept_.store(began_, std::memory_order_release);
}

}  // namespace viaduct::dataplane
