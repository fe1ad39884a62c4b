// viaduct pod: the interfaces that CNI, "viaduct net" and Docker's plugin gave to pods.
#include <iostream>

#include <json/json.h>

#include "viaduct/http.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

/// Container ids are 64 digits long; twelve are what container tools show.
std::string short_id(const std::string& id) {
    constexpr std::size_t shown = 12;
    return id.size() == 64 ? id.substr(0, shown) : id;
}

std::string pod_name(const Json::Value& pod) {
    const auto& labels = pod["labels"];
    auto name = text_of(labels, "K8S_POD_NAME");
    if (name.empty()) name = text_of(labels, "name");
    const auto space = text_of(labels, "K8S_POD_NAMESPACE");
    return name.empty() ? "-" : space.empty() ? name : space + "/" + name;
}

std::string addresses_of(const Json::Value& pod) {
    std::string text;
    for (const auto& address : pod["addresses"])
        text += (text.empty() ? "" : ",") + text_of(address, "address");
    return text.empty() ? "-" : text;
}

bool is_wanted(const Json::Value& pod, const std::string& word) {
    return text_of(pod, "container").starts_with(word) || text_of(pod, "network") == word ||
           text_of(pod, "port") == word || pod_name(pod) == word ||
           text_of(pod["labels"], "K8S_POD_NAME") == word;
}

int show(Session& session) {
    const auto wanted = session.words.take_if_any();
    session.words.done();
    const auto answer = session.ask("GET", "/v1/attachments");
    Json::Value shown(Json::arrayValue);
    for (const auto& pod : answer["attachments"]) {
        if (!wanted || is_wanted(pod, *wanted)) shown.append(pod);
    }
    if (wanted && shown.empty()) {
        throw Failure("no pod's container, name, network or port is \"" + *wanted +
                      "\"; \"viaduct pod\" lists all");
    }
    if (session.printed(shown)) return 0;
    Table table(
        {"CONTAINER", "IFNAME", "NETWORK", "POD", "TYPE", "BRIDGE", "ADDRESS", "MAC", "STATE", "PORT"});
    for (const auto& pod : shown) {
        table.add({short_id(text_of(pod, "container")), text_of(pod, "ifname"), text_of(pod, "network"),
                   pod_name(pod), text_of(pod, "interface"), text_of(pod, "bridge"), addresses_of(pod),
                   text_of(pod, "mac"), text_of(pod, "state"), text_of(pod, "port")});
    }
    std::cout << table.text();
    return 0;
}

}  // namespace

Object pod_object() {
    return {
        "pod",
        "pods' interfaces, whoever asked for them",
        {{"show", {"list", "ls", "lst"}, "[CONTAINER|POD|NETWORK|PORT]", "list them", show}},
        "Pods come and go through the CNI plugin, \"viaduct net\" and Docker; they are not changed here.\n",
        {"viaduct pod", "viaduct pod show default/web-1", "viaduct -j pod list"}};
}

}  // namespace viaduct::cli
