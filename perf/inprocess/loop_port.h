// Ports of the in-process measurement: what leaves by the far port comes back by it turned round, as from a
// host that answers, and what leaves by the near port starts again as a frame of the next flow. So frames go
// round for ever, moved by the workers alone, and every core can be a worker's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "../generator/flows.h"
#include "port/port.h"

struct rte_mempool;

namespace viaduct::inprocess {

using dataplane::PortIndex;

/// A queue of a port: one worker receives from it, one (the same, unless directions cross) puts in.
class Lane {
public:
    explicit Lane(std::uint32_t capacity);
    ~Lane();  ///< frees the frames in it
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;

    /// All or nothing. False: no room.
    bool put(rte_mbuf** frames, std::uint16_t count);
    std::uint16_t take(rte_mbuf** frames, std::uint16_t most);
    void count_sent(std::uint64_t frames) {
        sent_.store(sent_.load(std::memory_order_relaxed) + frames, std::memory_order_relaxed);
    }
    /// Frames that left by this queue; any thread.
    [[nodiscard]] std::uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }

private:
    struct Ring;
    std::unique_ptr<Ring> ring_;
    alignas(64) std::atomic<std::uint64_t> sent_{0};
};

/// What both kinds have in common: always up, all queues in use, polled.
class LoopPort : public dataplane::Port {
public:
    LoopPort(std::uint16_t queues, std::uint32_t capacity);

    [[nodiscard]] const Lane& lane(std::uint16_t queue) const { return *lanes_[queue]; }

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override {
        return lanes_[queue]->take(frames, most);
    }
    [[nodiscard]] bool link_up() const override { return true; }
    [[nodiscard]] std::uint16_t active_queues() const override {
        return static_cast<std::uint16_t>(lanes_.size());
    }
    [[nodiscard]] dataplane::Readiness readiness() const override { return dataplane::Readiness::polled; }
    [[nodiscard]] int wait_descriptor(std::uint16_t /*queue*/) const override { return -1; }
    void set_mtu(std::uint32_t /*mtu*/) override {}
    void stop() override {}

protected:
    static std::uint16_t only_ours(rte_mbuf** frames, std::uint16_t count);
    void go_on(std::size_t lane, rte_mbuf** frames, std::uint16_t count);

    std::vector<std::unique_ptr<Lane>> lanes_;
};

class NearPort final : public LoopPort {
public:
    /// One set of flows for each queue.
    NearPort(std::vector<pktgen::Flows> flows, std::uint32_t capacity, std::uint16_t frame_bytes);

    /// Puts the first frames into a queue; before traffic, any thread. False: the pool has too few.
    bool fill(std::uint16_t queue, rte_mempool* pool, std::uint32_t frames);

    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;

private:
    /// Beside the port's other queues' on cache lines of its own: its worker writes to it.
    struct alignas(64) Source {
        pktgen::Flows flows;
    };
    void write(Source& source, rte_mbuf* frame) const;

    std::vector<Source> sources_;
    std::uint16_t frame_bytes_;
};

class FarPort final : public LoopPort {
public:
    /// `crossing`: a frame comes back by the next queue, so that the two directions of a flow are on
    /// different workers.
    FarPort(std::uint16_t queues, std::uint32_t capacity, bool crossing)
        : LoopPort(queues, capacity), crossing_(crossing) {}

    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;

private:
    bool crossing_;
};

}  // namespace viaduct::inprocess
