// A bucket of the flow table: one cache line that says which of its entries might be a key's.
//
// Twenty-eight 16-bit signatures are compared with a few vector instructions. They are written under the
// bucket's lock and read without it: x86 loads and stores of aligned 16-bit values are whole, and a signature
// is a hint only; the record's own key decides. Under the thread sanitizer they are read one by one, as
// atomics, so that it sees what is meant.
#pragma once

#include <immintrin.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <rte_pause.h>

namespace viaduct::dataplane {

struct alignas(64) FlowBucket {
    static constexpr std::uint32_t kPlaces = 28;
    static constexpr std::uint16_t kElsewhereMost = UINT16_MAX;

    std::array<std::uint16_t, kPlaces> signatures;  ///< 0: the place is free
    std::uint16_t lock_word;                        ///< 1: a writer is at work here
    /// Entries whose first bucket this is and that lie in their second; stays where it is at its most.
    std::uint16_t elsewhere_count;
    /// Bit n: the flow in place n had not been answered when it was entered, and nobody has found otherwise.
    /// A hint where to look first for what may give way.
    std::uint32_t unanswered;

    /// Bits 2n and 2n + 1 are set where place n has the signature; see `place`.
    [[nodiscard]] std::uint64_t match(std::uint16_t signature) const;
    static std::uint32_t place(std::uint64_t matches) {
        return static_cast<std::uint32_t>(__builtin_ctzll(matches)) / 2;
    }
    static std::uint64_t without_first(std::uint64_t matches) {
        return matches & ~(std::uint64_t{3} << (2 * place(matches)));
    }

    [[nodiscard]] std::uint16_t signature(std::uint32_t place) const {
        return __atomic_load_n(&signatures[place], __ATOMIC_ACQUIRE);
    }
    void set_signature(std::uint32_t place, std::uint16_t value) {
        __atomic_store_n(&signatures[place], value, __ATOMIC_RELEASE);
    }
    [[nodiscard]] std::uint16_t elsewhere() const {
        return __atomic_load_n(&elsewhere_count, __ATOMIC_RELAXED);
    }
    void set_elsewhere(std::uint16_t count) { __atomic_store_n(&elsewhere_count, count, __ATOMIC_RELAXED); }
    void add_elsewhere() {
        if (const auto count = elsewhere(); count != kElsewhereMost)
            set_elsewhere(static_cast<std::uint16_t>(count + 1));
    }
    void subtract_elsewhere() {
        if (const auto count = elsewhere(); count != 0 && count != kElsewhereMost)
            set_elsewhere(static_cast<std::uint16_t>(count - 1));
    }

    [[nodiscard]] std::uint32_t marked() const { return __atomic_load_n(&unanswered, __ATOMIC_RELAXED); }
    void mark(std::uint32_t place) {
        __atomic_fetch_or(&unanswered, std::uint32_t{1} << place, __ATOMIC_RELAXED);
    }
    void unmark(std::uint32_t place) {
        __atomic_fetch_and(&unanswered, ~(std::uint32_t{1} << place), __ATOMIC_RELAXED);
    }

    void lock() {
        while (__atomic_exchange_n(&lock_word, std::uint16_t{1}, __ATOMIC_ACQUIRE) != 0) {
            while (__atomic_load_n(&lock_word, __ATOMIC_RELAXED) != 0)
                rte_pause();
        }
    }
    void unlock() { __atomic_store_n(&lock_word, std::uint16_t{0}, __ATOMIC_RELEASE); }

private:
    static constexpr std::uint64_t kAll = (std::uint64_t{1} << (2 * kPlaces)) - 1;
};
static_assert(sizeof(FlowBucket) == 64);

inline std::uint64_t FlowBucket::match(std::uint16_t signature) const {
#if defined(__SANITIZE_THREAD__)
    std::uint64_t found = 0;
    for (std::uint32_t at = 0; at < kPlaces; ++at) {
        if (this->signature(at) == signature) found |= std::uint64_t{3} << (2 * at);
    }
    return found;
#elif defined(__AVX2__)
    const auto wanted = _mm256_set1_epi16(static_cast<short>(signature));
    const auto* lines = reinterpret_cast<const __m256i*>(this);
    const auto low = _mm256_movemask_epi8(_mm256_cmpeq_epi16(_mm256_load_si256(lines), wanted));
    const auto high = _mm256_movemask_epi8(_mm256_cmpeq_epi16(_mm256_load_si256(lines + 1), wanted));
    return (std::uint64_t{static_cast<std::uint32_t>(high)} << 32 | static_cast<std::uint32_t>(low)) & kAll;
#else
    const auto wanted = _mm_set1_epi16(static_cast<short>(signature));
    const auto* lines = reinterpret_cast<const __m128i*>(this);
    std::uint64_t found = 0;
    for (int at = 0; at < 4; ++at) {
        const auto bits = _mm_movemask_epi8(_mm_cmpeq_epi16(_mm_load_si128(lines + at), wanted));
        found |= std::uint64_t{static_cast<std::uint32_t>(bits)} << (16 * at);
    }
    return found & kAll;
#endif
}

}  // namespace viaduct::dataplane
