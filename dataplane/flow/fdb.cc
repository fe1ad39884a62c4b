// Learning, ageing and listing: the FDB's rare half. Every writer holds the lock; readers never do.
#include "flow/fdb.h"

#include <algorithm>
#include <bit>
#include <mutex>

namespace viaduct::dataplane {

namespace {

/// Holds a spin lock for a scope, if it could be had.
class Held {
public:
    explicit Held(rte_spinlock_t& lock) : lock_(&lock) { rte_spinlock_lock(lock_); }
    Held(rte_spinlock_t& lock, std::try_to_lock_t)
        : lock_(rte_spinlock_trylock(&lock) != 0 ? &lock : nullptr) {}
    ~Held() {
        if (lock_ != nullptr) rte_spinlock_unlock(lock_);
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    explicit operator bool() const { return lock_ != nullptr; }

private:
    rte_spinlock_t* lock_;
};

}  // namespace

Fdb::Fdb(std::uint32_t size, std::uint64_t seed)
    : size_(size),
      seed_(seed),
      mask_(std::bit_ceil(std::max<std::uint64_t>(16, std::uint64_t{size} * 2 / kWays)) - 1),
      buckets_(std::make_unique<Bucket[]>(mask_ + 1)) {
    rte_spinlock_init(&lock_);
}

Fdb::~Fdb() = default;

void Fdb::refresh(FdbKey key, std::uint64_t hash, FdbValue value, std::uint32_t now) {
    for (auto bucket : {hash & mask_, second(hash)}) {
        for (auto& entry : buckets_[bucket].entries) {
            if (entry.key.load(std::memory_order_acquire) != key) continue;
            auto expected = value.word;
            entry.value.compare_exchange_strong(
                expected, FdbValue::make(value.port(), value.is_static(), now, value.tunnel()).word,
                std::memory_order_release, std::memory_order_relaxed);
            return;
        }
    }
}

Fdb::Entry* Fdb::locate(FdbKey key) {
    const auto h = hash(key);
    for (auto bucket : {h & mask_, second(h)}) {
        for (auto& entry : buckets_[bucket].entries) {
            if (entry.key.load(std::memory_order_relaxed) == key) return &entry;
        }
    }
    return nullptr;
}

Fdb::Entry* Fdb::free_place(FdbKey key) {
    const auto h = hash(key);
    Entry* place = nullptr;
    std::size_t most_free = 0;
    for (auto bucket : {h & mask_, second(h)}) {
        Entry* first = nullptr;
        std::size_t free = 0;
        for (auto& entry : buckets_[bucket].entries) {
            if (entry.key.load(std::memory_order_relaxed) != 0) continue;
            if (first == nullptr) first = &entry;
            ++free;
        }
        if (free > most_free) {
            most_free = free;
            place = first;
        }
    }
    return place;
}

void Fdb::count(FdbValue value, int change) {
    entries_.fetch_add(static_cast<std::uint32_t>(change), std::memory_order_relaxed);
    if (!value.is_static())
        learned_[value.port()].fetch_add(static_cast<std::uint32_t>(change), std::memory_order_relaxed);
}

void Fdb::clear(Entry& entry) {
    count({entry.value.load(std::memory_order_relaxed)}, -1);
    // The key goes first: a reader that still sees it finds it changed when it looks again.
    entry.key.store(0, std::memory_order_release);
    entry.value.store(0, std::memory_order_release);
}

Fdb::Learned Fdb::learn(FdbKey key, PortIndex port, std::uint32_t limit, std::uint32_t now,
                        std::uint16_t tunnel) {
    const Held held(lock_, std::try_to_lock);
    if (!held) return Learned::busy;
    auto* entry = locate(key);
    const auto fresh = FdbValue::make(port, false, now, tunnel);
    if (entry != nullptr) {
        const FdbValue old{entry->value.load(std::memory_order_relaxed)};
        if (old.is_static() || (old.port() == port && old.tunnel() == tunnel)) return Learned::yes;
        if (old.port() != port && limit != 0 && entries(port) >= limit) return Learned::port_full;
        count(old, -1);
        count(fresh, 1);
        entry->value.store(fresh.word, std::memory_order_release);
        moved_.store(true, std::memory_order_relaxed);
        return Learned::yes;
    }
    if (limit != 0 && entries(port) >= limit) return Learned::port_full;
    if (entries() >= size_) return Learned::table_full;
    entry = free_place(key);
    if (entry == nullptr) return Learned::table_full;
    count(fresh, 1);
    entry->value.store(fresh.word, std::memory_order_release);
    entry->key.store(key, std::memory_order_release);
    return Learned::yes;
}

void Fdb::set_static(FdbKey key, PortIndex port, std::uint16_t tunnel) {
    const Held held(lock_);
    const auto value = FdbValue::make(port, true, 0, tunnel);
    auto* entry = locate(key);
    if (entry == nullptr) entry = free_place(key);
    if (entry == nullptr) {
        // Both buckets are full: what was learned gives way to what was configured.
        const auto h = hash(key);
        for (auto& candidate : buckets_[h & mask_].entries) {
            if (!FdbValue{candidate.value.load(std::memory_order_relaxed)}.is_static()) entry = &candidate;
        }
        if (entry == nullptr) return;
    }
    if (entry->key.load(std::memory_order_relaxed) != 0) clear(*entry);
    count(value, 1);
    entry->value.store(value.word, std::memory_order_release);
    entry->key.store(key, std::memory_order_release);
}

void Fdb::remove(FdbKey key) {
    const Held held(lock_);
    if (auto* entry = locate(key)) clear(*entry);
}

void Fdb::expire(std::uint32_t now, std::uint32_t age, std::uint32_t step, std::uint32_t steps) {
    const std::uint64_t buckets = mask_ + 1;
    remove_between(buckets * step / steps, buckets * (step + 1) / steps, [=](FdbKey, FdbValue value) {
        // A worker's clock may be ahead of the caller's by a moment.
        return !value.is_static() &&
               static_cast<std::int32_t>(now - value.seen()) >= static_cast<std::int32_t>(age);
    });
}

std::uint64_t Fdb::remove_if(const std::function<bool(FdbKey, FdbValue)>& which, bool statics) {
    return remove_between(0, mask_ + 1, [&](FdbKey key, FdbValue value) {
        return (statics || !value.is_static()) && which(key, value);
    });
}

/// Looks without the lock, and takes it only to remove what it found: a worker that learns meanwhile is not
/// put off.
std::uint64_t Fdb::remove_between(std::uint64_t first, std::uint64_t end,
                                  const std::function<bool(FdbKey, FdbValue)>& which) {
    std::uint64_t removed = 0;
    for (auto at = first; at < end; ++at) {
        for (auto& entry : buckets_[at].entries) {
            const auto matches = [&] {
                const auto key = entry.key.load(std::memory_order_acquire);
                const FdbValue value{entry.value.load(std::memory_order_acquire)};
                return key != 0 && value.present() && which(key, value);
            };
            if (!matches()) continue;
            const Held held(lock_);
            if (!matches()) continue;
            clear(entry);
            ++removed;
        }
    }
    return removed;
}

void Fdb::visit(const std::function<void(FdbKey, FdbValue)>& visit) const {
    for (std::uint64_t at = 0; at <= mask_; ++at) {
        for (const auto& entry : buckets_[at].entries) {
            const auto key = entry.key.load(std::memory_order_acquire);
            const FdbValue value{entry.value.load(std::memory_order_acquire)};
            if (key != 0 && value.present() && entry.key.load(std::memory_order_relaxed) == key)
                visit(key, value);
        }
    }
}

}  // namespace viaduct::dataplane
