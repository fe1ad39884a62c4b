// What must hold between bridges and what is on them: ports, static FDB entries, tunnels.
#include "model_check.h"

#include <algorithm>

namespace viaduct::model {

namespace {

void check_port(const Config& config, const Port& port, Faults& faults) {
    if (port.bridge.empty()) {
        if (port.vlan)
            faults.push_back({"ports/" + port.name + "/vlan", "needs a bridge, and the port has none"});
        return;
    }
    const auto bridge = config.bridges.find(port.bridge);
    if (bridge == config.bridges.end()) {
        faults.push_back(
            {"ports/" + port.name + "/bridge", "names bridge \"" + port.bridge +
                                                   "\", which does not exist; create it first or in "
                                                   "the same transaction"});
    } else if (port.vlan && !bridge->second.vlan_filtering) {
        faults.push_back(
            {"ports/" + port.name + "/vlan", "needs vlan_filtering on bridge \"" + port.bridge + "\""});
    }
}

/// A port that the host shares an interface by stands where the interface stands.
void check_host(const Config& config, const Port& port, Faults& faults) {
    if (port.host.empty()) return;
    const auto place = "ports/" + port.name + "/host";
    const auto found = config.interfaces.find(port.host);
    if (found == config.interfaces.end()) {
        faults.push_back({place, "names interface \"" + port.host +
                                     "\", which does not exist; create it first or in the same transaction"});
        return;
    }
    const auto& interface = found->second;
    if (port.bridge != interface.bridge) {
        faults.push_back({place, "is interface \"" + interface.name + "\" of bridge \"" + interface.bridge +
                                     "\", and the port must be on it, too"});
    }
    const auto untagged = port.vlan ? port.vlan->untagged : interface.vlan == 0 ? 0 : kDefaultVlan;
    if (untagged != interface.vlan) {
        faults.push_back({place, "is interface \"" + interface.name + "\" on VLAN " +
                                     std::to_string(interface.vlan) +
                                     ", which must be the port's untagged one"});
    }
    if (port.guard) faults.push_back({"ports/" + port.name + "/guard", "is not for the host's own port"});
    const auto mac = interface.mac ? *interface.mac : derived_mac(interface.name);
    if (port.mac && *port.mac != mac) {
        faults.push_back({"ports/" + port.name + "/mac", "is " + port.mac->to_string() + ", and that of \"" +
                                                             interface.name + "\", which it shares, is " +
                                                             mac.to_string() + "; leave it out"});
    }
}

/// What only one port can have.
std::vector<std::string> places_taken_by(const Port& port) {
    switch (port.kind) {
        case PortKind::vhost_user:
            return {"socket " + port.vhost.path};
        case PortKind::tap:
            // A namespace named by two ports through two paths is one namespace.
            return {"interface " + port.tap.ifname +
                    (port.tap.netns_inode != 0 ? " in namespace inode " + std::to_string(port.tap.netns_inode)
                                               : " in namespace " + port.tap.netns)};
        case PortKind::uplink:
            return places_of(port.uplink);
        case PortKind::vxlan:
            return {"VNI " + std::to_string(port.vxlan.vni) + " at " + port.vxlan.local.to_string() +
                    " of VRF " + port.vxlan.vrf};
        case PortKind::wire:
            break;
    }
    return {};
}

void check_unique_places(const Config& config, Faults& faults) {
    std::map<std::string, std::string> holders;
    for (const auto& [name, port] : config.ports) {
        auto places = places_taken_by(port);
        if (!port.host.empty()) places.push_back("the host's share of interface " + port.host);
        for (auto& place : places) {
            const auto [holder, is_new] = holders.emplace(std::move(place), name);
            if (is_new) continue;
            faults.push_back({"ports/" + name, "uses " + holder->first + ", which port \"" + holder->second +
                                                   "\" has; give it another"});
            break;
        }
    }
}

void check_remote(const FdbEntry& entry, const Port& port, Faults& faults) {
    const auto place = place_of_object(entry) + "/remote";
    if (port.kind != PortKind::vxlan) {
        if (entry.remote)
            faults.push_back(
                {place, "is for vxlan ports, and port \"" + port.name + "\" is none; leave it out"});
        return;
    }
    const auto& remotes = port.vxlan.remotes;
    if (entry.remote && std::find(remotes.begin(), remotes.end(), *entry.remote) != remotes.end()) return;
    std::string known;
    for (std::size_t i = 0; i < std::min<std::size_t>(remotes.size(), 4); ++i)
        known += (known.empty() ? "" : ", ") + remotes[i].to_string();
    if (remotes.size() > 4) known += ", ...";
    faults.push_back({place, (entry.remote ? "is " + entry.remote->to_string() + ", which is not among"
                                           : std::string("is required on a vxlan port: one of")) +
                                 " the remotes of port \"" + port.name + "\" (" +
                                 (known.empty() ? "it has none" : known) + ")"});
}

void check_fdb(const Config& config, const FdbEntry& entry, Faults& faults) {
    const auto place = place_of_object(entry);
    const auto bridge = config.bridges.find(entry.bridge);
    if (bridge == config.bridges.end()) {
        faults.push_back({place, "names bridge \"" + entry.bridge + "\", which does not exist"});
        return;
    }
    if (bridge->second.vlan_filtering != (entry.vlan != 0)) {
        faults.push_back(
            {place, bridge->second.vlan_filtering
                        ? "needs a vlan: bridge \"" + entry.bridge + "\" filters VLANs"
                        : "must have no vlan: bridge \"" + entry.bridge + "\" does not filter VLANs"});
    }
    const auto port = config.ports.find(entry.port);
    if (port == config.ports.end()) {
        faults.push_back({place, "names port \"" + entry.port + "\", which does not exist"});
    } else if (port->second.bridge != entry.bridge) {
        faults.push_back(
            {place, "names port \"" + entry.port + "\", which is not on bridge \"" + entry.bridge + "\""});
    } else {
        check_remote(entry, port->second, faults);
    }
}

/// What is on wires, where there is room for two ports and nothing else.
void check_wires(const Config& config, Faults& faults) {
    std::map<std::string, std::vector<std::string>> ports;
    for (const auto& [name, port] : config.ports) {
        const auto bridge = config.bridges.find(port.bridge);
        if (bridge != config.bridges.end() && bridge->second.wire) ports[port.bridge].push_back(name);
    }
    for (const auto& [wire, names] : ports) {
        for (std::size_t i = 2; i < names.size(); ++i)
            faults.push_back({"ports/" + names[i] + "/bridge",
                              "is wire \"" + wire + "\", which has its two ends: ports \"" + names[0] +
                                  "\" and \"" + names[1] + "\"; name another bridge"});
    }
    const auto is_wire = [&](const std::string& name) {
        const auto bridge = config.bridges.find(name);
        return bridge != config.bridges.end() && bridge->second.wire;
    };
    for (const auto& [name, bridge] : config.bridges) {
        if (bridge.wire && bridge.vlan_filtering)
            faults.push_back(
                {"bridges/" + name + "/vlan_filtering", "is not for a wire, which carries every tag"});
    }
    for (const auto& [name, interface] : config.interfaces) {
        if (is_wire(interface.bridge))
            faults.push_back({"interfaces/" + name + "/bridge",
                              "is wire \"" + interface.bridge + "\"; a router's interface needs a switch"});
    }
    for (const auto& [key, entry] : config.fdb) {
        if (is_wire(entry.bridge))
            faults.push_back(
                {place_of_object(entry), "is on wire \"" + entry.bridge + "\", which asks for no address"});
    }
}

void check_fdb_sizes(const Config& config, Faults& faults) {
    std::map<std::string, std::size_t> statics;
    for (const auto& [key, entry] : config.fdb)
        ++statics[entry.bridge];
    for (const auto& [name, interface] : config.interfaces)
        ++statics[interface.bridge];
    for (const auto& [name, count] : statics) {
        const auto bridge = config.bridges.find(name);
        if (bridge != config.bridges.end() && count > bridge->second.fdb_size) {
            faults.push_back({"bridges/" + name + "/fdb_size",
                              "is " + std::to_string(bridge->second.fdb_size) + ", too small for its " +
                                  std::to_string(count) + " static entries and interfaces"});
        }
    }
}

void check_remotes(const Port& port, Faults& faults) {
    const auto place = "ports/" + port.name + "/remotes";
    auto remotes = port.vxlan.remotes;
    for (const auto& remote : remotes) {
        if (remote.is_v4() != port.vxlan.local.is_v4()) {
            faults.push_back({place, "names " + remote.to_string() +
                                         ", which is not of the family of local " +
                                         port.vxlan.local.to_string()});
        } else if (!is_host_address(remote)) {
            faults.push_back(
                {place, "names " + remote.to_string() + ", which is not the address of one host"});
        } else if (remote == port.vxlan.local) {
            faults.push_back({place, "names " + remote.to_string() + ", the tunnel's own end"});
        }
    }
    std::sort(remotes.begin(), remotes.end());
    const auto twice = std::adjacent_find(remotes.begin(), remotes.end());
    if (twice != remotes.end()) faults.push_back({place, "names " + twice->to_string() + " twice"});
}

/// The interface of `vrf` that has `address` as its own.
const Interface* interface_with(const Config& config, const std::string& vrf, const IpAddress& address) {
    for (const auto& [name, interface] : config.interfaces) {
        if (interface.vrf != vrf) continue;
        for (const auto& own : interface.addresses) {
            if (own.address == address) return &interface;
        }
    }
    return nullptr;
}

}  // namespace

bool vrf_exists(const Config& config, const std::string& vrf) {
    return vrf == kDefaultVrf || config.vrfs.contains(vrf);
}

std::string no_such_vrf(const std::string& vrf) {
    return "names VRF \"" + vrf + "\", which does not exist; create it first or in the same transaction";
}

bool is_host_address(const IpAddress& address) {
    if (address.is_multicast() || address.is_unspecified() || address.is_loopback()) return false;
    // 0/8 is "this network" (RFC 1122 3.2.1.3), 240/4 is reserved and holds the broadcast address.
    if (address.is_v4()) return address.bytes()[0] != 0 && address.bytes()[0] < 240;
    // ::ffff:0:0/96: IPv4 in disguise never stands in a packet (RFC 4291 2.5.5.2).
    static const Prefix mapped = *Prefix::parse("::ffff:0:0/96");
    return !mapped.contains(address);
}

void check_tunnels(const Config& config, Faults& faults) {
    for (const auto& [name, port] : config.ports) {
        if (port.kind != PortKind::vxlan) continue;
        check_remotes(port, faults);
        if (!vrf_exists(config, port.vxlan.vrf)) {
            faults.push_back({"ports/" + name + "/vrf", no_such_vrf(port.vxlan.vrf)});
            continue;
        }
        const auto* interface = interface_with(config, port.vxlan.vrf, port.vxlan.local);
        if (interface == nullptr) {
            faults.push_back({"ports/" + name + "/local",
                              "is " + port.vxlan.local.to_string() + ", which no interface of VRF \"" +
                                  port.vxlan.vrf + "\" has; give it to the one that leads to the remotes"});
        } else if (interface->bridge == port.bridge && config.bridges.contains(port.bridge) &&
                   !config.bridges.at(port.bridge).vlan_filtering) {
            faults.push_back(
                {"ports/" + name + "/bridge",
                 "is \"" + port.bridge + "\", where interface \"" + interface->name +
                     "\" has the tunnel's end: it would carry its own packets; use another bridge"});
        }
    }
}

void check(const Config& config, Faults& faults, const Config* sound) {
    for (const auto& [name, port] : config.ports) {
        check_port(config, port, faults);
        check_host(config, port, faults);
    }
    check_unique_places(config, faults);
    for (const auto& [key, entry] : config.fdb)
        check_fdb(config, entry, faults);
    check_wires(config, faults);
    check_filters(config, faults);
    check_fdb_sizes(config, faults);
    check_interfaces(config, faults);
    check_routes(config, faults, sound);
    check_neighbours(config, faults);
    check_tunnels(config, faults);
    check_nat(config, faults);
    check_services(config, faults, sound);
}

}  // namespace viaduct::model
