// What must hold of services: places that only one can have, backends that can be reached.
#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "model_check.h"

namespace viaduct::model {

namespace {

std::string place_text(const IpAddress& address, std::uint16_t port) {
    return address.to_string() + " port " + std::to_string(port);
}

void check_service(const Config& config, const Service& service, Faults& faults) {
    const auto fault = [&](const char* member, std::string reason) {
        faults.push_back({place_of_object(service) + "/" + member, std::move(reason)});
    };
    if (!vrf_exists(config, service.vrf)) fault("vrf", no_such_vrf(service.vrf));
    for (const auto& frontend : service.frontends) {
        if (!is_host_address(frontend.address))
            fault("frontends", "name " + frontend.address.to_string() + ", which is not one host's address");
    }
    for (const auto& backend : service.backends) {
        if (!is_host_address(backend.address))
            fault("backends", "name " + backend.address.to_string() + ", which is not one host's address");
    }
}

/// Where services are found, and whose that is. They outlive it.
class Places {
public:
    /// Of a service whose places may be others' too.
    void add(const Service& service, Faults& faults) {
        for (const auto& frontend : service.frontends) {
            const auto [holder, is_new] = holders_.emplace(
                Place{service.vrf, service.protocol, frontend.address, frontend.port}, &service);
            if (is_new) continue;
            refuse(service, frontend, "service " + place_of_object(*holder->second).substr(9), faults);
        }
    }
    /// Of one that had its places before those that were added came.
    void compare(const Service& service, Faults& faults) const {
        for (const auto& frontend : service.frontends) {
            const auto found =
                holders_.find({service.vrf, service.protocol, frontend.address, frontend.port});
            if (found == holders_.end()) continue;
            refuse(*found->second, frontend, "service " + place_of_object(service).substr(9), faults);
        }
    }
    void compare(const PortForward& forward, Faults& faults) const {
        for (unsigned port = forward.port; port <= forward.port_last; ++port) {
            const auto number = static_cast<std::uint16_t>(port);
            const auto found = holders_.find({forward.vrf, forward.protocol, forward.address, number});
            if (found == holders_.end()) continue;
            Frontend frontend;
            frontend.address = forward.address;
            frontend.port = number;
            return refuse(*found->second, frontend, "port forward \"" + forward.name + "\"", faults);
        }
    }

private:
    struct Place {
        std::string_view vrf;
        Transport protocol;
        IpAddress address;
        std::uint16_t port;
        bool operator==(const Place&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Place& place) const {
            const auto number = place.address.number();
            const auto word = static_cast<std::uint64_t>(number ^ number >> 64) ^
                              std::uint64_t{place.port} << 40 ^
                              std::uint64_t{static_cast<std::uint8_t>(place.protocol)} << 56;
            return std::hash<std::string_view>()(place.vrf) ^ (word * 0x9e3779b97f4a7c15U >> 7);
        }
    };

    static void refuse(const Service& service, const Frontend& frontend, const std::string& holder,
                       Faults& faults) {
        faults.push_back({place_of_object(service) + "/frontends",
                          "name " + place_text(frontend.address, frontend.port) + " of " +
                              std::string(to_string(service.protocol)) + ", which " + holder +
                              " has; give it another address or port"});
    }

    std::unordered_map<Place, const Service*, Hash> holders_;
};

/// Those whose places may have come to be taken twice since `sound`, whose own are no two services' and no
/// port forward's: that have come, or have other places than before. All, where nothing is sound or the port
/// forwards have changed.
std::unordered_set<const Service*> newly_placed(const Config& config, const Config* sound) {
    std::unordered_set<const Service*> services;
    if (sound == nullptr || !(sound->port_forwards == config.port_forwards)) {
        for (const auto& [key, service] : config.services)
            services.insert(&service);
        return services;
    }
    SharedMap<ServiceKey, Service>::differences(
        sound->services, config.services,
        [&](const ServiceKey&, const Service* before, const Service* after) {
            const bool as_before = after == nullptr || (before != nullptr && before->vrf == after->vrf &&
                                                        before->protocol == after->protocol &&
                                                        before->frontends == after->frontends);
            if (!as_before) services.insert(after);
            return true;
        });
    return services;
}

}  // namespace

void check_services(const Config& config, Faults& faults, const Config* sound) {
    if (sound != nullptr && sound->vrfs == config.vrfs) {
        SharedMap<ServiceKey, Service>::differences(
            sound->services, config.services, [&](const ServiceKey&, const Service*, const Service* after) {
                if (after != nullptr) check_service(config, *after, faults);
                return true;
            });
    } else {
        for (const auto& [key, service] : config.services)
            check_service(config, service, faults);
    }
    const auto newcomers = newly_placed(config, sound);
    if (newcomers.empty()) return;
    // A map of all places takes milliseconds where there are ten thousand: that of the newcomers' is asked
    // for all.
    Places places;
    for (const auto& [key, service] : config.services) {
        if (newcomers.contains(&service)) places.add(service, faults);
    }
    for (const auto& [key, service] : config.services) {
        if (!newcomers.contains(&service)) places.compare(service, faults);
    }
    for (const auto& [name, forward] : config.port_forwards)
        places.compare(forward, faults);
}

}  // namespace viaduct::model
