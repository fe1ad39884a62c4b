#include "control.h"

#include <json/json.h>

#include "viaduct/json.h"

#include "error.h"

namespace viaduct::cni {

namespace {

/// Longer than control waits for the dataplane and for duplicate address detection together.
constexpr std::chrono::seconds kPatience{30};

std::vector<attachment::Owed> owed_from(const Json::Value& answer, Faults& faults) {
    std::vector<attachment::Owed> owed;
    for (const auto& one : answer["owed"])
        owed.push_back(attachment::owed_from_json(one, "owed", faults));
    return owed;
}

[[noreturn]] void answered_nonsense(const Faults& faults) {
    throw Error(attachment::kInternal,
                "viaduct-control answered nonsense, is it of another version? " + to_string(faults));
}

void expect_none(const Faults& faults) {
    if (!faults.empty()) answered_nonsense(faults);
}

[[noreturn]] void pass_refusal_on(const http::Response& response) {
    unsigned code = attachment::kInternal;
    std::string reason = "viaduct-control answered with status " + std::to_string(response.status);
    try {
        const auto json = parse_json(response.body, "answer");
        if (json.isObject() && json["error"].isString()) reason = json["error"].asString();
        if (json.isObject() && json["code"].isUInt()) code = json["code"].asUInt();
    } catch (const Refused&) {
        reason += ": " + response.body.substr(0, 512);
    }
    throw Error(code, reason);
}

}  // namespace

Control::Control(const std::string& socket) : socket_(socket), client_(socket, kPatience) {}

Json::Value Control::ask(const std::string& verb, const Json::Value& body, int descriptor) {
    http::Response response;
    try {
        const std::span<const int> descriptors(&descriptor, descriptor < 0 ? 0U : 1U);
        response = client_.request("POST", "/v1/attachments" + verb, to_json_text(body), descriptors);
    } catch (const http::Unreachable& error) {
        const std::string what =
            error.reached() ? "viaduct-control did not answer"
                            : "viaduct-control does not run, or listens elsewhere (key \"controlSocket\")";
        throw Error(attachment::kTryAgain, what + ": " + error.what());
    }
    if (response.status != 200) pass_refusal_on(response);
    try {
        auto answer = parse_json(response.body, "answer");
        if (!answer.isObject()) answered_nonsense({{"answer", "is not an object"}});
        return answer;
    } catch (const Refused& refused) {
        answered_nonsense(refused.faults());
    }
}

attachment::Attached Control::add(const attachment::Request& request, int netns) {
    Faults faults;
    auto attached = attachment::attached_from_json(ask("", attachment::to_json(request), netns), "", faults);
    expect_none(faults);
    return attached;
}

Control::Begun Control::begin(const attachment::Key& key, const attachment::Delegation& delegation,
                              int life) {
    auto body = attachment::to_json(key);
    body["delegation"] = attachment::to_json(delegation);
    const auto answer = ask("/begin", body, life);
    Faults faults;
    Begun begun{answer["token"].isString() ? answer["token"].asString() : "", owed_from(answer, faults)};
    if (begun.token.empty()) faults.push_back({"token", "is missing"});
    expect_none(faults);
    return begun;
}

void Control::finish(const std::string& token) {
    Json::Value body(Json::objectValue);
    body["token"] = token;
    ask("/finish", body);
}

std::vector<attachment::Owed> Control::remove(const attachment::Key& key, int netns) {
    Faults faults;
    auto owed = owed_from(ask("/delete", attachment::to_json(key), netns), faults);
    expect_none(faults);
    return owed;
}

void Control::check(const attachment::Expected& expected, int netns) {
    ask("/check", attachment::to_json(expected), netns);
}

std::vector<attachment::Owed> Control::collect(
    const std::string& network, const std::vector<std::pair<std::string, std::string>>& valid) {
    Json::Value body(Json::objectValue);
    body["network"] = network;
    body["valid"] = Json::arrayValue;
    for (const auto& [container, ifname] : valid) {
        Json::Value one(Json::objectValue);
        one["container"] = container;
        one["ifname"] = ifname;
        body["valid"].append(one);
    }
    Faults faults;
    auto owed = owed_from(ask("/gc", body), faults);
    expect_none(faults);
    return owed;
}

void Control::status(const attachment::Request& request) {
    auto body = attachment::to_json(request);
    for (const char* key : {"container", "ifname"})
        body.removeMember(key);
    ask("/status", body);
}

}  // namespace viaduct::cni
