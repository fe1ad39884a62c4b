// Which flows go and when: timeouts, the choice of what gives way to a newcomer, and listing, which walks the
// buckets in the same way.
#include <algorithm>

#include "flow/flow_table.h"

namespace viaduct::dataplane {

namespace {

/// A flow that changes that often while it is looked at is left out of a list.
constexpr int kListingAttempts = 100;

}  // namespace

template <typename Key>
FlowState FlowTable<Key>::state_of(const Record& record, FlowIndex index, FlowIndex peer) const {
    const auto& own = entries_[index].tail;
    const auto& other = entries_[peer].tail;
    const bool initiator = record.has(kFlowInitiator);
    return flow_state(record.key.protocol, initiator ? own : other, initiator ? other : own);
}

template <typename Key>
bool FlowTable<Key>::timed_out(const Record& record, FlowIndex index, FlowIndex peer,
                               Deadline deadline) const {
    const auto timeout = flow_timeout(state_of(record, index, peer), record.key.protocol, *deadline.timeouts);
    return flow_idle(entries_[index].tail, entries_[peer].tail, deadline.now) >= timeout;
}

/// Not at the front: its buckets are shared by so many keys that in a flood a flow would have to give way
/// there before it could be answered. From a place that depends on the newcomer, so that among equals it is
/// not always the newest flow that goes.
template <typename Key>
auto FlowTable<Key>::unanswered_of(const Home& home) const -> Candidates {
    Candidates found;
    const auto turn = static_cast<std::uint32_t>(home.hash >> 16) % FlowBucket::kPlaces;
    for (const auto bucket : {home.buckets[1], home.buckets[2]}) {
        const auto marked = buckets_[bucket].marked();
        const auto after = marked >> turn << turn;
        for (auto rest : {after, marked ^ after}) {
            for (; rest != 0; rest &= rest - 1) {
                if (found.count == kCandidates) return found;
                found.index[found.count++] =
                    index_of(bucket, static_cast<std::uint32_t>(__builtin_ctz(rest)));
            }
        }
    }
    return found;
}

template <typename Key>
bool FlowTable<Key>::is_crowded(const Home& home) const {
    return std::ranges::all_of(home.buckets,
                               [this](std::uint32_t bucket) { return buckets_[bucket].match(0) == 0; });
}

template <typename Key>
void FlowTable<Key>::fetch_victims(const Places& places) const {
    for (const auto* home : {&places.there, &places.back}) {
        if (const auto free = buckets_[home->buckets[2]].match(0); free != 0)
            fetch(index_of(home->buckets[2], FlowBucket::place(free)));
        if (!is_crowded(*home)) continue;
        const auto candidates = unanswered_of(*home);
        for (std::uint32_t i = 0; i < candidates.count; ++i)
            __builtin_prefetch(&tail(candidates.index[i]), 1);
    }
}

template <typename Key>
void FlowTable<Key>::fetch_victims_peers(const Places& places) const {
    for (const auto* home : {&places.there, &places.back}) {
        if (!is_crowded(*home)) continue;
        const auto index = longest_silent(unanswered_of(*home));
        if (index == kNoFlow) continue;
        fetch(index);
        const auto peer = tail(index).peer.load(std::memory_order_relaxed);
        if (peer >= capacity()) continue;
        fetch(peer);
        __builtin_prefetch(&buckets_[bucket_of(peer)], 1);
    }
}

template <typename Key>
void FlowTable<Key>::fetch_victims_holdings(const Places& places) const {
    if (observer_ == nullptr) return;
    for (const auto* home : {&places.there, &places.back}) {
        if (!is_crowded(*home)) continue;
        const auto index = longest_silent(unanswered_of(*home));
        Record record{};
        if (index != kNoFlow && snapshot(index, record)) observer_->flow_may_go(record);
    }
}

/// By their own tails alone, a cache line each.
template <typename Key>
FlowIndex FlowTable<Key>::longest_silent(const Candidates& candidates) const {
    const auto seen = [this](FlowIndex index) { return tail(index).seen.load(std::memory_order_relaxed); };
    auto found = kNoFlow;
    for (std::uint32_t i = 0; i < candidates.count; ++i) {
        const auto index = candidates.index[i];
        if (found == kNoFlow || static_cast<std::int32_t>(seen(index) - seen(found)) < 0) found = index;
    }
    return found;
}

/// By the buckets' hints alone. A hint that is wrong is taken back, and the next one looked at.
template <typename Key>
auto FlowTable<Key>::unanswered_worst(const Home& home, std::uint32_t now) const -> std::optional<Named> {
    for (std::uint32_t round = 0; round < 2 * FlowBucket::kPlaces; ++round) {
        const auto index = longest_silent(unanswered_of(home));
        if (index == kNoFlow) break;
        const auto peer = tail(index).peer.load(std::memory_order_relaxed);
        Record record{};
        if (taken(index) && peer < capacity() && snapshot(index, record)) {
            const auto idle = flow_idle(tail(index), tail(peer), now);
            if (flow_yield(state_of(record, index, peer), idle) == Yield::half_open)
                return Named{index, record.key};
        }
        buckets_[bucket_of(index)].unmark(place_of(index));
    }
    return std::nullopt;
}

/// Looks at all.
template <typename Key>
auto FlowTable<Key>::worst_of(const Home& home, std::uint32_t now) const -> std::optional<Named> {
    std::optional<Named> worst;
    auto worst_yield = Yield::never;
    std::uint32_t worst_idle = 0;
    constexpr auto kAll = kSteps * FlowBucket::kPlaces;
    for (std::uint32_t i = 0; i < kAll; ++i) {
        const auto turn = (static_cast<std::uint32_t>(home.hash >> 16) + i) % kAll;
        const auto index = index_of(home.buckets[turn / FlowBucket::kPlaces], turn % FlowBucket::kPlaces);
        const auto peer = entries_[index].tail.peer.load(std::memory_order_relaxed);
        Record record{};
        if (!taken(index) || peer >= capacity() || !snapshot(index, record)) continue;
        const auto idle = flow_idle(entries_[index].tail, entries_[peer].tail, now);
        const auto yield = flow_yield(state_of(record, index, peer), idle);
        if (yield < worst_yield || yield == Yield::never) continue;
        if (yield == worst_yield && idle <= worst_idle) continue;
        worst_yield = yield;
        worst_idle = idle;
        worst = Named{index, record.key};
    }
    return worst;
}

template <typename Key>
void FlowTable<Key>::fetch_tails(std::uint32_t bucket) const {
    for (std::uint32_t place = 0; place < FlowBucket::kPlaces; ++place) {
        if (buckets_[bucket].signature(place) != 0) rte_prefetch0(&entries_[index_of(bucket, place)].tail);
    }
}

/// To be read only: the tails stay in the caches of the workers that write them.
template <typename Key>
void FlowTable<Key>::fetch_entries(std::uint32_t bucket) const {
    for (std::uint32_t place = 0; place < FlowBucket::kPlaces; ++place) {
        if (buckets_[bucket].signature(place) == 0) continue;
        fetch_record(index_of(bucket, place));
        rte_prefetch0(&entries_[index_of(bucket, place)].tail);
    }
}

/// Of the flows that begin here, whose own entries are there by now.
template <typename Key>
void FlowTable<Key>::fetch_peers(std::uint32_t bucket) const {
    constexpr auto kFlags = offsetof(Record, flags);
    for (std::uint32_t place = 0; place < FlowBucket::kPlaces; ++place) {
        const auto index = index_of(bucket, place);
        if (buckets_[bucket].signature(place) == 0) continue;
        const auto flags = load(words(index) + kFlags / 8) >> (kFlags % 8 * 8);
        const auto peer = tail(index).peer.load(std::memory_order_relaxed);
        if ((flags & kFlowInitiator) == 0 || peer >= capacity()) continue;
        fetch_record(peer);
        rte_prefetch0(&entries_[peer].tail);
    }
}

/// From whichever direction it is met first; the pair goes as one.
template <typename Key>
bool FlowTable<Key>::expire_entry(FlowIndex index, Deadline deadline, std::uint32_t shortest) {
    const auto& own = entries_[index].tail;
    // Most flows end here, with one cache line read.
    if (flow_idle(own, own, deadline.now) < shortest) return false;
    const auto peer = own.peer.load(std::memory_order_relaxed);
    if (peer >= capacity()) return false;
    if (flow_idle(own, entries_[peer].tail, deadline.now) < shortest) return false;
    Record record{};
    if (!snapshot(index, record) || !timed_out(record, index, peer, deadline)) return false;
    return take_out(index, record.key, Why::expired, deadline);
}

template <typename Key>
void FlowTable<Key>::compare_front() {
    std::uint64_t behind = 0;
    std::uint64_t in_front = 0;
    for (std::uint32_t front = 0; front < front_count_; ++front) {
        behind += buckets_[front].elsewhere();
        in_front += FlowBucket::kPlaces -
                    static_cast<std::uint32_t>(__builtin_popcountll(buckets_[front].match(0))) / 2;
    }
    mostly_behind_.store(behind > in_front, std::memory_order_relaxed);
}

template <typename Key>
std::uint32_t FlowTable<Key>::expire(std::uint32_t first, std::uint32_t count, std::uint32_t now,
                                     const model::FlowTimeouts& timeouts) {
    const auto shortest = shortest_timeout(timeouts);
    const Deadline deadline{now, &timeouts};
    const auto end =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(std::uint64_t{first} + count, bucket_count_));
    std::uint32_t gone = 0;
    if (first == 0) compare_front();
    if (first < end) fetch_tails(first);
    for (auto bucket = first; bucket < end; ++bucket) {
        if (bucket + 2 < end) rte_prefetch0(&buckets_[bucket + 2]);
        if (bucket + 1 < end) fetch_tails(bucket + 1);
        for (std::uint32_t place = 0; place < FlowBucket::kPlaces; ++place) {
            if (buckets_[bucket].signature(place) == 0) continue;
            if (expire_entry(index_of(bucket, place), deadline, shortest)) ++gone;
        }
    }
    return gone;
}

