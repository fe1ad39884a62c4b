#include "docker/reading.h"

#include <algorithm>

#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/labels.h"

namespace viaduct::docker {

namespace {

constexpr const char* kGeneric = "com.docker.network.generic";
constexpr const char* kInternal = "com.docker.network.internal";
constexpr const char* kPortMap = "com.docker.network.portmap";
constexpr const char* kLabels = "viaduct.labels";

void refuse_any(const Faults& faults) {
    if (!faults.empty()) throw Refused(faults);
}

/// "true" and "false" as Docker's options have them.
bool is_true(ObjectReader& reader, const std::string& key, const std::string& value) {
    if (value == "true" || value == "1") return true;
    if (value != "false" && value != "0")
        reader.fault(key.c_str(), "is \"" + value.substr(0, 64) + "\"; it must be true or false");
    return false;
}

/// What was given with "docker network create -o KEY=VALUE"; what is not known is refused, never ignored.
void read_driver_options(const Json::Value& generic, network::Network& network, Faults& faults) {
    ObjectReader reader(generic, "-o", faults);
    if (!reader.valid()) return;
    for (const auto& key : reader.unread()) {
        const auto value = reader.string(key.c_str(), 256).value_or("");
        if (key == "com.docker.network.driver.mtu" || key == "mtu") {
            const bool digits =
                !value.empty() && value.size() < 6 &&
                std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
            const auto mtu = digits ? std::stoul(value) : 0;
            if (mtu < model::kMtuLeast || mtu > model::kMtuMost) {
                reader.fault(key.c_str(), "is \"" + value + "\"; it must be a number from 68 to 9216");
            } else {
                network.mtu = static_cast<std::uint32_t>(mtu);
            }
        } else if (key == "com.docker.network.bridge.enable_ip_masquerade" || key == "masquerade") {
            network.masquerade = is_true(reader, key, value);
        } else if (key == "viaduct.name") {
            network.name = value;
            if (!model::is_name(value) || !attachment::is_identifier(value))
                reader.fault(key.c_str(),
                             "is \"" + value.substr(0, 64) + "\", which no network can be called");
        } else {
            reader.fault(
                key.c_str(),
                "is not known; there are com.docker.network.driver.mtu, masquerade and viaduct.name");
        }
    }
}

/// [{"Pool": "10.1.0.0/24", "Gateway": "10.1.0.1/24", ...}]
void read_ipam_data(const Json::Value* list, network::Network& network, Faults& faults) {
    if (list == nullptr) return;
    for (const auto& one : *list) {
        ObjectReader reader(one, "IPAM data", faults);
        const auto text = reader.string("Pool", 64).value_or("");
        const auto pool = Prefix::parse(text);
        if (!pool) {
            reader.fault("Pool", "is \"" + text + "\", which is not a network");
            continue;
        }
        if (pool->length == 0) continue;  // of Docker's "null" address management
        network::Subnet subnet{{pool->network(), pool->length}, std::nullopt, std::nullopt};
        const auto gateway = reader.string("Gateway", 64).value_or("");
        const auto prefix = Prefix::parse(gateway);
        if (!network.internal && prefix) subnet.gateway = prefix->address;
        if (!gateway.empty() && !prefix)
            reader.fault("Gateway", "is \"" + gateway + "\", which is not of the form 10.1.0.1/24");
        network.subnets.push_back(subnet);
    }
}

attachment::PortMapping read_mapping(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader one(json, where, faults);
    attachment::PortMapping mapping;
    const auto port = [&](const char* key) {
        return static_cast<std::uint16_t>(one.integer(key, 0, UINT16_MAX).value_or(0));
    };
    mapping.container_port = port("Port");
    mapping.host_port = port("HostPort");
    const auto protocol = one.integer("Proto", 0, 255).value_or(6);
    const auto host = one.string("HostIP", 64).value_or("");
    mapping.host_address = IpAddress::parse(host);
    if (mapping.host_address && mapping.host_address->is_unspecified()) mapping.host_address.reset();
    if (!host.empty() && !IpAddress::parse(host)) one.fault("HostIP", "is not an IP address");
    if (protocol != 6 && protocol != 17 && protocol != 132)
        one.fault("Proto",
                  "is " + std::to_string(protocol) + "; ports of tcp, udp and sctp can be published");
    mapping.protocol = static_cast<model::Transport>(protocol);
    if (one.valid() && mapping.container_port == 0) one.fault("Port", "is required, from 1 to 65535");
    if (one.valid() && mapping.host_port == 0) {
        faults.push_back({"port " + std::to_string(mapping.container_port),
                          "is to be published at a port of the driver's choice, which Docker has no way to "
                          "be told; name one, as in -p 8080:" +
                              std::to_string(mapping.container_port)});
    }
    return mapping;
}

}  // namespace

network::Wanted read_network(const Json::Value& request) {
    Faults faults;
    ObjectReader reader(request, "", faults);
    network::Wanted wanted;
    auto& network = wanted.network;
    network.foreign_id = reader.string("NetworkID", kIdMost).value_or("");
    if (!attachment::is_identifier(network.foreign_id)) reader.fault("NetworkID", "is required");
    network.name = "docker-" + network.foreign_id.substr(0, kShortId);
    if (const auto* options = reader.object("Options")) {
        ObjectReader inner(*options, "Options", faults);
        network.internal = inner.boolean(kInternal).value_or(false);
        if (const auto* generic = inner.object(kGeneric)) read_driver_options(*generic, network, faults);
    }
    read_ipam_data(reader.array("IPv4Data", network::kSubnetsMost), network, faults);
    read_ipam_data(reader.array("IPv6Data", network::kSubnetsMost), network, faults);
    if (faults.empty() && network.subnets.empty())
        faults.push_back({network::place_of(network), "has no addresses; leave \"--ipam-driver null\" out"});
    refuse_any(faults);
    return wanted;
}

std::vector<attachment::PortMapping> read_port_map(const Json::Value& request) {
    std::vector<attachment::PortMapping> mappings;
    Faults faults;
    ObjectReader reader(request, "", faults);
    const auto* options = reader.valid() ? reader.object("Options") : nullptr;
    if (options != nullptr) {
        ObjectReader inner(*options, "Options", faults);
        const auto* list = inner.array(kPortMap, attachment::kListMost);
        for (Json::ArrayIndex i = 0; list != nullptr && i < list->size(); ++i)
            mappings.push_back(read_mapping((*list)[i], "portmap/" + std::to_string(i), faults));
    }
    refuse_any(faults);
    return mappings;
}

EndpointId read_endpoint_id(const Json::Value& request) {
    return {read_text(request, "NetworkID", kIdMost), read_text(request, "EndpointID", kIdMost)};
}

std::string read_text(const Json::Value& request, const char* key, std::size_t most) {
    Faults faults;
    ObjectReader reader(request, "", faults);
    auto text = reader.string(key, most).value_or("");
    refuse_any(faults);
    return text;
}

Endpoint read_endpoint(const Json::Value& request) {
    Endpoint endpoint{read_endpoint_id(request), {}, {}, {}};
    Faults faults;
    ObjectReader reader(request, "", faults);
    if (const auto* interface = reader.object("Interface")) {
        ObjectReader inner(*interface, "Interface", faults);
        for (const char* key : {"Address", "AddressIPv6"}) {
            const auto text = inner.string(key, 64).value_or("");
            if (text.empty()) continue;
            if (const auto prefix = Prefix::parse(text)) {
                endpoint.addresses.push_back(*prefix);
            } else {
                inner.fault(key, "is \"" + text + "\", which is not of the form 10.1.0.2/24");
            }
        }
        const auto mac = inner.string("MacAddress", 64).value_or("");
        endpoint.mac = MacAddress::parse(mac);
        if (!mac.empty() && (!endpoint.mac || endpoint.mac->is_multicast() || endpoint.mac->is_zero()))
            inner.fault("MacAddress", "is \"" + mac + "\", which no interface can have");
    }
    if (const auto* options = reader.object("Options")) {
        ObjectReader inner(*options, "Options", faults);
        const auto labels = inner.string(kLabels, kLabelsBytesMost).value_or("");
        endpoint.labels = parse_labels(labels, std::string("option ") + kLabels, faults);
    }
    refuse_any(faults);
    return endpoint;
}

}  // namespace viaduct::docker
