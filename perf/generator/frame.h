// The frames that the generator sends and knows again: Ethernet, IPv4, UDP and a mark with a sequence number
// and a time. All of it lies in the first cache line of the packet's data.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

namespace viaduct::pktgen {

/// The first bytes of the UDP payload, in host byte order: only the generator reads it.
struct Mark {
    static constexpr std::uint32_t kMagic = 0x56504b47;  // "VPKG"

    std::uint32_t magic;
    std::uint32_t sequence;  ///< counts every frame sent, and wraps
    std::uint64_t time;      ///< TSC when the frame's burst was put together
} __attribute__((packed));

struct Frame {
    rte_ether_hdr ethernet;
    rte_ipv4_hdr ip;
    rte_udp_hdr udp;
    Mark mark;
} __attribute__((packed, aligned(2)));

constexpr std::uint32_t kHeaderBytes = sizeof(Frame) - sizeof(Mark);
constexpr std::uint32_t kFrameLeast = 60;  ///< without the frame check sequence
constexpr std::uint32_t kFrameMost = 1518;
static_assert(sizeof(Frame) <= kFrameLeast);

/// One of ours, translated or not. `bytes` is the length of the first segment.
inline bool is_ours(const Frame& frame, std::uint32_t bytes) {
    return bytes >= sizeof(Frame) && frame.mark.magic == Mark::kMagic;
}

/// Turns a frame round, whatever it carries by now. No checksum changes: sums do not know the order.
inline void reflect(Frame& frame) {
    const auto mac = frame.ethernet.src_addr;
    frame.ethernet.src_addr = frame.ethernet.dst_addr;
    frame.ethernet.dst_addr = mac;
    const auto address = frame.ip.src_addr;
    frame.ip.src_addr = frame.ip.dst_addr;
    frame.ip.dst_addr = address;
    const auto port = frame.udp.src_port;
    frame.udp.src_port = frame.udp.dst_port;
    frame.udp.dst_port = port;
}

}  // namespace viaduct::pktgen