/// Fills in `seen` if the entry is an initiator's direction with its peer. A flow that goes meanwhile is
/// none; its record changes when it goes, so that what was read between two equal sequence numbers belongs
/// together.
template <typename Key>
bool FlowTable<Key>::see(FlowIndex index, Seen& seen) const {
    for (int attempt = 0; attempt < kListingAttempts; ++attempt) {
        if (!taken(index) || !snapshot(index, seen.forward) || !seen.forward.has(kFlowInitiator))
            return false;
        const auto peer = entries_[index].tail.peer.load(std::memory_order_relaxed);
        if (peer >= capacity() || !snapshot(peer, seen.reverse)) continue;
        // A pair that goes from the reply's side is without its reply for a moment.
        if (seen.reverse.key == Key{}) continue;
        if (load(words(index) + kSequenceWord) >> 32 != seen.forward.sequence) continue;
        seen.forward_tail = &entries_[index].tail;
        seen.reverse_tail = &entries_[peer].tail;
        seen.state = flow_state(seen.forward.key.protocol, *seen.forward_tail, *seen.reverse_tail);
        seen.index = index;
        return true;
    }
    return false;
}

template <typename Key>
std::uint32_t FlowTable<Key>::visit(std::uint32_t first, std::uint32_t count,
                                    const std::function<bool(const Seen&)>& visit) const {
    const auto end =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(std::uint64_t{first} + count, bucket_count_));
    Seen seen{};
    const auto fetch_ahead = [&](std::uint32_t bucket) {
        if (bucket + 2 < end) rte_prefetch0(&buckets_[bucket + 2]);
        if (bucket + 1 < end) fetch_entries(bucket + 1);
        if (bucket < end) fetch_peers(bucket);
    };
    if (first < end) fetch_entries(first);
    fetch_ahead(first);
    for (auto bucket = first; bucket < end; ++bucket) {
        fetch_ahead(bucket + 1);
        for (std::uint32_t place = 0; place < FlowBucket::kPlaces; ++place) {
            if (see(index_of(bucket, place), seen) && !visit(seen)) return bucket + 1;
        }
    }
    return std::max(first, end);
}

