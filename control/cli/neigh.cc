// viaduct neigh: which MAC address a router interface's neighbours have, in the words of "ip neigh".
#include <algorithm>
#include <cctype>
#include <iostream>
#include <utility>
#include <vector>

#include <json/json.h>

#include "viaduct/address.h"
#include "viaduct/http.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

const std::vector<std::string_view> kStates{"permanent", "reachable",  "stale", "delay",
                                            "probe",     "incomplete", "failed"};

std::string take_address(Words& words) {
    const auto text = words.take("an IP address");
    const auto address = IpAddress::parse(text);
    if (!address) throw Usage("\"" + text + "\" is not an address such as 10.0.0.2 or fd00::2");
    return address->to_string();
}

struct Filter {
    std::string interface;
    std::string address;
    std::string state;
};

Filter read_filter(Words& words) {
    Filter filter;
    while (!words.empty()) {
        const auto key = words.keyword({"dev", "to", "nud"});
        if (key == "dev") {
            filter.interface = words.take("an interface");
        } else if (key == "to") {
            filter.address = take_address(words);
        } else {
            filter.state = kStates[match(words.take("a state"), kStates, "state")];
        }
    }
    return filter;
}

int show(Session& session) {
    const auto filter = read_filter(session.words);
    std::string target = "/v1/state/neighbours";
    char separator = '?';
    for (const auto& [key, value] : {std::pair{"interface", filter.interface}, {"address", filter.address}}) {
        if (value.empty()) continue;
        target += separator + std::string(key) + "=" + http::encode(value);
        separator = '&';
    }
    const auto answer = session.ask("GET", target);
    std::vector<Json::Value> entries;
    for (const auto& entry : answer["neighbours"]) {
        if (filter.state.empty() || text_of(entry, "state") == filter.state) entries.push_back(entry);
    }
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        const auto key = [](const Json::Value& e) {
            return std::pair(text_of(e, "interface"), IpAddress::parse(text_of(e, "address")));
        };
        return key(a) < key(b);
    });
    Json::Value shown(Json::arrayValue);
    for (const auto& entry : entries)
        shown.append(entry);
    if (session.printed(shown)) return 0;
    for (const auto& entry : entries) {
        std::cout << text_of(entry, "address") << " dev " << text_of(entry, "interface");
        if (const auto mac = text_of(entry, "mac"); !mac.empty()) std::cout << " lladdr " << mac;
        auto state = text_of(entry, "state");
        std::transform(state.begin(), state.end(), state.begin(),
                       [](char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); });
        if (const auto waiting = number_of(entry, "waiting"); waiting != 0)
            std::cout << " waiting " << waiting;
        std::cout << " " << state << "\n";
    }
    return 0;
}

/// The object of a static neighbour from "ADDRESS [lladdr MAC] dev INTERFACE".
Json::Value read_neighbour(Words& words, bool with_mac) {
    Json::Value neighbour;
    neighbour["address"] = take_address(words);
    while (!words.empty()) {
        const auto key = words.keyword({"dev", "lladdr", "nud"});
        if (key == "dev") {
            neighbour["interface"] = words.take("an interface");
        } else if (key == "nud") {
            words.keyword({"permanent"});
        } else {
            const auto text = words.take("a MAC address");
            const auto mac = MacAddress::parse(text);
            if (!mac) throw Usage("\"" + text + "\" is not a MAC address such as 02:00:00:00:00:01");
            if (with_mac) neighbour["mac"] = mac->to_string();
        }
    }
    if (!neighbour.isMember("interface")) throw Usage("needs \"dev INTERFACE\", where the neighbour is");
    if (with_mac && !neighbour.isMember("mac"))
        throw Usage("needs \"lladdr MAC\", the neighbour's MAC address");
    return neighbour;
}

int add(Session& session) {
    Json::Value body;
    body["put"]["neighbours"].append(read_neighbour(session.words, true));
    return session.change(body);
}

int del(Session& session) {
    Json::Value body;
    body["delete"]["neighbours"].append(read_neighbour(session.words, false));
    return session.change(body);
}

int flush(Session& session) {
    if (session.arguments.dry_run)
        throw Usage("--dry-run is for changes; look with \"viaduct neigh show\" first");
    const auto filter = read_filter(session.words);
    if (!filter.state.empty()) throw Usage("\"nud\" is for \"viaduct neigh show\"");
    Json::Value body(Json::objectValue);
    if (!filter.interface.empty()) body["interface"] = filter.interface;
    if (!filter.address.empty()) body["address"] = filter.address;
    const auto answer = session.ask("POST", "/v1/state/neighbours/flush", body);
    if (!session.printed(answer))
        std::cout << "flushed " << number_of(answer, "flushed") << " learned neighbours\n";
    return 0;
}

}  // namespace

Object neigh_object() {
    return {
        "neigh",
        "neighbours of router interfaces: which MAC address a next hop has",
        {{"show",
          {"list", "ls", "lst"},
          "[dev INTERFACE] [to ADDRESS] [nud STATE]",
          "list learned and static neighbours",
          show},
         {"add", {"replace"}, "ADDRESS lladdr MAC dev INTERFACE", "make a static neighbour", add},
         {"del", {"delete"}, "ADDRESS dev INTERFACE", "delete a static neighbour", del},
         {"flush", {}, "[dev INTERFACE] [to ADDRESS]", "forget learned neighbours; static ones stay", flush}},
        "STATE: permanent, reachable, stale, delay, probe, incomplete or failed (RFC 4861 7.3.2).\n",
        {"viaduct neigh show dev gw0", "viaduct neigh add 10.1.0.2 lladdr 02:00:00:00:00:01 dev gw0",
         "viaduct neigh flush dev gw0", "viaduct neigh del 10.1.0.2 dev gw0"}};
}

}  // namespace viaduct::cli
