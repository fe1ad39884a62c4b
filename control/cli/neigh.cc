// viaduct neigh: static neighbours of the router's interfaces, in the words of "ip neigh".
#include <iostream>

#include <json/json.h>

#include "viaduct/address.h"

#include "cli/edit.h"

namespace viaduct::cli {

namespace {

Json::Value neighbour_from(Words& words) {
    Json::Value neighbour;
    const auto text = words.take("an address");
    const auto address = IpAddress::parse(text);
    if (!address) throw Usage("\"" + text + "\" is not an IP address");
    neighbour["address"] = address->to_string();
    while (!words.empty()) {
        const auto key = words.keyword({"lladdr", "dev"});
        neighbour[key == "dev" ? "interface" : "mac"] = words.take("a value");
    }
    if (!neighbour.isMember("interface")) throw Usage("needs \"dev INTERFACE\", whose neighbour it is");
    return neighbour;
}

int add(Session& session) {
    const auto neighbour = neighbour_from(session.words);
    if (!neighbour.isMember("mac")) throw Usage("needs \"lladdr MAC\", the neighbour's MAC address");
    return put_object(session, "neighbours", neighbour);
}

int del(Session& session) {
    auto key = neighbour_from(session.words);
    key.removeMember("mac");
    Json::Value body;
    body["delete"]["neighbours"].append(key);
    return session.change(body);
}

int show(Session& session) {
    std::string wanted;
    if (!session.words.empty()) {
        if (session.words.peek() == "dev") session.words.take("dev");
        wanted = session.words.take("an interface's name");
    }
    session.words.done();
    const auto desired = session.ask("GET", "/v1/config/desired");
    Json::Value shown(Json::arrayValue);
    for (const auto& neighbour : desired["neighbours"]) {
        if (wanted.empty() || text_of(neighbour, "interface") == wanted) shown.append(neighbour);
    }
    if (session.printed(shown)) return 0;
    for (const auto& one : shown) {
        std::cout << text_of(one, "address") << " dev " << text_of(one, "interface") << " lladdr "
                  << text_of(one, "mac") << " PERMANENT\n";
    }
    return 0;
}

}  // namespace

Object neigh_object() {
    return {
        "neigh",
        "neighbours of the router's interfaces",
        {{"show", {"list", "ls", "lst"}, "[dev INTERFACE]", "list static neighbours", show},
         {"add", {"replace"}, "ADDRESS lladdr MAC dev INTERFACE", "make a static one, or replace it", add},
         {"del", {"delete"}, "ADDRESS dev INTERFACE", "delete a static one", del}},
        "A static neighbour is never asked for and never forgotten; all others are found by ARP and ND.\n",
        {"viaduct neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev out", "viaduct neigh show dev out",
         "viaduct neigh del 192.0.2.1 dev out"}};
}

}  // namespace viaduct::cli
