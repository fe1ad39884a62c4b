#include "tables/maglev.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "tables/rule_id.h"

namespace viaduct::dataplane {

namespace {

/// Slots for each member, so that shares differ by no more than a hundredth and few slots move.
constexpr std::size_t kSlotsEach = 100;
/// Primes: every step that is not 0 then visits all slots.
constexpr std::array<std::uint32_t, 12> kSizes{251,   509,   1021,  2039,   4093,   8191,
                                               16381, 32749, 65521, 131071, 262139, 524287};

std::uint32_t size_for(std::size_t members) {
    const auto* size = std::ranges::lower_bound(kSizes, members * kSlotsEach);
    return size == kSizes.end() ? kSizes.back() : *size;
}

/// One member's way through the slots.
struct Way {
    std::uint32_t next;
    std::uint32_t step;
    std::uint32_t turns = 0;  ///< that it has saved up, in parts of the greatest weight
};

}  // namespace

std::vector<std::uint16_t> maglev_table(std::span<const MaglevMember> members) {
    if (members.empty()) return {};
    constexpr auto kFree = std::numeric_limits<std::uint16_t>::max();
    const auto size = size_for(members.size());
    // Who comes first in a round matters: the order is the members' own.
    std::vector<std::uint16_t> order(members.size());
    std::iota(order.begin(), order.end(), std::uint16_t{0});
    std::ranges::sort(order, {}, [&](std::uint16_t i) { return members[i].identity; });
    std::vector<Way> ways(members.size());
    std::uint32_t heaviest = 1;
    for (std::size_t i = 0; i < members.size(); ++i) {
        const auto identity = members[i].identity;
        ways[i].next = static_cast<std::uint32_t>(mix(identity, 1) % size);
        ways[i].step = static_cast<std::uint32_t>(mix(identity, 2) % (size - 1) + 1);
        heaviest = std::max(heaviest, members[i].weight);
    }
    std::vector<std::uint16_t> table(size, kFree);
    for (std::uint32_t filled = 0;;) {
        for (const auto i : order) {
            auto& way = ways[i];
            way.turns += members[i].weight;
            if (way.turns < heaviest) continue;
            way.turns -= heaviest;
            while (table[way.next] != kFree) {
                way.next += way.step;
                if (way.next >= size) way.next -= size;
            }
            table[way.next] = i;
            if (++filled == size) return table;
        }
    }
}

}  // namespace viaduct::dataplane
