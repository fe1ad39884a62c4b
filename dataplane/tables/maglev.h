// Maglev's look-up table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI
// 2016, 3.4): each backend prefers the table's slots in an order of its own and they take turns, so that all
// get the same share, and a backend that comes or goes moves few slots but its own. Whoever knows the same
// backends makes the same table.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace viaduct::dataplane {

struct MaglevMember {
    std::uint64_t identity;  ///< a hash of what the backend is, no two the same
    std::uint32_t weight;    ///< 1..256: turns in each round, in proportion
};

/// Slots, each an index into `members`; empty when there are none. Members in another order make the same
/// choice of members. Each has its share of slots by weight and one at least: a light one's may be larger by
/// less than a slot, at the heavier ones' cost. Of a hundred members that lose or get one less than 2 % of
/// the slots are another's afterwards; but where the number of slots changes, from 10, 40, 160 or 1280
/// members to one more or back, nearly all are. At most 65535 members.
std::vector<std::uint16_t> maglev_table(std::span<const MaglevMember> members);

/// The slot of a flow's hash.
inline std::size_t maglev_slot(std::uint64_t hash, std::size_t slots) {
    return (hash >> 32) * slots >> 32;
}

}  // namespace viaduct::dataplane
