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

    // Each writes a frame's headers and returns its flow; the mark is the caller's.

    /// Of one whole round of all flows, in the warm-up's order. `position` counts from 0.
    std::uint32_t write_first_round(Frame& frame, std::uint64_t position) const {
        return write(frame, static_cast<std::uint32_t>(position * step_ % flows_.size()));
    }

    std::uint32_t write_next(Frame& frame) {
        const auto index = next_;
        if (++next_ == flows_.size()) next_ = 0;
        return write(frame, index);
    }

    /// Of a flow that is none of the others, a new one for each `position`.
    std::uint32_t write_flood(Frame& frame, std::uint64_t position) const {
        std::memcpy(static_cast<void*>(&frame), &common_, kHeaderBytes);
        const auto address = static_cast<std::uint32_t>(position % addresses_);
        frame.ip.src_addr = rte_cpu_to_be_32(first_address_ + address);
        frame.ip.hdr_checksum = rte_ipv4_cksum(&frame.ip);
        frame.udp.src_port = rte_cpu_to_be_16(static_cast<std::uint16_t>(kFloodPort + position / addresses_));
        return Mark::kFlood;
    }

private:
    /// What differs between flows; network byte order.
    struct Flow {
        rte_be32_t address;
        rte_be16_t port;
        rte_be16_t checksum;
    };

    std::uint32_t write(Frame& frame, std::uint32_t index) const {
        std::memcpy(static_cast<void*>(&frame), &common_, kHeaderBytes);
        const auto& flow = flows_[index];
        frame.ip.src_addr = flow.address;
        frame.ip.dst_addr = destination(index);
        frame.ip.hdr_checksum = flow.checksum;
        frame.udp.src_port = flow.port;
        return index;
    }

    rte_be32_t destination(std::uint32_t index) const {
        if (destinations_ == 1) return common_.ip.dst_addr;
        return rte_cpu_to_be_32(first_destination_ + index % destinations_);
    }

    Frame common_{};
    std::vector<Flow> flows_;
    std::uint32_t next_ = 0;
    std::uint64_t step_ = 1;
    std::uint32_t first_address_;
    std::uint32_t addresses_;
    std::uint32_t first_destination_;
    std::uint32_t destinations_;
};

}  // namespace viaduct::pktgen
