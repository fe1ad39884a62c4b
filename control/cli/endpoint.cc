// viaduct endpoint: who answers for services, in which state, and who says so; and an operator's word that
// one is to have no new connections.
#include <iostream>

#include <json/json.h>

#include "viaduct/http.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

std::string or_dash(const std::string& text) {
    return text.empty() ? "-" : text;
}

/// "10.1.0.2:8080", "[fd00::2]:8080"
std::string place_words(const Json::Value& endpoint) {
    const auto address = text_of(endpoint, "address");
    const auto number = ":" + std::to_string(number_of(endpoint, "number"));
    return address.find(':') == std::string::npos ? address + number : "[" + address + "]" + number;
}

int print(Session& session, const Json::Value& answer, const std::string& nothing) {
    const auto& endpoints = answer["endpoints"];
    if (session.printed(endpoints)) return 0;
    if (endpoints.empty()) {
        std::cout << nothing << "\n";
        return 0;
    }
    Table table({"SERVICE", "PORT", "ENDPOINT", "POD", "NODE", "ZONE", "STATE", "WEIGHT", "CONNECTIONS",
                 "FROM", "WHY"});
    for (const auto& one : endpoints) {
        table.add({text_of(one, "service"), text_of(one, "port"), place_words(one),
                   or_dash(text_of(one, "pod")), or_dash(text_of(one, "node")), or_dash(text_of(one, "zone")),
                   text_of(one, "state"), std::to_string(number_of(one, "weight")),
                   one.isMember("connections") ? std::to_string(number_of(one, "connections")) : "-",
                   text_of(one, "from"), or_dash(text_of(one, "why"))});
    }
    std::cout << table.text();
    return 0;
}

int list(Session& session) {
    const auto service = session.words.take_if_any();
    session.words.done();
    const auto answer = session.ask(
        "GET", "/v1/endpoints" + (service ? "?service=" + http::encode(*service) : std::string()));
    return print(
        session, answer,
        service ? "service " + *service + " has no endpoints: no slice names one, and its selector no pod"
                : "no service has an endpoint; \"viaduct service\" lists services");
}

int show(Session& session) {
    const auto address = session.words.take("an endpoint's address");
    session.words.done();
    const auto answer = session.ask("GET", "/v1/endpoints?address=" + http::encode(address));
    if (answer["endpoints"].empty())
        throw Failure("no service has an endpoint " + address +
                      "; \"viaduct endpoint\" lists those that there are");
    return print(session, answer, "");
}

int change(Session& session, bool drained) {
    if (session.arguments.dry_run)
        throw Usage(
            "--dry-run is for changes of the configuration; \"viaduct endpoint\" shows what is drained");
    Json::Value body(Json::objectValue);
    body["service"] = session.words.take("a service");
    body["address"] = session.words.take("an endpoint's address");
    session.words.done();
    body["drained"] = drained;
    const auto answer = session.ask("POST", "/v1/endpoints/drain", body);
    if (session.printed(answer)) return 0;
    const auto name = "endpoint " + text_of(answer, "address") + " of service " + text_of(answer, "service");
    if (bool_of(answer, "changed")) {
        std::cout << name << (drained ? " drained\n" : " not drained any more\n");
    } else {
        std::cout << name << (drained ? " is drained already\n" : " is not drained\n");
    }
    return 0;
}

}  // namespace

Object endpoint_object() {
    return {
        "endpoint",
        "who answers for services, in which state, and who says so",
        {{"list", {"ls", "lst"}, "[[NAMESPACE/]SERVICE]", "list endpoints of one service, or of all", list},
         {"show", {}, "ADDRESS", "all services that the address is an endpoint of", show},
         {"drain",
          {},
          "[NAMESPACE/]SERVICE ADDRESS",
          "no new connections for it, whatever manifests say",
          [](Session& session) { return change(session, true); }},
         {"undrain",
          {},
          "[NAMESPACE/]SERVICE ADDRESS",
          "take that word back",
          [](Session& session) { return change(session, false); }}},
        "STATE: ready; serving (it is not ready, and has connections all the same); draining (keeps those "
        "that "
        "it has, and\ngets new ones only while no other endpoint is ready); not ready (none at all); WHY "
        "says "
        "why. FROM: the slice's file\nand line, or \"applied\"; \"selector\" with the Pod manifest's, or "
        "alone "
        "for a pod that was chosen by the labels\nthat it was attached with (see \"viaduct pod label\").\n"
        "drain is kept over restarts, and forgotten when the endpoint goes.\n",
        {"viaduct endpoint", "viaduct endpoint list apps/web", "viaduct endpoint show 10.1.0.2",
         "viaduct endpoint drain apps/web 10.1.0.2", "viaduct endpoint undrain apps/web 10.1.0.2"}};
}

}  // namespace viaduct::cli
