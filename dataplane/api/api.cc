#include "api/api.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"
#include "viaduct/log.h"

#include "api/flow_json.h"
#include "api/metrics.h"
#include "api/trace_json.h"
#include "api/transaction.h"
#include "nat_state.h"
#include "neighbour_state.h"
#include "service_traffic.h"

namespace viaduct::dataplane {

struct Api::Route {
    std::string_view method;
    std::string_view path;
    http::Response (Api::*answer)(http::Request&);
    std::array<std::string_view, 9> query{};  ///< keys that it takes
};

namespace {

http::Response json_response(const Json::Value& json, unsigned status = 200) {
    return {status, to_json_text(json) + "\n", "application/json"};
}

http::Response error_response(unsigned status, const std::string& reason) {
    return json_response(faults_to_json({{"", reason}}), status);
}

/// For words that came from outside: short, and nothing that would disturb a terminal.
std::string shown(std::string_view text) {
    constexpr std::size_t longest = 100;
    std::string clean;
    for (const char c : text.substr(0, longest))
        clean += c < 0x20 || c == 0x7f ? '?' : c;
    return clean + (text.size() > longest ? "..." : "");
}

template <std::size_t N>
void check_query(const http::Request& request, const std::array<std::string_view, N>& known) {
    Faults faults;
    for (const auto& [key, value] : request.query) {
        if (!key.empty() && std::find(known.begin(), known.end(), key) != known.end()) continue;
        std::string list;
        for (const auto& name : known) {
            if (!name.empty()) list += (list.empty() ? "" : ", ") + std::string(name);
        }
        faults.push_back({"query/" + shown(key), "is not a known key; " + request.path + " takes " +
                                                     (list.empty() ? "none" : list)});
    }
    if (!faults.empty()) throw Refused(std::move(faults));
}

Json::Value body_object(const http::Request& request) {
    if (request.body.empty()) return Json::objectValue;
    auto json = parse_json(request.body, "request body");
    if (!json.isObject()) throw Refused("request body", "must be a JSON object");
    return json;
}

std::optional<std::string> query_value(const http::Request& request, const char* key) {
    const auto found = request.query.find(key);
    return found == request.query.end() ? std::nullopt : std::optional(found->second);
}

IpAddress address_from(const std::string& text, const std::string& where) {
    const auto address = IpAddress::parse(text);
    if (!address) throw Refused(where, "must be an IPv4 or IPv6 address, not \"" + shown(text) + "\"");
    return *address;
}

FdbFilter filter_from_query(const http::Request& request) {
    FdbFilter filter;
    filter.bridge = query_value(request, "bridge");
    filter.port = query_value(request, "port");
    if (const auto text = query_value(request, "vlan")) {
        std::uint16_t vlan = 0;
        const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), vlan);
        if (error != std::errc{} || end != text->data() + text->size() || vlan > model::kVlanLast) {
            throw Refused("query/vlan", "must be an integer from 0 to 4094, not \"" + shown(*text) + "\"");
        }
        filter.vlan = vlan;
    }
    return filter;
}

/// A name that is mistyped must not look like an empty table.
void check_names(const FdbFilter& filter, const Dataplane& dataplane) {
    if (!filter.bridge && !filter.port) return;
    const auto config = dataplane.config();
    Faults faults;
    if (filter.bridge && !config.bridges.contains(*filter.bridge)) {
        faults.push_back({"bridge", "\"" + shown(*filter.bridge) + "\" does not exist"});
    }
    if (filter.port && !config.ports.contains(*filter.port)) {
        faults.push_back({"port", "\"" + shown(*filter.port) + "\" does not exist"});
    }
    if (!faults.empty()) throw Refused(std::move(faults));
}

}  // namespace

