#include "cli/port_settings.h"

#include <optional>

#include <json/json.h>

#include "viaduct/model.h"

#include "cli/edit.h"
#include "cli/session.h"

namespace viaduct::cli {

namespace {

Json::Value vlan_list(const std::string& text) {
    Json::Value list(Json::arrayValue);
    std::size_t start = 0;
    while (start <= text.size()) {
        const auto end = std::min(text.find(',', start), text.size());
        list.append(text.substr(start, end - start));
        start = end + 1;
    }
    return list;
}

/// VLAN words may come in any order; they are put together when all are read.
struct VlanWords {
    bool none = false;
    std::optional<std::uint64_t> access;
    std::optional<Json::Value> trunk;
    std::optional<std::uint64_t> native;
};

void read_vlan(const std::string& key, Words& words, VlanWords& vlan) {
    if (key == "trunk") {
        vlan.trunk = vlan_list(words.take("VLANs such as 10,20-29"));
    } else if (key == "native") {
        vlan.native = words.number("native", model::kVlanFirst, model::kVlanLast);
    } else if (!words.empty() && words.peek() == "none") {
        words.take("none");
        vlan.none = true;
    } else {
        vlan.access = words.number("vlan", model::kVlanFirst, model::kVlanLast);
    }
}

void put_vlan(const VlanWords& words, Json::Value& port) {
    if (words.access && (words.trunk || words.native)) {
        throw Usage(
            "\"vlan\" makes an access port and \"trunk\" and \"native\" a trunk; write one or the other");
    }
    if (words.none) port.removeMember("vlan");
    if (words.access) {
        port["vlan"] = Json::objectValue;
        port["vlan"]["untagged"] = Json::UInt64(*words.access);
        port["vlan"]["tagged"] = Json::arrayValue;
    }
    if (!words.trunk && !words.native) return;
    auto& vlan = port["vlan"];
    const bool was_trunk = vlan.isObject() && !vlan["tagged"].empty();
    if (!words.trunk && !was_trunk) throw Usage("\"native\" is for a trunk; add \"trunk\" and its VLANs");
    if (words.trunk) vlan["tagged"] = *words.trunk;
    if (!was_trunk) vlan["untagged"] = 0;
    if (words.native) vlan["untagged"] = Json::UInt64(*words.native);
}

/// True when `key` was one of a tunnel's.
bool read_tunnel(const std::string& key, Words& words, Json::Value& port) {
    if (key == "vni") {
        port[key] = Json::UInt64(words.number(key, 1, model::kVniMost));
    } else if (key == "udp_port" || key == "ttl") {
        port[key] = Json::UInt64(words.number(key, 1, key == "ttl" ? UINT8_MAX : UINT16_MAX));
    } else if (key == "udp_checksum") {
        port[key] = take_switch(words, key);
    } else if (key == "remote") {
        port["remotes"].append(words.take("a peer's address"));
    } else if (key == "noremote") {
        port["remotes"] = Json::arrayValue;
    } else {
        return false;
    }
    return true;
}

/// True when `key` was one of an uplink's.
bool read_bond(const std::string& key, Words& words, Json::Value& port) {
    if (key == "gro" || key == "promiscuous") {
        port[key] = take_switch(words, key);
    } else if (key == "member") {
        port["members"].append(words.take("a device"));
    } else if (key == "nomember") {
        port.removeMember("members");
        port.removeMember("bond");
    } else {
        return false;
    }
    return true;
}

void read_setting(const std::string& key, Words& words, Json::Value& port) {
    if (read_tunnel(key, words, port) || read_bond(key, words, port)) return;
    if (key == "up" || key == "down") {
        port["up"] = key == "up";
    } else if (key == "mtu") {
        port["mtu"] = Json::UInt64(words.number("mtu (bytes)", model::kMtuLeast, model::kMtuMost));
    } else if (key == "queues") {
        port["queues"] = Json::UInt64(words.number("queues (pairs)", 1, 16));
    } else if (key == "fdb_limit") {
        port["fdb_limit"] = Json::UInt64(words.number("fdb_limit (entries, 0 for the bridge's)", 0, 1048576));
    } else if (key == "guard_mac" || key == "guard_address") {
        port["guard"][key == "guard_mac" ? "macs" : "addresses"].append(
            words.take(key == "guard_mac" ? "a MAC address" : "a network, such as 10.0.0.2/32"));
    } else if (key == "noguard") {
        port.removeMember("guard");
    } else if (key == "rx_rate" || key == "tx_rate") {
        const auto text = words.take("a rate, such as 100mbit, or none");
        const auto rate = text == "none" ? 0 : model::parse_rate(text);
        if (!rate || (*rate != 0 && (*rate < model::kRateLeast || *rate > model::kRateMost)))
            throw Usage("\"" + key + "\" is \"" + text +
                        "\"; it must be a rate from 8kbit to 1000gbit, or none");
        port[key] = Json::UInt64(*rate);
    } else if (key == "rx_burst" || key == "tx_burst") {
        const auto text = words.take("a size in bytes, such as 64k");
        const auto size = model::parse_size(text);
        if (!size || *size > model::kBurstMost)
            throw Usage("\"" + key + "\" is \"" + text + "\"; it must be a size up to 1024m, such as 64k");
        port[key] = Json::UInt64(*size);
    } else if (key == "socket_owner" || key == "socket_group") {
        port[key] = Json::UInt64(words.number(key + " (numeric id)", 0, UINT32_MAX - 1));
    } else if (key == "host") {
        port[key] = words.take("a router interface, which the host shares by this port");
    } else if (key == "nobridge" || key == "nomac" || key == "nohost") {
        port.removeMember(key.substr(2));
        if (key == "nobridge") port.removeMember("vlan");
    } else if (key == "netns") {
        // As "ip netns" names them, or a path.
        const auto netns = words.take("a namespace's name or path");
        port[key] = netns.starts_with("/") ? netns : "/run/netns/" + netns;
    } else {
        port[key == "name" ? "ifname" : key == "type" ? "kind" : key] = words.take("a value");
    }
}

}  // namespace

void read_port_settings(Words& words, Json::Value& port) {
    read_port_settings(
        words, port,
        {"type",          "path",     "mode",     "socket_mode", "socket_owner", "socket_group", "netns",
         "name",          "bridge",   "nobridge", "up",          "down",         "mtu",          "queues",
         "mac",           "nomac",    "vlan",     "trunk",       "native",       "fdb_limit",    "device",
         "member",        "nomember", "bond",     "gro",         "promiscuous",  "vni",          "local",
         "remote",        "noremote", "vrf",      "udp_port",    "ttl",          "udp_checksum", "guard_mac",
         "guard_address", "noguard",  "host",     "nohost",      "rx_rate",      "rx_burst",     "tx_rate",
         "tx_burst"},
        [](const std::string&) { return false; });
}

void read_port_settings(Words& words, Json::Value& port, const std::vector<std::string_view>& keys,
                        const std::function<bool(const std::string& key)>& more) {
    VlanWords vlan;
    while (!words.empty()) {
        const auto key = words.keyword(keys);
        if (more(key)) continue;
        if (key == "vlan" || key == "trunk" || key == "native") {
            read_vlan(key, words, vlan);
        } else {
            read_setting(key, words, port);
        }
    }
    put_vlan(vlan, port);
}

std::string uplink_place(const Json::Value& port) {
    if (!port.isMember("members")) return text_of(port, "device");
    auto text = text_of(port, "bond") + " of";
    for (const auto& member : port["members"])
        text += " " + member.asString();
    return text;
}

}  // namespace viaduct::cli
