// viaduct fdb: which address is behind which port, in the words of "bridge fdb".
#include <iostream>
#include <map>

#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/model.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

/// What any of the commands may be told, in any order after the address.
struct Filter {
    std::string port;
    std::string bridge;
    std::uint64_t vlan = 0;
    bool is_static = false;
    std::string remote;  ///< dst
};

Filter read_filter(Words& words) {
    Filter filter;
    while (!words.empty()) {
        const auto key = words.keyword({"dev", "port", "bridge", "vlan", "static", "master", "dst"});
        if (key == "static") {
            filter.is_static = true;
        } else if (key == "vlan") {
            filter.vlan = words.number("vlan", model::kVlanFirst, model::kVlanLast);
        } else if (key == "dst") {
            filter.remote = words.take("a tunnel's remote address");
        } else {
            (key == "dev" || key == "port" ? filter.port : filter.bridge) = words.take("a name");
        }
    }
    return filter;
}

/// The bridge that the port is on, where the words did not say.
void find_bridge(const Session& session, Filter& filter) {
    if (!filter.bridge.empty()) return;
    if (filter.port.empty()) throw Usage("needs \"dev PORT\" or \"bridge BRIDGE\"");
    const auto desired = session.ask("GET", "/v1/config/desired?only=ports");
    const auto* port = find_named(desired["ports"], filter.port);
    if (port == nullptr)
        throw Failure("port " + filter.port + " does not exist; \"viaduct port\" lists those that do");
    filter.bridge = text_of(*port, "bridge");
    if (filter.bridge.empty()) throw Failure("port " + filter.port + " is on no bridge");
}

std::string take_mac(Words& words) {
    const auto text = words.take("a MAC address");
    const auto mac = MacAddress::parse(text);
    if (!mac) throw Usage("\"" + text + "\" is not a MAC address such as 02:00:00:00:00:01");
    return mac->to_string();
}

Json::Value key_of(const std::string& mac, const Filter& filter) {
    Json::Value entry;
    entry["mac"] = mac;
    entry["bridge"] = filter.bridge;
    if (filter.vlan != 0) entry["vlan"] = Json::UInt64(filter.vlan);
    return entry;
}

int add(Session& session) {
    const auto mac = take_mac(session.words);
    auto filter = read_filter(session.words);
    if (filter.port.empty()) throw Usage("needs \"dev PORT\", the port that the address is behind");
    find_bridge(session, filter);
    auto entry = key_of(mac, filter);
    entry["port"] = filter.port;
    if (!filter.remote.empty()) entry["remote"] = filter.remote;
    Json::Value body;
    body["put"]["fdb"].append(entry);
    return session.change(body);
}

int del(Session& session) {
    const auto mac = take_mac(session.words);
    auto filter = read_filter(session.words);
    find_bridge(session, filter);
    Json::Value body;
    body["delete"]["fdb"].append(key_of(mac, filter));
    return session.change(body);
}

int show(Session& session) {
    const auto filter = read_filter(session.words);
    std::string target = "/v1/state/fdb";
    char separator = '?';
    for (const auto& [key, value] :
         std::map<std::string, std::string>{{"bridge", filter.bridge}, {"port", filter.port}}) {
        if (value.empty()) continue;
        target += separator + key + "=" + http::encode(value);
        separator = '&';
    }
    const auto answer = session.ask("GET", target);
    Json::Value shown(Json::arrayValue);
    for (const auto& entry : answer["fdb"]) {
        if (filter.vlan != 0 && number_of(entry, "vlan") != filter.vlan) continue;
        if (filter.is_static && !bool_of(entry, "static")) continue;
        shown.append(entry);
    }
    if (session.printed(shown)) return 0;
    for (const auto& entry : shown) {
        std::cout << text_of(entry, "mac") << " dev " << text_of(entry, "port");
        if (const auto vlan = number_of(entry, "vlan"); vlan != 0) std::cout << " vlan " << vlan;
        std::cout << " bridge " << text_of(entry, "bridge");
        if (bool_of(entry, "static")) {
            std::cout << " static\n";
        } else {
            std::cout << " age " << text_of(entry, "age_seconds") << "s\n";
        }
    }
    return 0;
}

int flush(Session& session) {
    if (session.arguments.dry_run)
        throw Usage("--dry-run is for changes; look with \"viaduct fdb show\" first");
    const auto filter = read_filter(session.words);
    Json::Value body(Json::objectValue);
    if (!filter.bridge.empty()) body["bridge"] = filter.bridge;
    if (!filter.port.empty()) body["port"] = filter.port;
    if (filter.vlan != 0) body["vlan"] = Json::UInt64(filter.vlan);
    const auto answer = session.ask("POST", "/v1/state/fdb/flush", body);
    if (!session.printed(answer))
        std::cout << "flushed " << number_of(answer, "flushed") << " learned entries\n";
    return 0;
}

}  // namespace

Object fdb_object() {
    const std::string filter = "[dev PORT] [bridge BRIDGE] [vlan ID]";
    return {"fdb",
            "forwarding databases: which MAC address is behind which port",
            {{"show", {"list", "ls", "lst"}, filter + " [static]", "list learned and static entries", show},
             {"add", {}, "MAC dev PORT [bridge BRIDGE] [vlan ID] [dst REMOTE]", "make a static entry", add},
             {"del", {"delete"}, "MAC dev PORT|bridge BRIDGE [vlan ID]", "delete a static entry", del},
             {"flush", {}, filter, "forget learned entries; static ones stay", flush}},
            "vlan: needed on a bridge that filters VLANs, and only there. dst: needed on a vxlan port, and "
            "only there: "
            "the remote\nbehind which the address is.\n",
            {"viaduct fdb add 02:00:00:00:00:01 dev web bridge br0 vlan 10", "viaduct fdb show bridge br0",
             "viaduct fdb flush dev web", "viaduct fdb del 02:00:00:00:00:01 bridge br0 vlan 10"}};
}

}  // namespace viaduct::cli
