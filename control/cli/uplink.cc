// viaduct uplink: the node's ways out, by what people call their devices.
#include <iostream>

#include <json/json.h>

#include "cli/edit.h"
#include "cli/port_settings.h"
#include "cli/session.h"

namespace viaduct::cli {

namespace {

constexpr const char* kApi = "/v1/uplinks";

/// "60", "60s" or "5m": seconds.
std::uint64_t seconds_from(const std::string& text) {
    const auto digits = text.find_first_not_of("0123456789");
    const auto unit = digits == std::string::npos ? "s" : text.substr(digits);
    if (digits == 0 || text.empty() || text.size() > 8 || (unit != "s" && unit != "m"))
        throw Usage("\"" + text + "\" is no time; write 60s or 5m");
    return std::stoull(text) * (unit == "m" ? 60 : 1);
}

/// The host keeps its addresses, on an interface of the same name.
int take_over(Session& session, const std::string& interface) {
    Json::Value body(Json::objectValue);
    body["interface"] = interface;
    auto& words = session.words;
    while (!words.empty()) {
        const auto key = words.keyword({"take", "confirm-within", "force", "driver", "queues"});
        if (key == "confirm-within") {
            body["confirm_within"] =
                Json::UInt64(seconds_from(words.take("a time such as 60s, after which it comes back")));
        } else if (key == "driver") {
            body["driver"] = words.keyword({"af_packet", "af_xdp"});
        } else if (key == "queues") {
            body["queues"] = Json::UInt64(words.number("queues (pairs)", 1, 16));
        } else if (key == "force") {
            body["force"] = true;
        }
    }
    if (session.arguments.dry_run)
        throw Usage("--take cannot be tried without being done; say --confirm-within");
    const auto taken = session.ask("POST", std::string(kApi) + "/take", body);
    if (session.printed(taken)) return 0;
    if (taken.isMember("seconds_left")) {
        std::cout << "viaduct: " << interface << " comes back in " << text_of(taken, "seconds_left")
                  << " s unless you say \"viaduct uplink confirm " << interface << "\"\n";
    }
    return 0;
}

int confirm(Session& session) {
    Json::Value body(Json::objectValue);
    body["interface"] = session.words.take("the interface that was taken");
    session.words.done();
    session.ask("POST", std::string(kApi) + "/confirm", body);
    return 0;
}

int add(Session& session) {
    const auto source = session.words.take("a PCI address, an interface or a virtual device");
    if (session.words.has("take")) return take_over(session, source);
    Json::Value body;
    body["sources"].append(source);
    Json::Value port(Json::objectValue);
    const auto more = [&](const std::string& key) {
        auto& words = session.words;
        if (key == "driver") {
            body["driver"] = words.keyword({"af_packet", "af_xdp", "vfio-pci"});
        } else if (key == "force") {
            body["force"] = true;
        } else if (key == "member") {
            body["sources"].append(words.take("a PCI address, an interface or a virtual device"));
        } else if (key == "name") {
            port["name"] = words.take("the port's name");
        } else {
            return false;
        }
        return true;
    };
    read_port_settings(session.words, port,
                       {"name", "member", "bond",      "driver",  "force",    "bridge",      "queues",
                        "mtu",  "vlan",   "trunk",     "native",  "gro",      "promiscuous", "up",
                        "down", "mac",    "fdb_limit", "rx_rate", "rx_burst", "tx_rate",     "tx_burst"},
                       more);
    body["port"] = port;
    return session.change(body, "POST", kApi);
}

const Json::Value* taken_named(const Json::Value& answer, const std::string& name) {
    for (const auto& one : answer["taken"]) {
        if (text_of(one, "interface") == name) return &one;
    }
    return nullptr;
}

int del(Session& session) {
    Json::Value body(Json::objectValue);
    const auto name = session.words.take("the uplink's name");
    session.words.done();
    const auto answer = session.ask("GET", kApi);
    if (taken_named(answer, name) != nullptr) {
        if (session.arguments.dry_run) throw Usage("what is given back cannot be tried without being done");
        body["interface"] = name;
        session.ask("POST", std::string(kApi) + "/release", body);
        return 0;
    }
    body["name"] = name;
    return session.change(body, "POST", std::string(kApi) + "/delete");
}

/// "igb, taken from ixgbe", of a PCI device.
std::string hands_words(const Json::Value& device) {
    if (!device.isMember("present")) return {};
    std::string words = !device["present"].asBool()         ? "not there"
                        : text_of(device, "driver").empty() ? "no driver"
                                                            : text_of(device, "driver");
    const auto former = text_of(device, "former_driver");
    if (device.isMember("former_driver")) words += former.empty() ? ", had none" : ", taken from " + former;
    return " (" + words + ")";
}

std::string taken_words(const Json::Value& taken) {
    if (taken.isNull()) return {};
    std::string words = " taken from the host";
    if (taken.isMember("seconds_left"))
        words += ", comes back in " + text_of(taken, "seconds_left") + " s unless it is confirmed";
    return words;
}

void print_uplink(const Json::Value& uplink, const Json::Value* state) {
    std::cout << text_of(uplink, "name") << ": ";
    const bool bond = uplink.isMember("members");
    if (bond) std::cout << "bond " << text_of(uplink, "bond") << " of ";
    bool first = true;
    for (const auto& device : uplink["devices"]) {
        std::cout << (first ? "" : " ") << text_of(device, "device") << hands_words(device);
        first = false;
    }
    const auto bridge = text_of(uplink, "bridge");
    if (!bridge.empty()) std::cout << " bridge " << bridge;
    if (uplink["vlan"].isObject()) std::cout << " vlan " << vlan_words(uplink["vlan"]);
    std::cout << " mtu " << text_of(uplink, "mtu") << " queues " << text_of(uplink, "queues");
    if (bool_of(uplink, "gro")) std::cout << " gro on";
    if (!bool_of(uplink, "promiscuous", true)) std::cout << " promiscuous off";
    std::cout << taken_words(uplink["taken"]);
    if (state == nullptr) {
        std::cout
            << " state MISSING\n    not in the dataplane; \"viaduct config show\" and control's log say "
               "why\n";
        return;
    }
    std::cout << " state " << (text_of(*state, "link") == "up" ? "UP" : "DOWN") << "\n";
    if (const auto detail = text_of(*state, "detail"); !detail.empty()) std::cout << "    " << detail << "\n";
}

int show(Session& session) {
    const auto wanted = session.words.take_if_any();
    session.words.done();
    auto answer = session.ask("GET", std::string(kApi) + "/devices");
    const auto states = session.ask("GET", "/v1/state/ports");
    const auto taken = session.ask("GET", kApi);
    Json::Value shown(Json::arrayValue);
    for (auto& uplink : answer["uplinks"]) {
        if (wanted && text_of(uplink, "name") != *wanted) continue;
        if (const auto* state = find_named(states["ports"], text_of(uplink, "name"))) {
            for (const char* key : {"link", "detail", "promiscuous", "filter"}) {
                if (state->isMember(key)) uplink[key] = (*state)[key];
            }
        }
        if (const auto* one = taken_named(taken, text_of(uplink, "name"))) uplink["taken"] = *one;
        shown.append(uplink);
    }
    if (wanted && shown.empty())
        throw Failure("uplink " + *wanted + " does not exist; \"viaduct uplink\" lists those that do");
    answer["uplinks"] = shown;
    if (session.printed(answer)) return 0;
    for (const auto& uplink : shown)
        print_uplink(uplink, find_named(states["ports"], text_of(uplink, "name")));
    if (wanted) return 0;
    for (const auto& device : answer["unused"])
        std::cout << text_of(device, "device") << hands_words(device)
                  << " has no uplink any more; \"viaduct uplink del " << text_of(device, "device")
                  << "\" gives it back\n";
    return 0;
}

}  // namespace

Object uplink_object() {
    return {
        "uplink",
        "the node's ways out: network cards, kernel interfaces, bonds of them",
        {{"show", {"list", "ls", "lst"}, "[NAME]", "list uplinks, their devices and links", show},
         {"add",
          {},
          "PCI-ADDRESS|INTERFACE|VDEV [name NAME] [driver af_packet|af_xdp|vfio-pci] [force]\n"
          "          [member PCI-ADDRESS|INTERFACE|VDEV]... [bond active-backup|802.3ad|balance-xor]\n"
          "          [bridge BRIDGE] [vlan ID] [trunk IDS [native ID]] [mtu BYTES] [queues N] [gro on|off]\n"
          "          [promiscuous on|off]\n"
          "          [rx_rate RATE [rx_burst SIZE]] [tx_rate RATE [tx_burst SIZE]] [fdb_limit N] [up|down]\n"
          "  viaduct uplink add INTERFACE --take [--confirm-within TIME] [--force] [driver af_packet|af_xdp] "
          "[queues N]",
          "make one; several devices make a bond; what is taken from the host it keeps its addresses by",
          add},
         {"confirm", {}, "INTERFACE", "keep what was taken: the node can be reached", confirm},
         {"del", {"delete"}, "NAME|PCI-ADDRESS", "delete one, and give its devices back to the host", del}},
        "An INTERFACE is driven by af_packet, which any has and which shares it with the host; driver af_xdp "
        "takes its\nframes before the host sees them, and needs XDP sockets in the kernel. A PCI-ADDRESS is "
        "taken from the host's\ndriver and bound to vfio-pci, which needs an IOMMU; \"uplink del\" gives it "
        "back. What the host uses is refused\nunless \"force\" is said. A VDEV is a virtual device of DPDK's "
        "with its arguments.\n"
        "bond: active-backup (default) has one device carry everything until its link goes; 802.3ad agrees "
        "with "
        "the\nneighbour by LACP; balance-xor spreads flows over all that have a link.\n"
        "gro: TCP segments of one connection that come in together go on as one, to pods and guests that "
        "take "
        "it.\npromiscuous: off: the device takes what is for groups and for the router's interfaces on its "
        "bridge, and\nnothing else; it follows as they come and go. No pods then, on that bridge: they are "
        "routed to. A device that has\nno room for a second address is refused in words that say which "
        "address the interface should have.\ntake: the host goes on by an interface of the same name, with "
        "the addresses, routes and "
        "neighbours "
        "that it had,\nand gets them back with \"uplink del\". confirm-within: it comes back by itself "
        "unless "
        "\"uplink confirm\" is said\nin this time; needed, or force, for the way that the node's only "
        "default "
        "route goes.\nname: the port's; default the interface's. Other settings are those of \"viaduct "
        "port\", which "
        "also changes them\n(\"viaduct port set NAME gro on\"). A device that is unplugged is taken up again "
        "when it is back.\n",
        {"viaduct uplink add eth1 bridge br0", "viaduct uplink add eth0 --take --confirm-within 60s",
         "viaduct uplink confirm eth0",
         "viaduct uplink add 0000:03:00.0 name wan bridge up queues 4 mtu 9000",
         "viaduct uplink add eth1 member eth2 bond 802.3ad name bond0 bridge br0 trunk 10,20-29",
         "viaduct uplink add eth1 driver af_xdp queues 2 bridge br0 gro on",
         "viaduct uplink add net_pcap0,rx_pcap=/tmp/in.pcap,tx_pcap=/tmp/out.pcap bridge br0",
         "viaduct -j uplink show wan", "viaduct uplink del wan"}};
}

}  // namespace viaduct::cli
