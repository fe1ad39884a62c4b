// The buckets of mappings and their locks.
#include "tables/nat_mappings.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

#include <rte_pause.h>

namespace viaduct::dataplane {

/// Zeroed memory is an empty bucket.
struct alignas(64) NatMappings::Bucket {
    std::atomic<std::uint32_t> locked;
    std::array<Mapping, kPlaces> places;

    void lock() {
        while (locked.exchange(1, std::memory_order_acquire) != 0)
            rte_pause();
    }
    void unlock() { locked.store(0, std::memory_order_release); }
};

/// The two buckets of an inside address and port, locked in the order in which they lie.
class NatMappings::Locked {
public:
    Locked(const NatMappings& mappings, const Inside& inside) {
        std::array<std::uint64_t, 2> words{};
        std::memcpy(words.data(), inside.address.bytes().data(), inside.address.bytes().size());
        __extension__ using Wide = unsigned __int128;
        const auto more =
            std::uint64_t{inside.port} << 32 | std::uint64_t{inside.protocol} << 16 | inside.zone;
        auto product = static_cast<Wide>(words[0] ^ more ^ 0x9e3779b97f4a7c15U) *
                       (words[1] ^ std::rotl(more, 13) ^ 0xd1342543de82ef95U);
        const auto hash = static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
        const auto one = static_cast<std::uint32_t>(hash) & mappings.mask_;
        const auto other = static_cast<std::uint32_t>(hash >> 32) & mappings.mask_;
        first_ = &mappings.buckets_[std::min(one, other)];
        second_ = &mappings.buckets_[std::max(one, other)];
        first_->lock();
        if (second_ != first_) second_->lock();
    }
    ~Locked() {
        if (second_ != first_) second_->unlock();
        first_->unlock();
    }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

    template <typename Wanted>
    Mapping* find(const Inside& inside, const Wanted& wanted) {
        for (auto* bucket : {first_, second_}) {
            for (auto& m : bucket->places) {
                if (m.holders != 0 && m.inside_port == inside.port && m.inside == inside.address &&
                    m.zone == inside.zone && m.protocol == inside.protocol && wanted(m)) {
                    return &m;
                }
            }
        }
        return nullptr;
    }
    /// In the emptier bucket.
    Mapping* free_place() {
        Mapping* found = nullptr;
        std::ptrdiff_t most = 0;
        for (auto* bucket : {first_, second_}) {
            const auto is_free = [](const Mapping& m) { return m.holders == 0; };
            const auto room = std::ranges::count_if(bucket->places, is_free);
            if (room <= most) continue;
            most = room;
            found = &*std::ranges::find_if(bucket->places, is_free);
        }
        return found;
    }

private:
    Bucket* first_;
    Bucket* second_;
};

NatMappings::NatMappings(std::uint32_t most)
    : mask_(std::bit_ceil(std::max(most / kPlaces, 2U)) - 1),
      bytes_((std::size_t{mask_} + 1) * sizeof(Bucket)) {
    auto* memory =
        ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no address space for NAT mappings");
    buckets_ = static_cast<Bucket*>(memory);
}

NatMappings::~NatMappings() {
    ::munmap(buckets_, bytes_);
}

std::optional<NatMappings::Outside> NatMappings::use(const Inside& inside, std::uint32_t rule) {
    Locked locked(*this, inside);
    auto* m = locked.find(inside, [&](const Mapping& mapping) { return mapping.rule == rule; });
    if (m == nullptr) return std::nullopt;
    ++m->holders;
    return Outside{m->outside, m->outside_port};
}

std::optional<NatMappings::Outside> NatMappings::enter(const Inside& inside, const Outside& outside,
                                                       std::uint32_t rule) {
    Locked locked(*this, inside);
    auto* m = locked.find(inside, [&](const Mapping& mapping) { return mapping.rule == rule; });
    if (m != nullptr) {
        ++m->holders;
        return Outside{m->outside, m->outside_port};
    }
    m = locked.free_place();
    if (m == nullptr) return std::nullopt;
    *m = Mapping{inside.address, outside.address, 1,           rule,
                 inside.port,    outside.port,    inside.zone, inside.protocol};
    count_.fetch_add(1, std::memory_order_relaxed);
    return outside;
}

NatMappings::Left NatMappings::release(const Inside& inside, const Outside& outside) {
    Locked locked(*this, inside);
    auto* m = locked.find(inside, [&](const Mapping& mapping) {
        return mapping.outside_port == outside.port && mapping.outside == outside.address;
    });
    if (m == nullptr) return Left::unknown;
    if (--m->holders != 0) return Left::others;
    count_.fetch_sub(1, std::memory_order_relaxed);
    return Left::nobody;
}

}  // namespace viaduct::dataplane
