// Hostile headers: every length is compared with what is there before it is used.
#include "resolve/packet.h"

#include <array>
#include <cstring>

#include <rte_mbuf.h>

#include "forward/checksum.h"
#include "port/offload.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint8_t kIcmp = 1;
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kIcmp6 = 58;
constexpr std::uint8_t kSctp = 132;

// IPv6 extension headers (IANA); others are transports, or as good as.
constexpr std::uint8_t kHopByHop = 0;
constexpr std::uint8_t kRouting = 43;
constexpr std::uint8_t kFragment = 44;
constexpr std::uint8_t kAuthentication = 51;
constexpr std::uint8_t kDestination = 60;
constexpr std::uint8_t kMobility = 135;

std::uint16_t be16(const std::uint8_t* at) {
    return static_cast<std::uint16_t>(at[0] << 8 | at[1]);
}

/// So many bytes of a frame where they lie, or in `scratch` when they lie apart; null when they are not
/// there.
const std::uint8_t* bytes_at(const rte_mbuf* frame, std::uint32_t offset, std::uint32_t length,
                             std::uint8_t* scratch) {
    return static_cast<const std::uint8_t*>(rte_pktmbuf_read(frame, offset, length, scratch));
}

template <std::size_t kLength>
inline IpAddress address(const std::uint8_t* at) {
    return *IpAddress::from_bytes({at, kLength});
}

/// RFC 1071 over a header.
bool sums_up(const std::uint8_t* header, std::size_t length) {
    if (length == 20) return ipv4_checksum_holds(header);
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i + 1 < length; i += 2)
        sum += be16(header + i);
    sum = (sum & 0xffff) + (sum >> 16);
    return ((sum + (sum >> 16)) & 0xffff) == 0xffff;
}

Drop read_ipv4(std::uint32_t available, Packet& packet) {
    std::array<std::uint8_t, 60> scratch;
    const auto* frame = packet.routed.frame;
    const auto* ip = bytes_at(frame, packet.l3_offset, 20, scratch.data());
    if (ip == nullptr) return Drop::bad_ip_header;
    const auto header = (ip[0] & 0xfU) * 4;
    packet.length = be16(&ip[2]);
    if (ip[0] >> 4 != 4 || header < 20 || packet.length < header || packet.length > available)
        return Drop::bad_ip_header;
    if (header > 20) ip = bytes_at(frame, packet.l3_offset, header, scratch.data());
    if (ip == nullptr) return Drop::bad_ip_header;
    if (!sums_up(ip, header)) return Drop::bad_checksum;
    const auto fragment = be16(&ip[6]);
    packet.v4 = true;
    packet.source = address<4>(&ip[12]);
    packet.destination = address<4>(&ip[16]);
    packet.protocol = ip[9];
    packet.ttl = ip[8];
    packet.dscp_ecn = ip[1];
    packet.dont_fragment = (fragment & 0x4000) != 0;
    packet.fragment = (fragment & 0x3fff) != 0;
    packet.options = header > 20;
    const bool first = (fragment & 0x1fff) == 0;
    packet.l4_offset = first ? static_cast<std::uint16_t>(packet.l3_offset + header) : std::uint16_t{0};
    return Drop::count_;
}

/// Walks IPv6's extension headers (RFC 8200 4) from `next`, which lies `offset` bytes into the packet.
Drop pass_extensions(std::uint8_t next, std::uint32_t offset, Packet& packet) {
    const auto* frame = packet.routed.frame;
    bool first = true;  // the fragment that has the transport's header in it
    for (unsigned headers = 0;; ++headers) {
        const bool extension = next == kHopByHop || next == kRouting || next == kFragment ||
                               next == kAuthentication || next == kDestination || next == kMobility;
        if (!extension || !first) break;
        // Hop-by-hop options stand first or nowhere (RFC 8200 4.1).
        if (headers == kExtensionHeadersMost || (next == kHopByHop && headers > 0))
            return Drop::bad_ip_header;
        std::array<std::uint8_t, 8> header;
        if (offset + 8 > packet.length || !read_bytes(frame, packet.l3_offset + offset, 8, header.data()))
            return Drop::bad_ip_header;
        std::uint32_t length = (header[1] + 1U) * 8;
        if (next == kAuthentication) length = (header[1] + 2U) * 4;  // RFC 4302 2.2
        if (next == kFragment) {
            length = 8;
            const auto field = be16(&header[2]);
            // An atomic fragment is whole (RFC 6946), and still carries a header that is in the way. So does
            // what was put together here: it may be cut again at that header.
            packet.fragment = packet.fragment || (field & 0xfff9) != 0;
            packet.dont_fragment = false;
            first = (field & 0xfff8) == 0;
        }
        offset += length;
        if (offset > packet.length || offset > 40 + kExtensionBytesMost) return Drop::bad_ip_header;
        next = header[0];
        packet.options = true;
    }
    packet.protocol = next;
    packet.l4_offset = first ? static_cast<std::uint16_t>(packet.l3_offset + offset) : std::uint16_t{0};
    return Drop::count_;
}

