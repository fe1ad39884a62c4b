// The flow table: every connection's two directions, for all workers, in memory that outlives the process.
//
// Theory of operation. A bucket is one cache line of 16-bit signatures, compared at once; a signature's place
// names the entry, so there is no free list and no pointer. A key has three possible buckets: one at the
// front of the table, which is small, and two behind it; the next is looked at only when the one before says
// that something of its own lies elsewhere. So few flows lie close together, in caches and address
// translations, however large the table is; when there are many, readers begin behind the front. They take no
// lock: they find a signature, copy the record by 64-bit words, and compare the sequence number before and
// after. Writers lock buckets, at most the six that a pair of directions can lie in, in ascending order. An
// entry never moves while it lives. A place may be given to another flow at once: the sequence number tells
// readers.
//
// When all buckets of a key are full, the worst of their entries goes: flows that were never answered or are
// half open first, then closed ones, then those that were answered once and idle since. An established or
// answered flow that was active lately never does: the newcomer is refused (flow_state.h).
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>

#include <rte_prefetch.h>

#include "viaduct/routing_model.h"

#include "flow/flow_bucket.h"
#include "flow/flow_locks.h"
#include "flow/flow_state.h"
#include "flow/record.h"

namespace viaduct::dataplane {

/// Told of each direction pair that leaves the table, by the thread that removed it: what the translation
/// held (a port of a pool) is free again.
template <typename Key>
class FlowObserver {
public:
    virtual ~FlowObserver() = default;
    virtual void flow_removed(const FlowRecord<Key>& initiator, const FlowRecord<Key>& reply) = 0;
    /// A flow may be removed soon, of which this is either direction: what that will touch may be fetched.
    virtual void flow_may_go(const FlowRecord<Key>& /*either*/) const {}
};

struct FlowTableCounters {
    std::uint64_t inserted = 0;  ///< pairs
    std::uint64_t expired = 0;
    std::uint64_t evicted = 0;  ///< gave way to a newer flow
    std::uint64_t refused = 0;  ///< nothing would give way
    std::uint64_t removed = 0;  ///< flushed, or their rule went
};

/// How a table lies in memory: a change of the layout is a change of kFlowLayout, or an older process's table
/// would be misread.
inline constexpr std::uint32_t kFlowLayout = 3;

/// A record and its tail, side by side.
template <typename Key>
struct FlowEntry {
    FlowRecord<Key> record;
    FlowTail tail;
};

template <typename KeyType>
class FlowTable {
public:
    using Key = KeyType;
    using Record = FlowRecord<Key>;
    using Entry = FlowEntry<Key>;

    enum class Inserted : std::uint8_t {
        yes,
        exists,   ///< another worker was first: `forward` is that entry, `reverse` its peer
        clashes,  ///< the reply's key belongs to another flow, `reverse`: choose another translation
        full,     ///< nothing in the buckets would give way
    };
    struct Pair {
        Inserted result;
        FlowIndex forward = kNoFlow;
        FlowIndex reverse = kNoFlow;
    };

    /// Bytes for room of at least `entries` directions (1 to 1,000,000,000); a multiple of 64.
    static std::size_t bytes(std::uint32_t entries);
    /// `memory`: that many bytes, aligned to 64, zeroed or left by an earlier table of the same layout.
    /// `seed` must be the earlier one's then. The memory and the observer (which may be null) outlive the
    /// table.
    FlowTable(std::byte* memory, std::uint32_t entries, std::uint64_t seed, FlowObserver<Key>* observer);
    FlowTable(const FlowTable&) = delete;
    FlowTable& operator=(const FlowTable&) = delete;

    // --- any worker, no lock ---

    [[nodiscard]] std::uint64_t hash(const Key& key) const { return flow_hash(key, seed_); }
    /// Where `prefetch` and `candidate` begin: asked for once a burst.
    [[nodiscard]] std::uint32_t likely_step() const { return mostly_behind() ? 1 : 0; }
    void prefetch(std::uint64_t hash, std::uint32_t step) const {
        rte_prefetch0(&buckets_[bucket_of(hash, step)]);
    }
    /// By signature alone: the entry that is most likely the key's, its record being fetched; kNoFlow when
    /// there is none. What matches is only known by `read`.
    [[nodiscard]] FlowIndex candidate(std::uint64_t hash, std::uint32_t step) const;
    void fetch_tail(FlowIndex index) const { __builtin_prefetch(&entries_[index].tail, 1); }
    /// The whole record if it is the key's; false when it is not, or is being written, or was a chance match
    /// (then `find` knows).
    [[nodiscard]] bool read(FlowIndex index, const Key& key, Record& into) const;
    /// Looks at every possible place. For misses and chance matches.
    [[nodiscard]] FlowIndex find(const Key& key, std::uint64_t hash, Record& into) const;
    [[nodiscard]] FlowTail& tail(FlowIndex index) const { return entries_[index].tail; }

