// What tells flows apart: addresses, ports, protocol and zone, as they stand in the packet. One direction has
// one key; the other direction's key is the same with its ends exchanged, before translation is thought of.
//
// ICMP and ICMPv6 echo have "ports" too: a request's source port is its identifier and its destination port
// the constant kEchoPort; a reply has them exchanged. So a translated identifier is a translated source port,
// and two hosts that ping each other with one identifier are two flows. Protocols without ports have zero in
// both. All fields are in network byte order and the whole key is compared and hashed as 64-bit words.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>

#include "viaduct/byte_order.h"

namespace viaduct::dataplane {

/// Which VRF's addresses a key means; stable over restarts (see FlowMemory). Host byte order.
using Zone = std::uint16_t;

inline constexpr Be16 kEchoPort = Be16::from_host(0xffff);

struct Ipv4Bytes {
    std::array<std::uint8_t, 4> bytes;
    friend constexpr bool operator==(const Ipv4Bytes&, const Ipv4Bytes&) = default;
};
struct Ipv6Bytes {
    std::array<std::uint8_t, 16> bytes;
    friend constexpr bool operator==(const Ipv6Bytes&, const Ipv6Bytes&) = default;
};

/// 16 bytes with IPv4 addresses, 40 with IPv6 ones; no padding.
template <typename Address>
struct alignas(8) FlowKey {
    using AddressType = Address;
    static constexpr std::size_t kWords = (2 * sizeof(Address) + 8) / 8;

    Address source;
    Address destination;
    Be16 source_port;
    Be16 destination_port;
    std::uint8_t protocol;
    std::uint8_t zero;
    Zone zone;

    [[nodiscard]] constexpr FlowKey reversed() const {
        return {destination, source, destination_port, source_port, protocol, 0, zone};
    }
    [[nodiscard]] std::array<std::uint64_t, kWords> words() const {
        return std::bit_cast<std::array<std::uint64_t, kWords>>(*this);
    }
    friend bool operator==(const FlowKey& a, const FlowKey& b) { return a.words() == b.words(); }
};

using FlowKey4 = FlowKey<Ipv4Bytes>;
using FlowKey6 = FlowKey<Ipv6Bytes>;
static_assert(sizeof(FlowKey4) == 16 && sizeof(FlowKey6) == 40);

/// What keyed hashes are made of: both halves of a product, each bit of which depends on many of both
/// factors.
inline std::uint64_t folded_product(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const auto product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// A keyed hash of all of a key's words: multiplications folded to 64 bits. Whoever chooses packets does not
/// know the seed, so cannot choose collisions, as he could with a CRC of whatever seed.
template <typename Key>
inline std::uint64_t flow_hash(const Key& key, std::uint64_t seed) {
    const auto words = key.words();
    const std::uint64_t other = std::rotl(seed, 32) ^ 0x9e3779b97f4a7c15U;
    if constexpr (Key::kWords == 2) {
        return folded_product(folded_product(words[0] ^ seed, words[1] ^ other), 0xd1342543de82ef95U ^ seed);
    } else {
        static_assert(Key::kWords == 5);
        return folded_product(folded_product(words[0] ^ seed, words[1] ^ other) ^ words[4],
                              folded_product(words[2] ^ other, words[3] ^ seed) ^ 0xd1342543de82ef95U);
    }
}

}  // namespace viaduct::dataplane
