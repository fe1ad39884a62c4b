#include "host/taken_objects.h"

#include <algorithm>

#include "viaduct/fault.h"
#include "viaduct/model_kinds.h"

#include "host/taken.h"

namespace viaduct::host {

namespace {

/// DPDK takes a virtual device's driver from the begin of its name.
std::string device_of(const TakeRequest& request) {
    auto name = request.interface;
    std::erase_if(name, [](char c) { return c == ',' || c == '='; });
    const auto queues = std::to_string(request.queues);
    const bool xdp = request.driver == "af_xdp";
    auto device = "net_" + request.driver + "_" + name + ",iface=" + request.interface;
    if (request.queues > 1) device += (xdp ? ",queue_count=" : ",qpairs=") + queues;
    return device;
}

/// Whether a route leads out by this interface alone.
bool leads_by(const model::Route& route, const std::string& interface) {
    return !route.next_hops.empty() && std::ranges::all_of(route.next_hops, [&](const model::NextHop& hop) {
        return hop.interface == interface;
    });
}

bool on_link(const node::InterfaceState& state, const IpAddress& address) {
    if (!address.is_v4() && address.is_link_local()) return true;
    return std::ranges::any_of(state.prefixes, [&](const Prefix& own) { return own.contains(address); });
}

}  // namespace

std::string host_port_name(const std::string& interface) {
    return interface + "-host";
}

void check_free(const model::Config& config, const std::string& interface) {
    const auto refuse = [&](const std::string& why) { throw Refused("uplinks/" + interface, why); };
    if (!model::is_name(interface))
        refuse("has a name that no port can have; rename it (ip link set ... name)");
    if (config.bridges.contains(interface)) refuse("has the name of a bridge, which must go first");
    if (config.interfaces.contains(interface))
        refuse("has the name of a router interface, which must go first");
    for (const auto& name : {interface, host_port_name(interface)}) {
        if (config.ports.contains(name)) refuse("would make port " + name + ", which is there already");
    }
    for (const auto& [name, port] : config.ports) {
        if (port.kind != model::PortKind::uplink || !port.uplink.netns.empty()) continue;
        for (const auto& device : model::devices_of(port.uplink)) {
            if (model::device_interface(device) == interface) {
                std::string why = "is what uplink ";
                why += name;
                why += " stands on; delete that first (viaduct uplink del ";
                refuse(why + name + ")");
            }
        }
    }
}

model::Change objects_of(const TakeRequest& request, const node::InterfaceState& state,
                         const model::Config& config, const std::string& netns) {
    const auto& name = request.interface;
    model::Change change;
    auto& put = change.put;
    model::Bridge bridge;
    bridge.name = name;
    put.bridges.emplace(name, bridge);
    model::Interface interface;
    interface.name = interface.bridge = name;
    interface.mac = state.mac;
    interface.mtu = state.mtu;
    interface.addresses = state.prefixes;
    std::sort(interface.addresses.begin(), interface.addresses.end());
    put.interfaces.emplace(name, interface);
    model::Port uplink;
    uplink.name = uplink.bridge = name;
    uplink.kind = model::PortKind::uplink;
    uplink.mtu = state.mtu;
    uplink.queues = request.queues;
    uplink.uplink.device = device_of(request);
    uplink.uplink.netns = netns;
    put.ports.emplace(name, uplink);
    model::Port host;
    host.name = host_port_name(name);
    host.bridge = host.host = name;
    host.kind = model::PortKind::tap;
    host.mtu = state.mtu;
    host.queues = request.queues;
    host.tap.ifname = name;
    put.ports.emplace(host.name, host);
    for (const auto& gateway : state.gateways) {
        model::Route route;
        route.prefix = gateway.destination;
        if (!gateway.via || !on_link(state, *gateway.via) || config.routes.contains(route.key())) continue;
        route.next_hops = {{gateway.via, name, 1}};
        put.routes.emplace(route.key(), route);
    }
    return change;
}

bool is_whole(const model::Config& config, const std::string& interface) {
    return config.interfaces.contains(interface) && config.ports.contains(interface) &&
           config.ports.contains(host_port_name(interface));
}

model::Change removal_of_ports(const model::Config& config, const std::string& interface) {
    model::Change change;
    for (const auto& name : {interface, host_port_name(interface)}) {
        if (!config.ports.contains(name)) continue;
        change.delete_ports.insert(name);
        for (const auto& [key, entry] : config.fdb) {
            if (entry.port == name) change.delete_fdb.insert(key);
        }
    }
    return change;
}

model::Change removal_of(const model::Config& config, const std::string& interface) {
    auto change = removal_of_ports(config, interface);
    if (config.interfaces.contains(interface)) change.delete_interfaces.insert(interface);
    if (config.bridges.contains(interface)) change.delete_bridges.insert(interface);
    for (const auto& [key, route] : config.routes) {
        if (leads_by(route, interface)) change.delete_routes.insert(key);
    }
    return change;
}

model::Change removal_with_dependents(const model::Config& config, const std::string& interface) {
    auto change = removal_of(config, interface);
    // What refers to something that goes, goes too; and what refers to that.
    for (bool more = true; more;) {
        more = false;
        const auto goes = [&](const auto& kind, const std::string& name) {
            return (change.*kind.deleted).contains(name);
        };
        model::for_each_kind([&](const auto& kind) {
            for (const auto& [key, object] : config.*kind.objects) {
                if ((change.*kind.deleted).contains(key)) continue;
                bool hit = false;
                model::for_each_reference(
                    object, [&](const auto& to, const std::string& name) { hit = hit || goes(to, name); });
                if (!hit) continue;
                (change.*kind.deleted).insert(key);
                more = true;
            }
        });
    }
    return change;
}

}  // namespace viaduct::host
