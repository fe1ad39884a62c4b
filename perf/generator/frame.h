// The frames that the generator sends and knows again: Ethernet, IPv4, UDP and a mark with a flow, a sequence
// number and a time. All of it lies in the first cache line of the packet's data. A device may give one back
// inside VXLAN.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

namespace viaduct::pktgen {

/// The first bytes of the UDP payload, in host byte order: only the generator reads it.
struct Mark {
    static constexpr std::uint32_t kMagic = 0x56504b47;  // "VPKG"

    static constexpr std::uint32_t kFlood = UINT32_MAX;  ///< for `flow`: one of the flood's, each one's own

    std::uint32_t magic;
    std::uint32_t flow;      ///< its place among the flows
    std::uint32_t sequence;  ///< counts every frame sent but the flood's, and wraps
    std::uint32_t time;      ///< TSC when the frame's burst was put together, its lower half
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

/// A frame of ours as a VXLAN tunnel carries it, over IPv4 without options (RFC 7348, section 5).
struct TunnelFrame {
    rte_ether_hdr ethernet;
    rte_ipv4_hdr ip;
    rte_udp_hdr udp;
    rte_vxlan_hdr vxlan;
    Frame inner;
} __attribute__((packed, aligned(2)));

inline bool is_ours(const Frame& frame, std::uint32_t bytes) {
    return bytes >= sizeof(Frame) && frame.mark.magic == Mark::kMagic;
}

inline bool is_tunnelled(const TunnelFrame& outer, std::uint32_t bytes) {
    return bytes >= sizeof(TunnelFrame) &&
           outer.ethernet.ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) &&
           outer.ip.version_ihl == RTE_IPV4_VHL_DEF && outer.ip.next_proto_id == IPPROTO_UDP &&
           outer.udp.dst_port == rte_cpu_to_be_16(RTE_VXLAN_DEFAULT_PORT);
}

/// The frame of ours that lies at `data`, translated or not, in a tunnel or not; nullptr if it is none.
/// `bytes` is the length of the first segment.
inline Frame* our_frame(void* data, std::uint32_t bytes) {
    auto* const plain = static_cast<Frame*>(data);
    if (is_ours(*plain, bytes)) [[likely]]
        return plain;
    auto* const outer = static_cast<TunnelFrame*>(data);
    if (!is_tunnelled(*outer, bytes) || outer->inner.mark.magic != Mark::kMagic) return nullptr;
    return &outer->inner;
}

template <typename Headers>
void exchange_hosts(Headers& headers) {
    const auto mac = headers.ethernet.src_addr;
    headers.ethernet.src_addr = headers.ethernet.dst_addr;
    headers.ethernet.dst_addr = mac;
    const auto address = headers.ip.src_addr;
    headers.ip.src_addr = headers.ip.dst_addr;
    headers.ip.dst_addr = address;
}

/// Turns a frame round, whatever it carries by now. No checksum changes: sums do not know the order.
inline void reflect(Frame& frame) {
    exchange_hosts(frame);
    const auto port = frame.udp.src_port;
    frame.udp.src_port = frame.udp.dst_port;
    frame.udp.dst_port = port;
}

/// The tunnel's own headers; the UDP ports stay, so that the other end opens it.
inline void reflect(TunnelFrame& outer) {
    exchange_hosts(outer);
}

}  // namespace viaduct::pktgen
