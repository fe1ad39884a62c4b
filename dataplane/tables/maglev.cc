#include "tables/maglev.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <numeric>

#include "tables/rule_id.h"

namespace viaduct::dataplane {

namespace {

/// Slots for so many members at most. With more slots for each fewer move besides a member's own when it
/// comes or goes: of 1021 among ten 2 to 4 %, of 32749 among a hundred less than 1 %. With another number of
/// slots all move, so that there are few steps. All are primes: every step of a way that is not 0 then visits
/// all slots.
struct Size {
    std::size_t members;
    std::uint32_t slots;
};
constexpr std::array<Size, 5> kSizes{
    {{10, 1021}, {40, 4093}, {160, 32749}, {1280, 262139}, {SIZE_MAX, 524287}}};

std::uint32_t size_for(std::size_t members) {
    return std::ranges::find_if(kSizes, [&](const Size& size) { return members <= size.members; })->slots;
}

/// One member's way through the slots.
struct Way {
    std::uint32_t next;
    std::uint32_t step;
    std::uint32_t turns;  ///< that it has saved up, in parts of the greatest weight
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
    // All have a turn in the first round: nobody is so light that it gets nothing.
    for (std::size_t i = 0; i < members.size(); ++i)
        ways[i].turns = heaviest - members[i].weight;
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
