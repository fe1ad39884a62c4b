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

/// Endpoints of slices that are for one zone count there alone, where all of them are for some and one of
/// them for this one ("Topology Aware Routing", "Safeguards").
bool uses_hints(const std::vector<kubernetes::Stored<kubernetes::EndpointSlice>>& slices,
                const std::string& zone) {
    if (zone.empty()) return false;
    bool any_here = false;
    for (const auto& slice : slices) {
        for (const auto& endpoint : slice->endpoints) {
            if (!endpoint.ready) continue;
            if (endpoint.hints_for_zones.empty()) return false;
            any_here = any_here || std::ranges::any_of(endpoint.hints_for_zones,
                                                       [&](const auto& hint) { return hint == zone; });
        }
    }
    return any_here;
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

void add_slices(const kubernetes::Service& service, const kubernetes::ServicePort& port,
                const std::vector<kubernetes::Stored<kubernetes::EndpointSlice>>& slices, bool hints,
                const Surroundings& around, Backends& backends) {
    for (const auto& slice : slices) {
        const auto number = number_in(*slice, port);
        if (!number) continue;
        for (const auto& endpoint : slice->endpoints) {
            const auto drains = draining(service, {endpoint.ready, endpoint.serving, endpoint.terminating});
            const auto is_ours = [&](const auto& hint) { return hint == around.zone; };
            if (!drains || endpoint.addresses.empty()) continue;
            model::Backend backend;
            backend.address = endpoint.addresses.front();
            backend.port = *number;
            // Those for other zones keep the connections that they have, as one that ends does.
            const bool elsewhere = hints && !std::ranges::any_of(endpoint.hints_for_zones, is_ours);
            backend.draining = *drains || elsewhere;
            backend.local = is_local(around, endpoint.node_name.str(), backend.address);
            const auto& target = endpoint.target_ref;
            if (!target.name.empty()) {
                const auto space = target.namespace_.empty() ? std::string_view(service.meta.namespace_)
                                                             : std::string_view(target.namespace_.str());
                backend.name = std::string(space) + "/" + target.name;
            }
            backends.push_back(std::move(backend));
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

/// What a cluster's endpoint controller does, for a node without one.
void add_selected(const kubernetes::Service& service, const kubernetes::ServicePort& port,
                  const Surroundings& around, Backends& backends) {
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
            model::Backend backend;
            backend.address = address;
            backend.port = *number;
            backend.draining = *drains;
            backend.local = !given.empty() || is_local(around, pod.node_name, address);
            backend.name = to_string(it->first);
            backends.push_back(std::move(backend));
        }
    }
}

/// Sorted, each place once: an endpoint may be in two slices while it moves, and is as good as the better.
void tidy(Backends& backends) {
    std::ranges::sort(backends, {}, [](const model::Backend& backend) {
        return std::tuple(backend.address, backend.port, backend.draining);
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

std::vector<model::Frontend> frontends_of(const kubernetes::Service& service, const Allocated& allocated,
                                          const kubernetes::ServicePort& port, std::uint16_t node_port,
                                          const Surroundings& around) {
    Places places(port.port);
    places.add(allocated.cluster_ips, false, service.internal_local);
    const bool local = service.external_local;
    if (service.type == ServiceType::load_balancer) {
        for (const auto& address : service.load_balancer_ips)
            places.add_balancer(address, local, !service.load_balancer_source_ranges.empty(),
                                is_speaker(service, address, around));
    }
    places.add(service.external_ips, true, local);
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
    const bool hints = uses_hints(slices, around.zone);
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
        one.frontends = frontends_of(*service, allocated, port, allocated.node_ports.at(i), around);
        add_slices(*service, port, slices, hints, around, one.backends);
        if (slices.empty() && service->selector) add_selected(*service, port, around, one.backends);
        tidy(one.backends);
    }
    std::ranges::sort(compiled, {}, &model::Service::port);
    return compiled;
}

}  // namespace viaduct::service
