// Requests out, typed answers in.
#include "reconcile/dataplane_client.h"

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"
#include "viaduct/free_memory.h"
#include "viaduct/json.h"

namespace viaduct::reconcile {

namespace {

Json::Value parse_answer(const std::string& text, const std::string& target) {
    try {
        auto json = parse_json(text, "the dataplane's answer to " + target);
        if (json.isObject()) return json;
    } catch (const Refused& refused) {
        throw http::Unreachable(refused.what(), true);
    }
    throw http::Unreachable("the dataplane's answer to " + target + " is no JSON object", true);
}

Standing standing_in(const Json::Value& json) {
    Standing standing;
    if (const auto& instance = json["instance"]; instance.isString()) standing.instance = instance.asString();
    if (const auto& revision = json["revision"]; revision.isUInt64()) standing.revision = revision.asUInt64();
    return standing;
}

}  // namespace

std::string DataplaneClient::ask(const std::string& method, const std::string& target,
                                 const std::string& body) {
    auto response = client_.request(method, target, body);
    if (response.status >= 200 && response.status < 300) return std::move(response.body);
    if (response.status >= 400 && response.status < 500) throw Refused(faults_from_text(response.body));
    throw http::Unreachable("the dataplane answered " + target + " with status " +
                                std::to_string(response.status) + ": " +
                                to_string(faults_from_text(response.body)),
                            true);
}

Standing DataplaneClient::standing() {
    return standing_in(parse_answer(ask("GET", "/v1/info"), "/v1/info"));
}

model::Config DataplaneClient::config() {
    MomentaryText text;
    const auto answer = ask("GET", "/v1/config");
    text.bytes = answer.size();
    const auto json = parse_answer(answer, "/v1/config");
    Faults faults;
    auto config = model::config_from_json(json, "", faults);
    // What cannot be read is not known to be there: it is sent again, and the dataplane says if that is
    // wrong.
    if (!faults.empty())
        spdlog::warn("the dataplane's configuration is not understood: {}", to_string(faults));
    return config;
}

Standing DataplaneClient::transact(const model::Change& change, bool dry_run) {
    MomentaryText text;
    auto json = model::to_json(change);
    if (dry_run) json["dry_run"] = true;
    const auto body = to_json_text(json);
    text.bytes = body.size();
    json = {};
    return standing_in(parse_answer(ask("POST", "/v1/transactions", body), "/v1/transactions"));
}

}  // namespace viaduct::reconcile
