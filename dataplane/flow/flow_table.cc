// Finding, entering, changing and removing flows: the flow table's rare half.
#include "flow/flow_table.h"

#include <algorithm>
#include <memory>

#include <rte_lcore.h>

namespace viaduct::dataplane {

namespace {

/// So many entries may have to give way to one newcomer: two directions, and other workers' newcomers take
/// places just made.
constexpr int kEvictionsMost = 8;

/// A reader or remover that meets a writer each time gives up: that many times in a row, it is no writer.
constexpr int kAttemptsMost = 1'000;

/// Beyond this, a key's third bucket gets the entry if it has more room than its second: so the table fills
/// to seven eighths before all buckets of a key are full, while few entries lie in their third.
constexpr std::uint32_t kSecondBucketMost = 25;

/// Buckets at the front at most: room for 14,336 entries, and 32 KiB.
constexpr std::uint32_t kFrontMost = 512;
constexpr std::uint32_t kFrontShare = 4;  ///< and at most one in so many

std::uint32_t bucket_count_for(std::uint32_t entries) {
    const auto places = std::uint64_t{entries} * 8 / 7;
    return static_cast<std::uint32_t>(
        std::max<std::uint64_t>(3, (places + FlowBucket::kPlaces - 1) / FlowBucket::kPlaces));
}

/// A record and its tail lie in one pair of lines, which memory delivers together.
constexpr std::size_t bytes_of_buckets(std::uint32_t count) {
    constexpr std::size_t kPairOfLines = 128;
    return (std::size_t{count} * sizeof(FlowBucket) + kPairOfLines - 1) / kPairOfLines * kPairOfLines;
}

}  // namespace

template <typename Key>
std::size_t FlowTable<Key>::bytes(std::uint32_t entries) {
    const auto count = bucket_count_for(entries);
    return bytes_of_buckets(count) + std::size_t{count} * FlowBucket::kPlaces * sizeof(Entry);
}

template <typename Key>
FlowTable<Key>::FlowTable(std::byte* memory, std::uint32_t entries, std::uint64_t seed,
                          FlowObserver<Key>* observer)
    : buckets_(reinterpret_cast<FlowBucket*>(memory)),
      bucket_count_(bucket_count_for(entries)),
      front_count_(std::clamp(bucket_count_ / kFrontShare, 1U, kFrontMost)),
      seed_(seed),
      observer_(observer) {
    entries_ = reinterpret_cast<Entry*>(memory + bytes_of_buckets(bucket_count_));
}

template <typename Key>
auto FlowTable<Key>::shard() -> Shard& {
    const auto lcore = rte_lcore_id();
    return shards_[lcore == LCORE_ID_ANY ? 0 : lcore % kShards];
}

template <typename Key>
auto FlowTable<Key>::home_of(const Key& key) const -> Home {
    const auto h = hash(key);
    return {h, {bucket_of(h, 0), bucket_of(h, 1), bucket_of(h, 2)}, signature_of(h)};
}

/// The record whole, whosever it is; waits for a writer, whose few stores do not take long.
template <typename Key>
bool FlowTable<Key>::snapshot(FlowIndex index, Record& into) const {
    for (int attempt = 0; attempt < kAttemptsMost; ++attempt) {
        const Word* const from = words(index);
        auto* const to = reinterpret_cast<Word*>(&into);
        const std::uint64_t before = load(from + kSequenceWord);
        if ((before & kWriting) == 0) {
            for (std::size_t at = 0; at < kSequenceWord; ++at)
                to[at] = load(from + at);
            to[kSequenceWord] = before;
            if (load(from + kSequenceWord) == before) return true;
        }
        rte_pause();
    }
    return false;
}

/// In the buckets but that of step `seen`, 0 or 1, which has been looked at: the hint may be another by now.
/// The front comes before the last.
template <typename Key>
FlowIndex FlowTable<Key>::candidate_elsewhere(std::uint64_t hash, std::uint32_t seen) const {
    const bool behind = seen != 0;
    const auto front = bucket_of(hash, 0);
    const auto first = bucket_of(hash, 1);
    if (!behind && buckets_[front].elsewhere() == 0) return kNoFlow;
    const auto index = by_signature(behind ? front : first, hash);
    if (index != kNoFlow || buckets_[first].elsewhere() == 0) return index;
    return by_signature(bucket_of(hash, 2), hash);
}

template <typename Key>
FlowIndex FlowTable<Key>::find(const Key& key, std::uint64_t hash, Record& into) const {
    for (std::uint32_t step = 0; step < kSteps; ++step) {
        const auto bucket = bucket_of(hash, step);
        for (auto matches = buckets_[bucket].match(signature_of(hash)); matches != 0;
             matches = FlowBucket::without_first(matches)) {
            const auto index = index_of(bucket, FlowBucket::place(matches));
            if (snapshot(index, into) && into.key == key) return index;
        }
        if (buckets_[bucket].elsewhere() == 0) break;
    }
    return kNoFlow;
}

template <typename Key>
bool FlowTable<Key>::holds(FlowIndex index, const Key& key) const {
    if (!taken(index)) return false;
    const auto wanted = key.words();
    for (std::size_t at = 0; at < Key::kWords; ++at) {
        if (load(words(index) + at) != wanted[at]) return false;
    }
    return true;
}

/// Readers see an odd sequence, or another one afterwards, and do not believe what they copied meanwhile.
template <typename Key>
void FlowTable<Key>::write(FlowIndex index, const Record& record) {
    Word* const to = words(index);
    const auto* const from = reinterpret_cast<const Word*>(&record);
    constexpr std::uint64_t kRest = kWriting - 1;
    // Even, whatever a process that was killed while it wrote here has left.
    const auto sequence = load(to + kSequenceWord) & ~kRest & ~kWriting;
    store(to + kSequenceWord, sequence | kWriting);
    for (std::size_t at = 0; at < kSequenceWord; ++at)
        store(to + at, from[at]);
    store(to + kSequenceWord, (sequence + 2 * kWriting) | (from[kSequenceWord] & kRest));
}

template <typename Key>
void FlowTable<Key>::start_tail(FlowIndex index, FlowIndex peer, std::uint32_t rule, std::uint32_t now) {
    auto& tail = entries_[index].tail;
    constexpr auto kRelaxed = std::memory_order_relaxed;
    tail.packets.store(0, kRelaxed);
    tail.bytes.store(0, kRelaxed);
    tail.peer.store(peer, kRelaxed);
    tail.seen.store(now, kRelaxed);
    tail.created.store(now, kRelaxed);
    tail.tcp_ack.store(0, kRelaxed);
    tail.tcp_window.store(0, kRelaxed);
    tail.rule.store(rule, kRelaxed);
    tail.tcp_seen.store(0, kRelaxed);
    tail.tcp_scale.store(0, kRelaxed);
}

template <typename Key>
void FlowTable<Key>::publish(FlowIndex index, const Home& home) {
    for (std::uint32_t step = 0; home.buckets[step] != bucket_of(index); ++step)
        buckets_[home.buckets[step]].add_elsewhere();
    if (!mostly_behind() && buckets_[home.buckets[0]].elsewhere() > FlowBucket::kPlaces)
        mostly_behind_.store(true, std::memory_order_relaxed);
    buckets_[bucket_of(index)].mark(place_of(index));
    buckets_[bucket_of(index)].set_signature(place_of(index), home.signature);
}

template <typename Key>
void FlowTable<Key>::clear(FlowIndex index, const Home& home) {
    buckets_[bucket_of(index)].set_signature(place_of(index), 0);
    for (std::uint32_t step = 0; home.buckets[step] != bucket_of(index); ++step)
        buckets_[home.buckets[step]].subtract_elsewhere();
    // Whoever kept the index shall not take what is left for the flow.
    write(index, Record{});
}

template <typename Key>
FlowIndex FlowTable<Key>::locate(const Home& home, const Key& key) const {
    for (const auto bucket : home.buckets) {
        for (auto matches = buckets_[bucket].match(home.signature); matches != 0;
             matches = FlowBucket::without_first(matches)) {
            const auto index = index_of(bucket, FlowBucket::place(matches));
            if (holds(index, key)) return index;
        }
        if (buckets_[bucket].elsewhere() == 0) break;
    }
    return kNoFlow;
}

/// The last step at which something of this home may lie, or will lie if it is entered now: buckets of later
/// ones need be neither read nor locked, which spares the cache lines that a new flow would touch.
template <typename Key>
std::uint32_t FlowTable<Key>::reach_of(const Home& home) const {
    constexpr auto kLast = kSteps - 1;
    const auto room = [&](std::uint32_t step) {
        return static_cast<std::uint32_t>(__builtin_popcountll(buckets_[home.buckets[step]].match(0))) / 2;
    };
    std::uint32_t reach = 0;
    while (reach < kLast && buckets_[home.buckets[reach]].elsewhere() != 0)
        ++reach;
    if (reach == kLast) return kLast;
    // One more than free_place() asks for: both directions may have this bucket.
    if (room(0) > 1) return reach;
    return room(1) > FlowBucket::kPlaces - kSecondBucketMost + 1 ? 1 : kLast;
}

template <typename Key>
FlowIndex FlowTable<Key>::free_place(const Home& home, std::uint32_t reach, FlowIndex except) const {
    const auto free_at = [&](std::uint32_t step) {
        if (step > reach) return std::uint64_t{0};
        const auto bucket = home.buckets[step];
        auto free = buckets_[bucket].match(0);
        if (except != kNoFlow && bucket_of(except) == bucket)
            free &= ~(std::uint64_t{3} << (2 * place_of(except)));
        return free;
    };
    const auto at = [&](std::uint32_t step, std::uint64_t free) {
        return index_of(home.buckets[step], FlowBucket::place(free));
    };
    if (const auto front = free_at(0); front != 0) return at(0, front);
    const auto first = free_at(1);
    const auto room = __builtin_popcountll(first) / 2;
    if (room > static_cast<int>(FlowBucket::kPlaces - kSecondBucketMost)) return at(1, first);
    const auto second = free_at(2);
    if (room != 0 && room >= __builtin_popcountll(second) / 2) return at(1, first);
    return second == 0 ? kNoFlow : at(2, second);
}

/// Under the locks of all buckets that may be written.
template <typename Key>
auto FlowTable<Key>::enter(const Places& places, Reach reach, const Record& forward, const Record& reverse,
                           std::uint32_t rule, std::uint32_t now) -> Pair {
    const auto one = free_place(places.there, reach.there, kNoFlow);
    const auto other = one == kNoFlow ? kNoFlow : free_place(places.back, reach.back, one);
    if (other == kNoFlow) return {Inserted::full, one, kNoFlow};
    auto record = forward;
    record.flags |= kFlowInitiator;
    auto reply = reverse;
    reply.flags = static_cast<std::uint16_t>(reply.flags & ~kFlowInitiator);
    start_tail(one, other, rule, now);
    start_tail(other, one, rule, now);
    write(one, record);
    write(other, reply);
    publish(one, places.there);
    publish(other, places.back);
    return {Inserted::yes, one, other};
}

template <typename Key>
auto FlowTable<Key>::places(const Key& forward, const Key& reverse) const -> Places {
    Places places;
    places.there = home_of(forward);
    places.back = home_of(reverse);
    const bool behind = mostly_behind();
    for (const auto* home : {&places.there, &places.back}) {
        __builtin_prefetch(&buckets_[home->buckets[0]], 1);
        if (behind) __builtin_prefetch(&buckets_[home->buckets[1]], 1);
    }
    return places;
}

template <typename Key>
bool FlowTable<Key>::fetch(Places& places) const {
    const auto one = [this](const Home& home) {
        const auto reach = reach_of(home);
        if (const auto index = free_place(home, std::min(reach, 1U), kNoFlow); index != kNoFlow) fetch(index);
        if (reach == kSteps - 1) __builtin_prefetch(&buckets_[home.buckets[reach]], 1);
        return reach;
    };
    places.reach = {one(places.there), one(places.back)};
    return std::max(places.reach.there, places.reach.back) < kSteps - 1;
}

template <typename Key>
auto FlowTable<Key>::insert(const Places& places, const Record& forward, const Record& reverse,
                            std::uint32_t rule, std::uint32_t now) -> Pair {
    if (forward.key == reverse.key) return {Inserted::clashes};
    const auto& there = places.there;
    const auto& back = places.back;
    auto reach = places.reach;
    for (int attempt = 0; attempt < kEvictionsMost; ++attempt) {
        const Home* lacking = nullptr;
        {
            FlowLocks::Buckets which;
            for (std::uint32_t step = 0; step <= reach.there; ++step)
                which.add(there.buckets[step]);
            for (std::uint32_t step = 0; step <= reach.back; ++step)
                which.add(back.buckets[step]);
            const FlowLocks locks(buckets_, which);
            // Others were here before the locks were.
            const Reach now_reach{reach_of(there), reach_of(back)};
            if (now_reach.there > reach.there || now_reach.back > reach.back) {
                reach = {std::max(reach.there, now_reach.there), std::max(reach.back, now_reach.back)};
                continue;
            }
            if (const auto index = locate(there, forward.key); index != kNoFlow)
                return {Inserted::exists, index, tail(index).peer.load(std::memory_order_relaxed)};
            if (const auto index = locate(back, reverse.key); index != kNoFlow)
                return {Inserted::clashes, kNoFlow, index};
            const auto pair = enter(places, reach, forward, reverse, rule, now);
            if (pair.result == Inserted::yes) {
                shard().inserted.fetch_add(1, std::memory_order_relaxed);
                return pair;
            }
            lacking = pair.forward == kNoFlow ? &there : &back;
        }
        auto victim = unanswered_worst(*lacking, now);
        if (!victim) victim = worst_of(*lacking, now);
        if (!victim) break;
        take_out(victim->index, victim->key, Why::evicted, {});
    }
    shard().refused.fetch_add(1, std::memory_order_relaxed);
    return {Inserted::full};
}

template <typename Key>
bool FlowTable<Key>::update(FlowIndex index, const Record& record) {
    if (index >= capacity()) return false;
    FlowLocks::Buckets which;
    which.add(bucket_of(index));
    const FlowLocks locks(buckets_, which);
    if (!holds(index, record.key)) return false;
    auto changed = record;
    // Only writers change it, and this one has the lock.
    const auto before = load(words(index) + kSequenceWord);
    constexpr auto kShift = (offsetof(Record, flags) - kSequenceWord * 8) * 8;
    const auto initiator = static_cast<std::uint16_t>(before >> kShift) & kFlowInitiator;
    changed.flags = static_cast<std::uint16_t>((changed.flags & ~kFlowInitiator) | initiator);
    write(index, changed);
    return true;
}

template <typename Key>
bool FlowTable<Key>::remove(FlowIndex index, const Key& key) {
    return take_out(index, key, Why::removed, {});
}

/// The bucket of an entry and those before it, which count it. False: it is in none of its own.
template <typename Key>
bool FlowTable<Key>::name_buckets(const Home& home, FlowIndex index, FlowLocks::Buckets& which) const {
    for (const auto bucket : home.buckets) {
        which.add(bucket);
        if (bucket == bucket_of(index)) return true;
    }
    return false;
}

/// Which buckets have to be locked is read without a lock, and checked under them. Another thread may take
/// the pair out meanwhile: exactly one succeeds, and tells the observer.
template <typename Key>
bool FlowTable<Key>::take_out(FlowIndex index, const Key& key, Why why, Deadline deadline) {
    if (index >= capacity()) return false;
    const auto home = home_of(key);
    for (int attempt = 0; attempt < kAttemptsMost; ++attempt) {
        Record record{};
        Record other{};
        const auto peer = tail(index).peer.load(std::memory_order_relaxed);
        if (peer >= capacity() || peer == index || !snapshot(index, record) || record.key != key)
            return false;
        if (!snapshot(peer, other)) return false;
        const auto other_home = home_of(other.key);
        {
            FlowLocks::Buckets which;
            if (!name_buckets(home, index, which) || !name_buckets(other_home, peer, which)) return false;
            const FlowLocks locks(buckets_, which);
            if (!holds(index, key)) return false;
            if (tail(index).peer.load(std::memory_order_relaxed) != peer || !holds(peer, other.key)) continue;
            // Both are as they were last written, now that nobody writes.
            if (!snapshot(index, record) || !snapshot(peer, other)) return false;
            if (deadline.timeouts != nullptr && !timed_out(record, index, peer, deadline)) return false;
            clear(index, home);
            clear(peer, other_home);
        }
        shard().gone[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
        if (observer_ != nullptr) {
            const bool initiator = record.has(kFlowInitiator);
            observer_->flow_removed(initiator ? record : other, initiator ? other : record);
        }
        return true;
    }
    return false;
}

template <typename Key>
FlowTableCounters FlowTable<Key>::counters() const {
    FlowTableCounters sum;
    const auto add = [](std::uint64_t& to, const std::atomic<std::uint64_t>& from) {
        to += from.load(std::memory_order_relaxed);
    };
    for (const auto& shard : shards_) {
        add(sum.inserted, shard.inserted);
        add(sum.refused, shard.refused);
        add(sum.expired, shard.gone[static_cast<std::size_t>(Why::expired)]);
        add(sum.evicted, shard.gone[static_cast<std::size_t>(Why::evicted)]);
        add(sum.removed, shard.gone[static_cast<std::size_t>(Why::removed)]);
    }
    return sum;
}

template <typename Key>
std::uint32_t FlowTable<Key>::entries() const {
    const auto sum = counters();
    const auto ever = kept_ + sum.inserted;
    const auto gone = sum.expired + sum.evicted + sum.removed;
    return ever > gone ? static_cast<std::uint32_t>(2 * (ever - gone)) : 0;
}

template class FlowTable<FlowKey4>;
template class FlowTable<FlowKey6>;

}  // namespace viaduct::dataplane
