// From objects to what resolve reads. The builder remembers what it built last, so that a change of one route
// among a million costs one path of a trie, and a change of anything else costs no route at all.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "viaduct/model.h"

#include "tables/fib.h"
#include "tables/interface_places.h"
#include "tables/services.h"
#include "tables/tables.h"

namespace viaduct::dataplane {

/// VRF and prefix of a configured route.
using RouteKey = std::tuple<std::string, Prefix>;

/// Main thread.
class TablesBuilder {
public:
    /// The zone of a VRF (FlowMemory::zone).
    using ZoneOf = std::function<Zone(const std::string& vrf)>;

    /// `places` has each of the configuration's interfaces. `touched`: the keys of all routes that may differ
    /// from the configuration of the last build; nothing: unknown, all are looked at. A route none of whose
    /// next hops is on an interface that is up is not there.
    std::shared_ptr<const Tables> build(const model::Config& config, const InterfacePlaces& places,
                                        const ZoneOf& zone_of, std::uint32_t generation,
                                        const std::optional<std::vector<RouteKey>>& touched);

private:
    /// What routes depend on of an interface.
    struct Leg {
        InterfaceIndex index = 0;
        bool up = false;
        friend bool operator==(const Leg&, const Leg&) = default;
    };
    using Legs = std::map<std::string, Leg>;
    using OwnRoutes = std::map<Prefix, RouteEntryPtr>;
    struct VrfRoutes {
        OwnRoutes own;  ///< to own addresses and connected networks
        std::shared_ptr<const Fib> fib;
    };

    std::map<std::string, VrfRoutes> own_routes(const model::Config& config) const;
    RouteEntryPtr entry_of(const model::Route& route) const;
    std::shared_ptr<const Fib> build_fib(const model::Config& config, const std::string& vrf,
                                         const OwnRoutes& own) const;
    std::shared_ptr<const Fib> changed_fib(const model::Config& config, const std::string& vrf,
                                           const OwnRoutes& own, const VrfRoutes& before,
                                           const std::vector<RouteKey>& touched) const;

    ServicesBuilder services_;
    Legs legs_;
    std::map<std::string, VrfRoutes> vrfs_;
};

}  // namespace viaduct::dataplane
