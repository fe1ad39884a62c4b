// What the micro-benchmarks of forwarding and of resolve stand on: frames in buffers without a pool, and
// ports that carry nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <rte_mbuf.h>

#include "forward/checksum.h"
#include "forward/forwarder.h"
#include "unit/idle_port.h"

namespace viaduct::dataplane::micro {

inline constexpr std::size_t kFrameBytes = 60;

/// Takes everything and does nothing: the benchmark fills the same frames again.
class Sink final : public IdlePort {
public:
    std::uint16_t transmit(std::uint16_t, rte_mbuf**, std::uint16_t count) override { return count; }
};

/// A burst of frames in buffers of their own, as a port's would be.
class Frames {
public:
    Frames() : memory_(static_cast<std::byte*>(std::aligned_alloc(4096, kCount * kSize))) {
        std::fill_n(memory_.get(), kCount * kSize, std::byte{});
        for (std::size_t i = 0; i < kCount; ++i) {
            auto* frame = reinterpret_cast<rte_mbuf*>(memory_.get() + i * kSize);
            frame->buf_addr = frame + 1;
            frame->buf_len = kSize - sizeof(rte_mbuf);
            rte_mbuf_refcnt_set(frame, 1);
            frame->nb_segs = 1;
            frames_[i] = frame;
        }
    }
    /// The next burst with the given contents.
    rte_mbuf** fill(const std::array<std::uint8_t, 64>* contents) {
        auto** burst = frames_.data() + at_;
        at_ = (at_ + kBurst) % kCount;
        for (std::size_t i = 0; i < kBurst; ++i) {
            burst[i]->data_off = RTE_PKTMBUF_HEADROOM;
            burst[i]->data_len = kFrameBytes;
            burst[i]->pkt_len = kFrameBytes;
            std::memcpy(rte_pktmbuf_mtod(burst[i], void*), contents + i, 64);
        }
        return burst;
    }

private:
    static constexpr std::size_t kCount = 512;
    static constexpr std::size_t kSize = 2304;
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };
    std::unique_ptr<std::byte, Free> memory_;
    std::array<rte_mbuf*, kCount> frames_{};
    std::size_t at_ = 0;
};

/// Of 60 bytes: UDP of flow `flow`, from 10.0.0.0/8 (its low 24 bits) to 192.0.0.9, to a MAC address.
inline std::array<std::uint8_t, 64> content(std::uint64_t to, std::uint32_t flow) {
    std::array<std::uint8_t, 64> bytes{0x02, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0x01, 0x08, 0x00};
    for (int i = 0; i < 6; ++i)
        bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(to >> (40 - 8 * i));
    auto* ip = &bytes[14];
    const std::array<std::uint8_t, 12> head{0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0};
    std::copy(head.begin(), head.end(), ip);
    ip[12] = 10;
    std::memcpy(ip + 13, &flow, 3);
    ip[16] = 192;
    ip[19] = 9;
    ip[20] = 4;
    ip[22] = 5;
    ip[25] = 26;
    ip[26] = 0x77;
    std::uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += load16(ip + i);
    store16(ip + 10, static_cast<std::uint16_t>(~fold(sum)));
    return bytes;
}

}  // namespace viaduct::dataplane::micro
