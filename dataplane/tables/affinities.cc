#include "tables/affinities.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "tables/rule_id.h"

namespace viaduct::dataplane {

namespace {

/// Coarse seconds go round.
bool is_over(std::uint32_t until, std::uint32_t now) {
    return static_cast<std::int32_t>(until - now) <= 0;
}

}  // namespace

Affinities::Affinities(std::uint64_t seed) : hash_{{mix(seed, 1), mix(seed, 2)}} {
    for (auto& shard : shards_)
        shard.kept = decltype(shard.kept)(0, hash_);
}

/// Both factors have a part that is secret, or one that is 0 would make the other one count for nothing.
std::size_t Affinities::Hash::operator()(const Key& key) const {
    std::array<std::uint64_t, 2> words{};
    const auto bytes = key.client.bytes();
    std::memcpy(words.data(), bytes.data(), bytes.size());
    return mix(words[0] ^ seeds[0], words[1] ^ seeds[1] ^ key.service);
}

std::optional<Affinities::Place> Affinities::find(std::uint32_t service, const IpAddress& client,
                                                  std::uint32_t now) const {
    const Key key{service, client};
    const auto& shard = shards_[shard_of(key)];
    const std::scoped_lock lock(shard.mutex);
    const auto found = shard.kept.find(key);
    if (found == shard.kept.end() || is_over(found->second.until, now)) return std::nullopt;
    return found->second.backend;
}

/// A part of all at once, so that a full shard is not looked through for each client that comes: those whose
/// time is over, or that would be next.
void Affinities::make_room(Shard& shard, std::uint32_t now) {
    const auto left = [&](const Kept& kept) { return is_over(kept.until, now) ? 0 : kept.until - now; };
    std::vector<std::uint32_t> times;
    times.reserve(shard.kept.size());
    for (const auto& [key, kept] : shard.kept)
        times.push_back(left(kept));
    constexpr std::size_t kPart = kMostEach / 8;
    const auto last = times.begin() + kPart;
    std::nth_element(times.begin(), last, times.end());
    const auto longest = *last;
    // Of those that end in the same second not all need go.
    auto may_go = kPart - static_cast<std::size_t>(
                              std::count_if(times.begin(), last, [&](auto time) { return time < longest; }));
    std::erase_if(shard.kept, [&](const auto& entry) {
        const auto time = left(entry.second);
        if (time == 0 || time < longest) return true;
        if (time > longest || may_go == 0) return false;
        --may_go;
        return true;
    });
}

void Affinities::keep(std::uint32_t service, const IpAddress& client, const Place& backend, std::uint32_t now,
                      std::uint32_t seconds) {
    const Key key{service, client};
    auto& shard = shards_[shard_of(key)];
    const std::scoped_lock lock(shard.mutex);
    if (const auto found = shard.kept.find(key); found != shard.kept.end()) {
        found->second = {backend, now + seconds};
        return;
    }
    if (shard.kept.size() >= kMostEach) make_room(shard, now);
    shard.kept.emplace(key, Kept{backend, now + seconds});
}

std::size_t Affinities::size() const {
    std::size_t all = 0;
    for (const auto& shard : shards_) {
        const std::scoped_lock lock(shard.mutex);
        all += shard.kept.size();
    }
    return all;
}

}  // namespace viaduct::dataplane
