// Integers as they stand on the wire. A Be16 cannot be added to, compared by size or passed for a host
// integer by accident: the byte order is in the type, not in a comment.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>

namespace viaduct {

namespace detail {
constexpr std::uint16_t swap_if_little(std::uint16_t v) {
    return std::endian::native == std::endian::little ? __builtin_bswap16(v) : v;
}
constexpr std::uint32_t swap_if_little(std::uint32_t v) {
    return std::endian::native == std::endian::little ? __builtin_bswap32(v) : v;
}
}  // namespace detail

/// A big-endian (network byte order) integer; trivially copyable, so that it may lie in a packet header.
template <typename T>
struct BigEndian {
    T raw;  ///< the bytes in network order

    static constexpr BigEndian from_host(T host) { return {detail::swap_if_little(host)}; }
    [[nodiscard]] constexpr T to_host() const { return detail::swap_if_little(raw); }
    friend constexpr bool operator==(BigEndian, BigEndian) = default;
    friend constexpr auto operator<=>(BigEndian a, BigEndian b) { return a.to_host() <=> b.to_host(); }
};

using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;

}  // namespace viaduct
