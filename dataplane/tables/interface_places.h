// Which place in the arrays of interfaces each router interface has: the FDBs, neighbours and flows name
// interfaces by it.
#pragma once

#include <map>
#include <set>
#include <string>

#include "viaduct/model.h"

#include "flow/record.h"
#include "tables/places.h"

namespace viaduct::dataplane {

/// Places by name; there may be holes between them.
using InterfacePlaces = Places<std::string>;

inline InterfacePlaces place_interfaces(const model::Named<model::Interface>& interfaces,
                                        const InterfacePlaces& before) {
    std::set<std::string> names;
    for (const auto& [name, interface] : interfaces)
        names.insert(name);
    return place(names, before);
}

}  // namespace viaduct::dataplane
