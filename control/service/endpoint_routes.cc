#include "service/endpoint_routes.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"
#include "viaduct/http.h"
#include "viaduct/json.h"

#include "service/endpoints.h"
#include "service/figures.h"
#include "service/lookup.h"

namespace viaduct::service {

namespace {

using kubernetes::ObjectName;
using Stored = kubernetes::Stored<kubernetes::Service>;

/// Of endpoints that nobody reaches by a service: it is headless.
constexpr const char* kNoAddress = "the service has no address of its own";

/// How long a change waits until it is in force.
constexpr std::chrono::seconds kSettle{10};

/// Backends that the dataplane counted: by service, port's name, address and number.
class Figures {
public:
    explicit Figures(const Json::Value& services) {
        for (const auto& service : services) {
            const auto name = service["namespace"].asString() + "/" + service["name"].asString();
            for (const auto& backend : service["backends"])
                connections_[{name, service["port"].asString(), backend["address"].asString(),
                              backend["port"].asUInt()}] = backend["connections"].asUInt64();
        }
    }
    [[nodiscard]] std::optional<std::uint64_t> connections(const std::string& service,
                                                           const std::string& port,
                                                           const model::Backend& backend) const {
        const auto found = connections_.find({service, port, backend.address.to_string(), backend.port});
        return found == connections_.end() ? std::nullopt : std::optional(found->second);
    }

private:
    std::map<std::tuple<std::string, std::string, std::string, unsigned>, std::uint64_t> connections_;
};

/// What of an endpoint becomes new connections: "ready" and "serving" have them.
const char* state_of(const EndpointState& endpoint) {
    if (!endpoint.used) return endpoint.why == kNoAddress ? "unused" : "not ready";
    if (endpoint.backend.draining) return "draining";
    return endpoint.ready ? "ready" : "serving";
}

std::string from_of(const EndpointState& endpoint) {
    if (endpoint.source == EndpointSource::slice) return to_string(endpoint.origin);
    if (endpoint.source == EndpointSource::manifest) return "selector, " + to_string(endpoint.origin);
    return "selector";
}

Json::Value described(const EndpointState& endpoint) {
    const auto& backend = endpoint.backend;
    Json::Value json(Json::objectValue);
    json["address"] = backend.address.to_string();
    json["number"] = backend.port;
    json["weight"] = backend.weight;
    json["local"] = backend.local;
    if (!backend.name.empty()) json["pod"] = backend.name;
    if (!endpoint.node.empty()) json["node"] = endpoint.node.str();
    if (!endpoint.zone.empty()) json["zone"] = endpoint.zone.str();
    json["state"] = state_of(endpoint);
    if (*endpoint.why != '\0') json["why"] = endpoint.why;
    json["ready"] = endpoint.ready;
    json["serving"] = endpoint.serving;
    json["terminating"] = endpoint.terminating;
    json["drained"] = endpoint.drained;
    json["from"] = from_of(endpoint);
    return json;
}

void list_service(const Services& services, const View& view, const Stored& service,
                  const std::optional<IpAddress>& address, const Figures& figures, Json::Value& list) {
    const auto name = to_string(key_of(*service));
    const bool programmed = !compiled_of(view, key_of(*service)).empty();
    const Surroundings around{services.settings(), view.snapshot->objects, *view.here};
    std::vector<Fault> ignored;
    for (const auto& port : service->ports) {
        const auto port_name = port.name.empty() ? std::to_string(port.port) : port.name;
        for (auto& endpoint : endpoints_of(service, port, around, ignored)) {
            if (address && endpoint.backend.address != *address) continue;
            if (endpoint.used && !programmed) {
                endpoint.used = false;
                endpoint.why = kNoAddress;
            }
            const auto& nodes = around.objects.nodes;
            const auto node = nodes.find(endpoint.node.str());
            if (endpoint.zone.empty() && node != nodes.end()) endpoint.zone = node->second->zone;
            auto json = described(endpoint);
            json["service"] = name;
            json["port"] = port_name;
            json["protocol"] = std::string(to_string(port.protocol));
            if (const auto connections = figures.connections(name, port_name, endpoint.backend))
                json["connections"] = Json::UInt64(*connections);
            list.append(std::move(json));
        }
    }
}

http::Response list_endpoints(const Services& services, const std::string& socket, http::Request& request) {
    api::check_query(request, {"service", "address"});
    const auto view = services.view();
    const auto named = request.query.find("service");
    std::optional<ObjectName> only;
    if (named != request.query.end()) {
        const auto found = find_service(view, named->second);
        if (found.status != 200) return api::error_response(found.status, found.reason);
        only = found.name;
    }
    std::optional<IpAddress> address;
    if (const auto asked = request.query.find("address"); asked != request.query.end()) {
        address = IpAddress::parse(asked->second);
        if (!address)
            return api::error_response(
                400, "address: \"" + asked->second.substr(0, 64) + "\" is no IP address such as 10.1.0.2");
    }
    Json::Value json(Json::objectValue);
    auto& list = json["endpoints"] = Json::arrayValue;
    if (view.snapshot == nullptr) return api::json_response(json);
    const Figures figures(figures_of(socket, only ? to_string(*only) : ""));
    for (const auto& [name, service] : view.snapshot->objects.services) {
        if (!only || name == *only) list_service(services, view, service, address, figures, list);
    }
    return api::json_response(json);
}

bool is_endpoint(const Services& services, const View& view, const ObjectName& name,
                 const IpAddress& address) {
    const auto& service = view.snapshot->objects.services.at(name);
    const Surroundings around{services.settings(), view.snapshot->objects, *view.here};
    std::vector<Fault> ignored;
    return std::ranges::any_of(service->ports, [&](const auto& port) {
        return std::ranges::any_of(endpoints_of(service, port, around, ignored),
                                   [&](const auto& endpoint) { return endpoint.backend.address == address; });
    });
}

http::Response drain(Services& services, const http::Request& request) {
    const auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    constexpr std::size_t name_most = 512;
    const auto service = reader.string("service", name_most).value_or("");
    const auto text = reader.string("address", 64).value_or("");
    const auto address = IpAddress::parse(text);
    if (!address) reader.fault("address", "is \"" + text + "\", which is no IP address such as 10.1.0.2");
    const auto drained = reader.boolean("drained");
    if (!drained) reader.fault("drained", "is required: true or false");
    reader.done();
    if (!faults.empty()) throw Refused(faults);
    const auto view = services.view();
    const auto found = find_service(view, service);
    if (found.status != 200) return api::error_response(found.status, found.reason);
    const auto name = to_string(found.name);
    if (!is_endpoint(services, view, found.name, *address))
        return api::error_response(404, "service " + name + " has no endpoint " + text +
                                            "; \"viaduct endpoint list " + name +
                                            "\" shows those that it has");
    const bool changed = *drained ? services.drains().put(found.name, *address)
                                  : services.drains().erase(found.name, *address);
    if (changed)
        spdlog::info("service {}: its endpoint {} is {} by hand", name, text,
                     *drained ? "drained" : "not drained");
    Json::Value json(Json::objectValue);
    json["service"] = name;
    json["address"] = text;
    json["drained"] = *drained;
    json["changed"] = changed;
    services.settle(kSettle);
    return api::json_response(json);
}

}  // namespace

void add_endpoint_routes(api::Router& router, Services& services, const std::string& dataplane_socket) {
    router.add("GET", "/v1/endpoints", [&services, dataplane_socket](http::Request& request, const auto&) {
        return list_endpoints(services, dataplane_socket, request);
    });
    router.add("POST", "/v1/endpoints/drain",
               [&services](http::Request& request, const auto&) { return drain(services, request); });
}

}  // namespace viaduct::service
