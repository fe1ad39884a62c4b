// viaduct port: vhost-user and TAP ports as they are configured.
#include <iostream>

#include <json/json.h>

#include "viaduct/model.h"

#include "cli/port_settings.h"
#include "cli/session.h"

namespace viaduct::cli {

namespace {

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
    read_port_settings(session.words, port);
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
    read_port_settings(session.words, port);
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
    if (text_of(port, "kind") == "uplink") return uplink_place(port);
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
              "  viaduct port add NAME type tap name INTERFACE [netns NAME|PATH] [host INTERFACE] ...\n"
              "  viaduct port add NAME type uplink device DEVICE [gro on|off] [promiscuous on|off] ...\n"
              "  viaduct port add NAME type uplink member DEVICE member DEVICE... [bond MODE] ...\n"
              "  viaduct port add NAME type vxlan vni N local ADDRESS [remote ADDRESS]... [vrf VRF]\n"
              "          [udp_port N] [ttl N] [udp_checksum on|off] ...",
          "make one",
          add},
         {"set",
          {"change"},
          "NAME [nobridge] [noguard] [nomac] [noremote] [nomember] [vlan none] [gro on|off]\n"
          "          [promiscuous on|off] " +
              settings,
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
        "host: the router interface whose addresses and MAC address the node's own kernel shares by this "
        "TAP.\n"
        "rx_rate: of what comes in from the port, such as 100mbit; tx_rate: of what leaves by it. A burst is "
        "10 ms "
        "of\nthe rate unless given, such as 64k. Without a burst's worth left a sender waits, and so does "
        "what "
        "is to leave.\n"
        "device, member: a PCI address, or a virtual device of DPDK's with its arguments; \"viaduct uplink\" "
        "makes them of\ninterfaces' names. local: an address of an interface of the\nVRF; remote: peers, to "
        "which what floods is sent and from which alone anything is "
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
