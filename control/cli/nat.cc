// viaduct nat: masquerades, port forwards and one-to-one translation.
#include <array>
#include <charconv>
#include <iostream>

#include <json/json.h>

#include "viaduct/address.h"

#include "cli/edit.h"

namespace viaduct::cli {

namespace {

void read_masquerade(Words& words, Json::Value& masquerade) {
    while (!words.empty()) {
        const auto key = words.keyword({"source", "except", "noexcept", "dev", "nodev", "pool", "nopool",
                                        "ports", "block", "eim", "vrf"});
        if (key == "except" || key == "pool") {
            masquerade[key].append(
                words.take(key == "pool" ? "addresses, as 192.0.2.8-192.0.2.15" : "a network"));
        } else if (key == "noexcept" || key == "nopool") {
            masquerade[key.substr(2)] = Json::arrayValue;
        } else if (key == "nodev") {
            masquerade.removeMember("interface");
        } else if (key == "block") {
            masquerade[key] = Json::UInt64(words.number("block (ports)", 0, UINT16_MAX));
        } else if (key == "eim") {
            masquerade["endpoint_independent"] = take_switch(words, key);
        } else if (key == "ports") {
            const auto text = words.take("ports, as 1024-65535");
            const auto dash = text.find('-');
            Words low({text.substr(0, dash)});
            Words high({dash == std::string::npos ? text : text.substr(dash + 1)});
            masquerade["port_low"] = Json::UInt64(low.number("ports", 1, UINT16_MAX));
            masquerade["port_high"] = Json::UInt64(high.number("ports", 1, UINT16_MAX));
        } else {
            masquerade[key == "dev" ? "interface" : key] = words.take("a value");
        }
    }
}

struct Endpoint {
    std::string address;
    std::uint64_t port = 0;
    std::uint64_t last = 0;
};

/// "192.0.2.2:80", "192.0.2.2:80-89" or "[2001:db8::2]:80".
Endpoint take_endpoint(Words& words) {
    const auto text = words.take("an address and port, as 192.0.2.2:80 or [2001:db8::2]:80");
    const auto colon = text.rfind(':');
    auto address = text.substr(0, colon);
    if (address.size() > 2 && address.front() == '[' && address.back() == ']')
        address = address.substr(1, address.size() - 2);
    const auto parsed = IpAddress::parse(address);
    const bool bracketed = text.starts_with("[");
    if (colon == std::string::npos || !parsed || parsed->is_v4() == bracketed) {
        throw Usage("\"" + text + "\" is not an address and port, as 192.0.2.2:80 or [2001:db8::2]:80");
    }
    const auto ports = text.substr(colon + 1);
    const auto dash = ports.find('-');
    Words first({ports.substr(0, dash)});
    Words last({dash == std::string::npos ? ports : ports.substr(dash + 1)});
    Endpoint endpoint{address, first.number("port", 1, UINT16_MAX), 0};
    endpoint.last = last.number("port", 1, UINT16_MAX);
    return endpoint;
}

void read_vrf(Words& words, Json::Value& object) {
    if (words.empty()) return;
    words.keyword({"vrf"});
    object["vrf"] = words.take("a VRF's name");
    words.done();
}

void read_forward(Words& words, Json::Value& forward) {
    forward["protocol"] = words.keyword({"tcp", "udp", "sctp"});
    const auto outside = take_endpoint(words);
    words.keyword({"to"});
    const auto inside = take_endpoint(words);
    if (inside.last != inside.port)
        throw Usage("write only the first port behind \"to\"; the others follow it");
    forward["address"] = outside.address;
    forward["port"] = Json::UInt64(outside.port);
    forward["port_last"] = Json::UInt64(outside.last);
    forward["to"] = inside.address;
    forward["to_port"] = Json::UInt64(inside.port);
    read_vrf(words, forward);
}

void read_static(Words& words, Json::Value& nat) {
    nat["outside"] = words.take("the outside address");
    nat["inside"] = words.take("the inside address");
    read_vrf(words, nat);
}

const std::array<Edited, 3>& kinds() {
    static const std::array<Edited, 3> all{
        Edited{"masquerades", "nat masquerade", "masquerade", read_masquerade},
        Edited{"port_forwards", "nat forward", "port forward", read_forward},
        Edited{"static_nats", "nat static", "static NAT", read_static}};
    return all;
}

template <std::size_t kKind>
int edit(Session& session) {
    const auto& kind = kinds()[kKind];
    const auto word = session.words.keyword({"add", "set", "del", "change", "delete"});
    if (word == "add") return add_named(session, kind);
    return word.starts_with("del") ? delete_named(session, kind) : set_named(session, kind);
}

int del(Session& session) {
    const auto name = session.words.take("a name");
    session.words.done();
    const auto config = session.ask("GET", "/v1/config?only=masquerades,port_forwards,static_nats");
    Json::Value body;
    std::string found;
    for (const auto& kind : kinds()) {
        if (find_named(config[kind.list], name) == nullptr) continue;
        if (!found.empty()) {
            throw Failure("there is a " + found + " and a " + kind.noun + " by the name " + name +
                          "; write \"viaduct " + kind.object + " del " + name + "\" for the second");
        }
        found = kind.noun;
        body["delete"][kind.list].append(name);
    }
    if (found.empty())
        throw Failure("nothing by the name " + name + " is configured; \"viaduct nat\" lists what is");
    return session.change(body);
}

std::string with_port(const Json::Value& object, const char* address, const char* port) {
    const auto text = text_of(object, address);
    return (text.find(':') == std::string::npos ? text : "[" + text + "]") + ":" + text_of(object, port);
}

std::string list_words(const Json::Value& list, const std::string& keyword) {
    std::string text;
    for (const auto& one : list)
        text += " " + keyword + " " + one.asString();
    return text;
}

std::string masquerade_words(const Json::Value& one) {
    std::string text = " source " + text_of(one, "source") + list_words(one["except"], "except");
    if (one.isMember("interface")) text += " dev " + text_of(one, "interface");
    text += list_words(one["pool"], "pool") + " ports " + text_of(one, "port_low") + "-" +
            text_of(one, "port_high");
    if (one.isMember("block")) text += " block " + text_of(one, "block");
    return text + (bool_of(one, "endpoint_independent") ? " eim on" : "");
}

std::string forward_words(const Json::Value& one) {
    const auto last = text_of(one, "port_last");
    return " " + text_of(one, "protocol") + " " + with_port(one, "address", "port") +
           (last == text_of(one, "port") ? "" : "-" + last) + " to " + with_port(one, "to", "to_port");
}

int show(Session& session) {
    session.words.done();
    const auto desired = session.ask("GET", "/v1/config/desired?only=masquerades,port_forwards,static_nats");
    Json::Value shown(Json::objectValue);
    for (const auto& kind : kinds())
        shown[kind.list] = desired[kind.list];
    if (session.printed(shown)) return 0;
    const auto print = [](const char* what, const Json::Value& one, const std::string& words) {
        std::cout << what << " " << text_of(one, "name") << words << " vrf " << text_of(one, "vrf")
                  << (text_of(one, "from") == "pods" ? " from pods" : "") << "\n";
    };
    for (const auto& one : shown["masquerades"])
        print("masquerade", one, masquerade_words(one));
    for (const auto& one : shown["port_forwards"])
        print("forward", one, forward_words(one));
    for (const auto& one : shown["static_nats"])
        print("static", one, " " + text_of(one, "outside") + " " + text_of(one, "inside"));
    return 0;
}

/// How the rules in force fare, as the dataplane counts them.
int stats(Session& session) {
    session.words.done();
    const auto state = session.ask("GET", "/v1/state/nat");
    if (session.printed(state)) return 0;
    for (const auto& rule : state["rules"]) {
        std::cout << text_of(rule, "kind") << " " << text_of(rule, "name") << " vrf " << text_of(rule, "vrf")
                  << " flows " << text_of(rule, "flows") << " ports " << text_of(rule, "ports")
                  << " exhausted " << text_of(rule, "exhausted") << "\n";
    }
    for (const auto& address : state["addresses"]) {
        std::cout << "address " << text_of(address, "address") << " vrf " << text_of(address, "vrf")
                  << " protocol " << text_of(address, "protocol") << " ports " << text_of(address, "ports")
                  << " shared " << text_of(address, "shared") << "\n";
    }
    return 0;
}

}  // namespace

Object nat_object() {
    return {"nat",
            "address translation: masquerades, port forwards, one-to-one",
            {{"show", {"list", "ls", "lst"}, "", "list all of it, that of pods too", show},
             {"stats", {}, "", "flows and ports in use, and exhaustion, by rule", stats},
             {"masquerade",
              {},
              "add|set|del NAME source PREFIX [except PREFIX]... [dev INTERFACE]\n"
              "          [pool ADDRESS[-ADDRESS]]... [ports LOW-HIGH] [block N] [eim on|off] [vrf VRF]",
              "hide a network behind few addresses",
              edit<0>},
             {"forward",
              {},
              "add|set|del NAME tcp|udp|sctp ADDRESS:PORT[-PORT] to ADDRESS:PORT [vrf VRF]",
              "pass an address's ports on to another",
              edit<1>},
             {"static",
              {},
              "add|set|del NAME OUTSIDE INSIDE [vrf VRF]",
              "one outside address for one inside, both ways",
              edit<2>},
             {"del", {"delete"}, "NAME", "delete what has this name", del}},
            "source: whose packets. except: destinations left alone. dev: only what leaves by that "
            "interface. pool: "
            "default\nthe first address of the interface by which the packet leaves. ports: default "
            "1024-65535. block: "
            "so many ports of\neach inside address's own. eim: endpoint-independent mapping (RFC 4787).\n",
            {"viaduct nat masquerade add pods source 10.1.0.0/24 except 10.0.0.0/8 dev out",
             "viaduct nat masquerade add big source 10.2.0.0/16 pool 192.0.2.16-192.0.2.31 block 252",
             "viaduct nat forward add web tcp 192.0.2.2:80 to 10.1.0.9:8080",
             "viaduct nat static add mail 192.0.2.50 10.1.0.50", "viaduct nat del web"}};
}

}  // namespace viaduct::cli
