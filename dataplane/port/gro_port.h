// An uplink whose TCP segments are put together as they come in (generic receive offload), so that they go on
// to pods and guests as one long segment. Put around the uplink that asks for it: others pay nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "port/port.h"

namespace viaduct::dataplane {

/// Puts together the segments of one connection among `count` frames, in place: what is left of them keeps
/// its order, and each long segment is marked as port/offload.h says. Returns how many frames are left. What
/// was put together can be cut again into what came in (but for IPv4's identification of packets that are
/// never fragmented); a segment with a wrong checksum is left as it is, for its receiver to see.
std::uint16_t put_together(rte_mbuf** frames, std::uint16_t count);

class GroPort final : public Port {
public:
    explicit GroPort(std::unique_ptr<Port> inner) : inner_(std::move(inner)) {}

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override {
        const auto count = inner_->receive(queue, frames, most);
        return count < 2 ? count : put_together(frames, count);
    }
    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override {
        return inner_->transmit(queue, frames, count);
    }
    void arm(std::uint16_t queue) override { inner_->arm(queue); }
    void disarm(std::uint16_t queue) override { inner_->disarm(queue); }
    [[nodiscard]] bool link_up() const override { return inner_->link_up(); }
    [[nodiscard]] std::uint16_t active_queues() const override { return inner_->active_queues(); }
    [[nodiscard]] Readiness readiness() const override { return inner_->readiness(); }
    [[nodiscard]] int wait_descriptor(std::uint16_t queue) const override {
        return inner_->wait_descriptor(queue);
    }
    [[nodiscard]] std::uint64_t refused() const override { return inner_->refused(); }
    [[nodiscard]] std::uint64_t cut_short() const override { return inner_->cut_short(); }
    [[nodiscard]] std::string detail() const override { return inner_->detail(); }
    [[nodiscard]] bool needs_tending() const override { return inner_->needs_tending(); }
    void tend(const std::function<void()>& wait) override { inner_->tend(wait); }
    void set_mtu(std::uint32_t mtu) override { inner_->set_mtu(mtu); }
    void stop() override { inner_->stop(); }

private:
    const std::unique_ptr<Port> inner_;
};

}  // namespace viaduct::dataplane
