// Which function answers which request. Patterns are paths whose segments in braces match anything:
// "/v1/config/generations/{number}".
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "viaduct/http.h"

namespace Json {
class Value;
}

namespace viaduct::api {

/// What the segments in braces matched, by name.
using PathValues = std::map<std::string, std::string>;
/// May block and may throw: Refused becomes 400 with its faults, http::Unreachable 503, anything else 500.
/// Runs on any of the server's threads, several at once.
using Handler = std::function<http::Response(http::Request&, const PathValues&)>;

/// Filled before the server starts, then only read: any thread.
class Router {
public:
    void add(const std::string& method, const std::string& pattern, Handler handler);
    /// 404 names the path and 405 the methods that it has.
    http::Response route(http::Request& request) const;

private:
    struct Route {
        std::string method;
        std::vector<std::string> segments;
        Handler handler;
    };
    std::vector<Route> routes_;
};

/// The body as a JSON object; throws Refused ("request body") when it is something else. An empty body is {}.
Json::Value body_object(const http::Request& request);
http::Response json_response(const Json::Value& json, unsigned status = 200);
/// {"error": reason, "faults": [...]}
http::Response error_response(unsigned status, const std::string& reason);
/// Throws Refused for a query key that is not in `known`.
void check_query(const http::Request& request, const std::vector<std::string>& known);

}  // namespace viaduct::api
