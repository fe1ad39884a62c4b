// Docker's network driver (libnetwork's NetworkDriver): Docker's networks are Viaduct's, and its endpoints
// are attachments whose interface Docker moves into the container.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "viaduct/address.h"

#include "docker/reading.h"
#include "network/networks.h"
#include "pod/attachments.h"

namespace Json {
class Value;
}

namespace viaduct::docker {

/// Any thread. Failures are Refused, pod::Failure, node::Error, store::Error.
class Driver {
public:
    Driver(network::Networks& networks, pod::Attachments& attachments)
        : networks_(networks), attachments_(attachments) {}

    void create_network(network::Wanted wanted);
    void delete_network(const std::string& id);

    /// The MAC address that its interface has.
    MacAddress create_endpoint(const Endpoint& endpoint);
    /// One that is not there is fine.
    void delete_endpoint(const EndpointId& id);
    /// What is known of it, for people.
    Json::Value endpoint_info(const EndpointId& id) const;

    struct Joined {
        std::string ifname;  ///< of the interface in the node's namespace
        std::optional<IpAddress> gateway4;
        std::optional<IpAddress> gateway6;
    };
    /// Docker will move the interface to `sandbox`, a namespace's path.
    Joined join(const EndpointId& id, const std::string& sandbox);
    /// Both of one that is not there are fine.
    void leave(const EndpointId& id);
    void publish_nothing(const EndpointId& id);

    void publish(const EndpointId& id, std::vector<attachment::PortMapping> mappings);

private:
    network::Network network_of(const EndpointId& id) const;
    attachment::Key key_of(const EndpointId& id) const;
    std::optional<pod::Record> find(const EndpointId& id) const;
    pod::Record record_of(const EndpointId& id) const;

    network::Networks& networks_;
    pod::Attachments& attachments_;
};

}  // namespace viaduct::docker
