// A port in the process itself: frames are put in and taken out by a test (or a replay) through rings, and
// cross the same worker loop as everybody else's. Not part of the product's libraries.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "port/offload.h"
#include "port/port.h"

struct rte_mempool;
struct rte_ring;

namespace viaduct::dataplane {

struct WireOptions {
    std::uint16_t queues = 1;       ///< queue pairs
    std::uint32_t capacity = 1023;  ///< frames that wait in each direction of a queue, at most
    bool link_up = true;
};

/// A frame that transmit() took has left: it counts as sent, and waits for collect() outside the ledger.
class Wire final : public Port, private Sender {
public:
    /// The pool gives the buffers of inject(bytes); it and the listener outlive the port. Throws
    /// std::runtime_error when memory is short.
    Wire(PortIndex index, rte_mempool* pool, PortListener& listener, WireOptions options = {});
    ~Wire() override;  ///< frees what was neither received nor collected

    // --- the test's side: any thread ---

    /// Puts one frame in line for the worker. False when the line is full or no buffer is left. Frames longer
    /// than a buffer become chains.
    bool inject(std::uint16_t queue, std::span<const std::uint8_t> frame);
    /// A frame with what its sender says of it. False also when that is a lie.
    bool inject(std::uint16_t queue, std::span<const std::uint8_t> frame, const VirtioNetHeader& header);
    /// Several frames at once, so that a worker that looks takes them in as one burst. False: none was put.
    bool inject(std::uint16_t queue, const std::vector<std::vector<std::uint8_t>>& frames);
    /// Puts mbuf chains in line; returns how many, from the first. Those are the port's, the rest stay the
    /// caller's.
    std::uint16_t inject(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count);
    /// Takes what was transmitted, in order. The caller frees the frames.
    std::vector<rte_mbuf*> collect(std::uint16_t queue);
    /// The same as bytes; the buffers are freed.
    std::vector<std::vector<std::uint8_t>> collect_bytes(std::uint16_t queue);
    /// Frames injected and not received yet, and frames transmitted and not collected yet.
    [[nodiscard]] std::uint32_t waiting_in(std::uint16_t queue) const;
    [[nodiscard]] std::uint32_t waiting_out(std::uint16_t queue) const;
    /// What the side that collects does by itself; all, when not set.
    void set_offloads(Offloads offloads) { offloads_.store(offloads, std::memory_order_relaxed); }
    /// While the link is down nothing is received or transmitted; what waits goes on waiting. Tells the
    /// listener.
    void set_link(bool up);
    /// Uses only the first `count` queues, as a guest may. Tells the listener.
    void set_active_queues(std::uint16_t count);
    [[nodiscard]] std::uint32_t mtu() const { return mtu_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool stopped() const { return stopped_.load(std::memory_order_acquire); }

    // --- Port ---

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override;
    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    void arm(std::uint16_t queue) override;
    void disarm(std::uint16_t queue) override;
    [[nodiscard]] bool link_up() const override { return up_.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint16_t active_queues() const override;
    [[nodiscard]] Readiness readiness() const override { return Readiness::polled; }
    [[nodiscard]] int wait_descriptor(std::uint16_t queue) const override;
    [[nodiscard]] std::string detail() const override;
    [[nodiscard]] std::uint64_t cut_short() const override {
        return cut_short_.load(std::memory_order_relaxed);
    }
    void set_mtu(std::uint32_t mtu) override { mtu_.store(mtu, std::memory_order_relaxed); }
    void stop() override;

private:
    struct Queue;
    std::uint16_t send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;

    PortIndex index_;
    rte_mempool* pool_;
    PortListener& listener_;
    std::vector<std::unique_ptr<Queue>> queues_;
    std::atomic<bool> up_;
    std::atomic<bool> stopped_{false};
    std::atomic<std::uint16_t> active_;
    std::atomic<std::uint32_t> mtu_{0};
    std::atomic<Offloads> offloads_{kOffloadsAll};
    std::atomic<std::uint64_t> cut_short_{0};
};

}  // namespace viaduct::dataplane
