// Docker's ids and words turned into networks and attachments, which keep them.
#include "docker/driver.h"

#include <algorithm>

#include <json/json.h>

#include "viaduct/json.h"

#include "node/netns.h"
#include "pod/failure.h"

namespace viaduct::docker {

namespace {

/// Interfaces in the node's namespace are Docker's for a moment only: their names tell whose they are.
std::string source_name(const std::string& endpoint) {
    return "vd" + endpoint.substr(0, kShortId);
}

/// Where Docker looks for interfaces: the node's own namespace, by a path that means the same to everybody.
constexpr const char* kNodeNamespace = "/proc/1/ns/net";

}  // namespace

void Driver::create_network(network::Wanted wanted) {
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

std::optional<pod::Record> Driver::find(const EndpointId& id) const {
    if (!networks_.find_foreign(id.network)) return std::nullopt;
    const auto key = key_of(id);
    for (const auto& record : attachments_.list()) {
        if (record.request.key == key) return record;
    }
    return std::nullopt;
}

pod::Record Driver::record_of(const EndpointId& id) const {
    if (auto record = find(id)) return *record;
    throw Refused("endpoint " + id.endpoint.substr(0, kIdMost),
                  "is not known; disconnect the container and connect it again");
}

MacAddress Driver::create_endpoint(const Endpoint& endpoint) {
    const auto network = network_of(endpoint.id);
    auto request = network::request_of(network);
    request.key = key_of(endpoint.id);
    request.netns = kNodeNamespace;
    request.handed_over = true;
    request.mac = endpoint.mac;
    request.pod_labels = endpoint.labels;
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
    // After a reboot Docker takes leave of what is gone already.
    if (const auto record = find(id)) attachments_.expect_move(record->request.key, "");
}

void Driver::publish(const EndpointId& id, std::vector<attachment::PortMapping> mappings) {
    const auto record = record_of(id);
    if (mappings.empty()) return publish_nothing(id);
    if (!record.request.gateway) {
        throw Refused(network::place_of(network_of(id)),
                      "is internal: no port of its containers can be published");
    }
    attachments_.publish(record.request.key, std::move(mappings));
}

void Driver::publish_nothing(const EndpointId& id) {
    const auto record = find(id);
    if (record && !record->request.port_mappings.empty()) attachments_.publish(record->request.key, {});
}

}  // namespace viaduct::docker
