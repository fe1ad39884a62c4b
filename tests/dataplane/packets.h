// IP packets for tests: built from a few words, with checksums, and described in one line, with checksums
// checked. A test compares lines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "bench.h"

namespace viaduct::test {

/// IANA protocol numbers.
enum Protocol : std::uint8_t { kIcmp = 1, kTcp = 6, kUdp = 17, kGre = 47, kIcmp6 = 58, kSctp = 132 };

struct PacketSpec {
    std::string source;  ///< of either family; both ends of the same
    std::string destination;
    std::uint8_t protocol = kUdp;
    std::uint16_t source_port = 0;  ///< ICMP: the identifier
    std::uint16_t destination_port = 0;
    std::uint8_t ttl = 64;
    std::size_t payload = 18;  ///< bytes that count up
    std::uint8_t icmp_type = 8;
    std::uint8_t icmp_code = 0;
    std::uint8_t tcp_flags = 0x10;
    bool dont_fragment = false;
    bool no_checksum = false;  ///< UDP: zero
    std::uint16_t id = 1;
    Bytes inside;  ///< instead of the payload: of an ICMP error, the packet that it is about
};

/// The IP packet alone.
Bytes packet(const PacketSpec& spec);
/// The same in an Ethernet frame.
Bytes routed(const PacketSpec& spec, const std::string& to_mac, const std::string& from_mac);
/// An IP packet in an Ethernet frame.
Bytes framed(const Bytes& ip, const std::string& to_mac, const std::string& from_mac);

/// Pieces of a packet, each of at most `mtu` bytes (IPv6: with a fragment header), in order.
std::vector<Bytes> cut(const Bytes& ip, std::size_t mtu, std::uint32_t id);

/// "udp 10.0.0.2:1000 > 192.0.2.9:53 ttl 64", for ICMP errors with the packet inside in brackets, and with
/// every checksum that is there and does not fit named. Takes a frame; a fragment is named one.
std::string describe(const Bytes& frame);
/// The packet in a frame, from its IP header on, without the link's padding.
Bytes ip_of(const Bytes& frame);
std::string macs(const Bytes& frame);  ///< "from > to"

}  // namespace viaduct::test
