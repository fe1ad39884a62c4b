// The flow table: every connection's two directions, for all workers, in memory that outlives the process.
//
// Theory of operation. A bucket is one cache line of 16-bit signatures, compared at once; a signature's place
// names the entry, so there is no free list and no pointer. A key has two possible buckets; the second is
// looked at only when the first says that something of its own lies elsewhere. Readers take no lock: they
// find a signature, copy the record by 64-bit words, and compare the sequence number before and after.
// Writers lock buckets, at most the four that a pair of directions can lie in, in ascending order. An entry
// never moves while it lives. A place may be given to another flow at once: the sequence number tells
// readers.
//
// When both buckets of a key are full, the worst of their entries goes: flows that were never answered first,
// then closing ones, then the longest idle; established TCP and answered flows go last.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include <rte_prefetch.h>

#include "viaduct/routing_model.h"

#include "flow/record.h"

namespace viaduct::dataplane {

/// Told of each direction pair that leaves the table, by the thread that removed it: what the translation
/// held (a port of a pool) is free again.
template <typename Key>
class FlowObserver {
public:
    virtual ~FlowObserver() = default;
    virtual void flow_removed(const FlowRecord<Key>& initiator, const FlowRecord<Key>& reply) = 0;
};

/// How far a flow has come, from what both directions show. Decides its timeout and whether it may be
/// evicted.
enum class FlowState : std::uint8_t {
    unreplied,
    replied,
    syn_sent,
    syn_received,
    established,
    fin_wait,
    time_wait,
    closed
};
std::string_view to_string(FlowState state);

struct FlowTableCounters {
    std::uint64_t inserted = 0;  ///< pairs
    std::uint64_t expired = 0;
    std::uint64_t evicted = 0;  ///< gave way to a newer flow
    std::uint64_t refused = 0;  ///< nothing would give way
    std::uint64_t removed = 0;  ///< flushed, or their rule went
};

template <typename KeyType>
class FlowTable {
public:
    using Key = KeyType;
    using Record = FlowRecord<Key>;

    enum class Inserted : std::uint8_t {
        yes,
        exists,   ///< another worker was first: `forward` is that entry
        clashes,  ///< the reply's key belongs to another flow: choose another translation
        full,     ///< nothing in the buckets would give way
    };
    struct Pair {
        Inserted result;
        FlowIndex forward = kNoFlow;
        FlowIndex reverse = kNoFlow;
    };

    /// Bytes for room of at least `entries` directions; a multiple of 64.
    static std::size_t bytes(std::uint32_t entries);
    /// `memory`: that many bytes, aligned to 64, zeroed or left by an earlier table of the same layout.
    /// `seed` must be the earlier one's then. The memory and the observer outlive the table.
    FlowTable(std::byte* memory, std::uint32_t entries, std::uint64_t seed, FlowObserver<Key>* observer);
    FlowTable(const FlowTable&) = delete;
    FlowTable& operator=(const FlowTable&) = delete;

    // --- any worker, no lock ---

    [[nodiscard]] std::uint64_t hash(const Key& key) const { return flow_hash(key, seed_); }
    void prefetch(std::uint64_t hash) const { rte_prefetch0(&buckets_[first_bucket(hash)]); }
    /// By signature alone: the entry that is most likely the key's, its record and tail being fetched;
    /// kNoFlow when there is none. What matches is only known by `read`.
    [[nodiscard]] FlowIndex candidate(std::uint64_t hash) const;
    /// The whole record if it is the key's; false when it is not, or is being written, or was a chance match
    /// (then `find` knows).
    [[nodiscard]] bool read(FlowIndex index, const Key& key, Record& into) const;
    /// Looks at every possible place. For misses and chance matches.
    [[nodiscard]] FlowIndex find(const Key& key, std::uint64_t hash, Record& into) const;
    [[nodiscard]] FlowTail& tail(FlowIndex index) const;

    // --- any worker, for a first packet; locks buckets ---

    /// Enters both directions, each pointing at its peer; tails start at `now` and `rule`.
    /// forward.key and reverse.key have one zone or, between VRFs, two.
    Pair insert(const Record& forward, const Record& reverse, std::uint32_t rule, std::uint32_t now);
    /// Replaces what is to be done with packets of an entry that is still `record.key`'s. False: it is not.
    bool update(FlowIndex index, const Record& record);
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
    [[nodiscard]] std::uint32_t entries() const;   ///< directions present
    [[nodiscard]] std::uint32_t capacity() const;  ///< directions that fit
    [[nodiscard]] FlowTableCounters counters() const;

    // --- before any worker runs ---

    /// What an earlier process left: unlocks, takes out what is torn, alone or not findable by its own hash,
    /// and makes every record stale so that its next packet is resolved again. Returns flows kept and flows
    /// taken out.
    struct TakenOver {
        std::uint32_t kept = 0;
        std::uint32_t dropped = 0;
    };
    TakenOver take_over(std::uint32_t now);

private:
    // H1 fills this in.
    struct Bucket;
    struct Entry;
    [[nodiscard]] std::uint32_t first_bucket(std::uint64_t hash) const;

    Bucket* buckets_ = nullptr;
    Entry* entries_ = nullptr;
    std::uint32_t bucket_count_ = 0;
    std::uint64_t seed_ = 0;
    FlowObserver<Key>* observer_ = nullptr;
};

}  // namespace viaduct::dataplane
