#include "pod/routing.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace viaduct::pod {

namespace {

Prefix host_prefix(const IpAddress& address) {
    return {address, static_cast<std::uint8_t>(address.bits())};
}

std::string family(const IpAddress& address) {
    return address.is_v4() ? "-4" : "-6";
}

/// The VLAN of a pod's untagged frames, which are those that are routed; 0 on a bridge without VLANs.
std::uint16_t vlan_of(const Record& record, const model::Config& desired) {
    const auto bridge = desired.bridges.find(record.request.bridge);
    if (bridge == desired.bridges.end() || !bridge->second.vlan_filtering) return 0;
    return record.request.vlan ? record.request.vlan->untagged : model::kDefaultVlan;
}

bool has_address(const model::Interface& interface, const IpAddress& address) {
    return std::any_of(interface.addresses.begin(), interface.addresses.end(),
                       [&](const Prefix& own) { return own.address == address; });
}

/// Where a mapping without a host address stands.
std::vector<IpAddress> node_addresses(const model::Config& desired, bool v4) {
    std::vector<IpAddress> addresses;
    for (const auto& [name, interface] : desired.interfaces) {
        if (interface.vrf != model::kDefaultVrf) continue;
        for (const auto& own : interface.addresses) {
            if (own.address.is_v4() == v4 && !own.address.is_link_local()) addresses.push_back(own.address);
        }
    }
    return addresses;
}

void add_masquerade(const Record& record, const attachment::Address& address, model::Config& into) {
    const auto& own = address.address;
    model::Masquerade masquerade;
    masquerade.name = record.attached.port + family(own.address);
    masquerade.source = host_prefix(own.address);
    masquerade.except = {{own.network(), own.length}};
    into.masquerades.emplace(masquerade.name, masquerade);
}

void add_forward(const Record& record, std::size_t index, const IpAddress& at, const IpAddress& pod,
                 model::Config& into) {
    const auto& mapping = record.request.port_mappings[index];
    model::PortForward forward;
    // By the address and not by its place among others, so that it stays when others come and go.
    forward.name = record.attached.port + "-" + std::to_string(index) + "-" + short_hash(at.to_string());
    forward.protocol = mapping.protocol;
    forward.address = at;
    forward.port = mapping.host_port;
    forward.port_last = static_cast<std::uint16_t>(mapping.host_port + mapping.count - 1);
    forward.to = pod;
    forward.to_port = mapping.container_port;
    into.port_forwards.emplace(forward.name, forward);
}

std::string words_for(const model::PortForward& forward) {
    return std::string(model::to_string(forward.protocol)) + " port " + std::to_string(forward.port) +
           (forward.port == forward.port_last ? "" : "-" + std::to_string(forward.port_last)) + " at " +
           forward.address.to_string();
}

}  // namespace

std::string gateway_name(const std::string& network) {
    auto name = "gw-" + network.substr(0, 40);
    std::replace_if(
        name.begin(), name.end(), [](char c) { return !model::is_name(std::string("a") + c); }, '_');
    return name + "-" + short_hash(network);
}

void choose_gateways(Record& record) {
    if (!record.request.gateway) return;
    for (auto& address : record.attached.addresses) {
        const auto& own = address.address;
        if (!address.gateway && own.length < own.address.bits()) address.gateway = own.network().plus(1);
        if (address.gateway == own.address) {
            throw Refused("isGateway",
                          "would make " + own.address.to_string() +
                              ", the pod's own address, its gateway; let the IPAM keep the gateway's "
                              "address free or name another");
        }
    }
    const auto& vlan = record.request.vlan;
    if (vlan && vlan->untagged == 0) {
        throw Refused("isGateway",
                      "is for the pod's untagged frames, and its port has only tagged VLANs; name a "
                      "\"vlan\" beside \"vlanTrunk\"");
    }
}

