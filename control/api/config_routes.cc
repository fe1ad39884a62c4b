// Requests turned into calls of ConfigChanges and the history, and their results into JSON.
#include "api/config_routes.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <optional>
#include <set>
#include <sstream>

#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"
#include "viaduct/model_kinds.h"

#include "reconcile/config_changes.h"
#include "store/config_history.h"

namespace viaduct::api {

namespace {

using reconcile::ConfigChanges;

constexpr std::size_t kCommentMost = 1024;
constexpr std::int64_t kHistoryDefault = 50;
constexpr std::int64_t kHistoryMost = 2 * store::kGenerationsKept;

std::int64_t number_from(const std::string& text, const std::string& where) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < 0) {
        throw Refused(where, "must be a generation's number, such as 12");
    }
    return number;
}

std::optional<std::int64_t> query_number(const http::Request& request, const std::string& key) {
    const auto found = request.query.find(key);
    if (found == request.query.end()) return std::nullopt;
    return number_from(found->second, key);
}

std::string time_text(std::int64_t seconds) {
    const std::time_t time = seconds;
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

Json::Value to_json(const store::Generation& generation) {
    Json::Value json(Json::objectValue);
    json["generation"] = Json::Int64(generation.number);
    json["time"] = time_text(generation.time);
    json["kind"] = generation.kind;
    json["comment"] = generation.comment;
    return json;
}

Json::Value to_json(const std::vector<store::ObjectChange>& changes) {
    Json::Value list(Json::arrayValue);
    for (const auto& change : changes) {
        Json::Value one(Json::objectValue);
        one["object"] = change.object;
        one["before"] = change.before ? parse_json(*change.before, change.object) : Json::Value();
        one["after"] = change.after ? parse_json(*change.after, change.object) : Json::Value();
        list.append(std::move(one));
    }
    return list;
}

}  // namespace

Json::Value outcome_to_json(const ConfigChanges::Outcome& outcome, bool dry_run) {
    Json::Value json(Json::objectValue);
    json["generation"] = Json::Int64(outcome.generation);
    json["changes"] = model::to_json(outcome.change);
    json["dry_run"] = dry_run;
    json["applied"] = outcome.applied && !dry_run;
    if (dry_run) json["checked_by_dataplane"] = outcome.applied;
    if (!outcome.note.empty()) json["note"] = outcome.note;
    return json;
}

