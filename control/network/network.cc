#include "network/network.h"

#include <algorithm>
#include <array>

#include <json/json.h>

#include "viaduct/json.h"

namespace viaduct::network {

namespace {

constexpr std::array<std::string_view, 3> kDrivers{"bridge", "routed", "wire"};

/// Words that other tools have as drivers, and why there is nothing to make for them.
const char* reason_against(const std::string& driver) {
    if (driver == "none")
        return "makes no network: a container that was started with --network none has no interface, and "
               "\"viaduct net attach\" gives it one of another network";
    if (driver == "host")
        return "makes no network: a container that was started with --network host is in the node's own "
               "namespace and has the node's interfaces";
    return nullptr;
}

/// The addresses of pods, both ends included.
attachment::Range range_of(const Subnet& subnet) {
    const auto& part = subnet.range.value_or(subnet.prefix);
    attachment::Range range{subnet.prefix, part.network(), part.last(), subnet.gateway};
    if (subnet.prefix.length + 1U >= subnet.prefix.address.bits()) return range;  // RFC 3021: no edges
    if (range.first == subnet.prefix.network()) range.first = *range.first.plus(1);
    if (subnet.prefix.address.is_v4() && range.last == subnet.prefix.last())
        range.last = *subnet.prefix.network().plus(*subnet.prefix.last().minus(subnet.prefix.network()) - 1);
    return range;
}

Subnet subnet_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    Json::Value object = json;
    if (json.isString()) {
        object = Json::objectValue;
        object["subnet"] = json;
    }
    ObjectReader reader(object, where, faults);
    Subnet subnet;
    const auto prefix = [&](const char* key) -> std::optional<Prefix> {
        const auto text = reader.string(key, 64);
        if (!text) return std::nullopt;
        const auto value = Prefix::parse(*text);
        if (!value) {
            reader.fault(key, "is \"" + *text + "\", and must be of the form 10.1.0.0/24 or fd00:1::/64");
        } else if (value->network() != value->address) {
            reader.fault(key, "is " + *text + ", which has host bits; the network is " +
                                  Prefix{value->network(), value->length}.to_string());
        }
        return value;
    };
    const auto whole = prefix("subnet");
    subnet.range = prefix("range");
    if (const auto text = reader.string("gateway", 64)) {
        subnet.gateway = IpAddress::parse(*text);
        if (!subnet.gateway) reader.fault("gateway", "is \"" + *text + "\", which is not an IP address");
    }
    reader.done();
    if (whole) subnet.prefix = *whole;
    if (reader.valid() && !object.isMember("subnet")) reader.fault("subnet", "is required");
    return subnet;
}

void read_common(ObjectReader& reader, Network& network, Faults& faults) {
    network.name = reader.string("name", 256).value_or("");
    const auto place = place_of(network);
    if (!model::is_name(network.name) || !attachment::is_identifier(network.name)) {
        faults.push_back(
            {"name", "is \"" + network.name.substr(0, 64) +
                         "\"; a network's name has 1 to 63 letters, digits, '_', '.' and '-' and "
                         "begins with a letter or digit"});
    } else if (reason_against(network.name) != nullptr || network.name == "default") {
        faults.push_back({place, "cannot be made: the name has a meaning of its own; take another"});
    }
    const auto driver = reader.string("driver", 64).value_or("bridge");
    const auto* found = std::find(kDrivers.begin(), kDrivers.end(), driver);
    if (const auto* reason = reason_against(driver); reason != nullptr) {
        faults.push_back({"driver " + driver, reason});
    } else if (found == kDrivers.end()) {
        faults.push_back({"driver", "is \"" + driver + "\"; there are bridge, routed and wire"});
    } else {
        network.driver = static_cast<Driver>(found - kDrivers.begin());
    }
    if (const auto* list = reader.array("subnets", kSubnetsMost)) {
        for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
            network.subnets.push_back(
                subnet_from_json((*list)[i], reader.place("subnets") + "/" + std::to_string(i), faults));
        }
    }
    network.mtu =
        static_cast<std::uint32_t>(reader.integer("mtu", model::kMtuLeast, model::kMtuMost).value_or(1500));
    network.internal = reader.boolean("internal").value_or(false);
    network.masquerade = reader.boolean("masquerade").value_or(true);
    network.isolated = reader.boolean("isolated").value_or(true);
}

void check_subnet(const Network& network, const Subnet& subnet, Faults& faults) {
    const auto place = place_of(network);
    const auto words = "has subnet " + subnet.prefix.to_string();
    const auto& address = subnet.prefix.address;
    if (address.is_multicast() || address.is_loopback() || address.is_unspecified() ||
        (address.is_link_local() && address.is_v4()) || subnet.prefix.length < 8) {
        faults.push_back({place, words + ", whose addresses no pods can have; take one such as 10.1.0.0/24"});
    }
    if (subnet.prefix.length + 1U > address.bits())
        faults.push_back({place, words + ", which has room for one address; take a larger one"});
    if (!address.is_v4() && network.mtu < model::kMtuLeast6)
        faults.push_back({place, words + " and MTU " + std::to_string(network.mtu) + "; IPv6 needs 1280"});
    if (subnet.range &&
        (!subnet.prefix.contains(subnet.range->address) || subnet.range->length < subnet.prefix.length)) {
        faults.push_back({place, words + " and takes addresses from " + subnet.range->to_string() +
                                     ", which is no part of it"});
    }
    if (!subnet.gateway) return;
    const bool edge = subnet.prefix.length + 1U < address.bits() &&
                      (*subnet.gateway == subnet.prefix.network() ||
                       (address.is_v4() && *subnet.gateway == subnet.prefix.last()));
    if (!subnet.prefix.contains(*subnet.gateway) || edge) {
        faults.push_back({place, words + ", in which no host can have the gateway's address " +
                                     subnet.gateway->to_string()});
    }
}