Drop read_ipv6(std::uint32_t available, Packet& packet) {
    std::array<std::uint8_t, 40> scratch;
    const auto* ip = bytes_at(packet.routed.frame, packet.l3_offset, scratch.size(), scratch.data());
    if (ip == nullptr) return Drop::bad_ip_header;
    const std::uint32_t length = 40U + be16(&ip[4]);
    if (ip[0] >> 4 != 6 || length > available || length > UINT16_MAX) return Drop::bad_ip_header;
    packet.v4 = false;
    packet.length = static_cast<std::uint16_t>(length);
    packet.source = address<16>(&ip[8]);
    packet.destination = address<16>(&ip[24]);
    packet.ttl = ip[7];
    packet.dscp_ecn = static_cast<std::uint8_t>(be16(&ip[0]) >> 4);
    packet.dont_fragment = true;
    return pass_extensions(ip[6], 40, packet);
}

/// 0: not there.
std::uint16_t ethertype_of(const RoutedFrame& routed) {
    std::array<std::uint8_t, 2> scratch;
    if (routed.frame->pkt_len < routed.l2_length) return 0;
    const auto* type = bytes_at(routed.frame, routed.l2_length - 2U, 2, scratch.data());
    return type == nullptr ? std::uint16_t{0} : be16(type);
}

/// Bytes of a transport's header without which it cannot be.
std::uint32_t least_header(const Packet& packet) {
    switch (packet.protocol) {
        case kTcp:
            return 20;
        case kUdp:
            return 8;
        case kSctp:
            return 12;
        case kIcmp:
            return packet.v4 ? 8 : 0;
        case kIcmp6:
            return packet.v4 ? 0 : 8;
        default:
            return 0;
    }
}

/// Echo's identifier as ports: flow/key.h.
void read_icmp(const std::uint8_t* icmp, Packet& packet) {
    packet.icmp_type = icmp[0];
    packet.icmp_code = icmp[1];
    const std::uint8_t request = packet.v4 ? 8 : 128;
    const std::uint8_t reply = packet.v4 ? 0 : 129;
    const auto id = be16(icmp + 4);
    if (icmp[0] == request) {
        packet.source_port = id;
        packet.destination_port = kEchoPort.to_host();
    } else if (icmp[0] == reply) {
        packet.source_port = kEchoPort.to_host();
        packet.destination_port = id;
    }
}

Drop read_transport(Packet& packet) {
    const auto least = least_header(packet);
    if (packet.l4_offset == 0 || least == 0) return Drop::count_;
    const auto left = packet.length - std::uint32_t{packet.l4_offset} + packet.l3_offset;
    // A fragment's header may be cut short by who wants to hide it (RFC 1858): it is put together first.
    if (left < least && packet.fragment) {
        packet.l4_offset = 0;
        return Drop::count_;
    }
    if (left < least) return Drop::bad_transport_header;
    std::array<std::uint8_t, 20> scratch;
    const auto* header = bytes_at(packet.routed.frame, packet.l4_offset, least, scratch.data());
    if (header == nullptr) return Drop::bad_transport_header;
    if (packet.protocol == kIcmp || packet.protocol == kIcmp6) {
        read_icmp(header, packet);
        return Drop::count_;
    }
    packet.source_port = be16(&header[0]);
    packet.destination_port = be16(&header[2]);
    if (packet.protocol == kTcp) {
        packet.tcp_flags = header[13];
        const auto length = (header[12] >> 4) * 4U;
        if (length < 20 || (length > left && !packet.fragment)) return Drop::bad_transport_header;
    }
    return Drop::count_;
}

}  // namespace

bool read_bytes(const rte_mbuf* frame, std::uint32_t offset, std::uint32_t length, void* into) {
    const auto* at = rte_pktmbuf_read(frame, offset, length, into);
    if (at == nullptr) return false;
    if (at != into) std::memcpy(into, at, length);
    return true;
}

bool is_arp(const RoutedFrame& routed) {
    return ethertype_of(routed) == 0x0806;
}

Drop read_packet(const RoutedFrame& routed, Packet& packet) {
    packet = {};
    packet.routed = routed;
    packet.l3_offset = routed.l2_length;
    const auto type = ethertype_of(routed);
    if (type != 0x0800 && type != 0x86dd) return Drop::not_ip;
    const auto available = routed.frame->pkt_len - routed.l2_length;
    const auto refused = type == 0x0800 ? read_ipv4(available, packet) : read_ipv6(available, packet);
    if (refused != Drop::count_) return refused;
    packet.longest =
        left_to_cut(routed.frame) ? longest_frame(routed.frame) - routed.l2_length : packet.length;
    return read_transport(packet);
}

}  // namespace viaduct::dataplane