    // --- any worker, for a first packet; locks buckets ---

    class Places;
    /// Where a pair of directions may lie. A burst of first packets asks for all of theirs before it enters
    /// the first, and so waits for memory once: `places` starts the loads of buckets, `fetch` of the entries
    /// that the pair will most likely get. False: somebody may have to give way, and `fetch_victims` starts
    /// the loads of who that may be, `fetch_victims_peers` those of their other directions.
    [[nodiscard]] Places places(const Key& forward, const Key& reverse) const;
    [[nodiscard]] bool fetch(Places& places) const;
    void fetch_victims(const Places& places) const;
    void fetch_victims_peers(const Places& places) const;
    void fetch_victims_holdings(const Places& places) const;
    /// Enters both directions, each pointing at its peer; tails start at `now` and `rule`. kFlowInitiator is
    /// set and cleared here. `places` are the keys'.
    /// forward.key and reverse.key have one zone or, between VRFs, two.
    Pair insert(const Places& places, const Record& forward, const Record& reverse, std::uint32_t rule,
                std::uint32_t now);
    Pair insert(const Record& forward, const Record& reverse, std::uint32_t rule, std::uint32_t now) {
        return insert(places(forward.key, reverse.key), forward, reverse, rule, now);
    }
    /// Replaces what is to be done with packets of an entry that is still `record.key`'s. False: it is not.
    /// kFlowInitiator stays as it is.
    bool update(FlowIndex index, const Record& record);
    /// Gives an entry another generation if it still is what `record`, as read, says. No lock.
    void restamp(FlowIndex index, const Record& record, std::uint32_t generation);
    /// Removes both directions if the entry is still `key`'s; the observer is told.
    bool remove(FlowIndex index, const Key& key);
    /// Forgets what has timed out in `count` buckets from `first`. Returns how many pairs went. Workers share
    /// the buckets out among themselves.
    std::uint32_t expire(std::uint32_t first, std::uint32_t count, std::uint32_t now,
                         const model::FlowTimeouts& timeouts);

    // --- any thread ---

    struct Seen {
        Record forward;  ///< the initiator's direction
        Record reverse;
        const FlowTail* forward_tail;
        const FlowTail* reverse_tail;
        FlowState state;
        FlowIndex index;
    };
    /// Calls `visit` for each flow (once, by its initiator's direction) in `count` buckets from `first`,
    /// until it returns false. Takes no lock. Returns the bucket to go on from.
    std::uint32_t visit(std::uint32_t first, std::uint32_t count,
                        const std::function<bool(const Seen&)>& visit) const;
    [[nodiscard]] std::uint32_t buckets() const { return bucket_count_; }
    [[nodiscard]] std::uint32_t entries() const;    ///< directions present
    [[nodiscard]] std::uint32_t capacity() const {  ///< directions for which there are places
        return bucket_count_ * FlowBucket::kPlaces;
    }
    [[nodiscard]] FlowTableCounters counters() const;

    // --- before any worker runs ---

    /// What an earlier process left: unlocks, takes out what is torn, alone or not findable by its own hash,
    /// and makes every record stale so that its next packet is resolved again. Returns flows kept and
    /// entries taken out.
    struct TakenOver {
        std::uint32_t kept = 0;
        std::uint32_t dropped = 0;
    };
    TakenOver take_over(std::uint32_t now);

private:
    /// Aliases the records' fields.
    using Word [[gnu::may_alias]] = std::uint64_t;
    static constexpr std::size_t kSequenceWord = offsetof(Record, sequence) / 8;
    static constexpr std::size_t kWords = kSequenceWord + 1;
    static_assert(offsetof(Record, sequence) % 8 == 4 && offsetof(Record, key) == 0);
    static constexpr std::uint64_t kWriting = std::uint64_t{1} << 32;  ///< an odd sequence in its word

    enum class Why : std::uint8_t { expired, evicted, removed };

    /// Of so many flows that were never answered the longest idle gives way: in a flood nearly all are such,
    /// and looking at more would cost more than the flood.
    static constexpr std::size_t kCandidates = 2;