http::Response Api::answer(http::Request& request) {
    static constexpr std::array<Route, 19> routes{{
        {"POST", "/v1/transactions", &Api::post_transaction},
        {"GET", "/v1/config", &Api::get_config},
        {"GET", "/v1/info", &Api::get_info},
        {"GET", "/v1/ports", &Api::get_ports, {"name"}},
        {"GET", "/v1/stats", &Api::get_stats},
        {"GET", "/v1/drops", &Api::get_drops},
        {"GET", "/v1/fdb", &Api::get_fdb, {"bridge", "port", "vlan"}},
        {"POST", "/v1/fdb/flush", &Api::post_fdb_flush},
        {"GET", "/v1/nat", &Api::get_nat},
        {"GET", "/v1/services", &Api::get_services, {"service"}},
        {"GET",
         "/v1/flows",
         &Api::get_flows,
         {"vrf", "source", "destination", "protocol", "port", "state", "service", "limit", "cursor"}},
        {"GET",
         "/v1/flows/count",
         &Api::get_flows_count,
         {"vrf", "source", "destination", "protocol", "port", "state", "service"}},
        {"POST", "/v1/flows/flush", &Api::post_flows_flush},
        {"GET", "/v1/neighbours", &Api::get_neighbours, {"interface", "address"}},
        {"POST", "/v1/neighbours/flush", &Api::post_neighbours_flush},
        {"POST", "/v1/trace", &Api::post_trace},
        {"GET", "/v1/log", &Api::get_log},
        {"PUT", "/v1/log", &Api::put_log},
        {"GET", "/metrics", &Api::get_metrics},
    }};
    std::string methods;
    for (const auto& route : routes) {
        if (route.path != request.path) continue;
        if (route.method == request.method) {
            check_query(request, route.query);
            return (this->*route.answer)(request);
        }
        methods += (methods.empty() ? "" : ", ") + std::string(route.method);
    }
    if (!methods.empty()) {
        return error_response(
            405, request.path + " does not take " + shown(request.method) + "; it takes " + methods);
    }
    return error_response(404, "there is nothing at " + shown(request.path));
}

http::Response Api::post_transaction(http::Request& request) {
    const auto transaction = read_transaction(request.body);
    request.body = {};  // may be tens of megabytes
    const auto& change = transaction.change;
    const auto revision = dataplane_.apply(change, transaction.dry_run);
    if (!transaction.dry_run) spdlog::info("applied a transaction: {}", in_words(change));
    Json::Value json(Json::objectValue);
    json["applied"] = !transaction.dry_run;
    json["instance"] = identity_.instance;
    json["revision"] = Json::UInt64(revision);
    return json_response(json);
}

http::Response Api::get_config(http::Request& /*request*/) {
    return json_response(model::to_json(dataplane_.config()));
}

http::Response Api::get_info(http::Request& /*request*/) {
    return json_response(info_json(identity_, dataplane_));
}

http::Response Api::get_ports(http::Request& request) {
    auto ports = dataplane_.ports();
    if (const auto name = query_value(request, "name")) {
        std::erase_if(ports, [&](const PortState& port) { return port.port.name != *name; });
        if (ports.empty()) return error_response(404, "there is no port \"" + shown(*name) + "\"");
    }
    Json::Value json(Json::objectValue);
    json["ports"] = ports_json(ports);
    return json_response(json);
}

http::Response Api::get_stats(http::Request& /*request*/) {
    Json::Value json(Json::objectValue);
    json["ports"] = ports_json(dataplane_.ports());
    json["total"] = ledger_json(dataplane_.ledger());
    json["workers"] = workers_json(identity_, dataplane_.workers());
    return json_response(json);
}

http::Response Api::get_drops(http::Request& /*request*/) {
    return json_response(drop_reasons_json());
}

http::Response Api::get_fdb(http::Request& request) {
    const auto filter = filter_from_query(request);
    check_names(filter, dataplane_);
    return {200, fdb_text(dataplane_, filter), "application/json"};
}

http::Response Api::post_fdb_flush(http::Request& request) {
    const auto body = body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    FdbFilter filter;
    filter.bridge = reader.string("bridge");
    filter.port = reader.string("port");
    if (const auto vlan = reader.integer("vlan", 0, model::kVlanLast))
        filter.vlan = static_cast<std::uint16_t>(*vlan);
    reader.done();
    if (!faults.empty()) throw Refused(std::move(faults));
    Json::Value json(Json::objectValue);
    json["flushed"] = Json::UInt64(dataplane_.flush_fdb(filter));
    return json_response(json);
}

