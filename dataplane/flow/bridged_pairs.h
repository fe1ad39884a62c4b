// Which hosts of one bridge have a flow between them that the router translates: what one of them answers is
// addressed to the other, and would pass the router by. A set that may say yes for too many, but never no
// for one that is in it: one bit a pair, found by a hash. Bits are never taken back while the process runs:
// a pair costs others a look into the flow table, and fragments that they are put together on their way
// (resolve/bridged_answer.h).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "flow/key.h"

namespace viaduct::dataplane {

class BridgedPairs {
public:
    /// `seed`: so that nobody who chooses addresses chooses bits.
    explicit BridgedPairs(std::uint64_t seed) : seed_(seed) {}

    // --- any worker, no lock ---

    /// From now on what `answer.source` sends to `answer.destination` is asked after; the rest of the key
    /// says nothing.
    template <typename Key>
    void add(const Key& answer) {
        const auto bit = bit_of<Key>(reinterpret_cast<const std::uint8_t*>(&answer));
        auto& word = words_[bit / 64];
        const auto mask = std::uint64_t{1} << bit % 64;
        if ((word.load(std::memory_order_relaxed) & mask) == 0)
            word.fetch_or(mask, std::memory_order_relaxed);
        if (!any_.load(std::memory_order_relaxed)) any_.store(true, std::memory_order_relaxed);
    }
    /// Whether there is any pair at all; asked once a burst.
    [[nodiscard]] bool any() const { return any_.load(std::memory_order_relaxed); }
    /// `addresses`: source and destination as they stand in an IP header of Key's family.
    template <typename Key>
    [[nodiscard]] bool may_have(const std::uint8_t* addresses) const {
        const auto bit = bit_of<Key>(addresses);
        return (words_[bit / 64].load(std::memory_order_relaxed) >> bit % 64 & 1) != 0;
    }

private:
    static constexpr std::uint32_t kBits = 1U << 16;  // 8 KB, a quarter of a core's first cache

    /// Source and destination are a key's first fields and lie in it as they do in a header.
    template <typename Key>
    [[nodiscard]] std::uint32_t bit_of(const std::uint8_t* addresses) const {
        std::array<std::uint64_t, Key::kWords - 1> words;
        std::memcpy(words.data(), addresses, sizeof words);
        std::uint64_t hash;
        if constexpr (Key::kWords == 2) {
            hash = folded_product(words[0] ^ seed_, 0x9e3779b97f4a7c15U);
        } else {
            hash = folded_product(words[0] ^ seed_, words[1] ^ 0x9e3779b97f4a7c15U) ^
                   folded_product(words[2] ^ 0xc2b2ae3d27d4eb4fU, words[3] ^ seed_);
        }
        return static_cast<std::uint32_t>(hash) % kBits;
    }

    std::uint64_t seed_;
    std::atomic<bool> any_{false};
    std::array<std::atomic<std::uint64_t>, kBits / 64> words_{};
};

}  // namespace viaduct::dataplane
