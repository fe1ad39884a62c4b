// Ethernet frames with IP packets for tests, field by field, with right lengths and checksums; and a second
// opinion on checksums.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "bench.h"

namespace viaduct::test {

/// An IP packet in an Ethernet frame. Addresses of one family; ICMP's ports are its identifier (source) and
/// nothing.
struct IpFrame {
    std::string destination_mac = "02:00:00:00:01:01";
    std::string source_mac = "02:00:00:00:00:01";
    std::vector<std::uint16_t> vlans;
    std::string source = "10.1.0.2";
    std::string destination = "10.2.0.2";
    std::uint8_t protocol = 17;  ///< 1 or 58: an echo request (or, with `echo_reply`, its reply)
    std::uint16_t source_port = 1000;
    std::uint16_t destination_port = 2000;
    std::uint8_t ttl = 64;
    std::uint8_t tcp_flags = 0x10;
    std::uint32_t sequence = 1000;
    std::uint32_t acknowledgement = 5000;
    std::uint16_t window = 1000;
    std::vector<std::uint8_t> options;  ///< of TCP, a multiple of 4 bytes
    bool echo_reply = false;
    bool udp_checksum = true;
    std::uint16_t fragment = 0;  ///< IPv4's flags and offset
    std::size_t payload = 20;    ///< bytes after the transport header
    std::size_t padding = 0;     ///< bytes after the packet
};
Bytes ip_frame(const IpFrame& spec);

/// Whether a frame's IP and transport checksums hold; an absent UDP checksum does over IPv4.
testing::AssertionResult checksums_hold(const Bytes& frame);

}  // namespace viaduct::test
