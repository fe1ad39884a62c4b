// A histogram of times: 32 steps for each doubling, so that a percentile is right within about 3 %.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace viaduct::pktgen {

class Latency {
public:
    void add(std::uint64_t cycles) {
        ++counts_[bucket(cycles)];
        ++total_;
    }

    /// In cycles; 0 when nothing was added. `share` from 0 to 1.
    std::uint64_t percentile(double share) const {
        const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total_));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen > wanted || (seen == total_ && total_ > 0)) return middle(i);
        }
        return 0;
    }

private:
    static constexpr unsigned kStepBits = 5;
    static constexpr unsigned kSteps = 1U << kStepBits;

    static std::size_t bucket(std::uint64_t cycles) {
        if (cycles < kSteps) return cycles;
        const auto shift = static_cast<unsigned>(std::bit_width(cycles)) - kStepBits - 1;
        return (shift + 1) * kSteps + ((cycles >> shift) - kSteps);
    }

    static std::uint64_t middle(std::size_t index) {
        if (index < kSteps) return index;
        const auto shift = index / kSteps - 1;
        return ((kSteps + index % kSteps) << shift) + ((std::uint64_t{1} << shift) >> 1U);
    }

    std::array<std::uint64_t, (64 - kStepBits + 1) * kSteps> counts_{};
    std::uint64_t total_ = 0;
};

}  // namespace viaduct::pktgen
