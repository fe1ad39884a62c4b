#include "tables/affinities.h"

#include <algorithm>

#include "tables/rule_id.h"

namespace viaduct::dataplane {

namespace {

/// Coarse seconds go round.
bool is_over(std::uint32_t until, std::uint32_t now) {
    return static_cast<std::int32_t>(until - now) <= 0;
}

}  // namespace

std::size_t Affinities::Hash::operator()(const Key& key) const {
    return hash_of(key.client, key.service);
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

/// Those whose time is over; where there are none, some that would be next.
void Affinities::make_room(Shard& shard, std::uint32_t now) {
    std::uint32_t least = UINT32_MAX;
    for (auto it = shard.kept.begin(); it != shard.kept.end();) {
        if (is_over(it->second.until, now)) {
            it = shard.kept.erase(it);
        } else {
            least = std::min(least, it->second.until - now);
            ++it;
        }
    }
    if (shard.kept.size() < kMostEach) return;
    std::erase_if(shard.kept, [&](const auto& entry) { return entry.second.until - now <= least; });
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
