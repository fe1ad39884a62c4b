#include "service/compile.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "service/endpoints.h"
#include "service/name_hash.h"

namespace viaduct::service {

namespace {

using kubernetes::IpFamily;
using kubernetes::ServiceType;
using Stored = kubernetes::Stored<kubernetes::Service>;
using Backends = std::vector<model::Backend>;

/// Sorted, each place once: an endpoint may be in two slices while it moves, and is as good as the better.
void tidy(Backends& backends) {
    std::ranges::sort(backends, {}, [](const model::Backend& backend) {
        return std::tuple(backend.address, backend.port, backend.draining, backend.distant);
    });
    const auto same = [](const model::Backend& a, const model::Backend& b) {
        return a.address == b.address && a.port == b.port;
    };
    backends.erase(std::unique(backends.begin(), backends.end(), same), backends.end());
}

/// Places, each once, in order.
class Places {
public:
    explicit Places(std::uint16_t port) : port_(port) {}
    void add(const IpAddress& address, std::uint16_t port, bool external, bool local_only,
             bool restricted = false) {
        const auto place = std::pair(address, port);
        if (places_.contains(place)) return;
        places_[place] = {address, port, external, local_only, false, restricted};
    }
    void add(const std::vector<IpAddress>& addresses, bool external, bool local_only) {
        for (const auto& address : addresses)
            add(address, port_, external, local_only);
    }
    void add_balancer(const IpAddress& address, bool local_only, bool restricted, bool announce) {
        add(address, port_, true, local_only, restricted);
        places_[{address, port_}].announce = announce;
    }
    [[nodiscard]] std::vector<model::Frontend> take() const {
        std::vector<model::Frontend> all;
        for (const auto& [place, frontend] : places_)
            all.push_back(frontend);
        return all;
    }

private:
    std::uint16_t port_;
    std::map<std::pair<IpAddress, std::uint16_t>, model::Frontend> places_;
};

/// Nodes of whom one speaks for a balancer's address: those that are ready and, where only endpoints of the
/// node itself answer, have one.
std::set<std::string> speakers_for(const kubernetes::Service& service, const Surroundings& around) {
    std::set<std::string> nodes;
    for (const auto& [name, node] : around.objects.nodes) {
        if (node->ready) nodes.insert(name);
    }
    if (!service.external_local) return nodes;
    std::set<std::string> with_endpoints;
    for (const auto& slice : slices_of(around.objects, key_of(service))) {
        for (const auto& endpoint : slice->endpoints) {
            if (endpoint.ready && (nodes.empty() || nodes.contains(endpoint.node_name)))
                with_endpoints.insert(endpoint.node_name);
        }
    }
    return with_endpoints;
}

/// Whether this node is the one that speaks for the address (rendezvous hashing: a node that goes moves its
/// own addresses alone). Where no nodes are known it is.
bool is_speaker(const kubernetes::Service& service, const IpAddress& address, const Surroundings& around) {
    if (around.objects.nodes.empty()) return true;
    const auto nodes = speakers_for(service, around);
    const auto weight = [&](const std::string& node) { return name_hash(node + "/" + address.to_string()); };
    const auto chosen = std::ranges::max_element(nodes, {}, weight);
    return chosen != nodes.end() && *chosen == around.settings.node_name;
}

/// Whether the service has a place that it asks for by hand; another one's is a fault.
bool has_place(const Stored& service, const IpAddress& address, const kubernetes::ServicePort& port,
               const Surroundings& around, std::vector<Fault>& faults) {
    const auto holder = around.holder_of(address, port.protocol, port.port);
    if (holder == key_of(*service)) return true;
    faults.push_back({"Service " + to_string(key_of(*service)), to_string(service.origin()),
                      "asks for " + address.to_string() + " port " + std::to_string(port.port) + "/" +
                          std::string(kubernetes::api_name(port.protocol)) + ", which Service " +
                          to_string(holder) + " has; give it another address or port"});
    return false;
}

std::vector<model::Frontend> frontends_of(const Stored& stored, const Allocated& allocated,
                                          const kubernetes::ServicePort& port, std::uint16_t node_port,
                                          const Surroundings& around, std::vector<Fault>& faults) {
    const auto& service = *stored;
    Places places(port.port);
    places.add(allocated.cluster_ips, false, service.internal_local);
    const bool local = service.external_local;
    if (service.type == ServiceType::load_balancer) {
        for (const auto& address : service.load_balancer_ips) {
            if (!has_place(stored, address, port, around, faults)) continue;
            places.add_balancer(address, local, !service.load_balancer_source_ranges.empty(),
                                is_speaker(service, address, around));
        }
    }
    for (const auto& address : service.external_ips) {
        if (has_place(stored, address, port, around, faults)) places.add(address, port.port, true, local);
    }
    for (const auto& address : around.here.node_addresses) {
        const bool of_family = std::ranges::any_of(
            allocated.cluster_ips, [&](const IpAddress& own) { return own.is_v4() == address.is_v4(); });
        if (node_port != 0 && of_family) places.add(address, node_port, true, local);
    }
    return places.take();
}

model::Balance balance_of(const Stored& service, std::vector<Fault>& faults) {
    const auto& annotations = service->meta.annotations;
    const auto found = annotations.find(std::string(kBalanceAnnotation));
    if (found == annotations.end()) return model::Balance::maglev;
    using model::Balance;
    for (const auto balance :
         {Balance::maglev, Balance::random, Balance::round_robin, Balance::least_connections}) {
        if (found->second == to_string(balance)) return balance;
    }
    faults.push_back(
        {"Service " + to_string(key_of(*service)), to_string(service.origin()),
         "annotation " + std::string(kBalanceAnnotation) + " is \"" + found->second.substr(0, 64) +
             "\", and must be maglev, random, round-robin or least-connections; maglev is used"});
    return Balance::maglev;
}

}  // namespace

std::vector<model::Service> compile(const Stored& service, const Allocated& allocated,
                                    const Surroundings& around, std::vector<Fault>& faults) {
    if (service->type == ServiceType::external_name || service->headless) return {};
    const auto balance = balance_of(service, faults);
    std::vector<model::Service> compiled;
    for (std::size_t i = 0; i < service->ports.size(); ++i) {
        const auto& port = service->ports[i];
        auto& one = compiled.emplace_back();
        one.namespace_ = service->meta.namespace_;
        one.name = service->meta.name;
        one.port = port.name.empty() ? std::to_string(port.port) : port.name;
        one.vrf = around.settings.vrf;
        one.protocol = port.protocol;
        one.balance = balance;
        one.affinity = service->session_affinity_seconds;
        one.allow_from = service->load_balancer_source_ranges;
        std::ranges::sort(one.allow_from);
        one.frontends = frontends_of(service, allocated, port, allocated.node_ports.at(i), around, faults);
        for (auto& endpoint : endpoints_of(service, port, around, faults)) {
            if (endpoint.used) one.backends.push_back(std::move(endpoint.backend));
        }
        tidy(one.backends);
    }
    std::ranges::sort(compiled, {}, &model::Service::port);
    return compiled;
}

}  // namespace viaduct::service
