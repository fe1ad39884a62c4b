// Addresses of links and networks as types: MAC, IPv4 and IPv6 under one roof, and prefixes.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace viaduct {

/// A 48-bit IEEE 802 MAC address, first byte first on the wire.
struct MacAddress {
    std::array<std::uint8_t, 6> bytes{};

    /// Accepts six two-digit hexadecimal bytes separated by ':' or '-' in either case; nothing else.
    static std::optional<MacAddress> parse(std::string_view text);
    /// The address in the low 48 bits, first byte most significant.
    static constexpr MacAddress from_u64(std::uint64_t v) {
        MacAddress mac;
        for (int i = 5; i >= 0; --i, v >>= 8)
            mac.bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(v);
        return mac;
    }
    [[nodiscard]] constexpr std::uint64_t to_u64() const {
        std::uint64_t v = 0;
        for (auto b : bytes)
            v = v << 8 | b;
        return v;
    }
    [[nodiscard]] constexpr bool is_multicast() const { return (bytes[0] & 1) != 0; }
    [[nodiscard]] constexpr bool is_zero() const { return to_u64() == 0; }
    /// Lower-case, separated by ':'.
    [[nodiscard]] std::string to_string() const;
    friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) = default;
};

/// An IPv4 or IPv6 address. Held as 16 bytes in network order; IPv4 in the last four (as ::ffff:a.b.c.d), so
/// that ranges and arithmetic have one code for both. Ordered by family, then numerically.
class IpAddress {
public:
    IpAddress() = default;  ///< 0.0.0.0

    static std::optional<IpAddress> parse(
        std::string_view text);  ///< RFC 4291 and dotted quad; no zone, no port
    /// Exactly 4 or 16 bytes in network order; anything else is nothing.
    static std::optional<IpAddress> from_bytes(std::span<const std::uint8_t> bytes) {
        IpAddress address;
        address.v4_ = bytes.size() == 4;
        if (!address.v4_ && bytes.size() != 16) return std::nullopt;
        std::memcpy(&address.bytes_[address.v4_ ? 12 : 0], bytes.data(), address.v4_ ? 4 : 16);
        return address;
    }

    [[nodiscard]] bool is_v4() const { return v4_; }
    [[nodiscard]] unsigned bits() const { return v4_ ? 32 : 128; }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const {  ///< 4 or 16 bytes, network order
        return v4_ ? std::span(bytes_).subspan(12) : std::span(bytes_);
    }
    [[nodiscard]] bool is_multicast() const;
    [[nodiscard]] bool is_unspecified() const;
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] bool is_link_local() const;
    /// The 16 bytes as a number, IPv4 as ::ffff:a.b.c.d.
    __extension__ using Number = unsigned __int128;
    [[nodiscard]] Number number() const {
        std::array<std::uint64_t, 2> words;
        std::memcpy(words.data(), bytes_.data(), sizeof words);
        return Number{__builtin_bswap64(words[0])} << 64 | __builtin_bswap64(words[1]);
    }
    /// The first `length` bits (0..bits()), and zeros or ones after them.
    [[nodiscard]] IpAddress with_host_bits(unsigned length, bool ones) const {
        const unsigned kept = length + 128 - bits();
        const auto host = kept == 128 ? Number{0} : ~Number{0} >> kept;
        return with_number(ones ? number() | host : number() & ~host);
    }
    /// This address plus `step`; nothing where it would leave the family's range.
    [[nodiscard]] std::optional<IpAddress> plus(std::uint64_t step) const {
        const auto sum = number() + step;
        if (v4_ ? sum >> 32 != number() >> 32 : sum < number()) return std::nullopt;
        return with_number(sum);
    }
    /// How far `*this` lies above `base` in the same family; nothing when below or over 2^64-1.
    [[nodiscard]] std::optional<std::uint64_t> minus(const IpAddress& base) const {
        if (v4_ != base.v4_ || number() < base.number()) return std::nullopt;
        const auto distance = number() - base.number();
        if (distance >> 64 != 0) return std::nullopt;
        return static_cast<std::uint64_t>(distance);
    }
    [[nodiscard]] std::string to_string() const;  ///< IPv6 as RFC 5952
    friend bool operator==(const IpAddress& a, const IpAddress& b) {
        return a.number() == b.number() && a.v4_ == b.v4_;
    }
    friend std::strong_ordering operator<=>(const IpAddress& a, const IpAddress& b) {
        if (a.v4_ != b.v4_) return a.v4_ ? std::strong_ordering::less : std::strong_ordering::greater;
        if (a.number() == b.number()) return std::strong_ordering::equal;
        return a.number() < b.number() ? std::strong_ordering::less : std::strong_ordering::greater;
    }

private:
    [[nodiscard]] IpAddress with_number(Number number) const {
        const std::array<std::uint64_t, 2> words{__builtin_bswap64(static_cast<std::uint64_t>(number >> 64)),
                                                 __builtin_bswap64(static_cast<std::uint64_t>(number))};
        IpAddress address;
        address.v4_ = v4_;
        std::memcpy(address.bytes_.data(), words.data(), sizeof words);
        return address;
    }

    std::array<std::uint8_t, 16> bytes_{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool v4_ = true;
};

/// An address with a prefix length. `address` may have host bits (an interface's address); `network()` has
/// none.
struct Prefix {
    IpAddress address;
    std::uint8_t length = 0;  ///< 0..32 or 0..128

    static std::optional<Prefix> parse(std::string_view text);  ///< "10.0.0.0/8"; the length is required
    [[nodiscard]] IpAddress network() const {                   ///< host bits all zero
        return address.with_host_bits(length, false);
    }
    [[nodiscard]] IpAddress last() const {  ///< host bits all one: IPv4's broadcast address
        return address.with_host_bits(length, true);
    }
    [[nodiscard]] bool contains(const IpAddress& other) const {
        return other.is_v4() == address.is_v4() && other.with_host_bits(length, false) == network();
    }
    [[nodiscard]] bool overlaps(const Prefix& other) const;
    [[nodiscard]] std::string to_string() const;
    friend auto operator<=>(const Prefix&, const Prefix&) = default;
};

}  // namespace viaduct
