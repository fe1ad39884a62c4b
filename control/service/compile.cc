#include "service/compile.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "service/name_hash.h"

namespace viaduct::service {

namespace {

using kubernetes::IpFamily;
using kubernetes::ServiceType;
using Stored = kubernetes::Stored<kubernetes::Service>;
using Backends = std::vector<model::Backend>;

/// An endpoint's state, wherever it was told.
struct Condition {
    bool ready = false;
    bool serving = false;
    bool terminating = false;
};

/// Nothing: it gets no traffic at all.
std::optional<bool> draining(const kubernetes::Service& service, const Condition& condition) {
    if (condition.ready || service.publish_not_ready) return false;
    if (condition.serving && condition.terminating) return true;
    return std::nullopt;
}

bool is_local(const Surroundings& around, std::string_view node, const IpAddress& address) {
    return node.empty() ? around.is_here(address) : node == around.settings.node_name;
}

/// A backend, and for which nodes and zones it is meant, where somebody says so.
struct Candidate {
    model::Backend backend;
    bool has_zones = false;
    bool has_nodes = false;
    bool of_zone = false;  ///< this node's
    bool of_node = false;
};
using Candidates = std::vector<Candidate>;

/// Whether hints of one sort count: each candidate that takes new flows has some, and one of them is for us.
bool counts(const Candidates& candidates, bool v4, bool Candidate::*has, bool Candidate::*is_ours) {
    bool any_here = false;
    for (const auto& one : candidates) {
        if (one.backend.draining || one.backend.address.is_v4() != v4) continue;
        if (!(one.*has)) return false;
        any_here = any_here || one.*is_ours;
    }
    return any_here;
}

/// Hints count by the family and port, those for nodes before those for zones; the others are distant then
/// ("Topology Aware Routing", "Safeguards"; "Traffic distribution").
void follow_hints(Candidates& candidates) {
    for (const bool v4 : {false, true}) {
        const bool by_node = counts(candidates, v4, &Candidate::has_nodes, &Candidate::of_node);
        if (!by_node && !counts(candidates, v4, &Candidate::has_zones, &Candidate::of_zone)) continue;
        for (auto& one : candidates) {
            if (one.backend.address.is_v4() == v4)
                one.backend.distant = !(by_node ? one.of_node : one.of_zone);
        }
    }
}

/// The number that a slice has for a service's port; nothing: none.
std::optional<std::uint16_t> number_in(const kubernetes::EndpointSlice& slice,
                                       const kubernetes::ServicePort& port) {
    for (const auto& one : slice.ports) {
        if (one.name != port.name || one.protocol != port.protocol) continue;
        if (one.port) return one.port;
        const auto* number = std::get_if<std::uint16_t>(&port.target);
        return number != nullptr ? *number : port.port;
    }
    return std::nullopt;
}

Candidate candidate_of(const kubernetes::Service& service, const kubernetes::Endpoint& endpoint,
                       const Surroundings& around) {
    Candidate candidate;
    auto& backend = candidate.backend;
    backend.address = endpoint.addresses.front();
    backend.local = is_local(around, endpoint.node_name.str(), backend.address);
    const auto& target = endpoint.target_ref;
    if (!target.name.empty()) {
        const auto space = target.namespace_.empty() ? std::string_view(service.meta.namespace_)
                                                     : std::string_view(target.namespace_.str());
        backend.name = std::string(space) + "/" + target.name;
    }
    const auto names = [](const auto& hints, const std::string& ours) {
        return std::ranges::any_of(hints, [&](const auto& hint) { return hint == ours; });
    };
    candidate.has_zones = !endpoint.hints_for_zones.empty();
    candidate.has_nodes = !endpoint.hints_for_nodes.empty();
    candidate.of_zone = !around.zone.empty() && names(endpoint.hints_for_zones, around.zone);
    candidate.of_node = names(endpoint.hints_for_nodes, around.settings.node_name);
    return candidate;
}

void add_slices(const kubernetes::Service& service, const kubernetes::ServicePort& port,
                const std::vector<kubernetes::Stored<kubernetes::EndpointSlice>>& slices,
                const Surroundings& around, Candidates& candidates) {
    for (const auto& slice : slices) {
        const auto number = number_in(*slice, port);
        if (!number) continue;
        for (const auto& endpoint : slice->endpoints) {
            const auto drains = draining(service, {endpoint.ready, endpoint.serving, endpoint.terminating});
            if (!drains || endpoint.addresses.empty()) continue;
            auto& backend = candidates.emplace_back(candidate_of(service, endpoint, around)).backend;
            backend.port = *number;
            backend.draining = *drains;
        }
    }
}

std::optional<std::uint16_t> number_of(const kubernetes::Pod& pod, const kubernetes::ServicePort& port) {
    if (const auto* number = std::get_if<std::uint16_t>(&port.target)) return *number;
    const auto& name = std::get<std::string>(port.target);
    for (const auto& one : pod.ports) {
        if (one.name == name && one.protocol == port.protocol) return one.port;
    }
    return std::nullopt;
}

/// Whose endpoint is for whom by the service's trafficDistribution, as the endpoint controller has it: for
/// their own zone and, where that is preferred, their own node.
void hint_selected(const kubernetes::Service& service, const std::string& node, const Surroundings& around,
                   Candidate& candidate) {
    if (service.traffic_distribution.empty()) return;
    const auto found = around.objects.nodes.find(node);
    const bool here = candidate.backend.local;
    candidate.has_zones =
        here ? !around.zone.empty() : found != around.objects.nodes.end() && !found->second->zone.empty();
    candidate.of_zone = candidate.has_zones && (here || found->second->zone == around.zone);
    candidate.has_nodes = service.traffic_distribution == "PreferSameNode";
    candidate.of_node = candidate.has_nodes && here;
}

/// What a cluster's endpoint controller does, for a node without one.
void add_selected(const kubernetes::Service& service, const kubernetes::ServicePort& port,
                  const Surroundings& around, Candidates& candidates) {
    const auto& pods = around.objects.pods;
    const auto& space = service.meta.namespace_;
    for (auto it = pods.lower_bound({space, ""}); it != pods.end() && it->first.namespace_ == space; ++it) {
        const auto& pod = *it->second;
        if (!selects(*service.selector, pod.meta.labels)) continue;
        if (pod.phase == "Succeeded" || pod.phase == "Failed") continue;
        const auto number = number_of(pod, port);
        const auto given = pod.pod_ips.empty() ? around.addresses_of(it->first) : std::vector<IpAddress>{};
        // A pod that runs here without anybody who tells its state is ready when it has its addresses.
        const bool ready = !pod.terminating && (pod.ready || !given.empty());
        const auto drains = draining(service, {ready, pod.ready || !given.empty(), pod.terminating});
        if (!number || !drains) continue;
        for (const auto& address : pod.pod_ips.empty() ? given : pod.pod_ips) {
            auto& candidate = candidates.emplace_back();
            auto& backend = candidate.backend;
            backend.address = address;
            backend.port = *number;
            backend.draining = *drains;
            backend.local = !given.empty() || is_local(around, pod.node_name, address);
            backend.name = to_string(it->first);
            hint_selected(service, pod.node_name, around, candidate);
        }
    }
}

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

Backends backends_of(const kubernetes::Service& service, const kubernetes::ServicePort& port,
                     const std::vector<kubernetes::Stored<kubernetes::EndpointSlice>>& slices,
                     const Surroundings& around) {
    Candidates candidates;
    add_slices(service, port, slices, around, candidates);
    if (slices.empty() && service.selector) add_selected(service, port, around, candidates);
    follow_hints(candidates);
    Backends backends;
    backends.reserve(candidates.size());
    for (auto& candidate : candidates)
        backends.push_back(std::move(candidate.backend));
    tidy(backends);
    return backends;
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
    for (const auto& address : around.node_addresses) {
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

bool selects(const kubernetes::Labels& selector, const kubernetes::Labels& labels) {
    return !selector.empty() && std::ranges::all_of(selector, [&](const auto& wanted) {
        const auto found = labels.find(wanted.first);
        return found != labels.end() && found->second == wanted.second;
    });
}

std::vector<model::Service> compile(const Stored& service, const Allocated& allocated,
                                    const Surroundings& around, std::vector<Fault>& faults) {
    if (service->type == ServiceType::external_name || service->headless) return {};
    const auto slices = slices_of(around.objects, key_of(*service));
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
        one.backends = backends_of(*service, port, slices, around);
    }
    std::ranges::sort(compiled, {}, &model::Service::port);
    return compiled;
}

}  // namespace viaduct::service
