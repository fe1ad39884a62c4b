// How much of a worker's time may go into new flows while others wait. A first packet costs as much as ten
// that follow, so a flood of them would leave next to nothing for the connections that there are. While a
// worker has no time to spare and most of its frames are of flows that exist, new flows get this share of it
// and those beyond are dropped; where most frames are first packets (a flood of nothing else, a node of short
// connections) there is nobody to be spared for, and all go on.
//
// Time is cut into windows; what was seen in those before decides about the next. It takes many in which the
// worker had no time to spare: a first packet that is dropped costs its client a second, and what a short
// burst brings, the rings hold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include <rte_cycles.h>

namespace viaduct::dataplane {

/// What time is told by where it is told twice a burst.
struct CycleClock {
    std::function<std::uint64_t()> now;  ///< cycles
    std::uint64_t per_second;
    /// The processor's own; about any's where DPDK has not measured it (no EAL).
    static CycleClock of_processor() {
        constexpr std::uint64_t unmeasured = 2'000'000'000;
        const auto measured = rte_get_tsc_hz();
        return {[] { return rte_rdtsc(); }, measured != 0 ? measured : unmeasured};
    }
};

/// One worker's, on its thread.
class FlowSetupShare {
public:
    static constexpr std::uint64_t kWindowsPerSecond = 1'000;
    /// Of a window for resolve: some 200,000 flows a second. The rest has to carry more than half of what the
    /// worker carries otherwise, with caches that new flows wash out, and to receive what is dropped.
    static constexpr double kShare = 0.2;
    /// So many more windows without time to spare than with some, and new flows are limited.
    static constexpr std::uint64_t kPatience = 100;

    /// `cycles_per_second`: of the clock that begin() and end() are given.
    explicit FlowSetupShare(std::uint64_t cycles_per_second)
        : window_(cycles_per_second / kWindowsPerSecond),
          most_(static_cast<std::uint64_t>(static_cast<double>(window_) * kShare)) {}

    /// After each turn of the worker: frames that it took in.
    void turn(std::uint32_t frames) {
        frames_ += frames;
        ++(frames == 0 ? idle_turns_ : busy_turns_);
    }
    /// Before a burst of `packets` that the fast path did not know. True: none of them may begin a flow.
    bool begin(std::uint64_t now, std::uint16_t packets) {
        if (now - window_began_ >= window_) begin_window(now);
        burst_began_ = now;
        unknown_ += packets;
        return limited_ && spent_ >= most_;
    }
    void end(std::uint64_t now) { spent_ += now - burst_began_; }

private:
    void begin_window(std::uint64_t now) {
        // What went beyond the share of a limited window is taken from those that follow.
        const auto windows = (now - window_began_) / window_;
        const auto paid = windows * most_;
        spent_ = limited_ && spent_ > paid ? spent_ - paid : 0;
        // A turn that takes frames in is ten times as long as one that finds none, and more.
        const bool saturated = idle_turns_ <= busy_turns_;
        if (saturated && frames_ > 2 * unknown_)
            pressed_ = std::min(pressed_ + 1, kPatience);
        else
            pressed_ -= std::min(windows, pressed_);
        limited_ = pressed_ == kPatience;
        window_began_ = now;
        frames_ = unknown_ = idle_turns_ = busy_turns_ = 0;
    }

    std::uint64_t window_;  ///< cycles
    std::uint64_t most_;
    std::uint64_t window_began_ = 0;
    std::uint64_t burst_began_ = 0;
    std::uint64_t spent_ = 0;  ///< in resolve, in this window
    std::uint64_t frames_ = 0;
    std::uint64_t unknown_ = 0;
    std::uint64_t idle_turns_ = 0;
    std::uint64_t busy_turns_ = 0;
    std::uint64_t pressed_ = 0;  ///< windows without time to spare, less those with some
    bool limited_ = false;
};

}  // namespace viaduct::dataplane
