// The dataplane answers for its own state; control adds how it stands to it.
#include "api/state_routes.h"

#include <unistd.h>

#include <chrono>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"
#include "viaduct/log.h"

#include "reconcile/reconciler.h"
#include "store/config_history.h"
#include "store/database.h"

namespace viaduct::api {

namespace {

constexpr std::chrono::milliseconds kTimeout{5000};

/// One connection a request: connecting costs microseconds, and no request waits for another's answer.
http::Response ask_dataplane(const std::string& socket, const std::string& method, const std::string& target,
                             const std::string& body = {}) {
    try {
        return http::Client(socket, kTimeout).request(method, target, body);
    } catch (const http::Unreachable& error) {
        throw http::Unreachable(std::string("the dataplane is away: ") + error.what(), error.reached());
    }
}

std::string with_query(const std::string& path, const http::Request& request) {
    std::string target = path;
    char separator = '?';
    for (const auto& [key, value] : request.query) {
        target += separator + http::encode(key) + "=" + http::encode(value);
        separator = '&';
    }
    return target;
}

http::Response get_health(store::Database& database, const reconcile::Reconciler& reconciler) {
    const auto status = reconciler.status();
    Json::Value json(Json::objectValue);
    json["version"] = VIADUCT_VERSION;
    json["pid"] = ::getpid();
    json["dataplane"] = status.connected ? "connected" : "away: " + status.reason;
    json["instance"] = status.instance;
    json["in_sync"] = status.in_sync;
    json["comparisons"] = Json::UInt64(status.comparisons);
    json["restores"] = Json::UInt64(status.restores);
    auto& left_out = json["left_out"] = Json::arrayValue;
    for (const auto& [object, reason] : status.left_out) {
        Json::Value one(Json::objectValue);
        one["object"] = object;
        one["reason"] = reason;
        left_out.append(std::move(one));
    }
    json["store"] = database.path();
    store::Transaction tx(database);
    json["generation"] = Json::Int64(store::newest_generation(tx));
    return json_response(json);
}

http::Response get_log(const std::string& socket) {
    Json::Value json(Json::objectValue);
    json["level"] = log::level();
    json["dataplane_level"] = Json::Value();
    try {
        const auto answer = ask_dataplane(socket, "GET", "/v1/log");
        if (answer.status == 200)
            json["dataplane_level"] = parse_json(answer.body, "the dataplane's answer")["level"];
    } catch (const std::exception& error) {
        json["note"] = error.what();
    }
    return json_response(json);
}

http::Response put_log(const std::string& socket, const http::Request& request) {
    const auto body = body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const std::vector<std::string_view> names(log::level_names().begin(), log::level_names().end());
    const auto level = reader.choice("level", names);
    const auto dataplane_level = reader.choice("dataplane_level", names);
    reader.done();
    if (faults.empty() && !level && !dataplane_level) reader.fault("level", "or dataplane_level is required");
    if (!faults.empty()) throw Refused(faults);
    if (dataplane_level) {
        Json::Value wanted(Json::objectValue);
        wanted["level"] = std::string(names[*dataplane_level]);
        const auto answer = ask_dataplane(socket, "PUT", "/v1/log", to_json_text(wanted));
        if (answer.status != 200) return answer;
    }
    if (level) {
        log::set_level(std::string(names[*level]));
        spdlog::info("log level is {} now", names[*level]);
    }
    return get_log(socket);
}

}  // namespace

void add_state_routes(Router& router, const std::string& dataplane_socket) {
    for (const std::string name :
         {"info", "ports", "stats", "fdb", "flows", "flows/count", "nat", "neighbours", "services"}) {
        router.add("GET", "/v1/state/" + name, [=](auto& request, auto&) {
            return ask_dataplane(dataplane_socket, "GET", with_query("/v1/" + name, request));
        });
    }
    for (const std::string name : {"fdb/flush", "flows/flush", "neighbours/flush"}) {
        router.add("POST", "/v1/state/" + name, [=](auto& request, auto&) {
            return ask_dataplane(dataplane_socket, "POST", "/v1/" + name,
                                 request.body.empty() ? "{}" : request.body);
        });
    }
    router.add("POST", "/v1/state/trace", [=](auto& request, auto&) {
        return ask_dataplane(dataplane_socket, "POST", "/v1/trace",
                             request.body.empty() ? "{}" : request.body);
    });
}

void add_service_routes(Router& router, const std::string& dataplane_socket, store::Database& database,
                        const reconcile::Reconciler& reconciler) {
    router.add("GET", "/v1/health", [&](auto& request, auto&) {
        check_query(request, {});
        return get_health(database, reconciler);
    });
    router.add("GET", "/v1/log", [=](auto&, auto&) { return get_log(dataplane_socket); });
    router.add("PUT", "/v1/log", [=](auto& request, auto&) { return put_log(dataplane_socket, request); });
}

}  // namespace viaduct::api
