// Holds the locks of up to six buckets of the flow table for a scope. Everybody locks in ascending order, so
// nobody waits in a circle.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "flow/flow_bucket.h"

namespace viaduct::dataplane {

class FlowLocks {
public:
    /// Which buckets, kept in ascending order. One that is named twice is locked once.
    class Buckets {
    public:
        void add(std::uint32_t bucket) {
            std::size_t at = count_;
            for (; at > 0 && numbers_[at - 1] >= bucket; --at) {
                if (numbers_[at - 1] == bucket) return;
            }
            for (auto from = count_; from > at; --from)
                numbers_[from] = numbers_[from - 1];
            numbers_[at] = bucket;
            ++count_;
        }

    private:
        friend class FlowLocks;
        std::array<std::uint32_t, 6> numbers_{};
        std::size_t count_ = 0;
    };

    FlowLocks(FlowBucket* buckets, const Buckets& which) : buckets_(buckets), which_(which) {
        for (std::size_t at = 0; at < which_.count_; ++at)
            buckets_[which_.numbers_[at]].lock();
    }
    ~FlowLocks() {
        for (std::size_t at = 0; at < which_.count_; ++at)
            buckets_[which_.numbers_[at]].unlock();
    }
    FlowLocks(const FlowLocks&) = delete;
    FlowLocks& operator=(const FlowLocks&) = delete;

private:
    FlowBucket* buckets_;
    Buckets which_;
};

}  // namespace viaduct::dataplane
