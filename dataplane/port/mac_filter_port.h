// An uplink that is not promiscuous: what is for other stations than the router goes no further, whatever the
// device makes of its own filter. A packet socket sees what the interface's filter lets by for anybody else,
// some devices have no filter, others one that is not exact. Put around the uplink that asks for it: others
// pay nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "viaduct/model.h"

#include "port/outer_port.h"

namespace viaduct::dataplane {

class MacFilterPort final : public OuterPort {
public:
    explicit MacFilterPort(std::unique_ptr<Port> inner);

    /// Groups pass, and frames for the addresses of filter_by(); none until it was called.
    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override;
    /// Those kept back are among them.
    [[nodiscard]] std::uint64_t refused() const override {
        return inner().refused() + kept_back_.load(std::memory_order_relaxed);
    }
    /// At most model::kFilterMost. Workers go on meanwhile: what was in force and stays is so at every
    /// moment.
    void filter_by(const std::vector<MacAddress>& addresses) override;

private:
    [[nodiscard]] bool takes(const rte_mbuf* frame) const;

    /// Addresses as MacAddress::to_u64 has them; none of them where one was taken out.
    std::array<std::atomic<std::uint64_t>, model::kFilterMost> addresses_;
    std::atomic<std::size_t> slots_{0};  ///< of `addresses_` that have been used; grows
    std::atomic<std::uint64_t> kept_back_{0};
};

}  // namespace viaduct::dataplane
