// viaduct route: static routes, in the words of "ip route".
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>

#include <json/json.h>

#include "viaduct/model.h"

#include "cli/edit.h"

namespace viaduct::cli {

namespace {

/// "10.0.0.0/8", "10.0.0.1" or "default", whose family another address tells.
std::string prefix_from(const std::string& text, bool v4) {
    if (text == "default") return v4 ? "0.0.0.0/0" : "::/0";
    if (const auto address = IpAddress::parse(text)) return text + (address->is_v4() ? "/32" : "/128");
    const auto prefix = Prefix::parse(text);
    if (!prefix)
        throw Usage("\"" + text + "\" is not a network such as 10.0.0.0/8, an address, or \"default\"");
    return prefix->to_string();
}

bool is_v4_text(const std::string& text) {
    return text.find(':') == std::string::npos;
}

void read_hop_word(const std::string& key, Words& words, Json::Value& hop) {
    if (key == "via") {
        hop["via"] = words.take("a router's address");
    } else if (key == "dev") {
        hop["interface"] = words.take("an interface's name");
    } else {
        hop["weight"] = Json::UInt64(words.number("weight", 1, 256));
    }
}

/// What follows "route add", and what stands on a line of "route load".
Json::Value route_from(Words& words) {
    Json::Value route(Json::objectValue);
    auto destination = words.take("a network");
    for (const std::string kind : {"unicast", "blackhole", "unreachable", "prohibit"}) {
        if (destination != kind) continue;
        route["kind"] = kind;
        destination = words.take("a network");
        break;
    }
    Json::Value hops(Json::arrayValue);
    bool in_hop = false;
    bool v6 = false;
    while (!words.empty()) {
        const auto key = words.keyword({"via", "dev", "weight", "nexthop", "vrf", "mtu", "-6"});
        if (key == "vrf") {
            route["vrf"] = words.take("a VRF's name");
        } else if (key == "mtu") {
            route["mtu"] = Json::UInt64(words.number("mtu (bytes)", model::kMtuLeast, model::kMtuMost));
        } else if (key == "-6") {
            v6 = true;
        } else if (key == "nexthop") {
            hops.append(Json::objectValue);
            in_hop = true;
        } else {
            if (!in_hop) hops.append(Json::objectValue);
            in_hop = true;
            read_hop_word(key, words, hops[hops.size() - 1]);
        }
    }
    const auto via = hops.empty() ? std::string() : text_of(hops[0], "via");
    route["prefix"] = prefix_from(destination, !v6 && (via.empty() || is_v4_text(via)));
    if (!hops.empty()) route["next_hops"] = hops;
    return route;
}

int add(Session& session) {
    return put_object(session, "routes", route_from(session.words));
}

int del(Session& session) {
    auto route = route_from(session.words);
    Json::Value key;
    key["prefix"] = route["prefix"];
    if (route.isMember("vrf")) key["vrf"] = route["vrf"];
    Json::Value body;
    body["delete"]["routes"].append(key);
    return session.change(body);
}

int load(Session& session) {
    const auto path = session.arguments.file.empty() ? session.words.take("a file") : session.arguments.file;
    session.words.done();
    std::ifstream file;
    if (path != "-") {
        file.open(path);
        if (!file) throw Failure("cannot open " + path);
    }
    auto& lines = path == "-" ? std::cin : file;
    Json::Value body;
    auto& routes = body["put"]["routes"] = Json::arrayValue;
    std::string line;
    for (std::size_t number = 1; std::getline(lines, line); ++number) {
        std::istringstream stream(line.substr(0, line.find('#')));
        std::vector<std::string> parts{std::istream_iterator<std::string>(stream), {}};
        if (parts.empty()) continue;
        Words words(std::move(parts));
        try {
            routes.append(route_from(words));
        } catch (const Usage& usage) {
            throw Failure(path + ":" + std::to_string(number) + ": " + usage.what());
        }
    }
    return session.change(body);
}

std::string hop_words(const Json::Value& hop) {
    std::string text;
    if (hop.isMember("via")) text += " via " + text_of(hop, "via");
    text += " dev " + text_of(hop, "interface");
    if (hop.isMember("weight")) text += " weight " + text_of(hop, "weight");
    return text;
}

std::string route_words(const Json::Value& route) {
    const auto kind = text_of(route, "kind");
    std::string text = (kind.empty() || kind == "unicast" ? "" : kind + " ") + text_of(route, "prefix");
    const auto& hops = route["next_hops"];
    for (const auto& hop : hops)
        text += (hops.size() > 1 ? " nexthop" : "") + hop_words(hop);
    if (route.isMember("src")) text += " src " + text_of(route, "src");
    if (route.isMember("mtu")) text += " mtu " + text_of(route, "mtu");
    return text + " vrf " + text_of(route, "vrf") + " proto " + text_of(route, "proto");
}

/// Static routes and those to the interfaces' own networks.
Json::Value all_routes(const Json::Value& desired) {
    Json::Value routes(Json::arrayValue);
    for (const auto& interface : desired["interfaces"]) {
        for (const auto& text : interface["addresses"]) {
            const auto own = Prefix::parse(text.asString());
            if (!own) continue;
            Json::Value route;
            route["prefix"] = Prefix{own->network(), own->length}.to_string();
            route["vrf"] = interface["vrf"];
            route["next_hops"][0]["interface"] = interface["name"];
            route["src"] = own->address.to_string();
            route["proto"] = "connected";
            routes.append(route);
        }
    }
    for (auto route : desired["routes"]) {
        route["proto"] = "static";
        routes.append(std::move(route));
    }
    return routes;
}

struct Wanted {
    std::string vrf;
    std::string prefix;
    std::string interface;
};

Wanted read_wanted(Words& words) {
    Wanted wanted;
    while (!words.empty()) {
        const auto word = words.take("a network");
        if (word == "vrf") {
            wanted.vrf = words.take("a VRF's name");
        } else if (word == "dev") {
            wanted.interface = words.take("an interface's name");
        } else {
            wanted.prefix = prefix_from(word, true);
        }
    }
    return wanted;
}

bool goes_by(const Json::Value& route, const std::string& interface) {
    const auto& hops = route["next_hops"];
    return std::any_of(hops.begin(), hops.end(),
                       [&](const Json::Value& hop) { return text_of(hop, "interface") == interface; });
}

int show(Session& session) {
    const auto wanted = read_wanted(session.words);
    const auto desired = session.ask("GET", "/v1/config/desired?only=interfaces,routes");
    Json::Value shown(Json::arrayValue);
    for (const auto& route : all_routes(desired)) {
        if (!wanted.vrf.empty() && text_of(route, "vrf") != wanted.vrf) continue;
        if (!wanted.prefix.empty() && text_of(route, "prefix") != wanted.prefix) continue;
        if (!wanted.interface.empty() && !goes_by(route, wanted.interface)) continue;
        shown.append(route);
    }
    if (session.printed(shown)) return 0;
    for (const auto& route : shown)
        std::cout << route_words(route) << "\n";
    return 0;
}

int get(Session& session) {
    const auto text = session.words.take("an address");
    const auto address = IpAddress::parse(text);
    if (!address) throw Usage("\"" + text + "\" is not an IP address");
    std::string vrf{model::kDefaultVrf};
    if (!session.words.empty()) {
        session.words.keyword({"vrf"});
        vrf = session.words.take("a VRF's name");
    }
    session.words.done();
    const auto routes = all_routes(
        session.ask("GET", "/v1/config/desired?only=interfaces,routes&routes_to=" + address->to_string()));
    const Json::Value* best = nullptr;
    int longest = -1;
    for (const auto& route : routes) {
        if (text_of(route, "vrf") != vrf) continue;
        const auto prefix = Prefix::parse(text_of(route, "prefix"));
        // Interfaces' own networks come first: of two alike the first wins.
        if (!prefix || prefix->length <= longest || !prefix->contains(*address)) continue;
        best = &route;
        longest = prefix->length;
    }
    if (best == nullptr) throw Failure("no route to " + text + " in VRF " + vrf);
    if (session.printed(*best)) return 0;
    std::cout << text << " by " << route_words(*best) << "\n";
    return 0;
}

}  // namespace

Object route_object() {
    const std::string hops =
        "[via ADDRESS] dev INTERFACE [nexthop [via ADDRESS] dev INTERFACE [weight N]]...";
    return {
        "route",
        "routes: static ones, and those to interfaces' own networks",
        {{"show", {"list", "ls", "lst"}, "[PREFIX] [vrf VRF] [dev INTERFACE]", "list routes", show},
         {"add",
          {"replace"},
          "PREFIX " + hops +
              "\n          [vrf VRF] [mtu BYTES]\n  viaduct route add blackhole|unreachable|prohibit PREFIX "
              "[vrf "
              "VRF]",
          "make one, or replace that of the same network",
          add},
         {"del", {"delete"}, "PREFIX [vrf VRF]", "delete a static one", del},
         {"get", {}, "ADDRESS [vrf VRF]", "the route that packets to an address take, as configured", get},
         {"load", {}, "FILE", "make many in one change: on each line what follows \"route add\"", load}},
        "PREFIX: a network, an address, or \"default\" (IPv4, unless via or \"-6\" says IPv6). via: the next "
        "router, which\nmust be on the interface's link; without it the destination is there itself. Several "
        "nexthops share flows by weight\n(1 to 256). blackhole drops in silence, unreachable and prohibit "
        "answer "
        "by ICMP. mtu: default the interface's.\n",
        {"viaduct route add default via 192.0.2.1 dev out",
         "viaduct route add 10.9.0.0/16 nexthop via 192.0.2.3 dev out weight 3 nexthop via 192.0.2.4 dev out",
         "viaduct route add blackhole 10.0.0.0/8 vrf blue", "viaduct route get 198.51.100.7",
         "viaduct route load routes.txt --comment 'the full table'", "viaduct route del 10.9.0.0/16"}};
}

}  // namespace viaduct::cli
