// viaduct port: vhost-user and TAP ports as they are configured.
#include <iostream>
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

void read_setting(const std::string& key, Words& words, Json::Value& port) {
    if (read_tunnel(key, words, port)) return;
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

void read_settings(Session& session, Json::Value& port) {
    VlanWords vlan;
    while (!session.words.empty()) {
        const auto key = session.words.keyword(
            {"type",          "path",      "mode",     "socket_mode", "socket_owner", "socket_group",
             "netns",         "name",      "bridge",   "nobridge",    "up",           "down",
             "mtu",           "queues",    "mac",      "nomac",       "vlan",         "trunk",
             "native",        "fdb_limit", "device",   "vni",         "local",        "remote",
             "noremote",      "vrf",       "udp_port", "ttl",         "udp_checksum", "guard_mac",
             "guard_address", "noguard",   "rx_rate",  "rx_burst",    "tx_rate",      "tx_burst"});
        if (key == "vlan" || key == "trunk" || key == "native") {
            read_vlan(key, session.words, vlan);
        } else {
            read_setting(key, session.words, port);
        }
    }
    put_vlan(vlan, port);
}

int put(Session& session, const Json::Value& port) {
    Faults faults;
    model::port_from_json(port, "ports/" + text_of(port, "name"), faults);
    if (!faults.empty()) throw Refused(faults);
    Json::Value body;
    body["put"]["ports"].append(port);
    return session.change(body);
}

int add(Session& session) {
    Json::Value port;
    const auto name = session.words.take("the port's name");
    port["name"] = name;
    read_settings(session, port);
    if (!port.isMember("kind"))
        throw Usage("port " + name +
                    " needs its type: \"type vhost-user\", \"type tap\", \"type uplink\" or "
                    "\"type vxlan\"");
    if (find_named(session.ask("GET", "/v1/config?only=ports")["ports"], name) != nullptr) {
        throw Failure("port " + name + " exists already; change it with \"viaduct port set " + name +
                      " ...\"");
    }
    return put(session, port);
}

int set(Session& session) {
    const auto name = session.words.take("the port's name");
    const auto config = session.ask("GET", "/v1/config?only=ports");
    const auto* present = find_named(config["ports"], name);
    if (present == nullptr) {
        throw Failure("port " + name +
                      " is not configured; \"viaduct port\" lists the ports, and those of pods are CNI's");
    }
    auto port = *present;
    read_settings(session, port);
    return put(session, port);
}

int del(Session& session) {
    Json::Value body;
    body["delete"]["ports"].append(session.words.take("the port's name"));
    session.words.done();
    return session.change(body);
}

std::string place_of(const Json::Value& port) {
    if (text_of(port, "kind") == "vhost-user") return text_of(port, "mode") + " " + text_of(port, "path");
    if (text_of(port, "kind") == "uplink") return text_of(port, "device");
    if (text_of(port, "kind") == "vxlan") {
        auto text = "vni " + text_of(port, "vni") + " local " + text_of(port, "local");
        for (const auto& remote : port["remotes"])
            text += " remote " + remote.asString();
        return text;
    }
    const auto netns = text_of(port, "netns");
    return text_of(port, "ifname") + (netns.empty() ? "" : " in " + netns);
}

int show(Session& session) {
    const auto wanted = session.words.take_if_any();
    session.words.done();
    const auto desired = session.ask("GET", "/v1/config/desired?only=ports");
    Json::Value shown(Json::arrayValue);
    for (const auto& port : desired["ports"]) {
        if (!wanted || text_of(port, "name") == *wanted) shown.append(port);
    }
    if (wanted && shown.empty())
        throw Failure("port " + *wanted + " does not exist; \"viaduct port\" lists those that do");
    if (session.printed(shown)) return 0;
    Table table({"PORT", "TYPE", "BRIDGE", "VLAN", "MTU", "QUEUES", "ADMIN", "FROM", "PLACE"});
    for (const auto& port : shown) {
        const auto bridge = text_of(port, "bridge");
        table.add({text_of(port, "name"), text_of(port, "kind"), bridge.empty() ? "-" : bridge,
                   vlan_words(port["vlan"]), text_of(port, "mtu"), text_of(port, "queues"),
                   bool_of(port, "up", true) ? "up" : "down", text_of(port, "from"), place_of(port)});
    }
    std::cout << table.text();
    return 0;
}

}  // namespace

