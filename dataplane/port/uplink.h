// The way out of the node: an Ethernet device of DPDK's, polled by the workers that own its queues.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "port/descriptor.h"
#include "port/ethdev.h"
#include "port/offload.h"
#include "port/port.h"

namespace viaduct::dataplane {

/// The link is what the device says, looked at five times a second and at once where the driver interrupts.
/// A device that disappears (unplugged, its interface deleted) takes the link down for good: the port has to
/// be made anew.
class Uplink final : public Port, private Sender {
public:
    /// The device is started when this returns. Pool and listener outlive the port; `share` is kept as long
    /// as it lives. Throws Refused.
    Uplink(const model::Port& port, PortIndex index, rte_mempool* pool, PortListener& listener,
           std::shared_ptr<void> share = {});
    ~Uplink() override { stop(); }

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override;
    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    void arm(std::uint16_t queue) override;
    void disarm(std::uint16_t queue) override;
    [[nodiscard]] bool link_up() const override {
        return link_.load(std::memory_order_acquire) == Ethdev::Link::up;
    }
    [[nodiscard]] std::uint16_t active_queues() const override {
        return link_up() ? queues_ : std::uint16_t{0};
    }
    [[nodiscard]] Readiness readiness() const override { return Readiness::polled; }
    [[nodiscard]] int wait_descriptor(std::uint16_t queue) const override;
    /// What the device missed, could not buffer or found broken.
    [[nodiscard]] std::uint64_t refused() const override;
    [[nodiscard]] std::uint64_t cut_short() const override {
        return cut_short_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::string detail() const override;
    void set_mtu(std::uint32_t mtu) override;
    void stop() override;

private:
    struct Events;  ///< how DPDK calls
    std::uint16_t send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    void look();
    void watch();
    void unwatch();

    const std::shared_ptr<void> share_;  ///< of the descriptors
    const PortIndex index_;
    rte_mempool* const pool_;
    PortListener& listener_;
    const std::uint16_t queues_;
    const Descriptor namespace_;  ///< of its kernel interface; none: the process's own
    std::unique_ptr<Ethdev> device_;
    const std::uint16_t id_;
    std::vector<int> descriptors_;  ///< a queue's, or -1
    std::atomic<Ethdev::Link> link_{Ethdev::Link::down};
    std::atomic<std::uint64_t> refused_here_{0};
    std::atomic<std::uint64_t> cut_short_{0};
    bool stopped_ = false;  ///< main thread
};

}  // namespace viaduct::dataplane
