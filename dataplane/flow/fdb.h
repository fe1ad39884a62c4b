// The forwarding database of one bridge: which MAC address is behind which port (IEEE 802.1Q 8.8).
//
// It is state that workers write as they see frames, so it lives beside the flow table and works like it:
// readers take no lock and touch one or two cache lines; learning, which is rare, takes the table's one lock
// and gives up rather than wait. A bucket is a cache line of four entries, an entry two words: the key (VLAN
// and MAC) and the value (port, flags, second last seen). A key has two possible buckets; the table has room
// for twice its `size`.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include <rte_prefetch.h>
#include <rte_spinlock.h>

#include "flow/key.h"
#include "port/port.h"

namespace viaduct::dataplane {

/// VLAN in bits 48..59 (0 where the bridge does not filter), MAC in the low 48, first byte most significant.
using FdbKey = std::uint64_t;

constexpr FdbKey fdb_key(std::uint64_t mac, std::uint16_t vlan) {
    return static_cast<std::uint64_t>(vlan) << 48 | mac;
}

/// An entry's value in one word, so that it is read and replaced whole. All zero: no entry.
struct FdbValue {
    std::uint64_t word = 0;

    static constexpr std::uint64_t kPresent = 1;
    static constexpr std::uint64_t kStatic = 2;

    /// `tunnel`: on a port that is a tunnel's end, behind which peer: its place in the topology and one more,
    /// below 2^14; 0: none.
    static constexpr FdbValue make(PortIndex port, bool is_static, std::uint32_t seen,
                                   std::uint16_t tunnel = 0) {
        return {static_cast<std::uint64_t>(seen) << 32 | static_cast<std::uint64_t>(port) << 16 |
                static_cast<std::uint64_t>(tunnel) << 2 | (is_static ? kStatic : 0) | kPresent};
    }
    [[nodiscard]] constexpr bool present() const { return word != 0; }
    [[nodiscard]] constexpr bool is_static() const { return (word & kStatic) != 0; }
    [[nodiscard]] constexpr PortIndex port() const { return static_cast<PortIndex>(word >> 16); }
    [[nodiscard]] constexpr std::uint16_t tunnel() const {
        return static_cast<std::uint16_t>(word >> 2 & 0x3fff);
    }
    [[nodiscard]] constexpr std::uint32_t seen() const { return static_cast<std::uint32_t>(word >> 32); }
};

class Fdb {
public:
    enum class Learned : std::uint8_t { yes, busy, port_full, table_full };

    /// Room for at least `size` entries. `seed` makes bucket collisions unpredictable to whoever chooses
    /// MACs.
    Fdb(std::uint32_t size, std::uint64_t seed);
    ~Fdb();
    Fdb(const Fdb&) = delete;
    Fdb& operator=(const Fdb&) = delete;

    // --- any worker, no lock ---

    [[nodiscard]] std::uint64_t hash(FdbKey key) const {
        return folded_product(key ^ seed_, 0x9e3779b97f4a7c15U);
    }
    void prefetch(std::uint64_t hash) const { rte_prefetch0(&buckets_[hash & mask_]); }
    [[nodiscard]] FdbValue find(FdbKey key, std::uint64_t hash) const {
        const auto value = find_in(buckets_[hash & mask_], key);
        return value.present() ? value : find_in(buckets_[second(hash)], key);
    }
    /// Marks an entry as seen at `now`. Loses gracefully against a concurrent move.
    void refresh(FdbKey key, std::uint64_t hash, FdbValue value, std::uint32_t now);
    /// Enters or moves `key` to `port`; static entries stay. `limit`: most learned entries of the port, 0 for
    /// no limit but the table's. Does not wait: `busy` when another thread is writing, and the next frame
    /// learns it.
    Learned learn(FdbKey key, PortIndex port, std::uint32_t limit, std::uint32_t now,
                  std::uint16_t tunnel = 0);

    // --- main thread; each takes the lock for single entries ---

    void set_static(FdbKey key, PortIndex port, std::uint16_t tunnel = 0);
    void remove(FdbKey key);
    /// Forgets learned entries not seen for `age` seconds, in a share of the buckets: `step` of `steps`.
    void expire(std::uint32_t now, std::uint32_t age, std::uint32_t step, std::uint32_t steps);
    /// Forgets entries for which `which` holds; static ones only with `statics`. Returns how many.
    std::uint64_t remove_if(const std::function<bool(FdbKey, FdbValue)>& which, bool statics = false);
    /// Calls `visit` for each entry; entries that change meanwhile are seen in either state.
    void visit(const std::function<void(FdbKey, FdbValue)>& visit) const;

    [[nodiscard]] std::uint32_t entries() const { return entries_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint32_t entries(PortIndex port) const {
        return learned_[port].load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint32_t size() const { return size_; }
    /// Whether, since it was last asked, an address has come up behind another port. Any thread.
    bool take_moved() { return moved_.exchange(false, std::memory_order_relaxed); }

private:
    static constexpr std::size_t kWays = 4;

    struct Entry {
        std::atomic<FdbKey> key{0};  ///< 0: free
        std::atomic<std::uint64_t> value{0};
    };
    struct alignas(64) Bucket {
        std::array<Entry, kWays> entries;
    };

    static FdbValue find_in(const Bucket& bucket, FdbKey key) {
        for (const auto& entry : bucket.entries) {
            if (entry.key.load(std::memory_order_acquire) != key) continue;
            const FdbValue value{entry.value.load(std::memory_order_acquire)};
            // The entry may have been given to another key between the two loads.
            if (entry.key.load(std::memory_order_relaxed) == key) return value;
        }
        return {};
    }
    [[nodiscard]] std::uint64_t second(std::uint64_t hash) const {
        return (hash >> 32 ^ hash >> 17 ^ 0x5bd1e995U) & mask_;
    }
    Entry* locate(FdbKey key);
    Entry* free_place(FdbKey key);
    std::uint64_t remove_between(std::uint64_t first, std::uint64_t end,
                                 const std::function<bool(FdbKey, FdbValue)>& which);
    void count(FdbValue value, int change);
    void clear(Entry& entry);

    std::uint32_t size_;
    std::uint64_t seed_;
    std::uint64_t mask_;
    std::unique_ptr<Bucket[]> buckets_;
    rte_spinlock_t lock_;
    std::atomic<std::uint32_t> entries_{0};
    std::atomic<bool> moved_{false};
    std::array<std::atomic<std::uint32_t>, kPortsMost> learned_{};
};

}  // namespace viaduct::dataplane
