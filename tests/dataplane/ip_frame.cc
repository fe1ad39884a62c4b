#include "ip_frame.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace viaduct::test {

namespace {

void put8(Bytes& bytes, unsigned value) {
    bytes.push_back(static_cast<std::uint8_t>(value));
}
void put16(Bytes& bytes, std::uint32_t value) {
    put8(bytes, value >> 8);
    put8(bytes, value);
}
void put32(Bytes& bytes, std::uint32_t value) {
    put16(bytes, value >> 16);
    put16(bytes, value);
}
void put_address(Bytes& bytes, const std::string& text) {
    const auto address = IpAddress::parse(text).value();
    const auto raw = address.bytes();
    bytes.insert(bytes.end(), raw.begin(), raw.end());
}
void set16(Bytes& bytes, std::size_t at, std::uint32_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value);
}

/// The plain way, a big-endian word at a time.
std::uint32_t sum(const std::uint8_t* bytes, std::size_t size) {
    std::uint32_t total = 0;
    for (std::size_t i = 0; i < size; ++i)
        total += i % 2 == 0 ? static_cast<std::uint32_t>(bytes[i] << 8) : bytes[i];
    return total;
}
std::uint16_t folded(std::uint32_t total) {
    while (total >> 16 != 0)
        total = (total & 0xffff) + (total >> 16);
    return static_cast<std::uint16_t>(total);
}

bool is_ipv4(const std::string& address) {
    return address.find(':') == std::string::npos;
}

/// Where a transport's checksum is; the size of what has none.
std::size_t checksum_place(std::uint8_t protocol) {
    switch (protocol) {
        case 1:
        case 58:
            return 2;
        case 6:
            return 16;
        case 17:
            return 6;
        default:
            return SIZE_MAX;
    }
}

std::uint32_t pseudo_header(const Bytes& frame, std::size_t ip, std::size_t header, std::uint8_t protocol) {
    if (protocol == 1) return 0;
    const std::size_t at = header == 20 ? 12 : 8;
    const auto transport = static_cast<std::uint32_t>(frame.size() - ip - header);
    return sum(&frame[ip + at], header == 20 ? 8 : 32) + protocol + transport;
}

Bytes transport_of(const IpFrame& spec) {
    Bytes bytes;
    switch (spec.protocol) {
        case 1:
        case 58:
            put8(bytes, spec.protocol == 1 ? (spec.echo_reply ? 0 : 8) : (spec.echo_reply ? 129 : 128));
            put8(bytes, 0);
            put16(bytes, 0);
            put16(bytes, spec.source_port);
            put16(bytes, 7);
            break;
        case 6:
            put16(bytes, spec.source_port);
            put16(bytes, spec.destination_port);
            put32(bytes, spec.sequence);
            put32(bytes, spec.acknowledgement);
            put8(bytes, static_cast<unsigned>((5 + spec.options.size() / 4) << 4));
            put8(bytes, spec.tcp_flags);
            put16(bytes, spec.window);
            put32(bytes, 0);
            bytes.insert(bytes.end(), spec.options.begin(), spec.options.end());
            break;
        case 17:
            put16(bytes, spec.source_port);
            put16(bytes, spec.destination_port);
            put16(bytes, static_cast<std::uint32_t>(8 + spec.payload));
            put16(bytes, 0);
            break;
        case 132:
            put16(bytes, spec.source_port);
            put16(bytes, spec.destination_port);
            put32(bytes, 0x12345678);
            put32(bytes, 0);
            break;
        default:
            break;
    }
    for (std::size_t i = 0; i < spec.payload; ++i)
        put8(bytes, static_cast<unsigned>(i));
    return bytes;
}

void put_ip(Bytes& bytes, const IpFrame& spec, std::size_t transport) {
    if (is_ipv4(spec.source)) {
        const auto ip = bytes.size();
        put16(bytes, 0x4500);
        put16(bytes, static_cast<std::uint32_t>(20 + transport));
        put16(bytes, 0x1234);
        put16(bytes, spec.fragment);
        put8(bytes, spec.ttl);
        put8(bytes, spec.protocol);
        put16(bytes, 0);
        put_address(bytes, spec.source);
        put_address(bytes, spec.destination);
        set16(bytes, ip + 10, 0xffffU ^ folded(sum(&bytes[ip], 20)));
        return;
    }
    put32(bytes, 0x60000000);
    put16(bytes, static_cast<std::uint32_t>(transport));
    put8(bytes, spec.protocol);
    put8(bytes, spec.ttl);
    put_address(bytes, spec.source);
    put_address(bytes, spec.destination);
}

}  // namespace

Bytes ip_frame(const IpFrame& spec) {
    const bool v4 = is_ipv4(spec.source);
    auto bytes = frame({.destination = spec.destination_mac,
                        .source = spec.source_mac,
                        .vlans = spec.vlans,
                        .ethertype = static_cast<std::uint16_t>(v4 ? 0x0800 : 0x86dd),
                        .size = 0});
    const auto ip = bytes.size();
    const std::size_t header = v4 ? 20 : 40;
    const auto transport = transport_of(spec);
    put_ip(bytes, spec, transport.size());
    bytes.insert(bytes.end(), transport.begin(), transport.end());
    const auto place = checksum_place(spec.protocol);
    if (place != SIZE_MAX && (spec.protocol != 17 || spec.udp_checksum)) {
        const auto total =
            pseudo_header(bytes, ip, header, spec.protocol) + sum(&bytes[ip + header], transport.size());
        const auto checksum = 0xffffU ^ folded(total);
        set16(bytes, ip + header + place, checksum == 0 && spec.protocol == 17 ? 0xffff : checksum);
    }
    bytes.resize(bytes.size() + spec.padding, 0xee);
    return bytes;
}

testing::AssertionResult checksums_hold(const Bytes& whole) {
    auto bytes = whole;
    std::size_t ip = 14;
    if (bytes[12] == 0x81 && bytes[13] == 0) ip = 18;
    const bool v4 = bytes[ip] >> 4 == 4;
    const std::size_t header = v4 ? 20 : 40;
    if (v4 && folded(sum(&bytes[ip], 20)) != 0xffff)
        return testing::AssertionFailure() << "the IP header's checksum is wrong";
    const std::size_t length = v4 ? static_cast<std::size_t>(bytes[ip + 2] << 8 | bytes[ip + 3])
                                  : static_cast<std::size_t>(bytes[ip + 4] << 8 | bytes[ip + 5]) + 40;
    bytes.resize(ip + length);
    const auto protocol = bytes[ip + (v4 ? 9 : 6)];
    const auto place = checksum_place(protocol);
    if (place == SIZE_MAX) return testing::AssertionSuccess();
    const auto* stored = &bytes[ip + header + place];
    if (protocol == 17 && v4 && stored[0] == 0 && stored[1] == 0) return testing::AssertionSuccess();
    const auto total = pseudo_header(bytes, ip, header, protocol) + sum(&bytes[ip + header], length - header);
    if (folded(total) != 0xffff) return testing::AssertionFailure() << "the transport's checksum is wrong";
    return testing::AssertionSuccess();
}

}  // namespace viaduct::test
