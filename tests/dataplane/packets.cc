// Building and describing packets, written without any of the dataplane's own code for it.
#include "packets.h"

#include <algorithm>
#include <map>
#include <span>
#include <stdexcept>

#include "viaduct/address.h"

namespace viaduct::test {

namespace {

void put16(Bytes& bytes, std::size_t at, std::uint32_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value);
}

std::uint32_t get16(const Bytes& bytes, std::size_t at) {
    return at + 2 <= bytes.size() ? static_cast<std::uint32_t>(bytes[at] << 8 | bytes[at + 1]) : 0U;
}

std::uint32_t sum(const Bytes& bytes, std::size_t from, std::size_t to, std::uint32_t start = 0) {
    for (std::size_t i = from; i < to; i += 2)
        start += static_cast<std::uint32_t>(bytes[i] << 8) + (i + 1 < to ? bytes[i + 1] : 0U);
    while (start >> 16 != 0)
        start = (start & 0xffffU) + (start >> 16);
    return start;
}

/// Where things are in a packet that begins at `at`.
struct Layout {
    bool v4;
    std::size_t at;
    std::size_t l4;
    std::size_t end;
    std::uint8_t protocol;
    bool fragment;
    bool first;
    std::string place;  ///< of a fragment
};

Layout layout(const Bytes& b, std::size_t at) {
    Layout l{(b[at] >> 4) == 4, at, 0, 0, 0, false, true, {}};
    if (l.v4) {
        l.l4 = at + (b[at] & 15U) * 4;
        l.end = at + get16(b, at + 2);
        l.protocol = b[at + 9];
        const auto field = get16(b, at + 6);
        l.fragment = (field & 0x3fff) != 0;
        l.first = (field & 0x1fff) == 0;
        if (l.fragment) l.place = std::to_string((field & 0x1fff) * 8) + ((field & 0x2000) != 0 ? "+" : "");
        return l;
    }
    l.l4 = at + 40;
    l.end = at + 40 + get16(b, at + 4);
    l.protocol = b[at + 6];
    if (l.protocol == 44) {
        const auto field = get16(b, l.l4 + 2);
        l.fragment = (field & 0xfff9) != 0;
        l.first = (field & 0xfff8) == 0;
        if (l.fragment) l.place = std::to_string(field & 0xfff8) + ((field & 1) != 0 ? "+" : "");
        l.protocol = b[l.l4];
        l.l4 += 8;
    }
    return l;
}

std::uint32_t pseudo_sum(const Bytes& b, const Layout& l) {
    const auto addresses = l.v4 ? sum(b, l.at + 12, l.at + 20) : sum(b, l.at + 8, l.at + 40);
    return addresses + l.protocol + static_cast<std::uint32_t>(l.end - l.l4);
}

/// Offset of the transport's checksum in its header; nothing when it has none that is known here.
std::optional<std::size_t> checksum_at(std::uint8_t protocol) {
    switch (protocol) {
        case kTcp:
            return 16;
        case kUdp:
            return 6;
        case kIcmp:
        case kIcmp6:
            return 2;
        default:
            return std::nullopt;
    }
}

std::uint32_t transport_sum(const Bytes& b, const Layout& l) {
    return sum(b, l.l4, l.end, l.protocol == kIcmp ? 0 : pseudo_sum(b, l));
}

/// Reflected CRC32c (RFC 9260 appendix A), bit by bit.
std::uint32_t crc32c(const Bytes& b, std::size_t from, std::size_t to) {
    std::uint32_t crc = 0xffffffffU;
    for (std::size_t i = from; i < to; ++i) {
        crc ^= b[i];
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    }
    return ~crc;
}

std::uint32_t sctp_sum(Bytes b, const Layout& l) {
    std::fill_n(b.begin() + static_cast<std::ptrdiff_t>(l.l4) + 8, 4, std::uint8_t{0});
    return crc32c(b, l.l4, l.end);
}

Bytes transport(const PacketSpec& spec) {
    Bytes b;
    switch (spec.protocol) {
        case kTcp:
            b.resize(20);
            b[12] = 5 << 4;
            b[13] = spec.tcp_flags;
            put16(b, 14, 65535);
            break;
        case kSctp:
            b.resize(12);
            break;
        case kUdp:
            b.resize(8);
            break;
        case kIcmp:
        case kIcmp6:
            b.resize(8);
            b[0] = spec.icmp_type;
            b[1] = spec.icmp_code;
            if (spec.inside.empty()) put16(b, 4, spec.source_port);
            break;
        default:
            break;
    }
    if (spec.protocol == kTcp || spec.protocol == kUdp || spec.protocol == kSctp) {
        put16(b, 0, spec.source_port);
        put16(b, 2, spec.destination_port);
    }
    if (spec.inside.empty()) {
        for (std::size_t i = 0; i < spec.payload; ++i)
            b.push_back(static_cast<std::uint8_t>(i));
    }
    b.insert(b.end(), spec.inside.begin(), spec.inside.end());
    if (spec.protocol == kUdp) put16(b, 4, static_cast<std::uint32_t>(b.size()));
    return b;
}

std::string describe_packet(const Bytes& b, std::size_t at, bool inside);

std::string ports(const Bytes& b, const Layout& l, std::string from, std::string to) {
    if (l.protocol == kTcp || l.protocol == kUdp || l.protocol == kSctp) {
        const bool v6 = !l.v4;
        const auto with_port = [&](const std::string& a, std::size_t where) {
            return (v6 ? "[" + a + "]" : a) + ":" + std::to_string(get16(b, where));
        };
        return with_port(from, l.l4) + " > " + with_port(to, l.l4 + 2);
    }
    return from + " > " + to;
}

std::string describe_icmp(const Bytes& b, const Layout& l) {
    const auto type = b[l.l4];
    const bool error = l.protocol == kIcmp ? type != 0 && type != 8 : type < 128;
    if (error) {
        const bool too_big = l.protocol == kIcmp ? type == 3 && b[l.l4 + 1] == 4 : type == 2;
        return " type " + std::to_string(type) + "/" + std::to_string(b[l.l4 + 1]) +
               (too_big ? " mtu " + std::to_string(get16(b, l.l4 + 6)) : "") + " [" +
               describe_packet(b, l.l4 + 8, true) + "]";
    }
    if (l.protocol == kIcmp6 && type > 129) return " type " + std::to_string(type);
    const bool request = type == 8 || type == 128;
    return std::string(request ? " request " : " reply ") + std::to_string(get16(b, l.l4 + 4));
}

std::string describe_packet(const Bytes& b, std::size_t at, bool inside) {
    if (at + 20 > b.size()) return "too short";
    auto l = layout(b, at);
    const bool whole = l.end <= b.size();
    if (!whole) l.end = b.size();
    const std::size_t size = l.v4 ? 4 : 16;
    const auto address = [&](std::size_t offset) {
        return IpAddress::from_bytes(std::span(b).subspan(at + offset, size))->to_string();
    };
    static const std::map<int, std::string> names{{kIcmp, "icmp"}, {kTcp, "tcp"},     {kUdp, "udp"},
                                                  {kGre, "gre"},   {kIcmp6, "icmp6"}, {kSctp, "sctp"}};
    const auto named = names.find(l.protocol);
    std::string text = named != names.end() ? named->second : std::to_string(l.protocol);
    const auto from = address(l.v4 ? 12 : 8);
    const auto to = address(l.v4 ? 16 : 24);
    text += " " + (l.first ? ports(b, l, from, to) : from + " > " + to);
    if (!inside) text += " ttl " + std::to_string(b[at + (l.v4 ? 8 : 7)]);
    if (l.first && (l.protocol == kIcmp || l.protocol == kIcmp6)) text += describe_icmp(b, l);
    if (l.fragment) text += " fragment " + l.place;
    if (l.v4 && sum(b, at, l.l4) != 0xffff) text += " BAD IP CHECKSUM";
    if (!whole || l.fragment) return text;
    if (l.protocol == kSctp) {
        std::uint32_t stored = 0;
        for (int i = 3; i >= 0; --i)
            stored = stored << 8 | b[l.l4 + 8 + static_cast<std::size_t>(i)];
        if (stored != sctp_sum(b, l)) text += " BAD CHECKSUM";
    }
    const auto place = checksum_at(l.protocol);
    if (!place) return text;
    const bool none = l.protocol == kUdp && get16(b, l.l4 + *place) == 0;
    if (none) return text + " unchecked";
    return transport_sum(b, l) == 0xffff ? text : text + " BAD CHECKSUM";
}

}  // namespace