    /// Where a key may lie: its buckets, no two the same, in the order in which they are looked at.
    static constexpr std::uint32_t kSteps = 3;
    struct Home {
        std::uint64_t hash;
        std::array<std::uint32_t, kSteps> buckets;
        std::uint16_t signature;
    };
    /// Up to which step, 0 to kSteps - 1, the buckets of each direction matter.
    struct Reach {
        std::uint32_t there = 0;
        std::uint32_t back = 0;
    };
    /// An entry that is a flow's, and whose.
    struct Named {
        FlowIndex index;
        Key key;
    };
    /// Under the locks: is it still to go? Without timeouts: whatever it does.
    struct Deadline {
        std::uint32_t now = 0;
        const model::FlowTimeouts* timeouts = nullptr;
    };

    /// One writer a shard nearly always: workers have their own, other threads share the first.
    struct alignas(64) Shard {
        std::atomic<std::uint64_t> inserted{0};
        std::atomic<std::uint64_t> refused{0};
        std::array<std::atomic<std::uint64_t>, 3> gone{};  ///< by Why
    };
    static constexpr std::size_t kShards = 16;
    Shard& shard();

    /// The bucket of a hash's `step`: each from bits of its own.
    [[nodiscard]] std::uint32_t bucket_of(std::uint64_t hash, std::uint32_t step) const {
        const auto scale = [](std::uint64_t bits, std::uint32_t count) {
            return static_cast<std::uint32_t>((bits & UINT32_MAX) * count >> 32);
        };
        if (step == 0) return scale(hash >> 32, front_count_);
        const auto back_count = bucket_count_ - front_count_;
        const auto first = front_count_ + scale(hash >> 16, back_count);
        if (step == 1) return first;
        const auto second = front_count_ + scale((hash * 0xc2b2ae3d27d4eb4fU) >> 32, back_count);
        if (second != first) return second;
        return second + 1 == bucket_count_ ? front_count_ : second + 1;
    }
    static std::uint16_t signature_of(std::uint64_t hash) {
        const auto low = static_cast<std::uint16_t>(hash);
        return low == 0 ? std::uint16_t{1} : low;
    }
    static FlowIndex index_of(std::uint32_t bucket, std::uint32_t place) {
        return bucket * FlowBucket::kPlaces + place;
    }
    static std::uint32_t bucket_of(FlowIndex index) { return index / FlowBucket::kPlaces; }
    static std::uint32_t place_of(FlowIndex index) { return index % FlowBucket::kPlaces; }
    [[nodiscard]] bool mostly_behind() const { return mostly_behind_.load(std::memory_order_relaxed); }
    [[nodiscard]] FlowIndex by_signature(std::uint32_t bucket, std::uint64_t hash) const;
    [[nodiscard]] FlowIndex candidate_elsewhere(std::uint64_t hash, std::uint32_t seen) const;
    [[nodiscard]] Home home_of(const Key& key) const;
    [[nodiscard]] bool taken(FlowIndex index) const {
        return buckets_[bucket_of(index)].signature(place_of(index)) != 0;
    }

