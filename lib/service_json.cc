// The JSON form of services.
#include <algorithm>
#include <array>

#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model.h"

#include "model_reading.h"

namespace viaduct::model {

namespace {

constexpr std::array kBalances{Balance::maglev, Balance::random, Balance::round_robin,
                               Balance::least_connections};
constexpr std::array kProtocols{Transport::tcp, Transport::udp, Transport::sctp};
constexpr std::size_t kBackendNameMost = 2 * kNameMost + 64;

/// Address and port, which frontends and backends have; false: they are not both there.
template <typename Place>
bool read_place(ObjectReader& reader, Place& place) {
    const auto address = read_address(reader, "address", Need::required);
    if (reader.valid() && reader.member("port") == nullptr)
        reader.fault("port", "is required, from 1 to 65535");
    set_integer(reader, "port", 1, UINT16_MAX, place.port);
    if (address) place.address = *address;
    return address && place.port != 0;
}

std::optional<Frontend> frontend_from(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Frontend frontend;
    const bool whole = read_place(reader, frontend);
    set_boolean(reader, "external", frontend.external);
    set_boolean(reader, "local_only", frontend.local_only);
    set_boolean(reader, "announce", frontend.announce);
    set_boolean(reader, "restricted", frontend.restricted);
    reader.done();
    return whole ? std::optional(frontend) : std::nullopt;
}

std::optional<Backend> backend_from(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Backend backend;
    const bool whole = read_place(reader, backend);
    set_integer(reader, "weight", 1, kWeightMost, backend.weight);
    set_boolean(reader, "local", backend.local);
    set_boolean(reader, "draining", backend.draining);
    set_boolean(reader, "distant", backend.distant);
    if (auto name = reader.string("name", kBackendNameMost)) backend.name = std::move(*name);
    reader.done();
    return whole ? std::optional(std::move(backend)) : std::nullopt;
}

/// A list of places, sorted; a place that is there twice is a fault.
template <typename Place, typename Read>
void read_places(ObjectReader& reader, const char* key, std::size_t most, std::vector<Place>& places,
                 Faults& faults, const Read& read) {
    const auto* list = reader.array(key, most);
    if (list == nullptr) return;
    places.reserve(list->size());
    const auto place = reader.place(key) + "/";
    for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
        if (auto one = read((*list)[i], place + std::to_string(i), faults)) places.push_back(std::move(*one));
    }
    std::ranges::sort(places);
    const auto same = [](const Place& a, const Place& b) {
        return a.address == b.address && a.port == b.port;
    };
    const auto twice = std::ranges::adjacent_find(places, same);
    if (twice != places.end())
        reader.fault(key, "name " + twice->address.to_string() + " port " + std::to_string(twice->port) +
                              " twice; leave one out");
}

template <typename Place>
Json::Value place_json(const Place& place) {
    Json::Value json(Json::objectValue);
    json["address"] = place.address.to_string();
    json["port"] = place.port;
    return json;
}

Json::Value frontend_json(const Frontend& frontend) {
    auto json = place_json(frontend);
    if (frontend.external) json["external"] = true;
    if (frontend.local_only) json["local_only"] = true;
    if (frontend.announce) json["announce"] = true;
    if (frontend.restricted) json["restricted"] = true;
    return json;
}

Json::Value backend_json(const Backend& backend) {
    auto json = place_json(backend);
    if (backend.weight != 1) json["weight"] = backend.weight;
    if (backend.local) json["local"] = true;
    if (backend.draining) json["draining"] = true;
    if (backend.distant) json["distant"] = true;
    if (!backend.name.empty()) json["name"] = backend.name;
    return json;
}

}  // namespace

std::string_view to_string(Balance balance) {
    switch (balance) {
        case Balance::maglev:
            return "maglev";
        case Balance::random:
            return "random";
        case Balance::round_robin:
            return "round-robin";
        case Balance::least_connections:
            break;
    }
    return "least-connections";
}

Json::Value to_json(const Service& service) {
    Json::Value json(Json::objectValue);
    json["namespace"] = service.namespace_;
    json["name"] = service.name;
    json["port"] = service.port;
    json["vrf"] = service.vrf;
    json["protocol"] = std::string(to_string(service.protocol));
    auto& frontends = json["frontends"] = Json::arrayValue;
    for (const auto& frontend : service.frontends)
        frontends.append(frontend_json(frontend));
    auto& backends = json["backends"] = Json::arrayValue;
    for (const auto& backend : service.backends)
        backends.append(backend_json(backend));
    json["balance"] = std::string(to_string(service.balance));
    if (service.affinity != 0) json["affinity"] = service.affinity;
    if (!service.allow_from.empty()) {
        auto& allowed = json["allow_from"] = Json::arrayValue;
        for (const auto& prefix : service.allow_from)
            allowed.append(prefix.to_string());
    }
    return json;
}

std::optional<Service> service_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Service service;
    const auto space = read_name(reader, "namespace", Need::required);
    const auto name = read_name(reader, "name", Need::required);
    const auto port = read_name(reader, "port", Need::required);
    read_vrf(reader, service.vrf);
    if (const auto protocol = reader.choice("protocol", {"tcp", "udp", "sctp"}))
        service.protocol = kProtocols.at(*protocol);
    read_places(reader, "frontends", kFrontendsMost, service.frontends, faults, frontend_from);
    read_places(reader, "backends", kBackendsMost, service.backends, faults, backend_from);
    if (const auto balance =
            reader.choice("balance", {"maglev", "random", "round-robin", "least-connections"}))
        service.balance = kBalances.at(*balance);
    set_integer(reader, "affinity", 0, kAffinityMost, service.affinity);
    for (const auto& text : reader.strings("allow_from").value_or(std::vector<std::string>{})) {
        if (const auto network = network_from(reader, "allow_from", text))
            service.allow_from.push_back(*network);
    }
    std::ranges::sort(service.allow_from);
    service.allow_from.erase(std::unique(service.allow_from.begin(), service.allow_from.end()),
                             service.allow_from.end());
    reader.done();
    if (!space || !name || !port) return std::nullopt;
    service.namespace_ = *space;
    service.name = *name;
    service.port = *port;
    return service;
}

}  // namespace viaduct::model
