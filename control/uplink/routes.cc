#include "uplink/routes.h"

#include <array>

#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"

#include "api/config_routes.h"
#include "node/netns.h"
#include "store/config_history.h"

namespace viaduct::uplink {

namespace {

using http::Request;
using http::Response;

constexpr std::array kDrivers{Driver::af_packet, Driver::af_xdp, Driver::vfio_pci};

Response answer(const Uplinks::Outcome& outcome, bool dry_run) {
    auto json = api::outcome_to_json(outcome.change, dry_run);
    json["notes"] = Json::arrayValue;
    for (const auto& note : outcome.notes)
        json["notes"].append(note);
    return api::json_response(json);
}

/// The kernel's refusal is the request's, not a fault of control's.
template <typename Work>
Response refusing(const Work& work) {
    try {
        return work();
    } catch (const node::Error& error) {
        return api::error_response(409, error.what());
    }
}

Response post(Uplinks& uplinks, const Request& request) {
    api::check_query(request, {});
    const auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    Addition addition;
    addition.sources = reader.strings("sources", model::kBondMost).value_or(std::vector<std::string>());
    if (const auto driver = reader.choice("driver", {"af_packet", "af_xdp", "vfio-pci"}))
        addition.driver = kDrivers.at(*driver);
    addition.force = reader.boolean("force").value_or(false);
    const auto* port = reader.object("port");
    const bool dry_run = reader.boolean("dry_run").value_or(false);
    const auto comment = reader.string("comment", 1024).value_or("");
    reader.done();
    if (port != nullptr) {
        for (const char* key : {"kind", "device", "members"}) {
            if (port->isMember(key))
                faults.push_back({std::string("port/") + key, "comes from \"sources\"; leave it out"});
        }
    }
    if (!faults.empty()) throw Refused(faults);
    return refusing([&] {
        return answer(
            uplinks.add(addition, port != nullptr ? *port : Json::Value(Json::objectValue), dry_run, comment),
            dry_run);
    });
}

Response post_delete(Uplinks& uplinks, const Request& request) {
    api::check_query(request, {});
    const auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const auto name = reader.string("name", 64);
    if (reader.valid() && !name && faults.empty()) reader.fault("name", "is required: the uplink's");
    const bool dry_run = reader.boolean("dry_run").value_or(false);
    const auto comment = reader.string("comment", 1024).value_or("");
    reader.done();
    if (!faults.empty()) throw Refused(faults);
    return refusing([&] { return answer(uplinks.remove(*name, dry_run, comment), dry_run); });
}

/// One device as it is now.
Json::Value describe(const Uplinks& uplinks, const std::map<std::string, Taken>& taken,
                     const std::string& device) {
    Json::Value json(Json::objectValue);
    json["device"] = device;
    if (const auto interface = model::device_interface(device); !interface.empty())
        json["interface"] = interface;
    const auto address = model::parse_pci_address(device);
    if (!address) return json;
    const auto pci = node::read_pci_device(uplinks.tree(), *address);
    json["present"] = pci.has_value();
    if (pci) {
        json["id"] = pci->id;
        json["driver"] = pci->driver;
        if (!pci->group.empty()) json["iommu_group"] = pci->group;
    }
    if (const auto record = taken.find(*address); record != taken.end())
        json["former_driver"] = record->second.former;
    return json;
}

Response list(const Uplinks& uplinks, store::Database& database, const Request& request) {
    api::check_query(request, {});
    model::Config config;
    {
        store::Transaction tx(database);
        config.ports = store::present_config(tx)->ports;
    }
    auto unused = uplinks.taken();
    const auto taken = unused;
    Json::Value json(Json::objectValue);
    auto& list = json["uplinks"] = Json::arrayValue;
    for (const auto& [name, port] : config.ports) {
        if (port.kind != model::PortKind::uplink) continue;
        auto one = model::to_json(port);
        auto& devices = one["devices"] = Json::arrayValue;
        for (const auto& device : model::devices_of(port.uplink)) {
            devices.append(describe(uplinks, taken, device));
            if (const auto address = model::parse_pci_address(device)) unused.erase(*address);
        }
        list.append(std::move(one));
    }
    auto& left = json["unused"] = Json::arrayValue;
    for (const auto& [address, record] : unused)
        left.append(describe(uplinks, taken, address));
    return api::json_response(json);
}

}  // namespace

void add_routes(api::Router& router, Uplinks& uplinks, store::Database& database) {
    router.add("GET", "/v1/uplinks/devices",
               [&](auto& request, auto&) { return list(uplinks, database, request); });
    router.add("POST", "/v1/uplinks", [&](auto& request, auto&) { return post(uplinks, request); });
    router.add("POST", "/v1/uplinks/delete",
               [&](auto& request, auto&) { return post_delete(uplinks, request); });
}

}  // namespace viaduct::uplink
