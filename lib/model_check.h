// The parts of model::check, one a file; each adds a fault for each thing that is wrong and says what would
// be right.
#pragma once

#include <string>

#include "viaduct/fault.h"
#include "viaduct/model.h"
#include "viaduct/model_kinds.h"

namespace viaduct::model {

void check_interfaces(const Config& config, Faults& faults);
void check_routes(const Config& config, Faults& faults, const Config* sound);
void check_neighbours(const Config& config, Faults& faults);
void check_tunnels(const Config& config, Faults& faults);
void check_nat(const Config& config, Faults& faults);
void check_services(const Config& config, Faults& faults, const Config* sound);
void check_filters(const Config& config, Faults& faults);

/// The default VRF is always there.
bool vrf_exists(const Config& config, const std::string& vrf);
std::string no_such_vrf(const std::string& vrf);

/// A single host's address, as one may be given to an interface: no group, not all zero, no loopback, not in
/// a network of broadcasts.
bool is_host_address(const IpAddress& address);

template <typename Object>
std::string place_of_object(const Object& object) {
    std::string place;
    for_each_kind([&](const auto& kind) {
        if constexpr (std::is_same_v<typename std::decay_t<decltype(kind)>::Object, Object>)
            place = place_of(kind, key_of(object));
    });
    return place;
}

}  // namespace viaduct::model
