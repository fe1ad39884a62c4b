#include "service/external_places.h"

#include <utility>

namespace viaduct::service {

namespace {

std::set<ExternalPlaces::Place> places_of(const kubernetes::Service& service) {
    std::set<ExternalPlaces::Place> places;
    if (service.headless || service.type == kubernetes::ServiceType::external_name) return places;
    for (const auto& port : service.ports) {
        for (const auto& address : service.external_ips)
            places.emplace(address, port.protocol, port.port);
        if (service.type != kubernetes::ServiceType::load_balancer) continue;
        for (const auto& address : service.load_balancer_ips)
            places.emplace(address, port.protocol, port.port);
    }
    return places;
}

}  // namespace

std::set<ExternalPlaces::Name> ExternalPlaces::ask(const Name& name, const kubernetes::Service* service) {
    auto wanted = service == nullptr ? std::set<Place>{} : places_of(*service);
    const auto found = asked_.find(name);
    if (found == asked_.end() && wanted.empty()) return {};
    std::set<Name> others;
    if (found != asked_.end()) {
        for (const auto& place : found->second) {
            auto& names = asking_[place];
            names.erase(name);
            others.insert(names.begin(), names.end());
            if (names.empty()) asking_.erase(place);
        }
        asked_.erase(found);
    }
    for (const auto& place : wanted) {
        auto& names = asking_[place];
        others.insert(names.begin(), names.end());
        names.insert(name);
    }
    if (!wanted.empty()) asked_.emplace(name, std::move(wanted));
    return others;
}

const ExternalPlaces::Name* ExternalPlaces::holder(const Place& place) const {
    const auto found = asking_.find(place);
    return found == asking_.end() ? nullptr : &*found->second.begin();
}

std::set<ExternalPlaces::Name> ExternalPlaces::asking(const IpAddress& address) const {
    std::set<Name> all;
    for (auto it = asking_.lower_bound({address, model::Transport{}, 0});
         it != asking_.end() && std::get<0>(it->first) == address; ++it)
        all.insert(it->second.begin(), it->second.end());
    return all;
}

}  // namespace viaduct::service
