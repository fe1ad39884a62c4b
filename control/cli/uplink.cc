// viaduct uplink: the node's ways out, by what people call their devices.
#include <iostream>

#include <json/json.h>

#include "cli/edit.h"
#include "cli/port_settings.h"
#include "cli/session.h"

namespace viaduct::cli {

namespace {

constexpr const char* kApi = "/v1/uplinks";

int add(Session& session) {
    Json::Value body;
    body["sources"].append(session.words.take("a PCI address, an interface or a virtual device"));
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
                       {"name", "member",    "bond",    "driver",   "force",   "bridge",  "queues",
                        "mtu",  "vlan",      "trunk",   "native",   "gro",     "up",      "down",
                        "mac",  "fdb_limit", "rx_rate", "rx_burst", "tx_rate", "tx_burst"},
                       more);
    body["port"] = port;
    return session.change(body, "POST", kApi);
}

int del(Session& session) {
    Json::Value body;
    body["name"] = session.words.take("the uplink's name");
    session.words.done();
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
    Json::Value shown(Json::arrayValue);
    for (auto& uplink : answer["uplinks"]) {
        if (wanted && text_of(uplink, "name") != *wanted) continue;
        if (const auto* state = find_named(states["ports"], text_of(uplink, "name"))) {
            for (const char* key : {"link", "detail"}) {
                if (state->isMember(key)) uplink[key] = (*state)[key];
            }
        }
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
          "          [rx_rate RATE [rx_burst SIZE]] [tx_rate RATE [tx_burst SIZE]] [fdb_limit N] [up|down]",
          "make one; several devices make a bond",
          add},
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
        "it.\nname: the port's; default the interface's. Other settings are those of \"viaduct port\", which "
        "also changes them\n(\"viaduct port set NAME gro on\"). A device that is unplugged is taken up again "
        "when it is back.\n",
        {"viaduct uplink add eth1 bridge br0",
         "viaduct uplink add 0000:03:00.0 name wan bridge up queues 4 mtu 9000",
         "viaduct uplink add eth1 member eth2 bond 802.3ad name bond0 bridge br0 trunk 10,20-29",
         "viaduct uplink add eth1 driver af_xdp queues 2 bridge br0 gro on",
         "viaduct uplink add net_pcap0,rx_pcap=/tmp/in.pcap,tx_pcap=/tmp/out.pcap bridge br0",
         "viaduct -j uplink show wan", "viaduct uplink del wan"}};
}

}  // namespace viaduct::cli
