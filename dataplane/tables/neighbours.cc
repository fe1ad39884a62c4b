#include "tables/neighbours.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>
#include <utility>

#include <rte_mbuf.h>
#include <rte_pause.h>

namespace viaduct::dataplane {

namespace {

/// An FDB or flood list names an interface by kGatewayFirst + index, so there are no more.
constexpr std::size_t kInterfacesMost = 0x10000 - kGatewayFirst;

bool known(NeighbourState state) {
    return state != NeighbourState::incomplete && state != NeighbourState::failed;
}

void bump(std::atomic<std::uint64_t>& counter) {
    counter.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

std::string_view to_string(NeighbourState state) {
    switch (state) {
        case NeighbourState::incomplete:
            return "incomplete";
        case NeighbourState::reachable:
            return "reachable";
        case NeighbourState::stale:
            return "stale";
        case NeighbourState::delay:
            return "delay";
        case NeighbourState::probe:
            return "probe";
        case NeighbourState::failed:
            return "failed";
        case NeighbourState::permanent:
            return "permanent";
    }
    return "?";
}

class Neighbours::Guard {
public:
    explicit Guard(const Shard& shard) : Guard(shard.lock) {}
    explicit Guard(std::atomic_flag& lock) : lock_(lock) {
        while (lock_.test_and_set(std::memory_order_acquire))
            rte_pause();
    }
    ~Guard() { lock_.clear(std::memory_order_release); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

private:
    std::atomic_flag& lock_;
};

std::size_t NeighbourHash::operator()(const NeighbourKey& key) const {
    __extension__ using Wide = unsigned __int128;
    std::array<std::uint64_t, 2> words{};
    const auto bytes = key.address.bytes();
    std::memcpy(words.data(), bytes.data(), bytes.size());
    const auto fold = [](std::uint64_t a, std::uint64_t b) {
        const auto product = static_cast<Wide>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    };
    const auto place = static_cast<std::uint64_t>(key.interface) << 1 | (key.address.is_v4() ? 1U : 0U);
    return fold(fold(words[0] ^ seed, words[1] ^ std::rotl(seed, 32) ^ 0x9e3779b97f4a7c15U) ^ place,
                0xd1342543de82ef95U);
}

Neighbours::Neighbours(std::uint64_t seed, NeighbourLimits limits, NeighbourTimes times)
    : limits_(limits),
      times_(times),
      hash_{seed},
      shards_(std::make_unique<std::array<Shard, kShards>>()),
      places_(std::make_unique<Place[]>(kInterfacesMost)),
      duplicate_list_(std::make_unique<DuplicateList>()) {
    for (auto& shard : *shards_)
        shard.entries = Entries(0, hash_);
}

Neighbours::~Neighbours() {
    for (auto& shard : *shards_) {
        for (auto& [key, entry] : shard.entries) {
            for (auto& waiting : entry.waiting)
                rte_pktmbuf_free(waiting.frame);
        }
    }
}

Neighbours::Shard& Neighbours::shard_of(const NeighbourKey& key) const {
    return (*shards_)[hash_(key) >> 32 & (kShards - 1)];
}

// ---------------------------------------------------------------------------------------------------------
// Entries come and go; the counts that bound them follow.

void Neighbours::move(const NeighbourKey& key, Entry& entry, NeighbourState to) {
    auto& incomplete = places_[key.interface].incomplete;
    if (entry.state == NeighbourState::incomplete) incomplete.fetch_sub(1, std::memory_order_relaxed);
    if (to == NeighbourState::incomplete) incomplete.fetch_add(1, std::memory_order_relaxed);
    entry.state = to;
}

Neighbours::Entries::iterator Neighbours::erase(Shard& shard, Entries::iterator entry) {
    auto& place = places_[entry->first.interface];
    if (entry->second.state == NeighbourState::incomplete)
        place.incomplete.fetch_sub(1, std::memory_order_relaxed);
    place.entries.fetch_sub(1, std::memory_order_relaxed);
    entries_.fetch_sub(1, std::memory_order_relaxed);
    return shard.entries.erase(entry);
}

/// The entry that is missed least among those for which `which` holds: what failed, then what was used least
/// lately.
Neighbours::Entries::iterator Neighbours::worst(
    Shard& shard, const std::function<bool(const NeighbourKey&, const Entry&)>& which) {
    const auto worth = [](const Entry& entry) {
        return std::make_tuple(entry.state != NeighbourState::failed, std::max(entry.used, entry.changed));
    };
    auto found = shard.entries.end();
    for (auto it = shard.entries.begin(); it != shard.entries.end(); ++it) {
        if (it->second.state == NeighbourState::permanent || !which(it->first, it->second)) continue;
        if (found == shard.entries.end() || worth(it->second) < worth(found->second)) found = it;
    }
    return found;
}

/// Makes room for `newcomer` where a bound is reached. What gives way is of the same shard, and of the same
/// interface where that is what has too many: so one network's scan costs the others nothing.
bool Neighbours::give_way(Shard& shard, const NeighbourKey& newcomer, NeighbourState state,
                          std::vector<WaitingFrame>& dropped) {
    const auto& place = places_[newcomer.interface];
    const bool incomplete_full =
        state == NeighbourState::incomplete && place.incomplete >= limits_.incomplete_an_interface;
    const bool interface_full = place.entries >= limits_.entries_an_interface;
    if (!incomplete_full && !interface_full && entries_ < limits_.entries) return true;
    const auto victim = worst(shard, [&](const NeighbourKey& key, const Entry& entry) {
        // What was only overheard displaces nobody who is being waited for.
        const bool asked = entry.state == NeighbourState::incomplete;
        if (incomplete_full ? !asked : asked && state != NeighbourState::incomplete) return false;
        return (!incomplete_full && !interface_full) || key.interface == newcomer.interface;
    });
    if (victim == shard.entries.end()) {
        bump(refused_);
        return false;
    }
    if (victim->second.generation != 0 && known(victim->second.state)) changed_ = true;
    take_waiting(victim->second, dropped);
    erase(shard, victim);
    bump(evicted_);
    return true;
}

Neighbours::Entry* Neighbours::make(Shard& shard, const NeighbourKey& key, NeighbourState state,
                                    std::uint32_t now, std::vector<WaitingFrame>& dropped) {
    if (key.interface >= kInterfacesMost) return nullptr;
    if (state != NeighbourState::permanent && !give_way(shard, key, state, dropped)) return nullptr;
    auto& entry = shard.entries[key];
    entry.state = state;
    entry.changed = now;
    // RFC 4861 6.3.2: spread, so that neighbours met together are not probed together.
    entry.lifetime = times_.reachable / 2 +
                     static_cast<std::uint32_t>(hash_(key) % std::max<std::uint32_t>(times_.reachable, 1));
    auto& place = places_[key.interface];
    place.entries.fetch_add(1, std::memory_order_relaxed);
    if (state == NeighbourState::incomplete) place.incomplete.fetch_add(1, std::memory_order_relaxed);
    entries_.fetch_add(1, std::memory_order_relaxed);
    return &entry;
}

void Neighbours::take_waiting(Entry& entry, std::vector<WaitingFrame>& into) {
    if (entry.waiting.empty()) return;
    const auto from_ports = std::count_if(entry.waiting.begin(), entry.waiting.end(),
                                          [](const WaitingFrame& frame) { return !frame.originated; });
    held_.fetch_sub(static_cast<std::uint32_t>(from_ports), std::memory_order_relaxed);
    waiting_.fetch_sub(static_cast<std::uint32_t>(entry.waiting.size()), std::memory_order_relaxed);
    into.insert(into.end(), entry.waiting.begin(), entry.waiting.end());
    entry.waiting = {};
}

// ---------------------------------------------------------------------------------------------------------
// What workers ask and tell.

std::optional<MacAddress> Neighbours::find(const NeighbourKey& key, std::uint32_t now,
                                           std::uint32_t generation) {
    auto& shard = shard_of(key);
    const Guard guard(shard);
    const auto found = shard.entries.find(key);
    if (found == shard.entries.end() || found->second.gone || !known(found->second.state))
        return std::nullopt;
    auto& entry = found->second;
    entry.used = now;
    entry.generation = generation;
    if (entry.state == NeighbourState::stale) {
        move(key, entry, NeighbourState::delay);
        entry.deadline = now + times_.delay;
    }
    return entry.mac;
}

std::optional<Neighbours::Seen> Neighbours::peek(const NeighbourKey& key) const {
    const auto& shard = shard_of(key);
    const Guard guard(shard);
    const auto found = shard.entries.find(key);
    if (found == shard.entries.end() || found->second.gone) return std::nullopt;
    return Seen{found->second.state, found->second.mac};
}

Neighbours::Asked Neighbours::ask(const NeighbourKey& key, const WaitingFrame& frame, std::uint32_t now,
                                  std::vector<WaitingFrame>& dropped) {
    auto& shard = shard_of(key);
    const Guard guard(shard);
    const auto found = shard.entries.find(key);
    auto* entry = found == shard.entries.end() ? nullptr : &found->second;
    if (entry != nullptr && entry->gone) {
        entry->gone = false;  // flushed, and asked for again
        if (known(entry->state)) move(key, *entry, NeighbourState::failed);
    }
    if (entry != nullptr && known(entry->state)) return Asked::known;
    const bool asked_already = entry != nullptr && entry->state == NeighbourState::incomplete;
    // The oldest frame gives way to the newest, within the entry and, since the bound on all frames is there
    // for memory's sake, only within the entry.
    const auto waiting = asked_already ? entry->waiting.size() : 0;
    const bool full = waiting >= limits_.waiting_an_entry || waiting_ >= limits_.waiting;
    if (full && waiting == 0) {
        bump(refused_);
        return Asked::refused;
    }
    if (entry == nullptr) {
        entry = make(shard, key, NeighbourState::incomplete, now, dropped);
        if (entry == nullptr) return Asked::refused;
    } else if (!asked_already) {
        move(key, *entry, NeighbourState::incomplete);
        entry->changed = now;
    }
    if (full) {
        const auto oldest = entry->waiting.front();
        if (!oldest.originated) held_.fetch_sub(1, std::memory_order_relaxed);
        waiting_.fetch_sub(1, std::memory_order_relaxed);
        dropped.push_back(oldest);
        entry->waiting.erase(entry->waiting.begin());
    }
    entry->waiting.push_back(frame);
    waiting_.fetch_add(1, std::memory_order_relaxed);
    if (!frame.originated) held_.fetch_add(1, std::memory_order_relaxed);
    if (asked_already) return Asked::waits;
    entry->tries = 1;
    entry->deadline = now + times_.retransmit;
    bump(solicitations_);
    return Asked::solicit;
}

void Neighbours::confirm(const NeighbourKey& key, Entry& entry, std::uint32_t now) {
    move(key, entry, NeighbourState::reachable);
    entry.confirmed = now;
    entry.deadline = now + entry.lifetime;
    entry.tries = 0;
}

/// Known, but without a proof: probed soon if flows may carry it, else when somebody uses it.
void Neighbours::doubt(const NeighbourKey& key, Entry& entry, std::uint32_t now) {
    move(key, entry, entry.generation != 0 ? NeighbourState::delay : NeighbourState::stale);
    entry.deadline = now + times_.delay;
}

void Neighbours::replace_mac(Entry& entry, const MacAddress& mac, std::uint32_t now) {
    if (known(entry.state)) {
        bump(mac_changes_);
        if (entry.generation != 0) changed_ = true;
    }
    entry.mac = mac;
    entry.changed = now;
}

void Neighbours::learn(const NeighbourKey& key, const MacAddress& mac, std::uint32_t now, Evidence evidence,
                       std::vector<WaitingFrame>& released) {
    auto& shard = shard_of(key);
    const Guard guard(shard);
    const auto found = shard.entries.find(key);
    if (found == shard.entries.end()) {
        if (!evidence.create) return;
        auto* entry = make(shard, key, NeighbourState::stale, now, released);
        if (entry != nullptr) entry->mac = mac;
        return;
    }
    auto& entry = found->second;
    if (entry.gone || entry.state == NeighbourState::permanent) return;
    if (entry.state == NeighbourState::failed && !evidence.create && !evidence.solicited) return;
    if (!known(entry.state)) {
        entry.mac = mac;
        entry.changed = now;
        if (evidence.solicited) {
            confirm(key, entry, now);
        } else {
            move(key, entry, NeighbourState::stale);
        }
        take_waiting(entry, released);
        return;
    }
    if (mac == entry.mac) {
        if (evidence.solicited) confirm(key, entry, now);
        return;
    }
    if (!evidence.override) {
        // RFC 4861 7.2.5: somebody else claims it; ask before believing either.
        if (entry.state == NeighbourState::reachable) doubt(key, entry, now);
        return;
    }
    if (now - entry.changed < times_.lock) return;
    replace_mac(entry, mac, now);
    if (evidence.solicited) {
        confirm(key, entry, now);
    } else {
        doubt(key, entry, now);
    }
}

// ---------------------------------------------------------------------------------------------------------
// What time does.

void Neighbours::solicit(const NeighbourKey& key, Entry& entry, std::uint32_t now, Work& work) {
    ++entry.tries;
    entry.deadline = now + times_.retransmit;
    bump(solicitations_);
    work.solicit.push_back(
        {key, entry.state == NeighbourState::probe ? std::optional(entry.mac) : std::nullopt});
}

void Neighbours::step(const NeighbourKey& key, Entry& entry, std::uint32_t now, std::uint32_t since,
                      Work& work) {
    switch (entry.state) {
        case NeighbourState::reachable: {
            // While flows may carry the MAC it is probed so early that an answer comes before expiry.
            const bool in_use =
                entry.generation != 0 && static_cast<std::int32_t>(entry.generation - since) >= 0;
            const auto early = in_use ? times_.tries * times_.retransmit : 0;
            if (now + early < entry.deadline) return;
            if (!in_use) entry.generation = 0;
            move(key, entry, in_use ? NeighbourState::probe : NeighbourState::stale);
            if (in_use) solicit(key, entry, now, work);
            return;
        }
        case NeighbourState::delay:
            if (now < entry.deadline) return;
            entry.tries = 0;
            move(key, entry, NeighbourState::probe);
            return solicit(key, entry, now, work);
        case NeighbourState::incomplete:
        case NeighbourState::probe:
            if (now < entry.deadline) return;
            if (entry.tries < times_.tries) return solicit(key, entry, now, work);
            // RFC 4861 7.3.3, RFC 1122 2.3.2.1: gone; the next frame to it asks everybody again.
            if (entry.state == NeighbourState::probe && entry.generation != 0) changed_ = true;
            bump(failures_);
            move(key, entry, NeighbourState::failed);
            entry.changed = now;
            entry.mac = {};
            entry.generation = 0;
            return take_waiting(entry, work.unanswered);
        case NeighbourState::stale:
        case NeighbourState::failed:
            return;
        case NeighbourState::permanent:
            return take_waiting(entry, work.released);
    }
}

/// Whether an entry has been of no use for long enough.
bool Neighbours::ends(Entry& entry, std::uint32_t now) const {
    if (entry.state == NeighbourState::failed) return now - entry.changed >= times_.failed;
    return entry.state == NeighbourState::stale && now - std::max(entry.used, entry.changed) >= times_.stale;
}

void Neighbours::due(std::uint32_t shard_number, std::uint32_t now, std::uint32_t since, Work& work) {
    auto& shard = (*shards_)[shard_number];
    const Guard guard(shard);
    for (auto it = shard.entries.begin(); it != shard.entries.end();) {
        auto& [key, entry] = *it;
        if (entry.gone) {
            take_waiting(entry, work.unanswered);
        } else {
            step(key, entry, now, since, work);
        }
        it = entry.gone || ends(entry, now) ? erase(shard, it) : std::next(it);
    }
}

// ---------------------------------------------------------------------------------------------------------
// Configuration, and what people see.

void Neighbours::set_permanent(const PermanentNeighbour& neighbour) {
    auto& shard = shard_of(neighbour.key);
    const Guard guard(shard);
    const auto found = shard.entries.find(neighbour.key);
    std::vector<WaitingFrame> none;
    auto* entry = found != shard.entries.end()
                      ? &found->second
                      : make(shard, neighbour.key, NeighbourState::permanent, 0, none);
    if (entry == nullptr) return;
    entry->gone = false;
    if (entry->generation != 0 && entry->mac != neighbour.mac) changed_ = true;
    move(neighbour.key, *entry, NeighbourState::permanent);
    entry->mac = neighbour.mac;
}

void Neighbours::configure(const std::function<bool(InterfaceIndex)>& exists,
                           const std::vector<PermanentNeighbour>& permanent) {
    const std::unordered_map<NeighbourKey, MacAddress, NeighbourHash> wanted = [&] {
        std::unordered_map<NeighbourKey, MacAddress, NeighbourHash> map(permanent.size(), hash_);
        for (const auto& neighbour : permanent)
            map.emplace(neighbour.key, neighbour.mac);
        return map;
    }();
    for (auto& shard : *shards_) {
        const Guard guard(shard);
        for (auto& [key, entry] : shard.entries) {
            if (!exists(key.interface) || (entry.state == NeighbourState::permanent && !wanted.contains(key)))
                entry.gone = true;
        }
    }
    for (const auto& neighbour : permanent)
        set_permanent(neighbour);
}

std::uint64_t Neighbours::remove_if(const std::function<bool(const NeighbourKey&)>& which) {
    std::uint64_t removed = 0;
    for (auto& shard : *shards_) {
        const Guard guard(shard);
        for (auto& [key, entry] : shard.entries) {
            if (entry.state == NeighbourState::permanent || entry.gone || !which(key)) continue;
            if (entry.generation != 0) changed_ = true;
            entry.gone = true;
            ++removed;
        }
    }
    return removed;
}

void Neighbours::note_duplicate(const Duplicate& duplicate) {
    constexpr std::size_t most = 16;
    bump(duplicates_);
    const Guard guard(duplicate_list_->lock);
    if (duplicate_list_->list.size() < most) duplicate_list_->list.push_back(duplicate);
}

std::vector<Neighbours::Duplicate> Neighbours::take_duplicates() {
    const Guard guard(duplicate_list_->lock);
    return std::exchange(duplicate_list_->list, {});
}

void Neighbours::visit(const std::function<void(const Listed&)>& visit) const {
    std::vector<Listed> copy;
    for (const auto& shard : *shards_) {
        copy.clear();
        {
            const Guard guard(shard);
            for (const auto& [key, entry] : shard.entries) {
                if (entry.gone) continue;
                copy.push_back({key,
                                {entry.state, entry.mac},
                                entry.confirmed,
                                entry.used,
                                static_cast<std::uint32_t>(entry.waiting.size())});
            }
        }
        for (const auto& one : copy)
            visit(one);
    }
}

NeighbourCounters Neighbours::counters() const {
    return {solicitations_.load(std::memory_order_relaxed), failures_.load(std::memory_order_relaxed),
            evicted_.load(std::memory_order_relaxed),       refused_.load(std::memory_order_relaxed),
            mac_changes_.load(std::memory_order_relaxed),   duplicates_.load(std::memory_order_relaxed)};
}

}  // namespace viaduct::dataplane
