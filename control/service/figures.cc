#include "service/figures.h"

#include <chrono>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/http.h"
#include "viaduct/json.h"

namespace viaduct::service {

namespace {

constexpr std::chrono::milliseconds kTimeout{5000};

}  // namespace

Json::Value figures_of(const std::string& socket, const std::string& service) {
    try {
        const auto target =
            service.empty() ? "/v1/services" : "/v1/services?service=" + http::encode(service);
        const auto answer = http::Client(socket, kTimeout).request("GET", target, "");
        if (answer.status == 200) return parse_json(answer.body, "the dataplane's answer")["services"];
    } catch (const std::exception& error) {
        spdlog::debug("no figures of services: {}", error.what());
    }
    return {};
}

}  // namespace viaduct::service
