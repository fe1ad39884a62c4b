// What an uplink that is not promiscuous takes, and who must not stand behind it: a device that filters keeps
// back what is for stations that the router knows nothing of.
#include <algorithm>
#include <set>

#include "model_check.h"

namespace viaduct::model {

namespace {

bool has_vlan(const VlanMembership& membership, std::uint16_t vlan) {
    return vlan == membership.untagged ||
           std::any_of(membership.tagged.begin(), membership.tagged.end(),
                       [&](const VlanRange& range) { return vlan >= range.first && vlan <= range.last; });
}

/// Whether frames can go from one to the other without being routed.
bool share_a_vlan(const Bridge& bridge, const Port& a, const Port& b) {
    if (!bridge.vlan_filtering) return true;
    const auto in_a = a.vlan.value_or(VlanMembership{});
    const auto in_b = b.vlan.value_or(VlanMembership{});
    if (in_a.untagged != 0 && has_vlan(in_b, in_a.untagged)) return true;
    if (in_b.untagged != 0 && has_vlan(in_a, in_b.untagged)) return true;
    return std::any_of(in_a.tagged.begin(), in_a.tagged.end(), [&](const VlanRange& x) {
        return std::any_of(in_b.tagged.begin(), in_b.tagged.end(),
                           [&](const VlanRange& y) { return x.first <= y.last && y.first <= x.last; });
    });
}

void check_filter(const Config& config, const Port& uplink, Faults& faults) {
    const auto bridge = config.bridges.find(uplink.bridge);
    if (bridge == config.bridges.end()) return;
    const auto place = "ports/" + uplink.name + "/promiscuous";
    if (bridge->second.wire) {
        faults.push_back({place, "is off, and bridge \"" + uplink.bridge +
                                     "\" is a wire, whose ends have to take everything; turn it on"});
        return;
    }
    for (const auto& [name, port] : config.ports) {
        if (name == uplink.name || port.bridge != uplink.bridge || !port.host.empty()) continue;
        if (!share_a_vlan(bridge->second, uplink, port)) continue;
        faults.push_back({place, "is off, so nothing would come in for port \"" + name + "\" on bridge \"" +
                                     uplink.bridge +
                                     "\"; turn it on, or move that port to a bridge that is routed to"});
        return;
    }
    if (const auto wanted = filter_of(config, uplink).size(); wanted > kFilterMost)
        faults.push_back({place, "is off, and " + std::to_string(wanted) +
                                     " MAC addresses of interfaces are on bridge \"" + uplink.bridge +
                                     "\"; an uplink filters by at most " + std::to_string(kFilterMost)});
}

}  // namespace

std::vector<MacAddress> filter_of(const Config& config, const Port& uplink) {
    const auto bridge = config.bridges.find(uplink.bridge);
    if (bridge == config.bridges.end()) return {};
    const auto membership = uplink.vlan.value_or(VlanMembership{});
    std::set<MacAddress> found;
    for (const auto& [name, interface] : config.interfaces) {
        if (interface.bridge != uplink.bridge) continue;
        if (bridge->second.vlan_filtering && !has_vlan(membership, interface.vlan)) continue;
        found.insert(interface.mac ? *interface.mac : derived_mac(name));
    }
    return {found.begin(), found.end()};
}

void check_filters(const Config& config, Faults& faults) {
    for (const auto& [name, port] : config.ports) {
        if (port.kind == PortKind::uplink && !port.uplink.promiscuous) check_filter(config, port, faults);
    }
}

}  // namespace viaduct::model
