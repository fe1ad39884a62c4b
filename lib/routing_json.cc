// The JSON form of VRFs, interfaces, routes and neighbours.
#include <algorithm>

#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model.h"

#include "model_reading.h"

namespace viaduct::model {

namespace {

std::vector<Prefix> read_addresses(ObjectReader& reader) {
    std::vector<Prefix> addresses;
    for (const auto& text : reader.strings("addresses").value_or(std::vector<std::string>{})) {
        if (const auto prefix = Prefix::parse(text)) {
            addresses.push_back(*prefix);
        } else {
            reader.fault("addresses",
                         "holds \"" + text +
                             "\"; addresses are written with their network's length, as \"10.0.0.1/24\"");
        }
    }
    std::sort(addresses.begin(), addresses.end());
    if (std::adjacent_find(addresses.begin(), addresses.end()) != addresses.end())
        reader.fault("addresses", "names an address twice");
    return addresses;
}

/// `reader` is at the next hop itself, or at a route that has just one.
std::optional<NextHop> read_next_hop(ObjectReader& reader) {
    NextHop hop;
    hop.via = read_address(reader, "via", Need::optional);
    const auto interface = read_name(reader, "interface", Need::required);
    set_integer(reader, "weight", 1, 256, hop.weight);
    if (!interface) return std::nullopt;
    hop.interface = *interface;
    return hop;
}

std::vector<NextHop> read_next_hops(ObjectReader& reader, Faults& faults) {
    std::vector<NextHop> hops;
    if (const auto* list = reader.array("next_hops", kNextHopsMost)) {
        for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
            ObjectReader one((*list)[i], reader.place("next_hops") + "/" + std::to_string(i), faults);
            if (const auto hop = read_next_hop(one)) hops.push_back(*hop);
            one.done();
        }
        std::sort(hops.begin(), hops.end());
    } else if (reader.member("interface") != nullptr || reader.member("via") != nullptr) {
        if (const auto hop = read_next_hop(reader)) hops.push_back(*hop);
    }
    return hops;
}

Json::Value to_json(const NextHop& hop) {
    Json::Value json(Json::objectValue);
    if (hop.via) json["via"] = hop.via->to_string();
    json["interface"] = hop.interface;
    if (hop.weight != 1) json["weight"] = hop.weight;
    return json;
}

}  // namespace

Json::Value to_json(const Vrf& vrf) {
    Json::Value json(Json::objectValue);
    json["name"] = vrf.name;
    json["forwarding4"] = vrf.forwarding4;
    json["forwarding6"] = vrf.forwarding6;
    return json;
}

std::optional<Vrf> vrf_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Vrf vrf;
    const auto name = read_name(reader, "name", Need::required);
    set_boolean(reader, "forwarding4", vrf.forwarding4);
    set_boolean(reader, "forwarding6", vrf.forwarding6);
    reader.done();
    if (!name) return std::nullopt;
    vrf.name = *name;
    return vrf;
}

Json::Value to_json(const Interface& interface) {
    Json::Value json(Json::objectValue);
    json["name"] = interface.name;
    json["bridge"] = interface.bridge;
    if (interface.vlan != 0) json["vlan"] = interface.vlan;
    json["vrf"] = interface.vrf;
    json["up"] = interface.up;
    if (interface.mac) json["mac"] = interface.mac->to_string();
    auto& addresses = json["addresses"] = Json::arrayValue;
    for (const auto& address : interface.addresses)
        addresses.append(address.to_string());
    json["mtu"] = interface.mtu;
    json["reverse_path"] = std::string(to_string(interface.reverse_path));
    json["proxy_arp"] = interface.proxy_arp;
    if (interface.isolated) json["isolated"] = true;
    for (const auto& prefix : interface.allow_from)
        json["allow_from"].append(prefix.to_string());
    json["router_advertisements"] = interface.router_advertisements;
    json["clamp_mss"] = interface.clamp_mss;
    return json;
}

