// Text and arithmetic of addresses.
#include "viaduct/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdio>
#include <cstring>

namespace viaduct {

namespace {

std::optional<std::uint8_t> hex_byte(std::string_view two) {
    std::uint8_t value = 0;
    auto [end, error] = std::from_chars(two.data(), two.data() + 2, value, 16);
    if (error != std::errc() || end != two.data() + 2) return std::nullopt;
    return value;
}

}  // namespace

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
    if (text.size() != 17) return std::nullopt;
    const char separator = text[2];
    if (separator != ':' && separator != '-') return std::nullopt;
    MacAddress mac;
    for (std::size_t i = 0; i < 6; ++i) {
        if (i > 0 && text[3 * i - 1] != separator) return std::nullopt;
        auto byte = hex_byte(text.substr(3 * i, 2));
        if (!byte) return std::nullopt;
        mac.bytes[i] = *byte;
    }
    return mac;
}

std::string MacAddress::to_string() const {
    char text[18];
    std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3],
                  bytes[4], bytes[5]);
    return text;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    if (text.size() > INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos) return std::nullopt;
    const std::string copy(text);
    IpAddress address;
    if (inet_pton(AF_INET, copy.c_str(), address.bytes_.data() + 12) == 1) return address;
    if (inet_pton(AF_INET6, copy.c_str(), address.bytes_.data()) != 1) return std::nullopt;
    address.v4_ = false;
    return address;
}

bool IpAddress::is_multicast() const {
    return v4_ ? (bytes_[12] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

bool IpAddress::is_unspecified() const {
    for (auto b : bytes()) {
        if (b != 0) return false;
    }
    return true;
}

bool IpAddress::is_loopback() const {
    if (v4_) return bytes_[12] == 127;
    return number() == 1;
}

bool IpAddress::is_link_local() const {
    return v4_ ? bytes_[12] == 169 && bytes_[13] == 254 : bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

std::string IpAddress::to_string() const {
    char text[INET6_ADDRSTRLEN];
    inet_ntop(v4_ ? AF_INET : AF_INET6, bytes().data(), text, sizeof text);
    return text;
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto address = IpAddress::parse(text.substr(0, slash));
    const auto digits = text.substr(slash + 1);
    unsigned length = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (!address || error != std::errc() || end != digits.data() + digits.size() || digits.empty()) {
        return std::nullopt;
    }
    if (length > address->bits()) return std::nullopt;
    return Prefix{*address, static_cast<std::uint8_t>(length)};
}

bool Prefix::overlaps(const Prefix& other) const {
    return contains(other.network()) || other.contains(network());
}

std::string Prefix::to_string() const {
    return address.to_string() + "/" + std::to_string(length);
}

}  // namespace viaduct
