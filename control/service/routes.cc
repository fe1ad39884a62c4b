#include "service/routes.h"

#include <algorithm>

#include <json/json.h>

#include "viaduct/http.h"

#include "service/figures.h"
#include "service/lookup.h"
#include "service/services.h"

namespace viaduct::service {

namespace {

using kubernetes::ObjectName;
using Stored = kubernetes::Stored<kubernetes::Service>;

Json::Value list_of(const std::vector<IpAddress>& addresses) {
    Json::Value list(Json::arrayValue);
    for (const auto& address : addresses)
        list.append(address.to_string());
    return list;
}

/// Addresses at which the service is found, each once, by whether they are for those outside.
std::vector<IpAddress> addresses_of(const std::vector<const model::Service*>& compiled,
                                    const kubernetes::Service& service, bool external) {
    std::vector<IpAddress> found;
    for (const auto* one : compiled) {
        for (const auto& frontend : one->frontends) {
            // Node ports are shown as ports.
            const bool at_service_port = std::ranges::any_of(
                service.ports, [&](const auto& port) { return port.port == frontend.port; });
            if (frontend.external == external && at_service_port) found.push_back(frontend.address);
        }
    }
    std::ranges::sort(found);
    const auto doubled = std::ranges::unique(found);
    found.erase(doubled.begin(), doubled.end());
    return found;
}

std::uint16_t node_port_of(const model::Service& compiled, std::uint16_t port,
                           const std::vector<IpAddress>& external) {
    for (const auto& frontend : compiled.frontends) {
        const bool other = std::ranges::find(external, frontend.address) == external.end();
        if (frontend.external && (frontend.port != port || other)) return frontend.port;
    }
    return 0;
}

Json::Value port_json(const kubernetes::ServicePort& port, const model::Service* compiled,
                      const std::vector<IpAddress>& external) {
    Json::Value json(Json::objectValue);
    json["name"] = port.name.empty() ? std::to_string(port.port) : port.name;
    json["protocol"] = std::string(to_string(port.protocol));
    json["port"] = port.port;
    if (compiled == nullptr) return json;
    if (const auto node_port = node_port_of(*compiled, port.port, external); node_port != 0)
        json["node_port"] = node_port;
    json["endpoints"] = Json::UInt64(compiled->backends.size());
    return json;
}

Json::Value described(const View& view, const ObjectName& name, const Stored& service) {
    Json::Value json(Json::objectValue);
    json["namespace"] = name.namespace_;
    json["name"] = name.name;
    json["type"] = std::string(to_string(service->type));
    json["from"] = to_string(service.origin());
    const auto compiled = compiled_of(view, name);
    const auto external = addresses_of(compiled, *service, true);
    json["cluster_ips"] = list_of(addresses_of(compiled, *service, false));
    json["external"] = list_of(external);
    for (const auto& [port, check] : view.health_checks) {
        if (check.service == name) json["health_check_node_port"] = port;
    }
    if (service->headless) json["headless"] = true;
    if (!service->external_name.empty()) json["external_name"] = service->external_name;
    json["ports"] = Json::arrayValue;
    for (const auto& port : service->ports) {
        const auto key = port.name.empty() ? std::to_string(port.port) : port.name;
        const auto of_port =
            std::ranges::find_if(compiled, [&](const auto* one) { return one->port == key; });
        json["ports"].append(port_json(port, of_port == compiled.end() ? nullptr : *of_port, external));
    }
    const auto faults = view.faults.find(name);
    if (faults != view.faults.end()) {
        for (const auto& fault : faults->second)
            json["faults"].append(fault.reason);
    }
    return json;
}

/// What was refused as it was read.
Json::Value refused_documents(const View& view) {
    Json::Value list(Json::arrayValue);
    for (const auto& [file, faults] : view.snapshot->faults) {
        for (const auto& fault : faults)
            list.append(to_string(fault));
    }
    return list;
}

http::Response list_services(const Services& services, const View& view) {
    Json::Value json(Json::objectValue);
    json["source"] = services.source_name();
    json["trouble"] = services.trouble();
    json["services"] = Json::arrayValue;
    json["refused"] = Json::arrayValue;
    if (view.snapshot != nullptr) {
        for (const auto& [name, service] : view.snapshot->objects.services)
            json["services"].append(described(view, name, service));
        json["refused"] = refused_documents(view);
    }
    return api::json_response(json);
}

http::Response show_service(const View& view, const std::string& text, const std::string& socket) {
    const auto found = find_service(view, text);
    if (found.status != 200) return api::error_response(found.status, found.reason);
    const auto& name = found.name;
    auto json = described(view, name, view.snapshot->objects.services.at(name));
    json["programmed"] = Json::arrayValue;
    for (const model::Service* one : compiled_of(view, name))
        json["programmed"].append(model::to_json(*one));
    for (const auto& [service, address] : view.here->drained) {
        if (service == name) json["drained"].append(address.to_string());
    }
    json["figures"] = figures_of(socket, to_string(name));
    return api::json_response(json);
}

}  // namespace

void register_routes(api::Router& router, const Services& services, const std::string& dataplane_socket) {
    router.add("GET", "/v1/services", [&services, dataplane_socket](http::Request& request, auto&) {
        api::check_query(request, {"service"});
        const auto view = services.view();
        const auto named = request.query.find("service");
        return named == request.query.end() ? list_services(services, view)
                                            : show_service(view, named->second, dataplane_socket);
    });
}

}  // namespace viaduct::service
