// A kernel interface for an ordinary pod: frames cross one system call each, in and out, and a long segment
// is one frame.
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
#include "port/tap_device.h"
#include "port/tap_driver.h"

struct rte_mempool;

namespace viaduct::dataplane {

/// stop() removes the interface: its name is free in the namespace when that returns. Destruction without
/// stop() only detaches: the interface stays with its addresses and routes, without carrier, and the next
/// dataplane's port takes it up again, as it does after a kill.
///
/// The link is up while the interface is there and administratively up, which its owner or control decides.
/// It may be moved to another namespace and renamed, as container engines do: the port goes along.
class Tap final : public Port, private Sender {
public:
    /// The interface exists with MAC and MTU when this returns. Pool and listener outlive the port; `share`
    /// is kept as long as it lives. Throws Refused.
    Tap(const model::Port& port, PortIndex index, rte_mempool* pool, PortListener& listener,
        std::shared_ptr<TapDriver> driver, std::shared_ptr<void> share = {});
    ~Tap() override;

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override;
    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    [[nodiscard]] bool link_up() const override {
        return state_.load(std::memory_order_acquire) == TapState::up;
    }
    [[nodiscard]] std::uint16_t active_queues() const override;
    [[nodiscard]] Readiness readiness() const override { return Readiness::signalled; }
    [[nodiscard]] int wait_descriptor(std::uint16_t queue) const override;
    [[nodiscard]] std::string detail() const override;
    [[nodiscard]] std::uint64_t refused() const override { return refused_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t cut_short() const override {
        return cut_short_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool is_at(const model::Tap& place) const override;
    void set_mtu(std::uint32_t mtu) override;
    void stop() override;

private:
    /// One queue as its worker uses it. A buffer is kept ready, so that a look that finds nothing allocates
    /// nothing of the common pool; the large one is given back at the end of a look. There may be none, when
    /// many long segments wait somewhere: then what does not fit the common one is read into `scratch`, and
    /// costs a copy.
    struct alignas(64) Queue {
        int fd = -1;
        rte_mbuf* spare = nullptr;
        rte_mbuf* large = nullptr;
        std::unique_ptr<std::uint8_t[]> scratch;
    };
    enum class Read : std::uint8_t { frame, refused, none };

    Read read_frame(Queue& queue, rte_mbuf*& frame);
    rte_mbuf* take_frame(Queue& queue, std::size_t size);
    bool append(rte_mbuf* head, const std::uint8_t* bytes, std::size_t size);
    std::uint16_t send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    void lost(int error);
    void look();
    TapState find_state();

    const std::shared_ptr<void> share_;  ///< of the descriptors
    const std::string name_;
    const std::string where_;
    const PortIndex index_;
    rte_mempool* const pool_;
    PortListener& listener_;
    std::shared_ptr<TapDriver> driver_;
    rte_mempool* const large_pool_;
    TapDriver::Place place_;
    mutable std::mutex moving_;  ///< guards device_'s index and moved_ once the driver watches
    TapDevice device_;
    bool moved_ = false;
    std::vector<Queue> queues_;
    std::atomic<TapState> state_{TapState::down};
    std::atomic<std::uint64_t> refused_{0};
    std::atomic<std::uint64_t> cut_short_{0};
    bool stopped_ = false;  ///< main thread
};

}  // namespace viaduct::dataplane
