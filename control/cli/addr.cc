// viaduct addr: the addresses of the router's interfaces, in the words of "ip addr".
#include <iostream>

#include <json/json.h>

#include "viaduct/address.h"

#include "cli/edit.h"

namespace viaduct::cli {

namespace {

std::string take_prefix(Words& words) {
    const auto text = words.take("an address with its network's length, as 10.0.0.1/24");
    const auto prefix = Prefix::parse(text);
    if (!prefix) throw Usage("\"" + text + "\" is not an address with its network's length, as 10.0.0.1/24");
    return prefix->to_string();
}

/// The interface that "dev NAME" names, as it is configured.
Json::Value take_interface(Session& session) {
    session.words.keyword({"dev"});
    const auto name = session.words.take("an interface's name");
    session.words.done();
    const auto config = session.ask("GET", "/v1/config?only=interfaces");
    const auto* interface = find_named(config["interfaces"], name);
    if (interface == nullptr)
        throw Failure("interface " + name + " is not configured; \"viaduct interface\" lists interfaces");
    return *interface;
}

int add(Session& session) {
    const auto prefix = take_prefix(session.words);
    auto interface = take_interface(session);
    for (const auto& present : interface["addresses"]) {
        if (present.asString() == prefix)
            throw Failure("interface " + text_of(interface, "name") + " has " + prefix + " already");
    }
    interface["addresses"].append(prefix);
    return put_object(session, "interfaces", interface);
}

int del(Session& session) {
    const auto prefix = take_prefix(session.words);
    auto interface = take_interface(session);
    Json::Value rest(Json::arrayValue);
    for (const auto& present : interface["addresses"]) {
        if (present.asString() != prefix) rest.append(present);
    }
    if (rest.size() == interface["addresses"].size())
        throw Failure("interface " + text_of(interface, "name") + " does not have " + prefix);
    interface["addresses"] = rest;
    return put_object(session, "interfaces", interface);
}

int show(Session& session) {
    std::string wanted;
    if (!session.words.empty()) {
        if (session.words.peek() == "dev") session.words.take("dev");
        wanted = session.words.take("an interface's name");
    }
    session.words.done();
    const auto desired = session.ask("GET", "/v1/config/desired?only=interfaces");
    if (!wanted.empty() && find_named(desired["interfaces"], wanted) == nullptr)
        throw Failure("interface " + wanted + " does not exist; \"viaduct interface\" lists those that do");
    Json::Value shown(Json::arrayValue);
    for (const auto& interface : desired["interfaces"]) {
        if (!wanted.empty() && text_of(interface, "name") != wanted) continue;
        for (const auto& address : interface["addresses"]) {
            Json::Value one;
            one["address"] = address;
            one["interface"] = interface["name"];
            one["vrf"] = interface["vrf"];
            shown.append(one);
        }
    }
    if (session.printed(shown)) return 0;
    Table table({"ADDRESS", "INTERFACE", "VRF"});
    for (const auto& one : shown)
        table.add({text_of(one, "address"), text_of(one, "interface"), text_of(one, "vrf")});
    std::cout << table.text();
    return 0;
}

}  // namespace

Object addr_object() {
    return {"addr",
            "addresses of the router's interfaces",
            {{"show", {"list", "ls", "lst"}, "[dev INTERFACE]", "list addresses", show},
             {"add", {}, "PREFIX dev INTERFACE", "give an interface one more", add},
             {"del", {"delete"}, "PREFIX dev INTERFACE", "take one away", del}},
            "PREFIX: the address with its network's length. The network becomes a route of the interface's "
            "VRF.\n",
            {"viaduct addr add 10.1.0.1/24 dev gw0", "viaduct addr show dev gw0",
             "viaduct addr del 10.1.0.1/24 dev gw0"}};
}

}  // namespace viaduct::cli
