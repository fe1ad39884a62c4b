// The flows' headers, ready to be copied. In the warm-up flows come in another order than later: a device
// that puts its entries side by side as flows appear would otherwise find them in the order of its
// prefetcher.
#pragma once

#include <cstdint>
#include <vector>

#include "frame.h"
#include "options.h"

namespace viaduct::pktgen {

class Flows {
public:
    Flows(const Options& options, std::uint32_t count);

    std::uint32_t count() const { return static_cast<std::uint32_t>(flows_.size()); }

    /// Frames of one whole round of all flows, in the warm-up's order. `position` counts from 0.
    void write_first_round(Frame& frame, std::uint64_t position) const {
        write(frame, static_cast<std::uint32_t>(position * step_ % flows_.size()));
    }

    /// The next flow's headers; the mark is the caller's.
    void write_next(Frame& frame) {
        write(frame, next_);
        if (++next_ == flows_.size()) next_ = 0;
    }

private:
    /// What differs between flows; network byte order.
    struct Flow {
        rte_be32_t address;
        rte_be16_t port;
        rte_be16_t checksum;
    };

    void write(Frame& frame, std::uint32_t index) const {
        std::memcpy(static_cast<void*>(&frame), &common_, kHeaderBytes);
        const auto& flow = flows_[index];
        frame.ip.src_addr = flow.address;
        frame.ip.hdr_checksum = flow.checksum;
        frame.udp.src_port = flow.port;
    }

    Frame common_{};
    std::vector<Flow> flows_;
    std::uint32_t next_ = 0;
    std::uint64_t step_ = 1;
};

}  // namespace viaduct::pktgen
