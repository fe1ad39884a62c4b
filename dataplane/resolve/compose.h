// Writes the frames that the node makes itself, byte for byte: ARP, neighbour discovery, router
// advertisements, ICMP errors, TCP resets. Pure functions from values to bytes; nothing here decides whether
// one is sent. All begin with an Ethernet header without a tag.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "viaduct/address.h"

namespace viaduct::dataplane {

using FrameBytes = std::vector<std::uint8_t>;

inline constexpr MacAddress kBroadcastMac = MacAddress::from_u64(0xffffffffffff);

/// Ends of a packet that the node sends: whom the frame is for, and the packet in it.
struct Ends {
    MacAddress to_mac;
    MacAddress from_mac;
    IpAddress to;
    IpAddress from;  ///< of the same family
};

/// RFC 1071, over `bytes` and what was `summed` before (host order, not folded). Host order.
std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes, std::uint64_t summed = 0);
/// The unfolded sum of a transport's pseudo header (RFC 9293 3.1, RFC 8200 8.1).
std::uint64_t pseudo_header_sum(const IpAddress& from, const IpAddress& to, std::uint8_t protocol,
                                std::size_t length);

struct ArpMessage {
    bool request = true;
    MacAddress sender_mac;
    IpAddress sender;
    MacAddress target_mac;
    IpAddress target;
};
/// RFC 826. `to`: the frame's destination, which need not be the target's.
FrameBytes compose_arp(const ArpMessage& message, const MacAddress& to);

/// RFC 4861 4.3, with the sender's link-layer address unless `ends.from` is unspecified.
FrameBytes compose_neighbour_solicitation(const Ends& ends, const IpAddress& target);

struct NeighbourAdvertisement {
    IpAddress target;
    bool solicited = false;
    bool override = true;
};
/// RFC 4861 4.4, from a router, with the target's link-layer address, which is `ends.from_mac`.
FrameBytes compose_neighbour_advertisement(const Ends& ends, const NeighbourAdvertisement& advertisement);

struct RouterAdvertisement {
    std::uint16_t lifetime = 1800;  ///< seconds as a default router; 0: no longer one
    std::uint32_t mtu = 1500;
    std::vector<Prefix> prefixes;  ///< on-link; hosts make addresses of those of 64 bits (RFC 4862)
};
/// RFC 4861 4.2.
FrameBytes compose_router_advertisement(const Ends& ends, const RouterAdvertisement& advertisement);

/// An ICMP or ICMPv6 error as `ends.from`'s family has it.
struct IcmpError {
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    std::uint32_t rest = 0;  ///< the second 32 bits: an MTU, a pointer, or zero; host order
};
/// Most bytes of the packet in question that an error quotes: the whole error is at most 576 bytes (RFC 1812
/// 4.3.2.3) or 1280 (RFC 4443 2.4 c).
constexpr std::size_t quoted_most(bool v4) {
    return v4 ? 576 - 20 - 8 : 1280 - 40 - 8;
}
FrameBytes compose_icmp_error(const Ends& ends, const IcmpError& error, std::span<const std::uint8_t> quoted);

struct TcpReset {
    std::uint16_t from_port = 0;
    std::uint16_t to_port = 0;
    std::uint32_t sequence = 0;
    std::optional<std::uint32_t> acknowledgement;
};
/// RFC 9293 3.5.2.
FrameBytes compose_tcp_reset(const Ends& ends, const TcpReset& reset);

}  // namespace viaduct::dataplane
