// viaduct interface: the router's legs on bridges.
#include <iostream>

#include <json/json.h>

#include "viaduct/model.h"

#include "cli/edit.h"

namespace viaduct::cli {

namespace {

void read_setting(const std::string& key, Words& words, Json::Value& interface) {
    if (key == "up" || key == "down") {
        interface["up"] = key == "up";
    } else if (key == "vlan") {
        interface["vlan"] = Json::UInt64(words.number("vlan", model::kVlanFirst, model::kVlanLast));
    } else if (key == "mtu") {
        interface["mtu"] = Json::UInt64(words.number("mtu (bytes)", model::kMtuLeast, model::kMtuMost));
    } else if (key == "nomac" || key == "novlan") {
        interface.removeMember(key.substr(2));
    } else if (key == "address") {
        interface["addresses"].append(words.take("an address with its network's length, as 10.0.0.1/24"));
    } else if (key == "noaddress") {
        interface["addresses"] = Json::arrayValue;
    } else if (key == "rpf") {
        const std::vector<std::string_view> modes = {"strict", "loose", "off"};
        interface["reverse_path"] = std::string(modes[match(words.take("strict, loose or off"), modes, key)]);
    } else if (key == "proxy_arp" || key == "clamp_mss") {
        interface[key] = take_switch(words, key);
    } else if (key == "isolated") {
        interface[key] = take_switch(words, key);
    } else if (key == "allow_from") {
        interface[key].append(words.take("a network, as 10.90.0.0/24"));
    } else if (key == "noallow_from") {
        interface["allow_from"] = Json::arrayValue;
    } else if (key == "ra") {
        interface["router_advertisements"] = take_switch(words, key);
    } else {
        interface[key] = words.take("a value");
    }
}

void read_settings(Words& words, Json::Value& interface) {
    while (!words.empty()) {
        const auto key = words.keyword({"bridge", "vlan", "novlan", "vrf", "up", "down", "mac", "nomac",
                                        "mtu", "address", "noaddress", "rpf", "proxy_arp", "ra", "clamp_mss",
                                        "isolated", "allow_from", "noallow_from"});
        read_setting(key, words, interface);
    }
}

const Edited& edited() {
    static const Edited interface { "interfaces", "interface", "interface", read_settings };
    return interface;
}

int show(Session& session) {
    const auto shown = shown_objects(session, edited());
    if (session.printed(shown)) return 0;
    Table table({"INTERFACE", "BRIDGE", "VLAN", "VRF", "MTU", "MAC", "RPF", "ADMIN", "FROM", "ADDRESSES"});
    for (const auto& one : shown) {
        std::string addresses;
        for (const auto& address : one["addresses"])
            addresses += (addresses.empty() ? "" : " ") + address.asString();
        const auto mac = text_of(one, "mac");
        table.add({text_of(one, "name"), text_of(one, "bridge"),
                   one.isMember("vlan") ? text_of(one, "vlan") : "-", text_of(one, "vrf"),
                   text_of(one, "mtu"),
                   mac.empty() ? model::derived_mac(text_of(one, "name")).to_string() : mac,
                   text_of(one, "reverse_path"), bool_of(one, "up", true) ? "up" : "down",
                   text_of(one, "from"), addresses});
    }
    std::cout << table.text();
    return 0;
}

}  // namespace

Object interface_object() {
    const std::string settings =
        "[vlan ID] [vrf VRF] [mac MAC] [mtu BYTES] [address PREFIX]...\n"
        "          [rpf strict|loose|off] [proxy_arp on|off] [ra on|off] [clamp_mss on|off] [up|down]\n"
        "          [isolated on|off] [allow_from NETWORK]... [noallow_from]";
    return {
        "interface",
        "the router's legs on bridges: gateways of what is attached there",
        {{"show", {"list", "ls", "lst"}, "[NAME]", "list interfaces, those of pods' networks too", show},
         {"add",
          {},
          "NAME bridge BRIDGE " + settings,
          "make one",
          [](Session& session) { return add_named(session, edited()); }},
         {"set",
          {"change"},
          "NAME [noaddress] [nomac] [novlan] [bridge BRIDGE] " + settings,
          "change some of its settings",
          [](Session& session) { return set_named(session, edited()); }},
         {"del",
          {"delete"},
          "NAME",
          "delete one that no route goes by",
          [](Session& session) { return delete_named(session, edited()); }}},
        "vlan: needed on a bridge that filters VLANs, and only there. mac: default one made of the name. "
        "mtu: "
        "longest IP\npacket, 68 to 9216, default 1500. rpf: which source addresses are believed (RFC 3704), "
        "default loose.\nproxy_arp: answer ARP and ND for whatever a route leads to elsewhere. ra: send "
        "router "
        "advertisements.\nclamp_mss: lower TCP's segment size to what the way carries. Addresses: also "
        "\"viaduct addr\".\n",
        {"viaduct interface add gw0 bridge br0 address 10.1.0.1/24 address fd00:1::1/64 ra on",
         "viaduct interface set gw0 mtu 9000 clamp_mss on --dry-run", "viaduct interface del gw0"}};
}

}  // namespace viaduct::cli
