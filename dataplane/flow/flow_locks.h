// Holds the locks of up to four buckets of the flow table for a scope. Everybody locks in ascending order, so
// nobody waits in a circle.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "flow/flow_bucket.h"

namespace viaduct::dataplane {

class FlowLocks {
public:
    using Buckets = std::array<std::uint32_t, 4>;

    /// A bucket that is named twice is locked once.
    FlowLocks(FlowBucket* buckets, Buckets which) : buckets_(buckets), which_(which) {
        std::sort(which_.begin(), which_.end());
        count_ = static_cast<std::size_t>(std::unique(which_.begin(), which_.end()) - which_.begin());
        for (std::size_t at = 0; at < count_; ++at)
            buckets_[which_[at]].lock();
    }
    ~FlowLocks() {
        for (std::size_t at = 0; at < count_; ++at)
            buckets_[which_[at]].unlock();
    }
    FlowLocks(const FlowLocks&) = delete;
    FlowLocks& operator=(const FlowLocks&) = delete;

private:
    FlowBucket* buckets_;
    Buckets which_;
    std::size_t count_;
};

}  // namespace viaduct::dataplane