Bytes packet(const PacketSpec& spec) {
    const auto source = IpAddress::parse(spec.source).value();
    const auto destination = IpAddress::parse(spec.destination).value();
    const auto payload = transport(spec);
    const bool v4 = source.is_v4();
    Bytes b(v4 ? 20 : 40);
    if (v4) {
        b[0] = 0x45;
        put16(b, 2, static_cast<std::uint32_t>(20 + payload.size()));
        put16(b, 4, spec.id);
        put16(b, 6, spec.dont_fragment ? 0x4000 : 0);
        b[8] = spec.ttl;
        b[9] = spec.protocol;
    } else {
        b[0] = 0x60;
        put16(b, 4, static_cast<std::uint32_t>(payload.size()));
        b[6] = spec.protocol;
        b[7] = spec.ttl;
    }
    std::ranges::copy(source.bytes(), b.begin() + (v4 ? 12 : 8));
    std::ranges::copy(destination.bytes(), b.begin() + (v4 ? 16 : 24));
    if (v4) put16(b, 10, ~sum(b, 0, 20));
    b.insert(b.end(), payload.begin(), payload.end());
    const auto l = layout(b, 0);
    if (spec.protocol == kSctp) {
        const auto crc = sctp_sum(b, l);
        for (std::size_t i = 0; i < 4; ++i)
            b[l.l4 + 8 + i] = static_cast<std::uint8_t>(crc >> 8 * i);
    }
    if (const auto place = checksum_at(spec.protocol); place && !spec.no_checksum) {
        const auto value = ~transport_sum(b, l) & 0xffffU;
        put16(b, l.l4 + *place, value == 0 && spec.protocol == kUdp ? 0xffffU : value);
    }
    return b;
}

