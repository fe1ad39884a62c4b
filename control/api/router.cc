// Segment by segment; a path has few routes, so a list is all that is needed.
#include "api/router.h"

#include <algorithm>
#include <optional>

#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"

namespace viaduct::api {

namespace {

std::vector<std::string> split(const std::string& path) {
    std::vector<std::string> segments;
    std::size_t start = 0;
    while (start < path.size()) {
        const auto end = std::min(path.find('/', start), path.size());
        if (end > start) segments.push_back(path.substr(start, end - start));
        start = end + 1;
    }
    return segments;
}

std::optional<PathValues> match(const std::vector<std::string>& pattern,
                                const std::vector<std::string>& path) {
    if (pattern.size() != path.size()) return std::nullopt;
    PathValues values;
    for (std::size_t i = 0; i < path.size(); ++i) {
        const auto& part = pattern[i];
        if (part.front() == '{') {
            values[part.substr(1, part.size() - 2)] = path[i];
        } else if (part != path[i]) {
            return std::nullopt;
        }
    }
    return values;
}

std::string shown(const std::string& path) {
    constexpr std::size_t longest = 100;
    return path.size() <= longest ? path : path.substr(0, longest) + "...";
}

}  // namespace

void Router::add(const std::string& method, const std::string& pattern, Handler handler) {
    routes_.push_back({method, split(pattern), std::move(handler)});
}

http::Response Router::route(http::Request& request) const {
    const auto path = split(request.path);
    std::string methods;
    for (const auto& route : routes_) {
        const auto values = match(route.segments, path);
        if (!values) continue;
        if (route.method != request.method) {
            methods += (methods.empty() ? "" : ", ") + route.method;
            continue;
        }
        try {
            return route.handler(request, *values);
        } catch (const http::Unreachable& error) {
            return error_response(503, error.what());
        }
    }
    if (!methods.empty()) {
        return error_response(
            405, shown(request.path) + " does not take " + request.method + "; it takes " + methods);
    }
    return error_response(404, "there is nothing at " + shown(request.path));
}

Json::Value body_object(const http::Request& request) {
    if (request.body.empty()) return Json::objectValue;
    auto json = parse_json(request.body, "request body");
    if (!json.isObject()) throw Refused("request body", "must be a JSON object");
    return json;
}

http::Response json_response(const Json::Value& json, unsigned status) {
    return {status, to_json_text(json) + "\n", "application/json"};
}

http::Response error_response(unsigned status, const std::string& reason) {
    return json_response(faults_to_json({{"", reason}}), status);
}

void check_query(const http::Request& request, const std::vector<std::string>& known) {
    Faults faults;
    for (const auto& [key, value] : request.query) {
        if (std::find(known.begin(), known.end(), key) != known.end()) continue;
        std::string list;
        for (const auto& name : known)
            list += (list.empty() ? "" : ", ") + name;
        faults.push_back({"query \"" + key.substr(0, 64) + "\"",
                          known.empty() ? "is not known here; " + request.path + " takes none"
                                        : "is not known here; known are: " + list});
    }
    if (!faults.empty()) throw Refused(faults);
}

}  // namespace viaduct::api
