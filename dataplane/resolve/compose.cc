#include "resolve/compose.h"

#include <algorithm>

namespace viaduct::dataplane {

namespace {

constexpr std::uint16_t kArp = 0x0806;
constexpr std::uint16_t kIpv4 = 0x0800;
constexpr std::uint16_t kIpv6 = 0x86dd;
constexpr std::uint8_t kIcmp = 1;
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kIcmpv6 = 58;
constexpr std::size_t kEthernetHeader = 14;
constexpr std::uint8_t kHopLimit = 64;
constexpr std::uint8_t kNeighbourHopLimit = 255;  // RFC 4861: proves that no router forwarded it
constexpr std::uint8_t kInternetControl = 0xc0;   // RFC 1812 4.3.2.5

class Writer {
public:
    Writer& u8(std::uint8_t v) {
        bytes_.push_back(v);
        return *this;
    }
    Writer& u16(std::uint32_t v) {
        return u8(static_cast<std::uint8_t>(v >> 8)).u8(static_cast<std::uint8_t>(v));
    }
    Writer& u32(std::uint32_t v) { return u16(v >> 16).u16(v); }
    Writer& bytes(std::span<const std::uint8_t> v) {
        bytes_.insert(bytes_.end(), v.begin(), v.end());
        return *this;
    }
    Writer& mac(const MacAddress& v) { return bytes(v.bytes); }
    Writer& ip(const IpAddress& v) { return bytes(v.bytes()); }
    [[nodiscard]] std::size_t size() const { return bytes_.size(); }
    [[nodiscard]] std::span<const std::uint8_t> from(std::size_t offset) const {
        return std::span(bytes_).subspan(offset);
    }
    void set_u16(std::size_t at, std::uint16_t v) {
        bytes_[at] = static_cast<std::uint8_t>(v >> 8);
        bytes_[at + 1] = static_cast<std::uint8_t>(v);
    }
    FrameBytes take() { return std::move(bytes_); }

private:
    FrameBytes bytes_;
};

void ethernet(Writer& writer, const MacAddress& to, const MacAddress& from, std::uint16_t ethertype) {
    writer.mac(to).mac(from).u16(ethertype);
}

struct Header {
    std::uint8_t protocol;
    std::uint8_t hop_limit = kHopLimit;
    std::uint8_t traffic_class = 0;
};

/// Ethernet and IP headers before `payload`, whose checksum, at `checksum_at` in it, is filled in.
FrameBytes packet(const Ends& ends, const Header& header, std::span<const std::uint8_t> payload,
                  std::size_t checksum_at) {
    Writer writer;
    const bool v4 = ends.from.is_v4();
    ethernet(writer, ends.to_mac, ends.from_mac, v4 ? kIpv4 : kIpv6);
    const auto length = static_cast<std::uint16_t>(payload.size());
    if (v4) {
        // Atomic (RFC 6864): not to be fragmented, so the identification says nothing.
        writer.u8(0x45).u8(header.traffic_class).u16(20U + length).u16(0).u16(0x4000);
        writer.u8(header.hop_limit).u8(header.protocol).u16(0).ip(ends.from).ip(ends.to);
        writer.set_u16(kEthernetHeader + 10, internet_checksum(writer.from(kEthernetHeader)));
    } else {
        writer.u32(0x60000000U | static_cast<std::uint32_t>(header.traffic_class) << 20);
        writer.u16(length).u8(header.protocol).u8(header.hop_limit).ip(ends.from).ip(ends.to);
    }
    const auto at = writer.size();
    writer.bytes(payload);
    const auto sum =
        header.protocol == kIcmp ? 0 : pseudo_header_sum(ends.from, ends.to, header.protocol, payload.size());
    writer.set_u16(at + checksum_at, internet_checksum(writer.from(at), sum));
    return writer.take();
}

FrameBytes neighbour_discovery(const Ends& ends, Writer& message) {
    return packet(ends, {kIcmpv6, kNeighbourHopLimit}, message.from(0), 2);
}

void link_layer_option(Writer& writer, std::uint8_t type, const MacAddress& mac) {
    writer.u8(type).u8(1).mac(mac);
}

}  // namespace

std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes, std::uint64_t summed) {
    auto sum = summed;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        sum += i % 2 == 0 ? static_cast<std::uint64_t>(bytes[i]) << 8 : bytes[i];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

std::uint64_t pseudo_header_sum(const IpAddress& from, const IpAddress& to, std::uint8_t protocol,
                                std::size_t length) {
    std::uint64_t sum = protocol + (length >> 16) + (length & 0xffff);
    for (const auto& address : {from, to}) {
        const auto bytes = address.bytes();
        for (std::size_t i = 0; i < bytes.size(); i += 2)
            sum += static_cast<std::uint64_t>(bytes[i]) << 8 | bytes[i + 1];
    }
    return sum;
}

FrameBytes compose_arp(const ArpMessage& message, const MacAddress& to) {
    Writer writer;
    ethernet(writer, to, message.sender_mac, kArp);
    writer.u16(1).u16(kIpv4).u8(6).u8(4).u16(message.request ? 1 : 2);
    writer.mac(message.sender_mac).ip(message.sender).mac(message.target_mac).ip(message.target);
    return writer.take();
}

FrameBytes compose_neighbour_solicitation(const Ends& ends, const IpAddress& target) {
    Writer message;
    message.u8(135).u8(0).u16(0).u32(0).ip(target);
    if (!ends.from.is_unspecified()) link_layer_option(message, 1, ends.from_mac);
    return neighbour_discovery(ends, message);
}

FrameBytes compose_neighbour_advertisement(const Ends& ends, const NeighbourAdvertisement& advertisement) {
    const std::uint32_t flags = 0x80000000U | (advertisement.solicited ? 0x40000000U : 0U) |
                                (advertisement.override ? 0x20000000U : 0U);
    Writer message;
    message.u8(136).u8(0).u16(0).u32(flags).ip(advertisement.target);
    link_layer_option(message, 2, ends.from_mac);
    return neighbour_discovery(ends, message);
}

FrameBytes compose_router_advertisement(const Ends& ends, const RouterAdvertisement& advertisement) {
    constexpr std::uint32_t valid_seconds = 2592000;     // RFC 4861 6.2.1: 30 days
    constexpr std::uint32_t preferred_seconds = 604800;  // and 7
    Writer message;
    message.u8(134).u8(0).u16(0).u8(kHopLimit).u8(0).u16(advertisement.lifetime).u32(0).u32(0);
    link_layer_option(message, 1, ends.from_mac);
    message.u8(5).u8(1).u16(0).u32(advertisement.mtu);
    for (const auto& prefix : advertisement.prefixes) {
        const bool autonomous = prefix.length == 64;
        message.u8(3).u8(4).u8(prefix.length).u8(autonomous ? 0xc0 : 0x80);
        message.u32(valid_seconds).u32(preferred_seconds).u32(0).ip(prefix.network());
    }
    return neighbour_discovery(ends, message);
}

FrameBytes compose_icmp_error(const Ends& ends, const IcmpError& error,
                              std::span<const std::uint8_t> quoted) {
    const bool v4 = ends.from.is_v4();
    Writer message;
    message.u8(error.type).u8(error.code).u16(0).u32(error.rest);
    message.bytes(quoted.first(std::min(quoted.size(), quoted_most(v4))));
    const Header header{v4 ? kIcmp : kIcmpv6, kHopLimit, v4 ? kInternetControl : std::uint8_t{0}};
    return packet(ends, header, message.from(0), 2);
}

FrameBytes compose_tcp_reset(const Ends& ends, const TcpReset& reset) {
    constexpr std::uint32_t rst = 0x04;
    constexpr std::uint32_t ack = 0x10;
    Writer message;
    message.u16(reset.from_port).u16(reset.to_port).u32(reset.sequence);
    message.u32(reset.acknowledgement.value_or(0));
    message.u16(0x5000U | rst | (reset.acknowledgement ? ack : 0)).u16(0).u16(0).u16(0);
    return packet(ends, {kTcp}, message.from(0), 16);
}

}  // namespace viaduct::dataplane