    [[nodiscard]] Word* words(FlowIndex index) const {
        return reinterpret_cast<Word*>(&entries_[index].record);
    }
    static std::uint64_t load(const Word* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static void store(Word* word, std::uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
    void fetch_record(FlowIndex index) const;
    void fetch(FlowIndex index) const;
    bool snapshot(FlowIndex index, Record& into) const;

    // Under the lock of the entry's bucket.
    [[nodiscard]] bool holds(FlowIndex index, const Key& key) const;
    void write(FlowIndex index, const Record& record);
    void start_tail(FlowIndex index, FlowIndex peer, std::uint32_t rule, std::uint32_t now);
    void publish(FlowIndex index, const Home& home);
    void clear(FlowIndex index, const Home& home);
    [[nodiscard]] FlowIndex locate(const Home& home, const Key& key) const;
    [[nodiscard]] FlowIndex free_place(const Home& home, std::uint32_t reach, FlowIndex except) const;
    [[nodiscard]] std::uint32_t reach_of(const Home& home) const;
    Pair enter(const Places& places, Reach reach, const Record& forward, const Record& reverse,
               std::uint32_t rule, std::uint32_t now);

    /// Entries that may have to give way for `home`, in the order in which they are looked at.
    struct Candidates {
        std::array<FlowIndex, kCandidates> index;
        std::uint32_t count = 0;
    };

    // Not under any lock.
    [[nodiscard]] Candidates unanswered_of(const Home& home) const;
    [[nodiscard]] FlowIndex longest_silent(const Candidates& candidates) const;
    [[nodiscard]] bool is_crowded(const Home& home) const;
    [[nodiscard]] std::optional<Named> unanswered_worst(const Home& home, std::uint32_t now) const;
    [[nodiscard]] std::optional<Named> worst_of(const Home& home, std::uint32_t now) const;
    [[nodiscard]] FlowState state_of(const Record& record, FlowIndex index, FlowIndex peer) const;
    bool name_buckets(const Home& home, FlowIndex index, FlowLocks::Buckets& which) const;
    bool take_out(FlowIndex index, const Key& key, Why why, Deadline deadline);
    [[nodiscard]] bool timed_out(const Record& record, FlowIndex index, FlowIndex peer,
                                 Deadline deadline) const;
    bool expire_entry(FlowIndex index, Deadline deadline, std::uint32_t shortest);
    void fetch_tails(std::uint32_t bucket) const;
    void fetch_entries(std::uint32_t bucket) const;
    void fetch_peers(std::uint32_t bucket) const;
    void compare_front();
    bool see(FlowIndex index, Seen& seen) const;
    [[nodiscard]] bool sound(FlowIndex index) const;

    FlowBucket* buckets_ = nullptr;
    Entry* entries_ = nullptr;
    std::uint32_t bucket_count_ = 0;
    std::uint32_t front_count_ = 0;  ///< of them: the first ones, which are keys' step 0
    /// A hint where to look first: more entries lie behind the front than in it.
    std::atomic<bool> mostly_behind_{false};
    std::uint32_t kept_ = 0;  ///< pairs taken over
    std::uint64_t seed_ = 0;
    FlowObserver<Key>* observer_ = nullptr;
    std::array<Shard, kShards> shards_;
};

template <typename KeyType>
class FlowTable<KeyType>::Places {
    friend class FlowTable;
    Home there;
    Home back;
    Reach reach{};  ///< as far as has been seen; more may turn out to be needed
};

template <typename Key>
inline void FlowTable<Key>::fetch_record(FlowIndex index) const {
    const auto* entry = reinterpret_cast<const std::byte*>(&entries_[index]);
    rte_prefetch0(entry);
    if constexpr (sizeof(Record) > 64) rte_prefetch0(entry + 64);
}

template <typename Key>
inline void FlowTable<Key>::fetch(FlowIndex index) const {
    fetch_record(index);
    fetch_tail(index);
}

template <typename Key>
inline FlowIndex FlowTable<Key>::candidate(std::uint64_t hash, std::uint32_t step) const {
    const auto index = by_signature(bucket_of(hash, step), hash);
    return index != kNoFlow ? index : candidate_elsewhere(hash, step);
}

template <typename Key>
inline FlowIndex FlowTable<Key>::by_signature(std::uint32_t bucket, std::uint64_t hash) const {
    const auto matches = buckets_[bucket].match(signature_of(hash));
    if (matches == 0) return kNoFlow;
    const auto index = index_of(bucket, FlowBucket::place(matches));
    fetch_record(index);
    return index;
}

template <typename Key>
inline void FlowTable<Key>::restamp(FlowIndex index, const Record& record, std::uint32_t generation) {
    constexpr std::size_t kWord = offsetof(Record, generation) / 8;
    static_assert(offsetof(Record, generation) % 8 == 0 && std::endian::native == std::endian::little);
    Word* const to = words(index);
    std::uint64_t before;
    std::memcpy(&before, reinterpret_cast<const std::byte*>(&record) + 8 * kWord, sizeof before);
    const std::uint64_t after = (before >> 32 << 32) | generation;
    std::uint64_t expected = before;
    if (!__atomic_compare_exchange_n(to + kWord, &expected, after, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    // Another flow that has got the place meanwhile and looks alike there is left as it was.
    const auto sequence = static_cast<std::uint32_t>(load(to + kSequenceWord) >> 32);
    if (sequence == record.sequence) return;
    expected = after;
    __atomic_compare_exchange_n(to + kWord, &expected, before, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

template <typename Key>
inline bool FlowTable<Key>::read(FlowIndex index, const Key& key, Record& into) const {
    const Word* const from = words(index);
    auto* const to = reinterpret_cast<Word*>(&into);
    const auto wanted = key.words();
    const std::uint64_t before = load(from + kSequenceWord);
    std::uint64_t differs = before & kWriting;
    for (std::size_t at = 0; at < Key::kWords; ++at) {
        to[at] = load(from + at);
        differs |= to[at] ^ wanted[at];
    }
    if (differs != 0) return false;
#pragma GCC unroll 16
    for (std::size_t at = Key::kWords; at < kSequenceWord; ++at)
        to[at] = load(from + at);
    to[kSequenceWord] = before;
    return load(from + kSequenceWord) == before;
}

}  // namespace viaduct::dataplane
