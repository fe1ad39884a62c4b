// What the workers of one dataplane share: the published topology, the grace-period keeper, the hand-off
// rings, the coarse clock. Workers only read it, but for the rings.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <rte_rcu_qsbr.h>
#include <rte_ring.h>

#include "forward/first_packets.h"
#include "forward/topology.h"
#include "resolve/shared.h"

namespace viaduct::dataplane {

class Worker;

/// Frames that may wait between two workers.
inline constexpr unsigned kHandOffRing = 1024;

struct RingDeleter {
    void operator()(rte_ring* ring) const { rte_ring_free(ring); }
};
using RingHandle = std::unique_ptr<rte_ring, RingDeleter>;

struct QsbrDeleter {
    void operator()(rte_rcu_qsbr* qsbr) const;
};

class Crew {
public:
    /// Makes rings for `size` workers. Throws std::runtime_error when memory is short.
    Crew(unsigned size, FlowTables flow_tables, ResolveShared& resolve_shared);

    /// The ring by which `from` hands frames to `to`; one producer, one consumer.
    [[nodiscard]] rte_ring* ring(unsigned from, unsigned to) const { return rings_[from * size_ + to].get(); }
    [[nodiscard]] unsigned size() const { return size_; }
    [[nodiscard]] rte_rcu_qsbr* qsbr() const { return qsbr_.get(); }
    /// Returns when every worker has ended the turn it was in: nobody holds an older topology any more.
    /// Not rte_rcu_qsbr_synchronize(), which lies in DPDK's library where the thread sanitizer does not see
    /// it.
    void synchronize() {
        const auto token = rte_rcu_qsbr_start(qsbr_.get());
        rte_rcu_qsbr_check(qsbr_.get(), token, true);
    }

    std::atomic<const Topology*> topology{nullptr};
    std::atomic<std::uint32_t> now{0};
    std::atomic<bool> stop{false};
    /// Workers that have left their loop: EAL orders that too, but out of a sanitizer's sight.
    std::atomic<unsigned> ended{0};
    const FlowTables flows;
    ResolveShared& shared;
    std::vector<Worker*> workers;  ///< fixed before any of them runs

private:
    unsigned size_;
    std::vector<RingHandle> rings_;
    std::unique_ptr<rte_rcu_qsbr, QsbrDeleter> qsbr_;
};

}  // namespace viaduct::dataplane
