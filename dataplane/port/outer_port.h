// A port around another one: what it does not do in its own way is the inner one's doing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "port/port.h"

namespace viaduct::dataplane {

class OuterPort : public Port {
public:
    explicit OuterPort(std::unique_ptr<Port> inner) : inner_(std::move(inner)) {}

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override {
        return inner_->receive(queue, frames, most);
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
    [[nodiscard]] bool limited() const override { return inner_->limited(); }
    [[nodiscard]] std::uint64_t held() const override { return inner_->held(); }
    [[nodiscard]] std::uint64_t refused() const override { return inner_->refused(); }
    [[nodiscard]] std::uint64_t cut_short() const override { return inner_->cut_short(); }
    [[nodiscard]] bool waits() const override { return inner_->waits(); }
    [[nodiscard]] std::string detail() const override { return inner_->detail(); }
    [[nodiscard]] bool is_at(const model::Tap& place) const override { return inner_->is_at(place); }
    [[nodiscard]] bool needs_tending() const override { return inner_->needs_tending(); }
    void tend(const std::function<void()>& wait) override { inner_->tend(wait); }
    void filter_by(const std::vector<MacAddress>& addresses) override { inner_->filter_by(addresses); }
    void set_mtu(std::uint32_t mtu) override { inner_->set_mtu(mtu); }
    void stop() override { inner_->stop(); }

protected:
    [[nodiscard]] Port& inner() { return *inner_; }
    [[nodiscard]] const Port& inner() const { return *inner_; }

private:
    const std::unique_ptr<Port> inner_;
};

}  // namespace viaduct::dataplane
