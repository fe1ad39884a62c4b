// What must hold of services: places that only one can have, backends that can be reached.
#include <algorithm>
#include <unordered_map>

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

/// Where services are found, and whose that is.
class Places {
public:
    void add(const Service& service, Faults& faults) {
        for (const auto& frontend : service.frontends) {
            const auto [holder, is_new] = holders_.emplace(
                Place{service.vrf, service.protocol, frontend.address, frontend.port}, &service);
            if (is_new) continue;
            refuse(service, frontend, "service " + place_of_object(*holder->second).substr(9), faults);
        }
    }
    void add(const PortForward& forward, Faults& faults) const {
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
        std::string vrf;
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
            return std::hash<std::string>()(place.vrf) ^ (word * 0x9e3779b97f4a7c15U >> 7);
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

/// Whether no place can have come to be taken twice since `sound`: services that differ have the places that
/// they had, or fewer.
bool places_are_as(const Config& sound, const Config& config) {
    if (!(sound.port_forwards == config.port_forwards)) return false;
    return SharedMap<ServiceKey, Service>::differences(
        sound.services, config.services, [](const ServiceKey&, const Service* before, const Service* after) {
            if (after == nullptr) return true;
            return before != nullptr && before->vrf == after->vrf && before->protocol == after->protocol &&
                   before->frontends == after->frontends;
        });
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
    if (config.services.empty() || (sound != nullptr && places_are_as(*sound, config))) return;
    Places places;
    for (const auto& [key, service] : config.services)
        places.add(service, faults);
    for (const auto& [name, forward] : config.port_forwards)
        places.add(forward, faults);
}

}  // namespace viaduct::model
