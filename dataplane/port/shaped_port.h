// A port whose traffic is limited to a rate, each way, as a token bucket does. Put around the port that it
// limits when a limit is first set, so that ports without one pay nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "viaduct/model.h"

#include "port/byte_bucket.h"
#include "port/outer_port.h"

namespace viaduct::dataplane {

/// Received frames wait on the other side, which so comes to know: a guest's ring fills up, a pod's sockets
/// block. Frames to be sent wait here in a line of up to kLine frames and 25 ms of the rate; what finds no
/// room is the caller's, who drops it by name. The line moves when its queue is polled, so the port is polled
/// whatever the inner one is.
class ShapedPort final : public OuterPort {
public:
    /// Frames that wait for each queue, at most.
    static constexpr std::uint32_t kLine = 256;

    explicit ShapedPort(std::unique_ptr<Port> inner, std::uint16_t queues);
    ~ShapedPort() override;

    /// Main thread, at any time. A rate of 0 takes the limit away.
    void set_limits(const model::RateLimit& rx, const model::RateLimit& tx);

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override;
    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override;
    void arm(std::uint16_t queue) override {
        queues_[queue].look_at = 0;  // the look after this one is the one that counts
        OuterPort::arm(queue);
    }
    [[nodiscard]] Readiness readiness() const override { return Readiness::polled; }
    [[nodiscard]] bool limited() const override { return true; }
    [[nodiscard]] std::uint64_t held() const override;
    [[nodiscard]] bool waits() const override { return shut_.load(std::memory_order_relaxed) || held() != 0; }

private:
    /// One queue as its worker uses it.
    struct alignas(64) Queue {
        std::uint32_t begin = 0;
        std::atomic<std::uint32_t> count{0};
        std::uint64_t bytes = 0;
        std::uint64_t look_at = 0;  ///< cycles: when a look that costs a system call is due
        std::array<rte_mbuf*, kLine> line;
    };

    void move_line(std::uint16_t queue, std::uint64_t now);

    const std::uint64_t look_every_;  ///< cycles; 0: looking is cheap
    std::vector<Queue> queues_;
    ByteBucket rx_;
    ByteBucket tx_;
    std::atomic<bool> shut_{false};             ///< the last look found no tokens to receive with
    std::atomic<std::uint64_t> line_bytes_{0};  ///< that may wait for each queue
};

}  // namespace viaduct::dataplane
