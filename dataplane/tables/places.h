// Places in arrays for what has a name: they stay while the name exists, since state that outlives a topology
// (FDBs, neighbours, flows) holds them, and workers go over to new arrays one by one.
#pragma once

#include <cstdint>
#include <map>
#include <set>

namespace viaduct::dataplane {

template <typename Name>
using Places = std::map<Name, std::uint16_t>;

/// Names in `before` that still exist keep their places. Newcomers fill holes that were there before: a place
/// that is given up now is not given to another at once, since workers may still hold it.
template <typename Name>
Places<Name> place(const std::set<Name>& names, const Places<Name>& before) {
    std::set<std::uint16_t> taken;
    for (const auto& [name, index] : before)
        taken.insert(index);
    Places<Name> places;
    std::uint16_t next = 0;
    for (const auto& name : names) {
        if (const auto kept = before.find(name); kept != before.end()) {
            places.insert(*kept);
            continue;
        }
        while (taken.contains(next))
            ++next;
        places.emplace(name, next++);
    }
    return places;
}

}  // namespace viaduct::dataplane