void add_gateway(const Record& record, model::Config& desired, std::set<std::string>& shared) {
    if (!record.request.gateway) return;
    for (const auto& address : record.attached.addresses) {
        if (!address.gateway) continue;
        const bool configured =
            std::any_of(desired.interfaces.begin(), desired.interfaces.end(), [&](const auto& entry) {
                return !shared.contains(entry.first) && entry.second.bridge == record.request.bridge &&
                       has_address(entry.second, *address.gateway);
            });
        if (configured) continue;
        const auto name = gateway_name(record.request.key.network);
        shared.insert(name);
        auto& interface = desired.interfaces[name];
        interface.name = name;
        interface.bridge = record.request.bridge;
        interface.vlan = vlan_of(record, desired);
        interface.isolated = record.request.isolated;
        interface.mtu = std::max(interface.addresses.empty() ? 0 : interface.mtu, record.request.mtu);
        if (has_address(interface, *address.gateway)) continue;
        interface.addresses.push_back({*address.gateway, address.address.length});
        std::sort(interface.addresses.begin(), interface.addresses.end());
    }
}

void add_translation(const Record& record, const model::Config& desired, model::Config& into) {
    for (const auto& address : record.attached.addresses) {
        if (record.request.masquerade) add_masquerade(record, address, into);
    }
    const auto& mappings = record.request.port_mappings;
    for (const bool v4 : {true, false}) {
        const auto pod = std::find_if(record.attached.addresses.begin(), record.attached.addresses.end(),
                                      [&](const auto& one) { return one.address.address.is_v4() == v4; });
        if (mappings.empty() || pod == record.attached.addresses.end()) continue;
        const auto node = node_addresses(desired, v4);
        for (std::size_t i = 0; i < mappings.size(); ++i) {
            const auto& host = mappings[i].host_address;
            if (host) {
                if (host->is_v4() == v4) add_forward(record, i, *host, pod->address.address, into);
                continue;
            }
            for (const auto& at : node)
                add_forward(record, i, at, pod->address.address, into);
        }
    }
}

void refuse_clashes(const Record& record, const model::Config& desired, const std::vector<Record>& others) {
    // With its gateway, at whose addresses ports are published too.
    auto with_gateway = desired;
    std::set<std::string> shared;
    add_gateway(record, with_gateway, shared);
    model::Config mine;
    add_translation(record, with_gateway, mine);
    std::map<std::tuple<std::string, model::Transport, IpAddress>, std::vector<const model::PortForward*>>
        held;
    const auto holders = [&](const model::PortForward& forward) -> auto& {
        return held[{forward.vrf, forward.protocol, forward.address}];
    };
    for (const auto& [name, forward] : desired.port_forwards)
        holders(forward).push_back(&forward);
    const auto words_of_holder = [&](const std::string& name) {
        if (name.starts_with(record.attached.port + "-")) return std::string("the same pod");
        const auto pod = std::find_if(others.begin(), others.end(), [&](const Record& one) {
            return name.starts_with(one.attached.port + "-");
        });
        return pod != others.end() ? words_for(*pod) : "port forward \"" + name + "\"";
    };
    for (const auto& [name, forward] : mine.port_forwards) {
        auto& there = holders(forward);
        for (const auto* other : there) {
            if (forward.port > other->port_last || other->port > forward.port_last) continue;
            throw Refused("portMappings", "cannot publish " + words_for(forward) + ": " +
                                              words_of_holder(other->name) + " has " + words_for(*other) +
                                              "; take another host port or host address");
        }
        there.push_back(&forward);
    }
}

void check_mappings(const Record& record, const model::Config& translation) {
    const auto& mappings = record.request.port_mappings;
    for (std::size_t i = 0; i < mappings.size(); ++i) {
        const auto front = record.attached.port + "-" + std::to_string(i) + "-";
        const auto first = translation.port_forwards.lower_bound(front);
        if (first != translation.port_forwards.end() && first->first.starts_with(front)) continue;
        const auto port = std::to_string(mappings[i].host_port);
        const auto& host = mappings[i].host_address;
        throw Refused(
            "portMappings",
            "cannot publish port " + port +
                (host ? " at " + host->to_string() + ": the pod has no address of that IP version"
                      : ": the router has no address of the pod's IP version to publish it at; set "
                        "\"isGateway\": true, make an interface with \"viaduct interface add\", or name a "
                        "hostIP"));
    }
}

}  // namespace viaduct::pod
