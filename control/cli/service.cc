// viaduct service: what services there are, at which addresses, and who answers.
#include <algorithm>
#include <iostream>

#include <json/json.h>

#include "viaduct/http.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

std::string joined(const Json::Value& list) {
    std::string text;
    for (const auto& one : list)
        text += (text.empty() ? "" : ",") + one.asString();
    return text.empty() ? "-" : text;
}

/// "80:30080/tcp", as kubectl writes them.
std::string port_words(const Json::Value& port) {
    auto text = std::to_string(number_of(port, "port"));
    if (port.isMember("node_port")) text += ":" + std::to_string(number_of(port, "node_port"));
    return text + "/" + text_of(port, "protocol");
}

std::string ports_words(const Json::Value& service) {
    std::string text;
    for (const auto& port : service["ports"])
        text += (text.empty() ? "" : ",") + port_words(port);
    return text.empty() ? "-" : text;
}

std::string endpoints_words(const Json::Value& service) {
    std::uint64_t most = 0;
    for (const auto& port : service["ports"])
        most = std::max(most, number_of(port, "endpoints"));
    return std::to_string(most);
}

void print_faults(const Json::Value& list, const std::string& before) {
    for (const auto& fault : list)
        std::cout << before << fault.asString() << "\n";
}

int show_all(Session& session) {
    const auto answer = session.ask("GET", "/v1/services");
    if (session.printed(answer)) return 0;
    Table table({"NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL", "PORTS", "ENDPOINTS", "FROM"});
    for (const auto& service : answer["services"]) {
        const auto addresses =
            bool_of(service, "headless") ? std::string("None") : joined(service["cluster_ips"]);
        table.add({text_of(service, "namespace"), text_of(service, "name"), text_of(service, "type"),
                   addresses,
                   service.isMember("external_name") ? text_of(service, "external_name")
                                                     : joined(service["external"]),
                   ports_words(service), endpoints_words(service), text_of(service, "from")});
    }
    std::cout << table.text();
    if (answer["services"].empty())
        std::cout << "no services in " << text_of(answer, "source")
                  << "; \"viaduct apply -f FILE\" applies manifests of some\n";
    if (!text_of(answer, "trouble").empty()) std::cout << "trouble: " << text_of(answer, "trouble") << "\n";
    print_faults(answer["refused"], "refused: ");
    for (const auto& service : answer["services"])
        print_faults(service["faults"],
                     text_of(service, "namespace") + "/" + text_of(service, "name") + ": ");
    return 0;
}

const Json::Value& figures_of(const Json::Value& answer, const Json::Value& programmed,
                              const Json::Value& backend) {
    static const Json::Value nothing;
    for (const auto& service : answer["figures"]) {
        if (text_of(service, "port") != text_of(programmed, "port")) continue;
        for (const auto& one : service["backends"]) {
            if (one["address"] == backend["address"] && one["port"] == backend["port"]) return one;
        }
    }
    return nothing;
}

bool has(const Json::Value& list, const Json::Value& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

/// `drained`: addresses that an operator drained.
std::string state_words(const Json::Value& backend, const Json::Value& drained) {
    std::string text = bool_of(backend, "draining") ? "draining" : "ready";
    if (bool_of(backend, "distant")) text += ",distant";
    if (has(drained, backend["address"])) text += ",by hand";
    if (backend.isMember("weight")) text += ",weight " + text_of(backend, "weight");
    return bool_of(backend, "local") ? text + ",local" : text;
}

int show_one(Session& session, const std::string& name) {
    const auto answer = session.ask("GET", "/v1/services?service=" + http::encode(name));
    if (session.printed(answer)) return 0;
    std::cout << text_of(answer, "namespace") << "/" << text_of(answer, "name") << ": "
              << text_of(answer, "type") << ", ClusterIP " << joined(answer["cluster_ips"]) << ", external "
              << joined(answer["external"]) << ", from " << text_of(answer, "from") << "\n";
    print_faults(answer["faults"], "  ");
    for (const auto& programmed : answer["programmed"]) {
        std::cout << "port " << text_of(programmed, "port") << " (" << text_of(programmed, "protocol")
                  << ") by " << text_of(programmed, "balance");
        if (number_of(programmed, "affinity") != 0)
            std::cout << ", a client keeps its endpoint for " << number_of(programmed, "affinity") << " s";
        std::cout << ", at";
        for (const auto& frontend : programmed["frontends"]) {
            std::cout << " " << text_of(frontend, "address") << ":" << number_of(frontend, "port");
            if (bool_of(frontend, "local_only")) std::cout << "(local)";
        }
        std::cout << "\n";
        Table table({"ENDPOINT", "PORT", "POD", "STATE", "CONNECTIONS", "PACKETS", "BYTES"});
        for (const auto& backend : programmed["backends"]) {
            const auto& figures = figures_of(answer, programmed, backend);
            const auto figure = [&](const char* key) {
                return figures.isNull() ? std::string("-") : std::to_string(number_of(figures, key));
            };
            const auto both = [&](const std::string& what) {
                return figures.isNull() ? std::string("-")
                                        : std::to_string(number_of(figures, ("rx_" + what).c_str()) +
                                                         number_of(figures, ("tx_" + what).c_str()));
            };
            table.add({text_of(backend, "address"), std::to_string(number_of(backend, "port")),
                       backend.isMember("name") ? text_of(backend, "name") : "-",
                       state_words(backend, answer["drained"]), figure("connections"), both("packets"),
                       both("bytes")});
        }
        std::cout << table.text();
    }
    return 0;
}

int show(Session& session) {
    const auto name = session.words.take_if_any();
    session.words.done();
    return name ? show_one(session, *name) : show_all(session);
}

}  // namespace

Object service_object() {
    return {
        "service",
        "services: an address at which one of several endpoints answers",
        {{"show", {"list", "ls", "lst"}, "[[NAMESPACE/]NAME]", "list them, or one with its endpoints", show}},
        "Services come from Kubernetes manifests: those in the directory of viaduct-control's option "
        "--manifests,\nand those that \"viaduct apply\" puts. A NAME without NAMESPACE is that of the only "
        "service of this "
        "name.\n",
        {"viaduct service", "viaduct service show apps/web", "viaduct service show web"}};
}

}  // namespace viaduct::cli
