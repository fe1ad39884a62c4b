// A rate with a burst, as one time stamp: when what has been taken would have gone at the rate alone. What is
// taken may be more than is left, as one segment may be longer than the burst; what follows waits the longer.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace viaduct::dataplane {

/// Any thread. Times are in cycles of one clock, at most three days apart.
class ByteBucket {
public:
    /// `rate` in bits a second, 0: no limit; `burst` in bytes; `hz` of the clock.
    void set(std::uint64_t rate, std::uint64_t burst, std::uint64_t hz) {
        const auto per_byte =
            rate == 0 ? 0.0 : 8.0 * static_cast<double>(hz) / static_cast<double>(rate) * kFraction;
        const auto cycles =
            rate == 0 ? 0
                      : std::max<std::uint64_t>(static_cast<std::uint64_t>(std::min(per_byte, kSlowest)), 1);
        const auto tolerance = static_cast<std::uint64_t>(
            std::min(static_cast<double>(burst) * static_cast<double>(cycles) / kFraction, kLongest));
        const bool changed = cycles_per_byte_.exchange(cycles, std::memory_order_relaxed) != cycles ||
                             tolerance_.load(std::memory_order_relaxed) != tolerance;
        tolerance_.store(tolerance, std::memory_order_relaxed);
        // What was taken at another rate is not paid for at this one.
        if (changed) due_.store(0, std::memory_order_relaxed);
    }
    [[nodiscard]] bool limited() const { return cycles_per_byte_.load(std::memory_order_relaxed) != 0; }
    /// Whether anything may be taken now.
    [[nodiscard]] bool open(std::uint64_t now) const {
        return due_.load(std::memory_order_relaxed) <= now + tolerance_.load(std::memory_order_relaxed);
    }
    void take(std::uint64_t now, std::uint64_t bytes) {
        const auto price = cost(bytes);
        auto due = due_.load(std::memory_order_relaxed);
        while (!due_.compare_exchange_weak(due, std::max(due, now) + price, std::memory_order_relaxed)) {
        }
    }

private:
    static constexpr unsigned kFractionBits = 20;
    static constexpr double kFraction = 1U << kFractionBits;
    static constexpr double kSlowest = 1ULL << 44U;  // a long segment's cost still fits
    static constexpr double kLongest = 1ULL << 60U;  // and added to any time

    [[nodiscard]] std::uint64_t cost(std::uint64_t bytes) const {
        return bytes * cycles_per_byte_.load(std::memory_order_relaxed) >> kFractionBits;
    }

    std::atomic<std::uint64_t> cycles_per_byte_{0};  ///< with kFractionBits after the point
    std::atomic<std::uint64_t> tolerance_{0};
    std::atomic<std::uint64_t> due_{0};
};

}  // namespace viaduct::dataplane
