// What an earlier process left in the table, looked at before anybody uses it. That process may have been
// killed between any two of its stores, so: locks may be held, a record half written, a pair half entered or
// half removed, and a count of entries elsewhere wrong. Whatever is not whole goes, and the counts are made
// anew.
#include <algorithm>

#include "flow/flow_table.h"

namespace viaduct::dataplane {

namespace {

/// No flow is older in seconds of one machine's uptime; what claims to be, or to be from the future, is
/// now's.
constexpr std::uint32_t kAgeMost = 1U << 30;
constexpr std::uint8_t kScaleMost = 14;  // RFC 7323 2.3
/// Hints are believed for places that there are.
constexpr std::uint32_t kPlacesMask = (std::uint32_t{1} << FlowBucket::kPlaces) - 1;

void mend(FlowTail& tail, std::uint32_t now) {
    constexpr auto kRelaxed = std::memory_order_relaxed;
    for (auto* time : {&tail.seen, &tail.created}) {
        if (now - time->load(kRelaxed) > kAgeMost) time->store(now, kRelaxed);
    }
    if (tail.tcp_scale.load(kRelaxed) > kScaleMost) tail.tcp_scale.store(kScaleMost, kRelaxed);
}

}  // namespace

/// Whole, in a bucket of its own, found by its key, and one half of a pair whose other half says so too.
template <typename Key>
bool FlowTable<Key>::sound(FlowIndex index) const {
    const auto& record = entries_[index].record;
    if (!taken(index) || (record.sequence & 1) != 0) return false;
    const auto home = home_of(record.key);
    const auto bucket = bucket_of(index);
    if (std::ranges::find(home.buckets, bucket) == home.buckets.end()) return false;
    if (buckets_[bucket].signature(place_of(index)) != home.signature) return false;
    return locate(home, record.key) == index;
}

template <typename Key>
auto FlowTable<Key>::take_over(std::uint32_t now) -> TakenOver {
    TakenOver result;
    for (std::uint32_t bucket = 0; bucket < bucket_count_; ++bucket) {
        buckets_[bucket].unlock();
        buckets_[bucket].set_elsewhere(1);  // until it is known: look in all
        buckets_[bucket].unanswered &= kPlacesMask;
    }
    const auto paired = [this](FlowIndex index) {
        const auto peer = entries_[index].tail.peer.load(std::memory_order_relaxed);
        return peer < capacity() && peer != index && sound(peer) &&
               entries_[peer].tail.peer.load(std::memory_order_relaxed) == index &&
               entries_[peer].record.has(kFlowInitiator) != entries_[index].record.has(kFlowInitiator);
    };
    // A place is freed when it is found wanting; its peer, alone then, is found wanting too, before or after.
    const auto take_away = [&](FlowIndex index) {
        buckets_[bucket_of(index)].set_signature(place_of(index), 0);
        ++result.dropped;
    };
    for (FlowIndex index = 0; index < capacity(); ++index) {
        if (!taken(index) || (sound(index) && paired(index))) continue;
        const auto peer = entries_[index].tail.peer.load(std::memory_order_relaxed);
        take_away(index);
        if (peer < capacity() && taken(peer) &&
            entries_[peer].tail.peer.load(std::memory_order_relaxed) == index)
            take_away(peer);
    }
    for (std::uint32_t bucket = 0; bucket < bucket_count_; ++bucket)
        buckets_[bucket].set_elsewhere(0);
    for (FlowIndex index = 0; index < capacity(); ++index) {
        if (!taken(index)) continue;
        auto& entry = entries_[index];
        entry.record.generation = 0;
        mend(entry.tail, now);
        const auto home = home_of(entry.record.key);
        for (std::uint32_t step = 0; home.buckets[step] != bucket_of(index); ++step)
            buckets_[home.buckets[step]].add_elsewhere();
        if (entry.record.has(kFlowInitiator)) ++result.kept;
    }
    kept_ = result.kept;
    compare_front();
    return result;
}

template FlowTable<FlowKey4>::TakenOver FlowTable<FlowKey4>::take_over(std::uint32_t);
template FlowTable<FlowKey6>::TakenOver FlowTable<FlowKey6>::take_over(std::uint32_t);

}  // namespace viaduct::dataplane
