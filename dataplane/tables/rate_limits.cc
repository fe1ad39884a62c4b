#include "tables/rate_limits.h"

#include <algorithm>
#include <cstring>

namespace viaduct::dataplane {

bool TokenBucket::take(Rate rate, std::uint32_t now) {
    auto state = state_.load(std::memory_order_relaxed);
    for (;;) {
        const auto filled = static_cast<std::uint32_t>(state >> 32);
        auto spent = state & 0xffffffffU;
        // Another worker's clock may be a second behind.
        const std::uint64_t elapsed = now > filled ? now - filled : 0;
        spent -= std::min(spent, elapsed * rate.a_second);
        if (spent >= rate.burst) return false;
        const auto next = static_cast<std::uint64_t>(std::max(now, filled)) << 32 | (spent + 1);
        if (state_.compare_exchange_weak(state, next, std::memory_order_relaxed)) return true;
    }
}

RateLimits::RateLimits(std::uint64_t seed, Rates rates)
    : seed_(seed), rates_(rates), buckets_(std::make_unique<Buckets>()) {}

std::uint64_t RateLimits::hash(const IpAddress& address) const {
    __extension__ using Wide = unsigned __int128;
    std::array<std::uint64_t, 2> words{};
    const auto bytes = address.bytes();
    std::memcpy(words.data(), bytes.data(), bytes.size());
    const auto product = static_cast<Wide>(words[0] ^ seed_) * (words[1] ^ ~seed_ ^ 0x9e3779b97f4a7c15U);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

bool RateLimits::allow_error(InterfaceIndex interface, const IpAddress& destination, bool too_big,
                             std::uint32_t now) {
    auto& bucket = buckets_->destinations[hash(destination) % kDestinationBuckets];
    if (!too_big && !bucket.take(rates_.errors_a_destination, now)) return false;
    return buckets_->interfaces[interface % kInterfaceBuckets].take(rates_.errors_an_interface, now);
}

bool RateLimits::allow_defence(InterfaceIndex interface, const IpAddress& address, std::uint32_t now) {
    constexpr std::uint32_t interval = 10;
    return buckets_->defences[(hash(address) + interface) % kDefenceBuckets].take({1, 1}, now / interval);
}

bool RateLimits::allow_solicitation(PortIndex port, std::uint32_t now) {
    return buckets_->ports[port % kPortsMost].take(rates_.solicitations_a_port, now);
}

}  // namespace viaduct::dataplane
