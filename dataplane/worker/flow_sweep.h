// One worker's share of looking for flows that have timed out: a few buckets a turn, so that no turn is long,
// and a whole round a second at most.
#pragma once

#include <atomic>
#include <cstdint>

#include "viaduct/routing_model.h"

#include "forward/first_packets.h"

namespace viaduct::dataplane {

class FlowSweep {
public:
    /// `number` of `workers`: buckets are shared out evenly.
    FlowSweep(FlowTables flows, unsigned number, unsigned workers);

    /// Forgets what has timed out in the next `buckets` buckets at most. `now`: the coarse second.
    void step(std::uint32_t buckets, std::uint32_t now, const model::FlowTimeouts& timeouts);
    /// The second in which the last whole round began; 0 before there was one. Any thread.
    [[nodiscard]] std::uint32_t swept() const { return swept_.load(std::memory_order_acquire); }

private:
    struct Share {
        std::uint32_t first;
        std::uint32_t end;
    };

    template <typename Key>
    void sweep(Share share, std::uint32_t& buckets, std::uint32_t now, const model::FlowTimeouts& timeouts);

    FlowTables flows_;
    Share v4_;
    Share v6_;
    std::uint32_t at_ = 0;  ///< within both shares, one after the other
    std::uint32_t began_ = 0;
    bool resting_ = true;
    std::atomic<std::uint32_t> swept_{0};
};

}  // namespace viaduct::dataplane
