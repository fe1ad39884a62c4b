// The way out of the node: an Ethernet device of DPDK's, polled by the workers that own its queues.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "port/bond.h"
#include "port/descriptor.h"
#include "port/ethdev.h"
#include "port/offload.h"
#include "port/port.h"

namespace viaduct::dataplane {

/// The link is what the device says, looked at many times a second and at once where the driver interrupts. A
/// device that disappears (unplugged, its interface deleted) is let go of, and taken up anew when it is there
/// again.
class Uplink : public Port, private Sender {
public:
    /// The device is started when this returns. Pool and listener outlive the port; `share` is kept as long
    /// as it lives. Throws Refused.
    Uplink(const model::Port& port, PortIndex index, rte_mempool* pool, PortListener& listener,
           std::shared_ptr<void> share = {});
    ~Uplink() override { Uplink::stop(); }

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override;
    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    void arm(std::uint16_t queue) override;
    void disarm(std::uint16_t queue) override;
    [[nodiscard]] bool link_up() const override {
        return link_.load(std::memory_order_acquire) == Ethdev::Link::up;
    }
    [[nodiscard]] std::uint16_t active_queues() const override {
        return link_up() ? static_cast<std::uint16_t>(descriptors_.size()) : std::uint16_t{0};
    }
    [[nodiscard]] Readiness readiness() const override { return Readiness::polled; }
    [[nodiscard]] int wait_descriptor(std::uint16_t queue) const override;
    /// What the device missed, could not buffer or found broken.
    [[nodiscard]] std::uint64_t refused() const override;
    [[nodiscard]] std::uint64_t cut_short() const override {
        return cut_short_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::string detail() const override;
    [[nodiscard]] bool needs_tending() const override {
        return needs_tending_.load(std::memory_order_acquire);
    }
    void tend(const std::function<void()>& wait) override;
    void filter_by(const std::vector<MacAddress>& addresses) override;
    void set_mtu(std::uint32_t mtu) override;
    void stop() override;

protected:
    [[nodiscard]] std::uint16_t device_id() const { return id_; }

private:
    struct Events;  ///< how DPDK calls
    std::uint16_t send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    std::unique_ptr<Ethdev> open();
    void take_up();
    [[nodiscard]] std::uint64_t refused_by_device() const;
    void look();
    void note_gone();
    void watch();
    void unwatch();

    const std::shared_ptr<void> share_;  ///< of the descriptors
    const PortIndex index_;
    rte_mempool* const pool_;
    PortListener& listener_;
    model::Port config_;                 ///< main thread
    std::vector<MacAddress> addresses_;  ///< of filter_by(); main thread
    const Descriptor namespace_;         ///< of its kernel interfaces; none: the process's own
    const std::unique_ptr<Bond> bond_;   ///< what `device_` is made of, where it is
    mutable std::mutex mutex_;           ///< of `device_`'s change, against those who are not workers
    std::unique_ptr<Ethdev> device_;     ///< closed while it has gone
    std::uint16_t id_;                   ///< changes while no worker has a queue
    std::vector<int> descriptors_;       ///< a queue's, or -1
    std::chrono::steady_clock::time_point try_at_;  ///< under the mutex: when to look for a gone device again
    std::atomic<Ethdev::Link> link_{Ethdev::Link::down};
    std::atomic<bool> needs_tending_{false};
    std::atomic<std::uint64_t> refused_here_{0};
    std::atomic<std::uint64_t> cut_short_{0};
    bool let_go_ =
        false;  ///< of a device that has gone: it is closed; changed by the main thread, under the mutex
    bool stopped_ = false;  ///< main thread
};

/// A bond that speaks LACP: its frames go out with others, and where there are none still have to.
class LacpUplink final : public Uplink {
public:
    using Uplink::Uplink;
    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override;

private:
    std::uint64_t sent_at_ = 0;  ///< cycles; the owner of queue 0
};

/// The kind of uplink that the port asks for.
std::unique_ptr<Port> make_uplink(const model::Port& port, PortIndex index, rte_mempool* pool,
                                  PortListener& listener, std::shared_ptr<void> share);

}  // namespace viaduct::dataplane