void check_driver(const Network& network, Faults& faults) {
    const auto place = place_of(network);
    const bool gateway = std::any_of(network.subnets.begin(), network.subnets.end(),
                                     [](const Subnet& subnet) { return subnet.gateway.has_value(); });
    if (network.driver == Driver::wire && gateway)
        faults.push_back({place, "is a wire, on which there is no place for a gateway; leave it out"});
    if (network.driver == Driver::routed && network.internal) {
        faults.push_back({place,
                          "is routed, and its pods reach each other by the router, so that it cannot be "
                          "internal; take driver bridge or leave \"internal\" out"});
    }
    if (network.driver == Driver::bridge && network.internal && gateway)
        faults.push_back({place, "is internal and so has no gateway; leave the gateway or \"internal\" out"});
    if (network.driver == Driver::routed && network.subnets.empty())
        faults.push_back({place, "is routed and needs a subnet"});
}

}  // namespace

std::string_view to_string(Driver driver) {
    return kDrivers.at(static_cast<std::size_t>(driver));
}

std::string place_of(const Network& network) {
    return "network " + network.name.substr(0, 64);
}

Json::Value to_json(const Network& network) {
    Json::Value json(Json::objectValue);
    json["name"] = network.name;
    json["driver"] = std::string(to_string(network.driver));
    json["subnets"] = Json::arrayValue;
    for (const auto& subnet : network.subnets) {
        Json::Value one(Json::objectValue);
        one["subnet"] = subnet.prefix.to_string();
        if (subnet.gateway) one["gateway"] = subnet.gateway->to_string();
        if (subnet.range) one["range"] = subnet.range->to_string();
        json["subnets"].append(std::move(one));
    }
    json["mtu"] = network.mtu;
    json["internal"] = network.internal;
    json["masquerade"] = network.masquerade;
    json["isolated"] = network.isolated;
    if (!network.foreign_id.empty()) json["foreign_id"] = network.foreign_id;
    json["created"] = Json::Int64(network.created);
    return json;
}

Network network_from_json(const Json::Value& json, Faults& faults) {
    ObjectReader reader(json, "", faults);
    Network network;
    if (!reader.valid()) return network;
    read_common(reader, network, faults);
    network.foreign_id = reader.string("foreign_id", 128).value_or("");
    network.created = static_cast<std::int64_t>(reader.integer("created", 0, INT64_MAX).value_or(0));
    reader.done();
    return network;
}

Wanted wanted_from_json(const Json::Value& json, Faults& faults) {
    ObjectReader reader(json, "", faults);
    Wanted wanted;
    if (!reader.valid()) return wanted;
    read_common(reader, wanted.network, faults);
    wanted.ipv6 = reader.boolean("ipv6").value_or(false);
    reader.done();
    return wanted;
}

void complete(Network& network, Faults& faults) {
    if (!network.has_router()) network.masquerade = network.isolated = false;
    for (std::size_t i = 0; i < network.subnets.size(); ++i) {
        auto& subnet = network.subnets[i];
        if (network.has_router() && !subnet.gateway) {
            const bool edges = subnet.prefix.length + 1U < subnet.prefix.address.bits();
            subnet.gateway = edges ? subnet.prefix.network().plus(1) : subnet.prefix.network();
        }
        check_subnet(network, subnet, faults);
        for (std::size_t k = 0; k < i; ++k) {
            if (subnet.prefix.overlaps(network.subnets[k].prefix)) {
                faults.push_back({place_of(network), "has subnets " + network.subnets[k].prefix.to_string() +
                                                         " and " + subnet.prefix.to_string() +
                                                         ", which overlap"});
            }
        }
    }
    check_driver(network, faults);
}

model::Bridge bridge_of(const Network& network) {
    model::Bridge bridge;
    bridge.name = network.name;
    bridge.wire = network.driver == Driver::wire;
    return bridge;
}

std::optional<model::Interface> interface_of(const Network& network) {
    if (!network.has_router()) return std::nullopt;
    model::Interface interface;
    interface.name = network.name;
    interface.bridge = network.name;
    interface.mtu = network.mtu;
    interface.isolated = network.isolated;
    for (const auto& subnet : network.subnets) {
        if (subnet.gateway) interface.addresses.push_back({*subnet.gateway, subnet.prefix.length});
    }
    std::sort(interface.addresses.begin(), interface.addresses.end());
    if (interface.addresses.empty()) return std::nullopt;
    return interface;
}

attachment::Request request_of(const Network& network) {
    attachment::Request request;
    request.key.network = network.name;
    request.bridge = network.name;
    request.wire = network.driver == Driver::wire;
    request.mtu = network.mtu;
    // What a wire carries is the business of its two ends.
    request.guarded = network.driver != Driver::wire;
    request.routed = network.driver == Driver::routed;
    request.gateway = request.default_gateway = network.has_router() && !network.subnets.empty();
    request.masquerade = network.masquerade && request.gateway;
    for (const auto& subnet : network.subnets) {
        // A subnet of each family is enough for a pod; more of one family are where the next addresses are.
        const bool v4 = subnet.prefix.address.is_v4();
        const auto set = std::find_if(request.ranges.begin(), request.ranges.end(), [&](const auto& one) {
            return one.front().subnet.address.is_v4() == v4;
        });
        if (set != request.ranges.end()) {
            set->push_back(range_of(subnet));
            continue;
        }
        request.ranges.push_back({range_of(subnet)});
        if (request.gateway)
            request.routes.push_back({.destination = *Prefix::parse(v4 ? "0.0.0.0/0" : "::/0")});
    }
    return request;
}

}  // namespace viaduct::network