#define VIADUCT_AGEING(Key)                                                                              \
    template FlowState FlowTable<Key>::state_of(const Record&, FlowIndex, FlowIndex) const;              \
    template bool FlowTable<Key>::timed_out(const Record&, FlowIndex, FlowIndex, Deadline) const;        \
    template void FlowTable<Key>::fetch_victims(const Places&) const;                                    \
    template void FlowTable<Key>::fetch_victims_peers(const Places&) const;                              \
    template void FlowTable<Key>::fetch_victims_holdings(const Places&) const;                           \
    template std::optional<FlowTable<Key>::Named> FlowTable<Key>::unanswered_worst(const Home&,          \
                                                                                   std::uint32_t) const; \
    template std::optional<FlowTable<Key>::Named> FlowTable<Key>::worst_of(const Home&, std::uint32_t)   \
        const;                                                                                           \
    template void FlowTable<Key>::compare_front();                                                       \
    template std::uint32_t FlowTable<Key>::expire(std::uint32_t, std::uint32_t, std::uint32_t,           \
                                                  const model::FlowTimeouts&);                           \
    template std::uint32_t FlowTable<Key>::visit(std::uint32_t, std::uint32_t,                           \
                                                 const std::function<bool(const Seen&)>&) const;

VIADUCT_AGEING(FlowKey4)
VIADUCT_AGEING(FlowKey6)

}  // namespace viaduct::dataplane
