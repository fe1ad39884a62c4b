#include "service/endpoints.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>
#include <utility>

namespace viaduct::service {

namespace {

using Slice = kubernetes::Stored<kubernetes::EndpointSlice>;

/// Decides what becomes of it by its conditions ("Virtual IPs and Service Proxies", "Traffic to terminating
/// endpoints").
void judge(const kubernetes::Service& service, EndpointState& state) {
    state.used = true;
    if (state.ready) return;
    if (service.publish_not_ready) {
        state.why = "it is not ready, and the service publishes such endpoints";
        return;
    }
    if (state.serving && state.terminating) {
        state.backend.draining = true;
        state.why = "it is terminating";
        return;
    }
    state.used = false;
    state.why = state.terminating ? "it is terminating, and does not serve any more"
                                  : "its ready condition is not true";
}

/// By kWeightName; what is none is a fault of the service, told once however many ports it has.
std::uint16_t weight_of(const Labels& said, const std::string& who, const kubernetes::Origin& origin,
                        std::vector<Fault>& faults) {
    constexpr unsigned kMost = 256;
    const auto found = said.find(std::string(kWeightName));
    if (found == said.end()) return 1;
    const auto& text = found->second;
    unsigned weight = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
    if (error == std::errc() && end == text.data() + text.size() && weight >= 1 && weight <= kMost)
        return static_cast<std::uint16_t>(weight);
    Fault fault{who, origin.file == nullptr ? "" : to_string(origin),
                std::string(kWeightName) + " is \"" + text.substr(0, 64) +
                    "\", and must be a number from 1 to " + std::to_string(kMost) + "; 1 is used"};
    if (std::ranges::find(faults, fault) == faults.end()) faults.push_back(std::move(fault));
    return 1;
}

bool is_local(const Surroundings& around, std::string_view node, const IpAddress& address) {
    if (!node.empty()) return node == around.settings.node_name;
    return std::ranges::any_of(around.here.local_networks,
                               [&](const Prefix& network) { return network.contains(address); });
}

/// Whether hints of one sort count: each endpoint that takes new flows has some, and one of them is for us.
bool counts(const std::vector<EndpointState>& states, bool v4, bool EndpointState::*has,
            bool EndpointState::*is_ours) {
    bool any_here = false;
    for (const auto& one : states) {
        if (!one.used || one.backend.draining || one.backend.address.is_v4() != v4) continue;
        if (!(one.*has)) return false;
        any_here = any_here || one.*is_ours;
    }
    return any_here;
}

/// Hints count by the family and port, those for nodes before those for zones; the others are distant then
/// ("Topology Aware Routing", "Safeguards"; "Traffic distribution").
void follow_hints(std::vector<EndpointState>& states) {
    for (const bool v4 : {false, true}) {
        const bool by_node = counts(states, v4, &EndpointState::has_nodes, &EndpointState::of_node);
        if (!by_node && !counts(states, v4, &EndpointState::has_zones, &EndpointState::of_zone)) continue;
        for (auto& one : states) {
            if (one.backend.address.is_v4() != v4 || (by_node ? one.of_node : one.of_zone)) continue;
            one.backend.distant = true;
            if (one.used && !one.backend.draining)
                one.why = by_node ? "it is for clients of other nodes" : "it is for clients of other zones";
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

EndpointState state_of(const kubernetes::Service& service, const Slice& slice,
                       const kubernetes::Endpoint& endpoint, std::uint16_t number,
                       const Surroundings& around) {
    EndpointState state;
    state.origin = slice.origin();
    state.ready = endpoint.ready;
    state.serving = endpoint.serving;
    state.terminating = endpoint.terminating;
    state.node = endpoint.node_name;
    state.zone = endpoint.zone;
    auto& backend = state.backend;
    backend.address = endpoint.addresses.front();
    backend.port = number;
    backend.local = is_local(around, state.node.str(), backend.address);
    const auto& target = endpoint.target_ref;
    if (!target.name.empty()) {
        const auto space = target.namespace_.empty() ? std::string_view(service.meta.namespace_)
                                                     : std::string_view(target.namespace_.str());
        backend.name = std::string(space) + "/" + target.name;
    }
    judge(service, state);
    const auto names = [](const auto& hints, const std::string& ours) {
        return std::ranges::any_of(hints, [&](const auto& hint) { return hint == ours; });
    };
    const auto& zone = around.here.zone;
    state.has_zones = !endpoint.hints_for_zones.empty();
    state.has_nodes = !endpoint.hints_for_nodes.empty();
    state.of_zone = !zone.empty() && names(endpoint.hints_for_zones, zone);
    state.of_node = names(endpoint.hints_for_nodes, around.settings.node_name);
    return state;
}

void add_slices(const kubernetes::Service& service, const kubernetes::ServicePort& port,
                const std::vector<Slice>& slices, const Surroundings& around,
                std::vector<EndpointState>& states, std::vector<Fault>& faults) {
    for (const auto& slice : slices) {
        const auto number = number_in(*slice, port);
        if (!number) continue;
        const auto weight = weight_of(slice->meta.annotations,
                                      "EndpointSlice " + slice->meta.namespace_ + "/" + slice->meta.name,
                                      slice.origin(), faults);
        for (const auto& endpoint : slice->endpoints) {
            if (endpoint.addresses.empty()) continue;
            states.push_back(state_of(service, slice, endpoint, *number, around));
            states.back().backend.weight = weight;
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
                   EndpointState& state) {
    if (service.traffic_distribution.empty()) return;
    const auto& zone = around.here.zone;
    const auto found = around.objects.nodes.find(node);
    const bool here = state.backend.local;
    state.has_zones =
        here ? !zone.empty() : found != around.objects.nodes.end() && !found->second->zone.empty();
    state.of_zone = state.has_zones && (here || found->second->zone == zone);
    state.has_nodes = service.traffic_distribution == "PreferSameNode";
    state.of_node = state.has_nodes && here;
}

/// By its manifest, which counts; an attachment supplies the addresses that it does not say.
void add_described(const kubernetes::Service& service, const kubernetes::ServicePort& port,
                   const kubernetes::Stored<kubernetes::Pod>& stored, const Surroundings& around,
                   std::vector<EndpointState>& states, std::vector<Fault>& faults) {
    const auto& pod = *stored;
    const kubernetes::ObjectName name = key_of(pod);
    if (!selects(*service.selector, pod.meta.labels)) return;
    if (pod.phase == "Succeeded" || pod.phase == "Failed") return;
    const auto number = number_of(pod, port);
    if (!number) return;
    const auto attached = around.here.pods.find(name);
    const bool here = pod.pod_ips.empty() && attached != around.here.pods.end();
    const bool annotated = pod.meta.annotations.contains(std::string(kWeightName));
    const auto weight = weight_of(annotated ? pod.meta.annotations : pod.meta.labels,
                                  "Pod " + to_string(name), stored.origin(), faults);
    for (const auto& address : here ? attached->second.addresses : pod.pod_ips) {
        EndpointState state;
        // A pod that runs here without anybody who tells its state is ready when it has its addresses.
        state.serving = pod.ready || here;
        state.ready = state.serving && !pod.terminating;
        state.terminating = pod.terminating;
        state.node = here && pod.node_name.empty() ? around.settings.node_name : pod.node_name;
        state.source = EndpointSource::manifest;
        state.origin = stored.origin();
        state.backend.address = address;
        state.backend.port = *number;
        state.backend.weight = weight;
        state.backend.local = here || is_local(around, pod.node_name, address);
        state.backend.name = to_string(name);
        judge(service, state);
        hint_selected(service, pod.node_name, around, state);
        states.push_back(std::move(state));
    }
}

/// By the labels that it was attached with: it is ready as long as it is here.
void add_attached(const kubernetes::Service& service, const kubernetes::ObjectName& name,
                  const AttachedPod& pod, std::uint16_t number, const Surroundings& around,
                  std::vector<EndpointState>& states, std::vector<Fault>& faults) {
    const auto weight = weight_of(pod.labels, "Pod " + to_string(name), {}, faults);
    for (const auto& address : pod.addresses) {
        EndpointState state;
        state.used = state.ready = state.serving = true;
        state.node = around.settings.node_name;
        state.zone = around.here.zone;
        state.source = EndpointSource::attached;
        state.backend.address = address;
        state.backend.port = number;
        state.backend.weight = weight;
        state.backend.local = true;
        state.backend.name = to_string(name);
        hint_selected(service, around.settings.node_name, around, state);
        states.push_back(std::move(state));
    }
}

/// What a cluster's endpoint controller does, for a node without one.
void add_selected(const kubernetes::Stored<kubernetes::Service>& service, const kubernetes::ServicePort& port,
                  const Surroundings& around, std::vector<EndpointState>& states,
                  std::vector<Fault>& faults) {
    const auto& described = around.objects.pods;
    const auto& space = service->meta.namespace_;
    for (auto it = described.lower_bound({space, ""}); it != described.end() && it->first.namespace_ == space;
         ++it)
        add_described(*service, port, it->second, around, states, faults);
    bool told = false;
    for (auto it = around.here.pods.lower_bound({space, ""});
         it != around.here.pods.end() && it->first.namespace_ == space; ++it) {
        const auto& [name, pod] = *it;
        if (!selects(*service->selector, pod.labels) || described.contains(name)) continue;
        if (const auto* number = std::get_if<std::uint16_t>(&port.target)) {
            add_attached(*service, name, pod, *number, around, states, faults);
        } else if (!std::exchange(told, true)) {
            faults.push_back(
                {"Service " + to_string(key_of(*service)), to_string(service.origin()),
                 "spec.ports has the targetPort \"" + std::get<std::string>(port.target) +
                     "\", which is a name, and pod " + to_string(name) +
                     " is attached here by its labels alone, which name no ports; give the number, "
                     "or a Pod manifest with its container's ports"});
        }
    }
}

}  // namespace

bool selects(const kubernetes::Labels& selector, const kubernetes::Labels& labels) {
    return !selector.empty() && std::ranges::all_of(selector, [&](const auto& wanted) {
        const auto found = labels.find(wanted.first);
        return found != labels.end() && found->second == wanted.second;
    });
}

std::vector<EndpointState> endpoints_of(const kubernetes::Stored<kubernetes::Service>& service,
                                        const kubernetes::ServicePort& port, const Surroundings& around,
                                        std::vector<Fault>& faults) {
    std::vector<EndpointState> states;
    const auto slices = slices_of(around.objects, key_of(*service));
    add_slices(*service, port, slices, around, states, faults);
    if (slices.empty() && service->selector) add_selected(service, port, around, states, faults);
    follow_hints(states);
    const auto& drained = around.here.drained;
    for (auto& state : states) {
        state.drained = !drained.empty() && drained.contains({key_of(*service), state.backend.address});
        if (!state.drained || !state.used || state.backend.draining) continue;
        state.backend.draining = true;
        state.why = "drained by hand";
    }
    return states;
}

}  // namespace viaduct::service
