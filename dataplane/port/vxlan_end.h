// The port that a tunnel's end is: it has a place, a bridge, counters and an MTU as others have, and no
// queues. What is sent by it leaves by the underlay's ports, wrapped; see forward/tunnel.h.
#pragma once

#include <string>

#include "viaduct/model.h"

#include "port/port.h"

namespace viaduct::dataplane {

class VxlanEnd final : public Port {
public:
    explicit VxlanEnd(const model::Vxlan& vxlan)
        : detail_("VNI " + std::to_string(vxlan.vni) + " at " + vxlan.local.to_string() + " port " +
                  std::to_string(vxlan.udp_port)) {}

    std::uint16_t receive(std::uint16_t, rte_mbuf**, std::uint16_t) override { return 0; }
    std::uint16_t transmit(std::uint16_t, rte_mbuf**, std::uint16_t) override { return 0; }
    [[nodiscard]] bool link_up() const override { return true; }
    [[nodiscard]] std::uint16_t active_queues() const override { return 0; }
    [[nodiscard]] Readiness readiness() const override { return Readiness::polled; }
    [[nodiscard]] int wait_descriptor(std::uint16_t) const override { return -1; }
    [[nodiscard]] std::string detail() const override { return detail_; }
    void set_mtu(std::uint32_t) override {}
    void stop() override {}

private:
    const std::string detail_;
};

}  // namespace viaduct::dataplane
