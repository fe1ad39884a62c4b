// What a flow remembers of the rule that translates it: a number made of the rule's kind, its name and what
// it means, the same after a restart of either process. And the hash that tables of addresses are laid out
// by.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "viaduct/address.h"

namespace viaduct::dataplane {

/// FNV-1a over texts that are kept apart; folded to 32 bits, never 0.
class RuleId {
public:
    RuleId& operator<<(std::string_view text) {
        for (const char c : text)
            byte(static_cast<std::uint8_t>(c));
        byte(0xff);  // in no UTF-8 text
        return *this;
    }
    RuleId& operator<<(const IpAddress& address) { return *this << address.to_string(); }
    RuleId& operator<<(std::uint16_t number) { return *this << std::to_string(number); }
    [[nodiscard]] std::uint32_t get() const {
        const auto folded = static_cast<std::uint32_t>(hash_ ^ hash_ >> 32);
        return folded == 0 ? 1 : folded;
    }

private:
    void byte(std::uint8_t b) { hash_ = (hash_ ^ b) * 0x100000001b3U; }
    std::uint64_t hash_ = 0xcbf29ce484222325U;
};

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const auto product = static_cast<Wide>(a ^ 0x9e3779b97f4a7c15U) * (b ^ 0xd1342543de82ef95U);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// The same on every machine for the same seed.
inline std::uint64_t hash_of(const IpAddress& address, std::uint64_t seed) {
    std::array<std::uint64_t, 2> words{};
    const auto bytes = address.bytes();
    std::memcpy(words.data(), bytes.data(), bytes.size());
    return mix(words[0] ^ seed, words[1] ^ (address.is_v4() ? 4U : 6U));
}

}  // namespace viaduct::dataplane
