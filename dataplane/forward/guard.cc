// Headers are read in the frame's first segment alone, where every kind of port puts them.
#include "forward/guard.h"

#include <algorithm>
#include <array>

#include <rte_mbuf.h>

#include "forward/checksum.h"
#include "forward/forwarder.h"
#include "forward/parse.h"

namespace viaduct::dataplane {
namespace {

constexpr std::uint32_t kEthernetHeader = 14;
constexpr std::uint32_t kHeader4 = 20;
constexpr std::uint32_t kHeader6 = 40;
constexpr std::uint16_t kDhcpServer = 67;
constexpr std::uint16_t kDhcpClient = 68;
constexpr std::uint16_t kDhcp6Server = 547;
constexpr std::uint16_t kDhcp6Client = 546;
constexpr std::uint8_t kRouterAdvertisement = 134;
constexpr std::uint8_t kSolicitation = 135;
constexpr std::uint8_t kAdvertisement = 136;
constexpr std::uint8_t kRedirect = 137;
constexpr std::uint8_t kRouterSolicitation = 133;
/// More extension headers than these are nobody's honest packet (RFC 8504 5.3).
constexpr unsigned kExtensionsMost = 8;

std::uint64_t read_mac(const std::uint8_t* at) {
    std::uint64_t mac = 0;
    for (int i = 0; i < 6; ++i)
        mac = mac << 8 | at[i];
    return mac;
}

bool is_unspecified(const std::uint8_t* address6) {
    return (load64(address6) | load64(address6 + 8)) == 0;
}

/// fe80:: with the interface identifier that a MAC address makes.
std::array<std::uint8_t, 16> link_local(const MacAddress& mac) {
    const auto& m = mac.bytes;
    return {0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<std::uint8_t>(m[0] ^ 2U),
            m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
}

}  // namespace

Guard::Guard(const model::Guard& config) : any_address_(config.addresses.empty()) {
    const auto add6 = [this](const std::array<std::uint8_t, 16>& address, unsigned length) {
        Network6 network{};
        for (unsigned i = 0; i < 2; ++i) {
            const auto bits = std::clamp(length, 64 * i, 64 * i + 64) - 64 * i;
            network.mask[i] = bits == 0 ? 0 : __builtin_bswap64(~std::uint64_t{0} << (64 - bits));
            network.network[i] = load64(&address[8 * i]) & network.mask[i];
        }
        v6_.push_back(network);
    };
    for (const auto& mac : config.macs) {
        macs_.push_back(mac.to_u64());
        add6(link_local(mac), 128);
    }
    for (const auto& prefix : config.addresses) {
        std::array<std::uint8_t, 16> bytes{};
        const auto network = prefix.network();
        std::copy(network.bytes().begin(), network.bytes().end(), bytes.begin());
        if (network.is_v4()) {
            const auto mask = prefix.length == 0 ? 0U : ~0U << (32U - prefix.length);
            v4_.push_back({load32(bytes.data()), __builtin_bswap32(mask)});
        } else {
            add6(bytes, prefix.length);
        }
    }
}

bool Guard::has_mac(std::uint64_t mac) const {
    return std::find(macs_.begin(), macs_.end(), mac) != macs_.end();
}

bool Guard::has(std::uint32_t address) const {
    return any_address_ || std::any_of(v4_.begin(), v4_.end(), [&](const Network4& network) {
               return (address & network.mask) == network.network;
           });
}

bool Guard::has(const std::uint8_t* address6) const {
    const auto high = load64(address6);
    const auto low = load64(address6 + 8);
    return any_address_ || std::any_of(v6_.begin(), v6_.end(), [&](const Network6& network) {
               return (high & network.mask[0]) == network.network[0] &&
                      (low & network.mask[1]) == network.network[1];
           });
}

/// Of Ethernet and IPv4; of anything else no host here would believe it.
Drop Guard::check_arp(const std::uint8_t* arp, std::uint32_t length) const {
    constexpr std::uint64_t kEthernetIpv4 = 0x0001080006040000;
    if (length < 28 || (__builtin_bswap64(load64(arp)) & ~std::uint64_t{0xffff}) != kEthernetIpv4)
        return Drop::spoofed_neighbour;
    // A probe has no sender's address, and means to take the one that it asks for (RFC 5227 1.1, 2.1.1).
    const auto sender = load32(arp + 14);
    const auto speaks_for = sender != 0 ? sender : load32(arp + 24);
    return has_mac(read_mac(arp + 8)) && has(speaks_for) ? Drop::count_ : Drop::spoofed_neighbour;
}

Drop Guard::check_ipv4(const std::uint8_t* ip, std::uint32_t length) const {
    if (length < kHeader4) return Drop::spoofed_address;
    const auto source = load32(ip + 12);
    const auto header = (ip[0] & 0xfU) * 4;
    const bool later_fragment = (read_be16(ip + 6) & 0x1fff) != 0;
    const bool ports = ip[9] == kUdp && !later_fragment && length >= header + 8;
    if (ports && (read_be16(ip + header) == kDhcpServer || read_be16(ip + header + 2) == kDhcpClient))
        return Drop::rogue_server;
    if (source == 0) {
        // A host without an address asks for one (RFC 2131 4.1), and asks who is there (RFC 3376 4.2.13).
        const bool asks = ports && read_be16(ip + header + 2) == kDhcpServer;
        return asks || ip[9] == 2 ? Drop::count_ : Drop::spoofed_address;
    }
    return has(source) ? Drop::count_ : Drop::spoofed_address;
}

/// What a message says of link-layer addresses (RFC 4861 4.6.1) must be the port's own.
Drop Guard::check_icmp6(const std::uint8_t* source, const std::uint8_t* icmp, std::uint32_t length,
                        bool fragment) const {
    if (length < 8) return Drop::spoofed_neighbour;  // cut before what is to be seen
    const auto type = icmp[0];
    const bool none = is_unspecified(source);
    if (type == kRouterAdvertisement || type == kRedirect) return Drop::rogue_server;
    if (type < kRouterSolicitation || type > kRedirect)
        return none && type != 131 && type != 132 && type != 143 ? Drop::spoofed_address : Drop::count_;
    if (fragment) return Drop::spoofed_neighbour;
    std::uint32_t at = type == kRouterSolicitation ? 8 : 24;
    if (length < at) return Drop::spoofed_neighbour;
    // Who asks without an address of his own means to take the one that he asks for (RFC 4862 5.4.3).
    const bool speaks_for = type == kAdvertisement || (type == kSolicitation && none);
    if (speaks_for && !has(icmp + 8)) return Drop::spoofed_neighbour;
    while (at + 8 <= length) {
        const auto size = icmp[at + 1] * 8U;
        if (size == 0 || at + size > length) return Drop::spoofed_neighbour;
        const bool link_layer = icmp[at] == 1 || icmp[at] == 2;
        if (link_layer && !has_mac(read_mac(icmp + at + 2))) return Drop::spoofed_neighbour;
        at += size;
    }
    return Drop::count_;
}

Drop Guard::check_ipv6(const std::uint8_t* ip, std::uint32_t length) const {
    if (length < kHeader6) return Drop::spoofed_address;
    const auto* source = ip + 8;
    const bool none = is_unspecified(source);
    if (!none && !has(source)) return Drop::spoofed_address;
    auto next = ip[6];
    std::uint32_t at = kHeader6;
    bool fragment = false;
    for (unsigned i = 0; i < kExtensionsMost && (next == 0 || next == 43 || next == 44 || next == 60); ++i) {
        if (at + 8 > length) return Drop::spoofed_neighbour;
        if (next == 44) {
            fragment = true;
            if ((read_be16(ip + at + 2) & 0xfff8) != 0) return none ? Drop::spoofed_address : Drop::count_;
        }
        const auto size = next == 44 ? 8U : (ip[at + 1] + 1U) * 8;
        next = ip[at];
        at += size;
    }
    if (next == kIcmp6) return check_icmp6(source, ip + at, at > length ? 0 : length - at, fragment);
    if (next == 0 || next == 43 || next == 44 || next == 60) return Drop::spoofed_neighbour;  // and so on
    if (next == kUdp &&
        (at + 8 > length || read_be16(ip + at) == kDhcp6Server || read_be16(ip + at + 2) == kDhcp6Client))
        return Drop::rogue_server;
    return none ? Drop::spoofed_address : Drop::count_;
}

Drop Guard::check(const rte_mbuf* frame) const {
    if (frame->data_len < kEthernetHeader) return Drop::runt;
    const auto* bytes = rte_pktmbuf_mtod(frame, const std::uint8_t*);
    if (!has_mac(read_mac(bytes + 6))) return Drop::spoofed_mac;
    std::uint32_t at = kEthernetHeader;
    auto type = read_be16(bytes + 12);
    for (int tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8); ++tags) {
        if (frame->data_len < at + 4) return Drop::bad_vlan;
        type = read_be16(bytes + at + 2);
        at += 4;
    }
    // IP in LLC and SNAP (RFC 1042): some hosts believe it, whatever the length says.
    if (type < 0x0600 && frame->data_len >= at + 8 && bytes[at] == 0xaa && bytes[at + 1] == 0xaa) {
        type = read_be16(bytes + at + 6);
        at += 8;
    }
    const auto length = frame->data_len - at;
    switch (type) {
        case 0x0800:
            return check_ipv4(bytes + at, length);
        case 0x86dd:
            return check_ipv6(bytes + at, length);
        case 0x0806:
        case 0x8035:  // RARP says no less
            return check_arp(bytes + at, length);
        case 0x8100:
        case 0x88a8:  // nobody knows what is behind so many
            return Drop::bad_vlan;
        default:
            return Drop::count_;
    }
}

void guard_burst(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                 std::uint16_t count) {
    std::uint16_t kept = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        if (const auto refused = port.guard->check(frames[i]); refused != Drop::count_) [[unlikely]] {
            forwarder.drop(from, refused, frames[i]);
        } else {
            frames[kept++] = frames[i];
        }
    }
    if (kept != 0) port.bridge->switch_burst(forwarder, from, port, frames, kept);
}

}  // namespace viaduct::dataplane
