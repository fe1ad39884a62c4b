// A port that is there and carries nothing, for tests, fuzzing and micro-benchmarks of what is behind ports;
// and a worker that is alone.
#pragma once

#include "forward/forwarder.h"
#include "port/port.h"

namespace viaduct::dataplane {

class IdlePort : public Port {
public:
    std::uint16_t receive(std::uint16_t, rte_mbuf**, std::uint16_t) override { return 0; }
    std::uint16_t transmit(std::uint16_t, rte_mbuf**, std::uint16_t) override { return 0; }
    [[nodiscard]] bool link_up() const override { return true; }
    [[nodiscard]] std::uint16_t active_queues() const override { return 1; }
    [[nodiscard]] Readiness readiness() const override { return Readiness::polled; }
    [[nodiscard]] int wait_descriptor(std::uint16_t) const override { return -1; }
    void set_mtu(std::uint32_t) override {}
    void stop() override {}
};

struct NoHandOff final : HandOff {
    std::uint16_t hand_off(std::uint16_t, PortIndex, rte_mbuf**, std::uint16_t) override { return 0; }
};

}  // namespace viaduct::dataplane