Object port_object() {
    const std::string settings =
        "[bridge BRIDGE] [vlan ID] [trunk IDS [native ID]] [mtu BYTES] [queues N]\n"
        "          [mac MAC] [up|down] [fdb_limit N]\n"
        "          [rx_rate RATE|none [rx_burst SIZE]] [tx_rate RATE|none [tx_burst SIZE]]\n"
        "          [guard_mac MAC]... [guard_address PREFIX]...";
    return {
        "port",
        "ports as configured: vhost-user sockets, kernel (TAP) interfaces, uplinks, tunnels",
        {{"show", {"list", "ls", "lst"}, "[NAME]", "list ports, those of pods too", show},
         {"add",
          {},
          "NAME type vhost-user path SOCKET [mode client|server] [socket_mode 0660]\n"
          "          [socket_owner UID] [socket_group GID] " +
              settings +
              "\n"
              "  viaduct port add NAME type tap name INTERFACE [netns NAME|PATH] ...\n"
              "  viaduct port add NAME type uplink device DEVICE ...\n"
              "  viaduct port add NAME type vxlan vni N local ADDRESS [remote ADDRESS]... [vrf VRF]\n"
              "          [udp_port N] [ttl N] [udp_checksum on|off] ...",
          "make one",
          add},
         {"set",
          {"change"},
          "NAME [nobridge] [noguard] [nomac] [noremote] [vlan none] " + settings,
          "change some of its settings",
          set},
         {"del", {"delete"}, "NAME", "delete one", del}},
        "mode: client (default) connects to a socket that the guest or pod makes, and reconnects; server "
        "makes it.\n"
        "vlan: the VLAN of untagged frames (access port). trunk: VLANs that pass tagged; native: that of "
        "untagged\n"
        "frames on a trunk. Both need vlan_filtering on the bridge. mtu: 68 to 9216 bytes, default 1500. "
        "queues:\n"
        "pairs, 1 to 16, default 1. fdb_limit: most addresses learned on the port, default the bridge's "
        "fdb_size.\n"
        "guard_mac, guard_address: from what alone the port may send, and for what answer ARP and neighbour "
        "discovery;\nit may then not serve DHCP or advertise itself as a router either. noguard: it is "
        "trusted.\n"
        "rx_rate: of what comes in from the port, such as 100mbit; tx_rate: of what leaves by it. A burst is "
        "10 ms "
        "of\nthe rate unless given, such as 64k. Without a burst's worth left a sender waits, and so does "
        "what "
        "is to leave.\n"
        "device: a PCI address, or a virtual device of DPDK's with its arguments. local: an address of an "
        "interface of the\nVRF; remote: peers, to which what floods is sent and from which alone anything is "
        "taken.\n",
        {"viaduct port add web type vhost-user path /run/x/vh0 mode client bridge br0 mtu 1500 queues 2 "
         "vlan 10",
         "viaduct port add up0 type tap netns red name eth0 bridge br0 trunk 10,20-30 native 1",
         "viaduct port add wan type uplink device 0000:03:00.0 bridge up queues 2",
         "viaduct port add vx100 type vxlan vni 100 local 192.0.2.2 remote 192.0.2.9 bridge br0",
         "viaduct port set web noguard guard_mac 02:00:00:00:00:07 guard_address 10.1.0.7/32",
         "viaduct port set web rx_rate 100mbit tx_rate 1gbit tx_burst 256k",
         "viaduct port set web down --comment 'for maintenance'", "viaduct port del web --dry-run"}};
}

}  // namespace viaduct::cli