Bytes framed(const Bytes& ip, const std::string& to_mac, const std::string& from_mac) {
    Bytes b;
    for (const auto& mac : {to_mac, from_mac}) {
        const auto bytes = MacAddress::parse(mac).value().bytes;
        b.insert(b.end(), bytes.begin(), bytes.end());
    }
    const bool v4 = ip.at(0) >> 4 == 4;
    b.push_back(v4 ? 0x08 : 0x86);
    b.push_back(v4 ? 0x00 : 0xdd);
    b.insert(b.end(), ip.begin(), ip.end());
    if (b.size() < 60) b.resize(60);
    return b;
}

Bytes routed(const PacketSpec& spec, const std::string& to_mac, const std::string& from_mac) {
    return framed(packet(spec), to_mac, from_mac);
}

std::vector<Bytes> cut(const Bytes& ip, std::size_t mtu, std::uint32_t id) {
    const bool v4 = ip.at(0) >> 4 == 4;
    const std::size_t header = v4 ? 20 : 40;
    const std::size_t most = (mtu - header - (v4 ? 0 : 8)) / 8 * 8;
    std::vector<Bytes> pieces;
    for (std::size_t at = header; at < ip.size(); at += most) {
        const auto length = std::min(most, ip.size() - at);
        const bool more = at + length < ip.size();
        const auto offset = static_cast<std::uint32_t>(at - header);
        Bytes b(ip.begin(), ip.begin() + static_cast<std::ptrdiff_t>(header));
        if (v4) {
            put16(b, 2, static_cast<std::uint32_t>(header + length));
            put16(b, 4, id);
            put16(b, 6, offset / 8 | (more ? 0x2000U : 0U));
            put16(b, 10, 0);
            put16(b, 10, ~sum(b, 0, 20));
        } else {
            b.insert(b.end(), {b[6], 0, 0, 0, 0, 0, 0, 0});
            b[6] = 44;
            put16(b, 4, static_cast<std::uint32_t>(8 + length));
            put16(b, 42, offset | (more ? 1U : 0U));
            put16(b, 44, id >> 16);
            put16(b, 46, id);
        }
        const auto from = ip.begin() + static_cast<std::ptrdiff_t>(at);
        b.insert(b.end(), from, from + static_cast<std::ptrdiff_t>(length));
        pieces.push_back(std::move(b));
    }
    return pieces;
}

Bytes ip_of(const Bytes& frame) {
    const auto l = layout(frame, 14);
    return {frame.begin() + 14, frame.begin() + static_cast<std::ptrdiff_t>(std::min(l.end, frame.size()))};
}

std::string describe(const Bytes& frame) {
    if (frame.size() < 14) return "runt";
    const auto type = get16(frame, 12);
    if (type == 0x0806) return "arp";
    if (type != 0x0800 && type != 0x86dd) return "not ip";
    return describe_packet(frame, 14, false);
}

std::string macs(const Bytes& frame) {
    const auto mac = [&](std::size_t at) {
        MacAddress address;
        std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at), 6, address.bytes.begin());
        return address.to_string();
    };
    return mac(6) + " > " + mac(0);
}

}  // namespace viaduct::test