std::optional<Interface> interface_from_json(const Json::Value& json, const std::string& where,
                                             Faults& faults) {
    ObjectReader reader(json, where, faults);
    Interface interface;
    const auto name = read_name(reader, "name", Need::required);
    const auto bridge = read_name(reader, "bridge", Need::required);
    set_integer(reader, "vlan", 0, kVlanLast, interface.vlan);
    read_vrf(reader, interface.vrf);
    set_boolean(reader, "up", interface.up);
    interface.mac = read_mac(reader, "mac", Need::optional);
    interface.addresses = read_addresses(reader);
    set_integer(reader, "mtu", kMtuLeast, kMtuMost, interface.mtu);
    if (const auto check = reader.choice("reverse_path", {"off", "loose", "strict"}))
        interface.reverse_path = static_cast<ReversePath>(*check);
    set_boolean(reader, "proxy_arp", interface.proxy_arp);
    set_boolean(reader, "isolated", interface.isolated);
    for (const auto& text : reader.strings("allow_from", kAllowedMost).value_or(std::vector<std::string>())) {
        if (const auto prefix = network_from(reader, "allow_from", text))
            interface.allow_from.push_back(*prefix);
    }
    std::sort(interface.allow_from.begin(), interface.allow_from.end());
    const auto twice = std::unique(interface.allow_from.begin(), interface.allow_from.end());
    interface.allow_from.erase(twice, interface.allow_from.end());
    set_boolean(reader, "router_advertisements", interface.router_advertisements);
    set_boolean(reader, "clamp_mss", interface.clamp_mss);
    reader.done();
    if (!name || !bridge) return std::nullopt;
    interface.name = *name;
    interface.bridge = *bridge;
    return interface;
}

/// What a million routes have in common is not written.
Json::Value to_json(const Route& route) {
    Json::Value json(Json::objectValue);
    json["vrf"] = route.vrf;
    json["prefix"] = route.prefix.to_string();
    if (route.kind != RouteKind::unicast) json["kind"] = std::string(to_string(route.kind));
    if (!route.next_hops.empty()) {
        auto& hops = json["next_hops"] = Json::arrayValue;
        for (const auto& hop : route.next_hops)
            hops.append(to_json(hop));
    }
    if (route.mtu != 0) json["mtu"] = route.mtu;
    return json;
}

std::optional<Route> route_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    const auto faults_before = faults.size();
    ObjectReader reader(json, where, faults);
    Route route;
    read_vrf(reader, route.vrf);
    const auto prefix = read_network(reader, "prefix", Need::required);
    if (const auto kind = reader.choice("kind", {"unicast", "blackhole", "unreachable", "prohibit"}))
        route.kind = static_cast<RouteKind>(*kind);
    route.next_hops = read_next_hops(reader, faults);
    if (reader.valid() && faults.size() == faults_before) {
        if (route.kind == RouteKind::unicast && route.next_hops.empty()) {
            reader.fault("next_hops",
                         "are required: each an \"interface\" and, unless the destination is on its "
                         "link, \"via\" the address of a router");
        } else if (route.kind != RouteKind::unicast && !route.next_hops.empty()) {
            reader.fault("next_hops", "make no sense for a route of kind " +
                                          std::string(to_string(route.kind)) + ": nothing is sent anywhere");
        }
    }
    set_integer(reader, "mtu", 0, kMtuMost, route.mtu);
    if (route.mtu != 0 && route.mtu < kMtuLeast)
        reader.fault("mtu", "must be 0 (the interface's) or from 68 to 9216");
    reader.done();
    if (!prefix) return std::nullopt;
    route.prefix = *prefix;
    return route;
}

Json::Value to_json(const Neighbour& neighbour) {
    Json::Value json(Json::objectValue);
    json["interface"] = neighbour.interface;
    json["address"] = neighbour.address.to_string();
    json["mac"] = neighbour.mac.to_string();
    return json;
}

std::optional<Neighbour> neighbour_from_json(const Json::Value& json, const std::string& where,
                                             Faults& faults) {
    ObjectReader reader(json, where, faults);
    const auto interface = read_name(reader, "interface", Need::required);
    const auto address = read_address(reader, "address", Need::required);
    const auto mac = read_mac(reader, "mac", Need::required);
    reader.done();
    if (!interface || !address || !mac) return std::nullopt;
    return Neighbour{*interface, *address, *mac};
}

}  // namespace viaduct::model
