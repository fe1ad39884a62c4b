#include "host/routes.h"

#include <ctime>

#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"
#include "viaduct/model.h"

#include "host/taken.h"
#include "node/netns.h"

namespace viaduct::host {

namespace {

using api::PathValues;
using http::Request;

constexpr std::uint64_t kConfirmMost = 86400;  // seconds

void refuse_any(const Faults& faults) {
    if (!faults.empty()) throw Refused(faults);
}

std::string interface_from(ObjectReader& reader) {
    const auto name = reader.string("interface", 64);
    if (!name || !model::is_interface_name(*name))
        reader.fault("interface", "is required: a kernel interface's name, such as \"eth1\"");
    return name.value_or("");
}

TakeRequest take_request(const Json::Value& body) {
    Faults faults;
    ObjectReader reader(body, "", faults);
    TakeRequest request;
    request.interface = interface_from(reader);
    if (const auto driver = reader.choice("driver", {"af_packet", "af_xdp"}))
        request.driver = *driver == 0 ? "af_packet" : "af_xdp";
    request.queues = static_cast<std::uint16_t>(reader.integer("queues", 1, 16).value_or(1));
    request.confirm_within =
        std::chrono::seconds(reader.integer("confirm_within", 0, kConfirmMost).value_or(0));
    request.force = reader.boolean("force").value_or(false);
    reader.done();
    refuse_any(faults);
    return request;
}

std::string interface_alone(const Request& request) {
    const auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    auto name = interface_from(reader);
    reader.done();
    refuse_any(faults);
    return name;
}

Json::Value describe(const TakenInterface& row) {
    Json::Value json(Json::objectValue);
    json["interface"] = row.name;
    json["state"] = std::string(to_string(row.state));
    json["mac"] = row.kernel.mac.to_string();
    json["addresses"] = Json::arrayValue;
    for (const auto& prefix : row.kernel.prefixes)
        json["addresses"].append(prefix.to_string());
    if (row.state == TakenInterface::State::unconfirmed)
        json["seconds_left"] = Json::Int64(std::max<std::int64_t>(0, row.deadline - std::time(nullptr)));
    return json;
}

/// What the kernel refuses is a conflict with the node, not a fault of the request.
api::Handler told(std::function<Json::Value(Request&)> handler) {
    return [handler = std::move(handler)](Request& request, const PathValues&) {
        try {
            return api::json_response(handler(request));
        } catch (const node::Error& error) {
            return api::error_response(409, error.what());
        }
    };
}

}  // namespace

void register_routes(api::Router& router, Taken& taken) {
    router.add("POST", "/v1/uplinks/take", told([&taken](Request& request) {
                   const auto wanted = take_request(api::body_object(request));
                   taken.take(wanted);
                   for (const auto& row : taken.list()) {
                       if (row.name == wanted.interface) return describe(row);
                   }
                   return Json::Value(Json::objectValue);
               }));
    router.add("POST", "/v1/uplinks/confirm", told([&taken](Request& request) {
                   taken.confirm(interface_alone(request));
                   return Json::Value(Json::objectValue);
               }));
    router.add("POST", "/v1/uplinks/release", told([&taken](Request& request) {
                   taken.give_back(interface_alone(request));
                   return Json::Value(Json::objectValue);
               }));
    router.add("GET", "/v1/uplinks", told([&taken](Request&) {
                   Json::Value answer(Json::objectValue);
                   answer["taken"] = Json::arrayValue;
                   for (const auto& row : taken.list())
                       answer["taken"].append(describe(row));
                   return answer;
               }));
}

}  // namespace viaduct::host