namespace {

http::Response to_response(const ConfigChanges::Outcome& outcome, bool dry_run) {
    return json_response(outcome_to_json(outcome, dry_run));
}

struct Manner {
    bool dry_run = false;
    std::string comment;
};

/// Reads what every change takes beside its objects.
Manner read_manner(ObjectReader& reader) {
    Manner manner;
    manner.dry_run = reader.boolean("dry_run").value_or(false);
    manner.comment = reader.string("comment", kCommentMost).value_or("");
    return manner;
}

http::Response post_change(ConfigChanges& changes, const http::Request& request) {
    check_query(request, {});
    const auto body = body_object(request);
    Faults faults;
    const auto change = model::change_from_json(body, "", faults, {"dry_run", "comment"});
    ObjectReader reader(body, "", faults);
    const auto manner = read_manner(reader);
    if (!faults.empty()) throw Refused(faults);
    return to_response(changes.change(change, manner.dry_run, manner.comment), manner.dry_run);
}

http::Response put_config(ConfigChanges& changes, const http::Request& request) {
    check_query(request, {});
    auto body = body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const auto manner = read_manner(reader);
    // A whole configuration must say so: a misspelt or truncated request must not empty the node.
    bool any = false;
    model::for_each_kind([&](const auto& kind) { any = any || body.isMember(kind.name); });
    if (!any) {
        faults.push_back(
            {"request body",
             "must have at least one list of objects, such as \"bridges\" or \"ports\"; to delete "
             "everything, send empty lists"});
    }
    body.removeMember("dry_run");
    body.removeMember("comment");
    const auto config = model::config_from_json(body, "", faults);
    if (!faults.empty()) throw Refused(faults);
    return to_response(changes.replace(config, manner.dry_run, manner.comment), manner.dry_run);
}

http::Response post_rollback(ConfigChanges& changes, const http::Request& request) {
    check_query(request, {});
    const auto body = body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const auto number = reader.integer("generation", 0, INT64_MAX);
    const auto manner = read_manner(reader);
    if (!body.isMember("generation"))
        reader.fault("generation", "is required: the number of the one to go back to");
    reader.done();
    if (!faults.empty()) throw Refused(faults);
    const auto generation = static_cast<std::int64_t>(*number);
    return to_response(changes.rollback(generation, manner.dry_run, manner.comment), manner.dry_run);
}

/// What somebody wants to see of a configuration; nothing said: all of it.
struct View {
    std::set<std::string> only;          ///< lists of objects, or "timeouts"
    std::optional<IpAddress> routes_to;  ///< routes whose network this address is in
};

View read_view(const http::Request& request) {
    check_query(request, {"only", "routes_to"});
    View view;
    if (const auto only = request.query.find("only"); only != request.query.end()) {
        std::set<std::string> known{"timeouts"};
        model::for_each_kind([&](const auto& kind) { known.insert(kind.name); });
        if (only->second.empty()) throw Refused("only", "names no list; use for example routes,interfaces");
        std::istringstream words(only->second);
        for (std::string word; std::getline(words, word, ',');) {
            if (!known.contains(word))
                throw Refused("only", "\"" + word + "\" is no list; use for example routes,interfaces");
            view.only.insert(word);
        }
    }
    if (const auto to = request.query.find("routes_to"); to != request.query.end()) {
        view.routes_to = IpAddress::parse(to->second);
        if (!view.routes_to) throw Refused("routes_to", "\"" + to->second + "\" is not an IP address");
    }
    return view;
}

/// The routes of each VRF that lead to an address, without a look at all the others.
decltype(model::Config::routes) routes_to(const model::Config& config, const IpAddress& address) {
    decltype(model::Config::routes) found;
    const auto add = [&](const std::string& vrf) {
        for (unsigned length = 0; length <= address.bits(); ++length) {
            const Prefix prefix{address.with_host_bits(length, false), static_cast<std::uint8_t>(length)};
            if (const auto route = config.routes.find({vrf, prefix}); route != config.routes.end())
                found.insert(*route);
        }
    };
    add(std::string(model::kDefaultVrf));
    for (const auto& [name, vrf] : config.vrfs)
        add(name);
    return found;
}

/// `config` as far as it is to be seen, as JSON. What is left out is not written either: it may be a million
/// routes.
Json::Value seen(model::Config& config, const View& view) {
    if (view.routes_to) config.routes = routes_to(config, *view.routes_to);
    const auto hidden = [&](const char* name) { return !view.only.empty() && !view.only.contains(name); };
    model::for_each_kind([&](const auto& kind) {
        if (hidden(kind.name)) (config.*kind.objects).clear();
    });
    auto json = model::to_json(config);
    model::for_each_kind([&](const auto& kind) {
        if (hidden(kind.name)) json.removeMember(kind.name);
    });
    if (hidden("timeouts")) json.removeMember("timeouts");
    return json;
}

http::Response get_config(store::Database& database, const http::Request& request) {
    const auto view = read_view(request);
    store::Transaction tx(database);
    auto config = store::load_config(tx);
    auto json = seen(config, view);
    json["generation"] = Json::Int64(store::newest_generation(tx));
    return json_response(json);
}

http::Response get_desired(store::Database& database, const reconcile::Reconciler& reconciler,
                           const http::Request& request) {
    const auto view = read_view(request);
    store::Transaction tx(database);
    Faults faults;
    const auto steps = reconciler.contributions(tx);
    auto desired = reconciler.desired(tx, faults);
    auto json = seen(desired, view);
    // Each is told with whom it is from.
    model::for_each_kind([&](const auto& kind) {
        Json::ArrayIndex i = 0;
        for (const auto& item : desired.*kind.objects) {
            const auto step = std::find_if(steps.begin(), steps.end(), [&](const auto& one) {
                return (one.second.*kind.objects).contains(item.first);
            });
            json[kind.name][i++]["from"] = step == steps.end() ? "pods" : step->first;
        }
    });
    json["faults"] = faults_to_json(faults)["faults"];
    return json_response(json);
}

http::Response get_history(store::Database& database, const http::Request& request) {
    check_query(request, {"limit", "before"});
    const auto most = std::min(query_number(request, "limit").value_or(kHistoryDefault), kHistoryMost);
    Json::Value json(Json::objectValue);
    auto& list = json["generations"] = Json::arrayValue;
    store::Transaction tx(database);
    for (const auto& generation : store::history(tx, most, query_number(request, "before").value_or(0))) {
        list.append(to_json(generation));
    }
    return json_response(json);
}

http::Response get_generation(store::Database& database, const http::Request& request,
                              const PathValues& values) {
    check_query(request, {});
    const auto number = number_from(values.at("number"), "generation");
    store::Transaction tx(database);
    const auto generation = store::generation(tx, number);
    auto json = to_json(generation);
    json["changes"] = to_json(generation.changes);
    json["config"] = model::to_json(store::config_at(tx, number));
    return json_response(json);
}

http::Response get_diff(store::Database& database, const http::Request& request) {
    check_query(request, {"from", "to"});
    store::Transaction tx(database);
    const auto newest = store::newest_generation(tx);
    const auto to = query_number(request, "to").value_or(newest);
    const auto from = query_number(request, "from").value_or(to > 0 ? to - 1 : 0);
    Json::Value json(Json::objectValue);
    json["from"] = Json::Int64(from);
    json["to"] = Json::Int64(to);
    json["changes"] = to_json(store::changes_between(store::config_at(tx, from), store::config_at(tx, to)));
    return json_response(json);
}

}  // namespace

void add_config_routes(Router& router, store::Database& database, const reconcile::Reconciler& reconciler,
                       ConfigChanges& changes) {
    router.add("GET", "/v1/config/desired",
               [&](auto& request, auto&) { return get_desired(database, reconciler, request); });
    router.add("GET", "/v1/config", [&](auto& request, auto&) { return get_config(database, request); });
    router.add("PUT", "/v1/config", [&](auto& request, auto&) { return put_config(changes, request); });
    router.add("POST", "/v1/config/changes",
               [&](auto& request, auto&) { return post_change(changes, request); });
    router.add("POST", "/v1/config/rollback",
               [&](auto& request, auto&) { return post_rollback(changes, request); });
    router.add("GET", "/v1/config/history",
               [&](auto& request, auto&) { return get_history(database, request); });
    router.add("GET", "/v1/config/diff", [&](auto& request, auto&) { return get_diff(database, request); });
    router.add("GET", "/v1/config/generations/{number}",
               [&](auto& request, auto& values) { return get_generation(database, request, values); });
}

}  // namespace viaduct::api
