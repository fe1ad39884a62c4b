// A guest or DPDK application behind a vhost-user socket: virtio rings in its memory, read and written by our
// workers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "port/offload.h"
#include "port/port.h"
#include "port/vhost_driver.h"

struct rte_mempool;

namespace viaduct::dataplane {

/// Destruction hangs up, as stop() does: a vhost-user peer reconnects, and needs nothing kept.
class VhostUser final : public Port, private VhostDevice, private Sender {
public:
    /// Begins to connect or listen. The pool and the listener outlive the port; `share` is kept as long
    /// as it lives. Throws Refused in words.
    VhostUser(const model::Port& port, PortIndex index, rte_mempool* pool, PortListener& listener,
              std::shared_ptr<void> share = {});
    ~VhostUser() override;

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override;
    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    void arm(std::uint16_t queue) override;
    void disarm(std::uint16_t queue) override;
    [[nodiscard]] bool link_up() const override { return active_queues() != 0; }
    [[nodiscard]] std::uint16_t active_queues() const override {
        return active_.load(std::memory_order_acquire);
    }
    [[nodiscard]] Readiness readiness() const override { return Readiness::polled; }
    /// An epoll descriptor of ours that follows the guest's own through every reconnection. disarm() makes it
    /// quiet.
    [[nodiscard]] int wait_descriptor(std::uint16_t queue) const override;
    [[nodiscard]] std::string detail() const override;
    [[nodiscard]] std::uint64_t refused() const override { return refused_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t cut_short() const override {
        return cut_short_.load(std::memory_order_relaxed);
    }
    void set_mtu(std::uint32_t mtu) override { (void)mtu; }  // virtio gives a device no word to change it
    void stop() override;

private:
    /// One direction of a queue as its worker uses it. The worker says `busy` while it is inside
    /// librte_vhost, so that a device is not freed under it; see quiesce().
    struct alignas(64) Side {
        std::atomic<std::uint32_t> device;  ///< vid, or kOff; kFresh is set until the worker has looked once
        std::atomic<bool> busy{false};
    };
    struct Queue {
        Side in;   ///< from the guest: ring 2q+1
        Side out;  ///< to the guest: ring 2q
        int wait = -1;
        int kick = -1;  ///< our duplicate of the guest's eventfd
    };
    class Visit;

    void connected(int vid) override;
    void disconnected(int vid) override;
    void started(int vid) override;
    void stopped(int vid) override;
    void ring_changed(int vid, std::uint16_t ring, bool enabled) override;

    std::uint16_t take_in(rte_mbuf** frames, std::uint16_t count);
    std::uint16_t send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    void publish();
    void quiesce();
    std::string adopt_descriptors(int vid, std::uint16_t ring);
    void drop_kick(Queue& queue);
    [[nodiscard]] std::string peer_words() const;

    const std::shared_ptr<void> share_;  ///< of the descriptors
    const model::VhostUser socket_;
    const PortIndex index_;
    rte_mempool* const pool_;
    PortListener& listener_;
    std::vector<Queue> queues_;
    std::atomic<std::uint16_t> active_{0};
    std::atomic<Offloads> offloads_{0};  ///< of the present connection
    std::atomic<std::uint64_t> refused_{0};
    std::atomic<std::uint64_t> cut_short_{0};
    bool stopped_ = false;  ///< main thread

    mutable std::mutex mutex_;  ///< guards what follows; never taken by a worker
    int vid_ = -1;              ///< of the connection
    bool running_ = false;
    std::uint32_t in_enabled_ = 0;  ///< a bit a queue
    std::uint32_t out_enabled_ = 0;
    std::uint16_t rings_unserved_ = 0;  ///< enabled by the guest beyond our queues
    std::string fault_;
    std::string last_end_;  ///< why the connection before this one was cut off
};

}  // namespace viaduct::dataplane
