// Docker's words (libnetwork's netlabel package and docs/remote.md) turned into networks and attachments.
#include "docker/driver.h"

#include <algorithm>

#include <json/json.h>

#include "viaduct/json.h"

#include "node/netns.h"
#include "pod/failure.h"

namespace viaduct::docker {

namespace {

constexpr const char* kGeneric = "com.docker.network.generic";
constexpr const char* kInternal = "com.docker.network.internal";
constexpr const char* kPortMap = "com.docker.network.portmap";
constexpr std::size_t kIdMost = 128;
constexpr std::size_t kShortId = 12;  ///< digits that Docker shows

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

/// Interfaces in the node's namespace are Docker's for a moment only: their names tell whose they are.
std::string source_name(const std::string& endpoint) {
    return "vd" + endpoint.substr(0, kShortId);
}

/// Where Docker looks for interfaces: the node's own namespace, by a path that means the same to everybody.
constexpr const char* kNodeNamespace = "/proc/1/ns/net";

}  // namespace

std::vector<attachment::PortMapping> read_port_map(const Json::Value& options) {
    std::vector<attachment::PortMapping> mappings;
    Faults faults;
    ObjectReader reader(options, "Options", faults);
    const auto* list = reader.valid() ? reader.array(kPortMap, attachment::kListMost) : nullptr;
    for (Json::ArrayIndex i = 0; list != nullptr && i < list->size(); ++i) {
        ObjectReader one((*list)[i], "portmap/" + std::to_string(i), faults);
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
            faults.push_back(
                {"port " + std::to_string(mapping.container_port),
                 "is to be published at a port of the driver's choice, which Docker has no way to "
                 "be told; name one, as in -p 8080:" +
                     std::to_string(mapping.container_port)});
        }
        mappings.push_back(mapping);
    }
    refuse_any(faults);
    return mappings;
}

void Driver::create_network(const Json::Value& request) {
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
    networks_.create(std::move(wanted), false, "Docker");
}

void Driver::delete_network(const std::string& id) {
    const auto network = networks_.find_foreign(id);
    if (network) networks_.remove(network->name, "Docker");
}

network::Network Driver::network_of(const EndpointId& id) const {
    auto network = networks_.find_foreign(id.network);
    if (!network || id.network.empty())
        throw Refused("network " + id.network.substr(0, kIdMost),
                      "is none that Docker made here; remove it from Docker and make it again");
    return *network;
}

attachment::Key Driver::key_of(const EndpointId& id) const {
    if (!attachment::is_identifier(id.endpoint) || id.endpoint.size() > kIdMost)
        throw Refused("EndpointID", "is \"" + id.endpoint.substr(0, 64) + "\", which is no id");
    return {network_of(id).name, id.endpoint, source_name(id.endpoint)};
}

pod::Record Driver::record_of(const EndpointId& id) const {
    const auto key = key_of(id);
    for (const auto& record : attachments_.list()) {
        if (record.request.key == key) return record;
    }
    throw Refused("endpoint " + id.endpoint, "is not known; disconnect the container and connect it again");
}

MacAddress Driver::create_endpoint(const Endpoint& endpoint) {
    const auto network = network_of(endpoint.id);
    auto request = network::request_of(network);
    request.key = key_of(endpoint.id);
    request.netns = kNodeNamespace;
    request.handed_over = true;
    request.mac = endpoint.mac;
    // Addresses are Docker's to give, and routes its to set.
    request.ranges.clear();
    request.routes.clear();
    for (const auto& address : endpoint.addresses) {
        attachment::Address own{address, std::nullopt};
        for (const auto& subnet : network.subnets) {
            if (subnet.prefix.contains(address.address)) own.gateway = subnet.gateway;
        }
        if (request.gateway && !own.gateway) {
            throw Refused("endpoint " + endpoint.id.endpoint,
                          "has address " + address.to_string() + ", which is in no subnet of the network");
        }
        request.addresses.push_back(own);
    }
    // By its address, so that whoever knew the container before it was restarted still knows its MAC address.
    if (!request.mac && !endpoint.addresses.empty())
        request.mac = model::derived_mac(network.foreign_id + endpoint.addresses.front().to_string());
    return attachments_.add(std::move(request), node::Namespace::own()).mac;
}

void Driver::delete_endpoint(const EndpointId& id) {
    if (!networks_.find_foreign(id.network)) return;
    attachments_.remove(key_of(id), std::nullopt);
}

Json::Value Driver::endpoint_info(const EndpointId& id) const {
    return pod::describe(record_of(id));
}

Driver::Joined Driver::join(const EndpointId& id, const std::string& sandbox) {
    const auto record = record_of(id);
    if (sandbox.empty() || sandbox[0] != '/')
        throw Refused("SandboxKey", "is \"" + sandbox.substr(0, 64) + "\"; it must be a namespace's path");
    attachments_.expect_move(record.request.key, sandbox);
    Joined joined;
    // Whoever moved it out before has moved it back under this name.
    joined.ifname = record.request.key.ifname;
    for (const auto& address : record.attached.addresses) {
        auto& gateway = address.address.address.is_v4() ? joined.gateway4 : joined.gateway6;
        if (!gateway) gateway = address.gateway;
    }
    return joined;
}

void Driver::leave(const EndpointId& id) {
    attachments_.expect_move(record_of(id).request.key, "");
}

void Driver::publish(const EndpointId& id, std::vector<attachment::PortMapping> mappings) {
    const auto record = record_of(id);
    if (mappings.empty() && record.request.port_mappings.empty()) return;
    if (!mappings.empty() && !record.request.gateway)
        throw Refused(network::place_of(network_of(id)),
                      "is internal: no port of its containers can be published");
    attachments_.publish(record.request.key, std::move(mappings));
}

}  // namespace viaduct::docker