http::Response Api::get_nat(http::Request& /*request*/) {
    return json_response(nat_json(dataplane_.nat()));
}

http::Response Api::get_services(http::Request& request) {
    std::optional<ServiceName> only;
    if (const auto text = query_value(request, "service")) {
        only = service_name(*text);
        if (!only) {
            throw Refused("query/service",
                          "must be NAMESPACE/NAME or NAMESPACE/NAME/PORT, not \"" + shown(*text) + "\"");
        }
    }
    const auto services = services_text(dataplane_, only);
    if (only && !services) return error_response(404, "there is no service \"" + to_string(*only) + "\"");
    return {200, services.value_or("{\"services\":[]}\n"), "application/json"};
}

http::Response Api::get_flows(http::Request& request) {
    const AskedValue asked = [&](const char* key) { return query_value(request, key); };
    return {200,
            flows_text(dataplane_.flows(), dataplane_.flow_names(), flow_filter(asked), flow_cursor(asked),
                       flow_limit(asked)),
            "application/json"};
}

http::Response Api::get_flows_count(http::Request& request) {
    const auto filter = flow_filter([&](const char* key) { return query_value(request, key); });
    auto json = flow_count_json(count_flows(dataplane_.flows(), dataplane_.flow_names(), filter));
    json["tables"] = flow_tables_json(dataplane_.flows());
    return json_response(json);
}

http::Response Api::post_flows_flush(http::Request& request) {
    const auto body = body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    std::map<std::string, std::string> asked;
    for (const char* key : {"vrf", "source", "destination", "protocol", "state", "service"}) {
        if (const auto value = reader.string(key)) asked[key] = *value;
    }
    if (const auto port = reader.integer("port", 0, UINT16_MAX)) asked["port"] = std::to_string(*port);
    reader.done();
    if (!faults.empty()) throw Refused(std::move(faults));
    const auto filter = flow_filter([&](const char* key) -> std::optional<std::string> {
        const auto found = asked.find(key);
        return found == asked.end() ? std::nullopt : std::optional(found->second);
    });
    Json::Value json(Json::objectValue);
    json["flushed"] = Json::UInt64(flush_flows(dataplane_.flows(), dataplane_.flow_names(), filter));
    spdlog::info("flushed {} flows", json["flushed"].asUInt64());
    return json_response(json);
}

http::Response Api::get_neighbours(http::Request& request) {
    NeighbourFilter filter;
    filter.interface = query_value(request, "interface");
    if (const auto text = query_value(request, "address"))
        filter.address = address_from(*text, "query/address");
    return {200, neighbours_text(dataplane_, filter), "application/json"};
}

http::Response Api::post_neighbours_flush(http::Request& request) {
    const auto body = body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    NeighbourFilter filter;
    filter.interface = reader.string("interface");
    const auto address = reader.string("address");
    reader.done();
    if (!faults.empty()) throw Refused(std::move(faults));
    if (address) filter.address = address_from(*address, "address");
    Json::Value json(Json::objectValue);
    json["flushed"] = Json::UInt64(dataplane_.flush_neighbours(filter));
    return json_response(json);
}

http::Response Api::post_trace(http::Request& request) {
    return json_response(to_json(dataplane_.trace(trace_request_from_json(body_object(request)))));
}

http::Response Api::get_log(http::Request& /*request*/) {
    Json::Value json(Json::objectValue);
    json["level"] = log::level();
    return json_response(json);
}

http::Response Api::put_log(http::Request& request) {
    const auto body = body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const auto level = reader.string("level");
    if (!level && faults.empty()) reader.fault("level", "is required, such as \"debug\"");
    reader.done();
    if (!faults.empty()) throw Refused(std::move(faults));
    log::set_level(*level);
    spdlog::info("the log's level is {} now", *level);
    return get_log(request);
}

http::Response Api::get_metrics(http::Request& /*request*/) {
    return {200, metrics_text(identity_, dataplane_), kMetricsType};
}

}  // namespace viaduct::dataplane
