// What the fast path wants to know of a packet. Packets that it does not carry (options, extension headers,
// fragments, ICMP other than echo, a TTL that runs out, headers in several segments) are told from those that
// it does by as few comparisons as can be; why they are not carried is for resolve to find out.
#pragma once

#include <array>
#include <cstdint>

#include <rte_mbuf.h>

#include "flow/flow_table.h"
#include "forward/checksum.h"
#include "forward/first_packets.h"

namespace viaduct::dataplane {

inline constexpr std::uint8_t kIcmp = 1;
inline constexpr std::uint8_t kTcp = 6;
inline constexpr std::uint8_t kUdp = 17;
inline constexpr std::uint8_t kIcmp6 = 58;
inline constexpr std::uint8_t kSctp = 132;

/// Bytes of the IP header that the fast path carries.
template <typename Key>
inline constexpr std::uint16_t kIpHeader = Key::kWords == 2 ? 20 : 40;

/// A packet on its way through the passes of the routed path.
template <typename Key>
struct Parsed {
    Key key;
    std::uint64_t hash;
    const RoutedFrame* routed;
    std::uint8_t* ip;
    FlowIndex flow;
    std::uint16_t length;  ///< of the IP packet
};

namespace detail {

/// How a protocol shows which flow a packet is of.
enum class Shape : std::uint8_t {
    slow,      ///< not at once: an extension header
    ports,     ///< two ports at its very beginning
    echo,      ///< ICMP: only echo has an identifier
    portless,  ///< the addresses alone
};
struct Transport {
    Shape shape;
    std::uint8_t least;  ///< bytes of its header that must be there
};

template <bool kVersion4>
constexpr std::array<Transport, 256> make_transports() {
    std::array<Transport, 256> table{};
    table.fill({Shape::portless, 8});
    table[kTcp] = {Shape::ports, 20};
    table[kUdp] = {Shape::ports, 8};
    table[kSctp] = {Shape::ports, 12};
    table[kVersion4 ? kIcmp : kIcmp6] = {Shape::echo, 8};
    if constexpr (!kVersion4) {
        // IANA's list of IPv6 extension headers, and "no next header" (RFC 8200 4.7). ESP hides what follows,
        // so it is a protocol to us.
        for (const std::size_t header : {0U, 43U, 44U, 51U, 59U, 60U, 135U, 139U, 140U})
            table[header] = {Shape::slow, 8};
    }
    return table;
}
template <bool kVersion4>
inline constexpr auto kTransports = make_transports<kVersion4>();

/// The two ports of an echo's key, as one word in memory; false for any other ICMP message.
template <bool kVersion4>
inline bool echo_ports(const std::uint8_t* icmp, std::uint32_t& ports) {
    constexpr std::uint16_t request = kVersion4 ? 8 : 128;  // with code 0 in the high byte
    constexpr std::uint16_t reply = kVersion4 ? 0 : 129;
    const auto type = load16(icmp);
    const std::uint32_t id = load16(icmp + 4);
    ports = type == request ? id | 0xffff0000U : id << 16 | 0xffffU;
    return type == request || type == reply;
}

}  // namespace detail

/// Fills in key, ip, length and routed; the rest is the caller's. False: the packet is for resolve. The frame
/// has at least routed.l2_length bytes in its first segment.
inline bool parse(const RoutedFrame& routed, Zone zone, Parsed<FlowKey4>& into) {
    const auto* frame = routed.frame;
    auto* ip = rte_pktmbuf_mtod_offset(frame, std::uint8_t*, routed.l2_length);
    const std::uint32_t here = frame->data_len - std::uint32_t{routed.l2_length};
    if (here < 28) [[unlikely]]
        return false;
    // Version 4 and five words of header; no fragment, whether first, middle or last.
    constexpr std::uint64_t mask = 0xff3f0000000000ffU;
    if ((load64(ip) & mask) != 0x45 || ip[8] <= 1) [[unlikely]]
        return false;
    const auto length = read_be16(ip + 2);
    const auto transport = detail::kTransports<true>[ip[9]];
    const std::uint32_t least = 20U + transport.least;
    if (length < least || here < least || length > frame->pkt_len - routed.l2_length ||
        !ipv4_checksum_holds(ip)) [[unlikely]]
        return false;
    std::uint32_t ports = load32(ip + 20);
    if (transport.shape != detail::Shape::ports) [[unlikely]] {
        if (transport.shape == detail::Shape::portless) {
            ports = 0;
        } else if (!detail::echo_ports<true>(ip + 20, ports)) {
            return false;
        }
    }
    const std::array<std::uint64_t, 2> words{
        load64(ip + 12), ports | std::uint64_t{ip[9]} << 32 | static_cast<std::uint64_t>(zone) << 48};
    into.key = std::bit_cast<FlowKey4>(words);
    into.routed = &routed;
    into.ip = ip;
    into.length = length;
    return true;
}

inline bool parse(const RoutedFrame& routed, Zone zone, Parsed<FlowKey6>& into) {
    const auto* frame = routed.frame;
    auto* ip = rte_pktmbuf_mtod_offset(frame, std::uint8_t*, routed.l2_length);
    const std::uint32_t here = frame->data_len - std::uint32_t{routed.l2_length};
    if (here < 48) [[unlikely]]
        return false;
    const std::uint32_t payload = read_be16(ip + 4);
    const auto transport = detail::kTransports<false>[ip[6]];
    const std::uint32_t least = 40U + transport.least;
    if (ip[0] >> 4 != 6 || ip[7] <= 1 || transport.shape == detail::Shape::slow || payload + 40 < least ||
        here < least || payload + 40 > frame->pkt_len - routed.l2_length || payload + 40 > UINT16_MAX)
        [[unlikely]]
        return false;
    std::uint32_t ports = load32(ip + 40);
    if (transport.shape != detail::Shape::ports) [[unlikely]] {
        if (transport.shape == detail::Shape::portless) {
            ports = 0;
        } else if (!detail::echo_ports<false>(ip + 40, ports)) {
            return false;
        }
    }
    const std::array<std::uint64_t, 5> words{
        load64(ip + 8), load64(ip + 16), load64(ip + 24), load64(ip + 32),
        ports | std::uint64_t{ip[6]} << 32 | static_cast<std::uint64_t>(zone) << 48};
    into.key = std::bit_cast<FlowKey6>(words);
    into.routed = &routed;
    into.ip = ip;
    into.length = static_cast<std::uint16_t>(payload + 40);
    return true;
}

}  // namespace viaduct::dataplane
