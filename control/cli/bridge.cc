// viaduct bridge: learning switches.
#include <iostream>

#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/model.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

void read_settings(Session& session, Json::Value& bridge) {
    auto& words = session.words;
    while (!words.empty()) {
        const auto key = words.keyword({"wire", "vlan_filtering", "learning", "ageing", "fdb_size"});
        if (key == "ageing") {
            bridge["ageing_seconds"] = Json::UInt64(words.number("ageing (seconds)", 10, 1000000));
        } else if (key == "fdb_size") {
            bridge["fdb_size"] = Json::UInt64(words.number("fdb_size (entries)", 64, 1048576));
        } else {
            const auto word = words.take("on or off");
            bridge[key] = match(word, {"on", "off", "1", "0"}, key) % 2 == 0;
        }
    }
}

int put(Session& session, const Json::Value& bridge) {
    Faults faults;
    model::bridge_from_json(bridge, "bridges/" + text_of(bridge, "name"), faults);
    if (!faults.empty()) throw Refused(faults);
    Json::Value body;
    body["put"]["bridges"].append(bridge);
    return session.change(body);
}

int add(Session& session) {
    Json::Value bridge;
    const auto name = session.words.take("the bridge's name");
    bridge["name"] = name;
    read_settings(session, bridge);
    if (find_named(session.ask("GET", "/v1/config?only=bridges")["bridges"], name) != nullptr) {
        throw Failure("bridge " + name + " exists already; change it with \"viaduct bridge set " + name +
                      " ...\"");
    }
    return put(session, bridge);
}

int set(Session& session) {
    const auto name = session.words.take("the bridge's name");
    const auto config = session.ask("GET", "/v1/config?only=bridges");
    const auto* present = find_named(config["bridges"], name);
    if (present == nullptr) {
        throw Failure("bridge " + name + " is not configured; make it with \"viaduct bridge add " + name +
                      "\"");
    }
    auto bridge = *present;
    read_settings(session, bridge);
    return put(session, bridge);
}

int del(Session& session) {
    Json::Value body;
    body["delete"]["bridges"].append(session.words.take("the bridge's name"));
    session.words.done();
    return session.change(body);
}

int show(Session& session) {
    const auto wanted = session.words.take_if_any();
    session.words.done();
    const auto desired = session.ask("GET", "/v1/config/desired?only=bridges,ports");
    Json::Value shown(Json::arrayValue);
    for (const auto& bridge : desired["bridges"]) {
        if (wanted && text_of(bridge, "name") != *wanted) continue;
        auto one = bridge;
        one["ports"] = Json::arrayValue;
        for (const auto& port : desired["ports"]) {
            if (text_of(port, "bridge") == text_of(bridge, "name")) one["ports"].append(port["name"]);
        }
        shown.append(one);
    }
    if (wanted && shown.empty())
        throw Failure("bridge " + *wanted + " does not exist; \"viaduct bridge\" lists those that do");
    if (session.printed(shown)) return 0;
    Table table({"BRIDGE", "WIRE", "VLAN-FILTERING", "LEARNING", "AGEING", "FDB-SIZE", "PORTS", "FROM"});
    for (const auto& bridge : shown) {
        table.add({text_of(bridge, "name"), bool_of(bridge, "wire") ? "on" : "off",
                   bool_of(bridge, "vlan_filtering") ? "on" : "off",
                   bool_of(bridge, "learning") ? "on" : "off", text_of(bridge, "ageing_seconds") + "s",
                   text_of(bridge, "fdb_size"), std::to_string(bridge["ports"].size()),
                   text_of(bridge, "from")});
    }
    std::cout << table.text();
    return 0;
}

}  // namespace

Object bridge_object() {
    const std::string settings =
        "[wire on|off] [vlan_filtering on|off] [learning on|off] [ageing SECONDS] [fdb_size ENTRIES]";
    return {"bridge",
            "learning switches that ports are attached to",
            {{"show", {"list", "ls", "lst"}, "[NAME]", "list bridges", show},
             {"add", {}, "NAME " + settings, "make one", add},
             {"set", {"change"}, "NAME " + settings, "change some of its settings", set},
             {"del", {"delete"}, "NAME", "delete one that no port is on", del}},
            "wire: what comes in by one of its two ports leaves by the other, whatever it is; default off.\n"
            "vlan_filtering: ports have VLANs of their own and frames' tags count; default off. learning: "
            "default on.\n"
            "ageing: seconds until a silent address is forgotten, 10 to 1000000, default 300. fdb_size: most "
            "addresses,\n"
            "64 to 1048576, default 8192.\n",
            {"viaduct bridge add br0 vlan_filtering on", "viaduct bridge add chain1 wire on",
             "viaduct bridge set br0 ageing 60 --dry-run", "viaduct -j bridge show br0",
             "viaduct bridge del br0"}};
}

}  // namespace viaduct::cli
