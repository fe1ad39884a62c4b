#include "service/allocation.h"

#include <algorithm>

#include "service/name_hash.h"

namespace viaduct::service {

namespace {

using kubernetes::IpFamily;
using Stored = kubernetes::Stored<kubernetes::Service>;

/// Addresses of the range that can be given: not the first one, nor IPv4's last; of a wide range the first
/// 2^20 suffice (Kubernetes takes no more of an IPv6 range either).
std::uint64_t size_of(const Prefix& range) {
    const unsigned host_bits = range.address.bits() - range.length;
    if (host_bits < 2) return 0;
    const auto whole = std::uint64_t{1} << std::min(host_bits, 20U);
    return host_bits > 20 || !range.address.is_v4() ? whole - 1 : whole - 2;
}

void refuse(const Stored& service, std::string reason, std::vector<Fault>& faults) {
    faults.push_back(
        {"Service " + to_string(key_of(*service)), to_string(service.origin()), std::move(reason)});
}

std::string port_text(model::Transport protocol, std::uint16_t port) {
    return std::to_string(port) + "/" + std::string(kubernetes::api_name(protocol));
}

std::vector<IpFamily> unique_families(const std::vector<IpAddress>& addresses) {
    std::vector<IpFamily> families;
    for (const auto& address : addresses)
        families.push_back(kubernetes::family_of(address));
    return families;
}

bool has_node_port(const Stored& service, const kubernetes::ServicePort& port) {
    const bool by_type =
        service->type == kubernetes::ServiceType::node_port ||
        (service->type == kubernetes::ServiceType::load_balancer && service->allocate_node_ports);
    return by_type || port.node_port != 0;
}

bool is_checked(const Stored& service) {
    return service->type == kubernetes::ServiceType::load_balancer && service->external_local;
}

kubernetes::ServicePort health_check_of(const Stored& service) {
    kubernetes::ServicePort health;
    health.node_port = service->health_check_node_port;
    return health;
}

}  // namespace

const std::vector<store::Migration>& migrations() {
    static const std::vector<store::Migration> steps{{"service", 1, R"(
        CREATE TABLE service_address (
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            family INTEGER NOT NULL,
            address TEXT NOT NULL,
            PRIMARY KEY (namespace, name, family)
        ) WITHOUT ROWID;
        CREATE TABLE service_node_port (
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            protocol INTEGER NOT NULL,
            port INTEGER NOT NULL,
            node_port INTEGER NOT NULL,
            PRIMARY KEY (namespace, name, protocol, port)
        ) WITHOUT ROWID;
    )"},
                                                     {"service", 2, R"(
        CREATE TABLE service_drain (
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            address TEXT NOT NULL,
            PRIMARY KEY (namespace, name, address)
        ) WITHOUT ROWID;
    )"}};
    return steps;
}

Allocation::Allocation(store::Database& database, const Settings& settings)
    : database_(database), settings_(settings) {
    store::Transaction tx(database_);
    auto addresses = tx.prepare("SELECT namespace, name, address FROM service_address");
    while (addresses.step()) {
        const auto address = IpAddress::parse(addresses.text(2));
        if (address) hold({addresses.text(0), addresses.text(1)}, *address);
    }
    auto ports = tx.prepare("SELECT namespace, name, protocol, port, node_port FROM service_node_port");
    while (ports.step()) {
        hold({Name{ports.text(0), ports.text(1)}, static_cast<model::Transport>(ports.integer(2)),
              static_cast<std::uint16_t>(ports.integer(3))},
             static_cast<std::uint16_t>(ports.integer(4)));
    }
    touched_.clear();
}

void Allocation::hold(const Name& service, const IpAddress& address) {
    by_address_[address] = service;
    address_of_[{service, kubernetes::family_of(address)}] = address;
    touched_.push_back(service);
}

void Allocation::hold(const PortKey& port, std::uint16_t number) {
    by_node_port_[{std::get<1>(port), number}] = port;
    node_port_of_[port] = number;
    touched_.push_back(std::get<0>(port));
}

void Allocation::let_go(const Name& service, const IpAddress& address) {
    by_address_.erase(address);
    address_of_.erase({service, kubernetes::family_of(address)});
    touched_.push_back(service);
}

const Prefix* Allocation::range(IpFamily family) const {
    const auto found = std::ranges::find_if(settings_.ranges, [&](const Prefix& range) {
        return kubernetes::family_of(range.address) == family;
    });
    return found == settings_.ranges.end() ? nullptr : &*found;
}

/// As the API server defaults them ("IPv4/IPv6 dual-stack", "Services").
std::vector<IpFamily> Allocation::families_of(const Stored& service, std::vector<Fault>& faults) const {
    auto families = service->ip_families;
    if (families.empty()) families = unique_families(service->cluster_ips);
    if (families.empty() && !settings_.ranges.empty())
        families = {kubernetes::family_of(settings_.ranges[0].address)};
    const auto policy = service->ip_family_policy.value_or(
        families.size() > 1 ? kubernetes::IpFamilyPolicy::require_dual_stack
                            : kubernetes::IpFamilyPolicy::single_stack);
    if (policy == kubernetes::IpFamilyPolicy::single_stack || families.empty()) return families;
    if (families.size() == 1) {
        const auto other = families[0] == IpFamily::ipv4 ? IpFamily::ipv6 : IpFamily::ipv4;
        if (range(other) != nullptr) {
            families.push_back(other);
        } else if (policy == kubernetes::IpFamilyPolicy::require_dual_stack) {
            refuse(service,
                   "spec.ipFamilyPolicy is RequireDualStack, and there is no range of " +
                       std::string(to_string(other)) +
                       " ClusterIPs; give viaduct-control one by --service-range",
                   faults);
        }
    }
    return families;
}

std::optional<IpAddress> Allocation::cluster_ip(const Stored& service, IpFamily family,
                                                std::vector<Fault>& faults) {
    const auto name = key_of(*service);
    const auto has = address_of_.find({name, family});
    for (const auto& wanted : service->cluster_ips) {
        if (kubernetes::family_of(wanted) != family) continue;
        if (has != address_of_.end() && has->second == wanted) return wanted;
        if (const auto holder = by_address_.find(wanted); holder != by_address_.end()) {
            refuse(service,
                   "spec.clusterIP asks for " + wanted.to_string() + ", which Service " +
                       to_string(holder->second) + " has; ask for another or for none",
                   faults);
            return std::nullopt;
        }
        hold(name, wanted);
        return wanted;
    }
    const auto* from = range(family);
    if (has != address_of_.end() && from != nullptr && from->contains(has->second)) return has->second;
    if (from == nullptr) {
        refuse(service,
               "needs an " + std::string(to_string(family)) +
                   " ClusterIP, and there is no range of them; give viaduct-control one by --service-range "
                   "10.96.0.0/12, or the service a clusterIP",
               faults);
        return std::nullopt;
    }
    if (has != address_of_.end()) let_go(name, IpAddress(has->second));
    const auto size = size_of(*from);
    for (std::uint64_t i = 0; i < size; ++i) {
        const auto address = from->network().plus(1 + (name_hash(to_string(name)) + i) % size);
        if (!address || by_address_.contains(*address)) continue;
        hold(name, *address);
        return address;
    }
    refuse(service, "finds no ClusterIP free in " + from->to_string() + "; take a wider range", faults);
    return std::nullopt;
}

std::uint16_t Allocation::node_port(const Stored& service, const kubernetes::ServicePort& port,
                                    std::vector<Fault>& faults) {
    const PortKey key{key_of(*service), port.protocol, port.port};
    const auto first = settings_.node_port_first;
    const auto last = settings_.node_port_last;
    const auto has = node_port_of_.find(key);
    if (port.node_port != 0) {
        if (has != node_port_of_.end() && has->second == port.node_port) return port.node_port;
        const auto place = "asks for node port " + port_text(port.protocol, port.node_port);
        if (port.node_port < first || port.node_port > last) {
            refuse(service,
                   place + ", which is not in the range " + std::to_string(first) + "-" +
                       std::to_string(last) + " (--node-port-range)",
                   faults);
            return 0;
        }
        if (const auto holder = by_node_port_.find({port.protocol, port.node_port});
            holder != by_node_port_.end()) {
            refuse(service,
                   place + ", which Service " + to_string(std::get<0>(holder->second)) +
                       " has; ask for another or for none",
                   faults);
            return 0;
        }
        hold(key, port.node_port);
        return port.node_port;
    }
    if (has != node_port_of_.end() && has->second >= first && has->second <= last) return has->second;
    // Out of a range that was another before.
    if (has != node_port_of_.end()) {
        by_node_port_.erase({port.protocol, has->second});
        node_port_of_.erase(has);
    }
    const std::uint64_t size = last - first + 1U;
    const auto begin = name_hash(to_string(key_of(*service)) + ":" + port_text(port.protocol, port.port));
    for (std::uint64_t i = 0; i < size; ++i) {
        const auto number = static_cast<std::uint16_t>(first + (begin + i) % size);
        if (by_node_port_.contains({port.protocol, number})) continue;
        hold(key, number);
        return number;
    }
    refuse(service,
           "finds no node port free in " + std::to_string(first) + "-" + std::to_string(last) +
               "; take a wider range",
           faults);
    return 0;
}

void Allocation::give_up(const Stored& service, const std::vector<kubernetes::ServicePort>& wanted) {
    const auto name = key_of(*service);
    for (auto it = node_port_of_.lower_bound({name, model::Transport{}, 0});
         it != node_port_of_.end() && std::get<0>(it->first) == name;) {
        const auto asks = std::ranges::find_if(wanted, [&](const kubernetes::ServicePort& port) {
            return port.protocol == std::get<1>(it->first) && port.port == std::get<2>(it->first);
        });
        const bool stays = asks != wanted.end() && (asks->node_port == 0 || asks->node_port == it->second);
        if (stays) {
            ++it;
            continue;
        }
        by_node_port_.erase({std::get<1>(it->first), it->second});
        it = node_port_of_.erase(it);
        touched_.push_back(name);
    }
}

/// Its ports that have node ports, and what health checks ask at as one of a port 0, which no service has.
std::vector<kubernetes::ServicePort> Allocation::wanted_node_ports(const Stored& service) {
    std::vector<kubernetes::ServicePort> wanted;
    for (const auto& port : service->ports) {
        if (has_node_port(service, port)) wanted.push_back(port);
    }
    if (is_checked(service)) wanted.push_back(health_check_of(service));
    return wanted;
}

void Allocation::give_way(const Stored& service) {
    const auto name = key_of(*service);
    const auto asked = unique_families(service->cluster_ips);
    for (const auto family : {IpFamily::ipv4, IpFamily::ipv6}) {
        const auto has = address_of_.find({name, family});
        if (has == address_of_.end() || std::ranges::find(asked, family) == asked.end()) continue;
        if (std::ranges::find(service->cluster_ips, has->second) == service->cluster_ips.end())
            let_go(name, IpAddress(has->second));
    }
    give_up(service, wanted_node_ports(service));
}

Allocated Allocation::allocate(const Stored& service, std::vector<Fault>& faults) {
    Allocated allocated;
    const auto name = key_of(*service);
    give_way(service);
    const auto families = families_of(service, faults);
    for (const auto family : {IpFamily::ipv4, IpFamily::ipv6}) {
        const auto has = address_of_.find({name, family});
        if (has != address_of_.end() && std::ranges::find(families, family) == families.end())
            let_go(name, IpAddress(has->second));
    }
    for (const auto family : families) {
        if (const auto address = cluster_ip(service, family, faults))
            allocated.cluster_ips.push_back(*address);
    }
    for (const auto& port : service->ports) {
        allocated.node_ports.push_back(has_node_port(service, port) ? node_port(service, port, faults)
                                                                    : std::uint16_t{0});
    }
    if (is_checked(service))
        allocated.health_check_port = node_port(service, health_check_of(service), faults);
    return allocated;
}

const Allocation::Name* Allocation::holder(const IpAddress& cluster_ip) const {
    const auto found = by_address_.find(cluster_ip);
    return found == by_address_.end() ? nullptr : &found->second;
}

const Allocation::Name* Allocation::holder(model::Transport protocol, std::uint16_t node_port) const {
    const auto found = by_node_port_.find({protocol, node_port});
    return found == by_node_port_.end() ? nullptr : &std::get<0>(found->second);
}

void Allocation::release(const Name& service) {
    for (const auto family : {IpFamily::ipv4, IpFamily::ipv6}) {
        const auto found = address_of_.find({service, family});
        if (found != address_of_.end()) let_go(service, IpAddress(found->second));
    }
    const auto first = node_port_of_.lower_bound({service, model::Transport{}, 0});
    for (auto it = first; it != node_port_of_.end() && std::get<0>(it->first) == service;) {
        by_node_port_.erase({std::get<1>(it->first), it->second});
        it = node_port_of_.erase(it);
        touched_.push_back(service);
    }
}

void Allocation::save() {
    if (touched_.empty()) return;
    std::ranges::sort(touched_);
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    store::Transaction tx(database_);
    for (const auto& name : touched_) {
        tx.run("DELETE FROM service_address WHERE namespace = ? AND name = ?", name.namespace_, name.name);
        tx.run("DELETE FROM service_node_port WHERE namespace = ? AND name = ?", name.namespace_, name.name);
        for (const auto family : {IpFamily::ipv4, IpFamily::ipv6}) {
            const auto found = address_of_.find({name, family});
            if (found == address_of_.end()) continue;
            tx.run("INSERT INTO service_address VALUES (?, ?, ?, ?)", name.namespace_, name.name,
                   static_cast<std::int64_t>(family == IpFamily::ipv4 ? 4 : 6), found->second.to_string());
        }
        const auto first = node_port_of_.lower_bound({name, model::Transport{}, 0});
        for (auto it = first; it != node_port_of_.end() && std::get<0>(it->first) == name; ++it) {
            tx.run("INSERT INTO service_node_port VALUES (?, ?, ?, ?, ?)", name.namespace_, name.name,
                   static_cast<std::int64_t>(std::get<1>(it->first)),
                   static_cast<std::int64_t>(std::get<2>(it->first)), static_cast<std::int64_t>(it->second));
        }
    }
    tx.commit();
    touched_.clear();
}

}  // namespace viaduct::service
