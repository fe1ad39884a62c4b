// The Internet checksum changed by differences (RFC 1624), on 16-bit words as they stand in memory: one's
// complement sums do not mind the byte order.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace viaduct::dataplane {

inline std::uint16_t load16(const std::uint8_t* at) {
    std::uint16_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
}
inline std::uint32_t load32(const std::uint8_t* at) {
    std::uint32_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
}
inline std::uint64_t load64(const std::uint8_t* at) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
}
inline void store16(std::uint8_t* at, std::uint16_t word) {
    std::memcpy(at, &word, sizeof word);
}

/// Host byte order.
inline std::uint16_t read_be16(const std::uint8_t* at) {
    return __builtin_bswap16(load16(at));
}
inline std::uint32_t read_be32(const std::uint8_t* at) {
    return __builtin_bswap32(load32(at));
}

/// A sum of 16-bit words to 16 bits, carries added back in. `sum` below 2^32.
inline std::uint16_t fold(std::uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum + (sum >> 16));
}

/// The difference that turning `from` into `to` makes: ~from + to.
inline std::uint16_t checksum_difference(std::uint16_t from, std::uint16_t to) {
    return fold((~std::uint32_t{from} & 0xffff) + to);
}

/// A header's checksum after its words have changed by `difference`.
inline std::uint16_t adjusted_checksum(std::uint16_t checksum, std::uint32_t difference) {
    return static_cast<std::uint16_t>(~fold((~std::uint32_t{checksum} & 0xffff) + difference));
}

/// Whether an IPv4 header without options sums up.
inline bool ipv4_checksum_holds(const std::uint8_t* header) {
    const auto a = load64(header);
    const auto b = load64(header + 8);
    const std::uint64_t c = load32(header + 16);
    // One's complement: what is carried out comes in again. Each half of a sum takes the other's carry as
    // they are exchanged.
    auto sum = a + b;
    sum += sum < b ? 1 : 0;
    sum += c;
    sum += sum < c ? 1 : 0;
    const auto half = static_cast<std::uint32_t>((sum + std::rotl(sum, 32)) >> 32);
    return (half + std::rotl(half, 16)) >> 16 == 0xffff;
}

}  // namespace viaduct::dataplane
