// viaduct pod: the interfaces that CNI, "viaduct net" and Docker's plugin gave to pods.
#include <iostream>
#include <map>

#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/labels.h"

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

std::string labels_words(const Json::Value& labels) {
    std::string text;
    for (const auto& key : labels.getMemberNames())
        text += (text.empty() ? "" : ",") + key + "=" + text_of(labels, key.c_str());
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
    Table table({"CONTAINER", "IFNAME", "NETWORK", "POD", "TYPE", "BRIDGE", "ADDRESS", "MAC", "STATE", "PORT",
                 "LABELS"});
    for (const auto& pod : shown) {
        table.add({short_id(text_of(pod, "container")), text_of(pod, "ifname"), text_of(pod, "network"),
                   pod_name(pod), text_of(pod, "interface"), text_of(pod, "bridge"), addresses_of(pod),
                   text_of(pod, "mac"), text_of(pod, "state"), text_of(pod, "port"),
                   labels_words(pod["pod_labels"])});
    }
    std::cout << table.text();
    return 0;
}

/// The one pod, by its NAMESPACE/NAME, that a person means by `word`; its attachment is the answer.
Json::Value pod_meant(const Json::Value& attachments, const std::string& word) {
    std::map<std::string, Json::Value> found;
    for (const auto& each : attachments) {
        const auto pod = text_of(each, "pod");
        if (pod == word) return each;
        const bool named = pod.ends_with("/" + word) || text_of(each, "port") == word;
        if (named || text_of(each, "container").starts_with(word)) found.emplace(pod, each);
    }
    if (found.size() == 1) return found.begin()->second;
    if (found.empty())
        throw Failure("no pod's name, container or port is \"" + word + "\"; \"viaduct pod\" lists all");
    std::string names;
    for (const auto& [name, each] : found)
        names += (names.empty() ? "" : ", ") + name;
    throw Failure("\"" + word + "\" may mean any of the pods " + names + "; write its namespace, too");
}

/// Of all of a pod's attachments.
Json::Value labels_of(const Json::Value& attachments, const std::string& pod) {
    Json::Value labels(Json::objectValue);
    for (const auto& each : attachments) {
        if (text_of(each, "pod") != pod) continue;
        for (const auto& key : each["pod_labels"].getMemberNames())
            labels[key] = each["pod_labels"][key];
    }
    return labels;
}

int label(Session& session) {
    if (session.arguments.dry_run)
        throw Usage("--dry-run is for changes of the configuration; \"viaduct pod label POD\" shows labels");
    const auto word = session.words.take("a pod");
    std::vector<std::string> changes;
    while (!session.words.empty())
        changes.push_back(session.words.take("a label"));
    const auto change = parse_label_change(changes);
    const auto attachments = session.ask("GET", "/v1/attachments")["attachments"];
    const auto pod = text_of(pod_meant(attachments, word), "pod");
    Json::Value answer(Json::objectValue);
    answer["pod"] = pod;
    answer["labels"] = labels_of(attachments, pod);
    if (!changes.empty()) {
        Json::Value body(Json::objectValue);
        body["pod"] = pod;
        for (const auto& [key, value] : change.set)
            body["set"][key] = value;
        for (const auto& key : change.remove)
            body["remove"].append(key);
        body["overwrite"] = session.arguments.overwrite;
        answer = session.ask("POST", "/v1/pods/label", body);
    }
    if (!session.printed(answer)) std::cout << pod << ": " << labels_words(answer["labels"]) << "\n";
    return 0;
}

}  // namespace

Object pod_object() {
    return {
        "pod",
        "pods' interfaces, whoever asked for them, and pods' labels",
        {{"show", {"list", "ls", "lst"}, "[CONTAINER|POD|NETWORK|PORT]", "list them", show},
         {"label",
          {},
          "POD|CONTAINER|PORT [KEY=VALUE...] [KEY-...] [--overwrite]",
          "show a pod's labels; set some, remove some",
          label}},
        "Pods come and go through the CNI plugin, \"viaduct net\" and Docker. A pod is called as the runtime "
        "calls it\n(NAMESPACE/NAME), or by its container's id in namespace default.\n"
        "label: a service's selector chooses pods by their labels, without a Pod manifest: KEY=VALUE sets "
        "one, "
        "KEY-\nremoves it, --overwrite gives one that is there another value. A pod is born with the labels "
        "of "
        "its annotation\nviaduct.io/labels (\"app=web,tier=front\"), of VIADUCT_LABELS in CNI_ARGS, of "
        "args.cni.labels, or of\n\"viaduct net attach --label\". They go with the pod.\n",
        {"viaduct pod", "viaduct pod show default/web-1", "viaduct -j pod list",
         "viaduct pod label web-1 app=web tier=front",
         "viaduct pod label web-1 tier=back canary- --overwrite"}};
}

}  // namespace viaduct::cli
