// Which place in the arrays of interfaces each router interface has. It stays while the interface exists: the
// FDBs, neighbours and flows name interfaces by it, and workers go over to new arrays one by one.
#pragma once

#include <map>
#include <set>
#include <string>

#include "viaduct/model.h"

#include "flow/record.h"

namespace viaduct::dataplane {

/// Places by name; there may be holes between them.
using InterfacePlaces = std::map<std::string, InterfaceIndex>;

/// Those in `before` that still exist keep their places. Newcomers fill holes that were there before: a place
/// that is given up now is not given to another at once, since workers may still hold it.
inline InterfacePlaces place_interfaces(const std::map<std::string, model::Interface>& interfaces,
                                        const InterfacePlaces& before) {
    std::set<InterfaceIndex> taken;
    for (const auto& [name, index] : before)
        taken.insert(index);
    InterfacePlaces places;
    InterfaceIndex next = 0;
    for (const auto& [name, interface] : interfaces) {
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
