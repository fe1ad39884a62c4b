// viaduct timeouts: how long flows live without a packet.
#include <iostream>

#include <json/json.h>

#include "viaduct/model_kinds.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

int show(Session& session) {
    session.words.done();
    const auto timeouts = session.ask("GET", "/v1/config?only=timeouts")["timeouts"];
    if (session.printed(timeouts)) return 0;
    Table table({"STATE", "SECONDS", "DEFAULT"});
    const model::FlowTimeouts defaults;
    for (const auto& timeout : model::kTimeouts)
        table.add({timeout.name, text_of(timeouts, timeout.name), std::to_string(defaults.*timeout.seconds)});
    std::cout << table.text();
    return 0;
}

int set(Session& session) {
    std::vector<std::string_view> names;
    for (const auto& timeout : model::kTimeouts)
        names.emplace_back(timeout.name);
    Json::Value body;
    auto& timeouts = body["put"]["timeouts"] = Json::objectValue;
    do {
        const auto name = session.words.keyword(names);
        timeouts[name] = Json::UInt64(session.words.number(name + " (seconds)", 1, model::kTimeoutMost));
    } while (!session.words.empty());
    return session.change(body);
}

}  // namespace

Object timeouts_object() {
    return {"timeouts",
            "how long flows live without a packet",
            {{"show", {"list", "ls", "lst"}, "", "all of them", show},
             {"set", {"change"}, "STATE SECONDS [STATE SECONDS]...", "change some", set}},
            "A flow that had no packet for so long is forgotten, and its NAT port is free again. The "
            "defaults are "
            "Linux's.\n",
            {"viaduct timeouts", "viaduct timeouts set udp 60 tcp_established 86400"}};
}

}  // namespace viaduct::cli
