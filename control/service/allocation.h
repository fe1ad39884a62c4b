// Which ClusterIPs and node ports services have. Those that nobody asked for are allocated by a hash of the
// service's name, so that nodes that read the same manifests come to the same addresses; where two names fall
// together, the one that came later gets the next free one, and what was given once stays over restarts.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "kubernetes/objects.h"
#include "service/settings.h"
#include "store/database.h"

namespace viaduct::service {

const std::vector<store::Migration>& migrations();

/// What one service has.
struct Allocated {
    std::vector<IpAddress> cluster_ips;     ///< in the order of its families
    std::vector<std::uint16_t> node_ports;  ///< of each of its ports; 0: none
    std::uint16_t health_check_port = 0;    ///< 0: none
};

/// For one thread. The table is the truth; what is held is kept in memory beside it.
class Allocation {
public:
    Allocation(store::Database& database, const Settings& settings);

    /// Whatever the service has and does not want any more is free, and so is what it has where it asks for
    /// something else: before others of the same change get theirs.
    void give_way(const kubernetes::Stored<kubernetes::Service>& service);
    /// What the service has, or gets now. What it asks for and cannot have is a fault; it has the rest.
    Allocated allocate(const kubernetes::Stored<kubernetes::Service>& service, std::vector<Fault>& faults);
    /// The service is gone, and what it had is free.
    void release(const kubernetes::ObjectName& service);
    /// Which service has the ClusterIP, or the node port; null: none.
    [[nodiscard]] const kubernetes::ObjectName* holder(const IpAddress& cluster_ip) const;
    [[nodiscard]] const kubernetes::ObjectName* holder(model::Transport protocol,
                                                       std::uint16_t node_port) const;
    /// Makes durable what was allocated and released since. Throws store::Error.
    void save();

private:
    using Name = kubernetes::ObjectName;
    /// A port of a service: protocol and number.
    using PortKey = std::tuple<Name, model::Transport, std::uint16_t>;
    using NodePort = std::tuple<model::Transport, std::uint16_t>;

    std::vector<kubernetes::IpFamily> families_of(const kubernetes::Stored<kubernetes::Service>& service,
                                                  std::vector<Fault>& faults) const;
    std::optional<IpAddress> cluster_ip(const kubernetes::Stored<kubernetes::Service>& service,
                                        kubernetes::IpFamily family, std::vector<Fault>& faults);
    std::uint16_t node_port(const kubernetes::Stored<kubernetes::Service>& service,
                            const kubernetes::ServicePort& port, std::vector<Fault>& faults);
    static std::vector<kubernetes::ServicePort> wanted_node_ports(
        const kubernetes::Stored<kubernetes::Service>& service);
    /// What the service had and does not ask for any more is free: ports that it lost, and with them a number
    /// that another port of its own now asks for.
    void give_up(const kubernetes::Stored<kubernetes::Service>& service,
                 const std::vector<kubernetes::ServicePort>& wanted);
    const Prefix* range(kubernetes::IpFamily family) const;
    void hold(const Name& service, const IpAddress& address);
    void hold(const PortKey& port, std::uint16_t number);
    void let_go(const Name& service, const IpAddress& address);

    store::Database& database_;
    const Settings& settings_;
    std::map<IpAddress, Name> by_address_;
    std::map<std::tuple<Name, kubernetes::IpFamily>, IpAddress> address_of_;
    std::map<NodePort, PortKey> by_node_port_;
    std::map<PortKey, std::uint16_t> node_port_of_;
    std::vector<Name> touched_;  ///< whose rows are not as they are here
};

}  // namespace viaduct::service
