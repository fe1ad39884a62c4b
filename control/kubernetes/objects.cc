// Names and words of objects, and which slices a service has.
#include "kubernetes/objects.h"

#include <algorithm>

namespace viaduct::kubernetes {

std::string to_string(const ObjectName& name) {
    return name.namespace_ + '/' + name.name;
}

std::string_view to_string(IpFamily family) {
    return family == IpFamily::ipv4 ? "IPv4" : "IPv6";
}

std::string_view api_name(model::Transport protocol) {
    switch (protocol) {
        case model::Transport::tcp:
            return "TCP";
        case model::Transport::udp:
            return "UDP";
        case model::Transport::sctp:
            return "SCTP";
    }
    return "?";
}

std::string_view to_string(ServiceType type) {
    switch (type) {
        case ServiceType::cluster_ip:
            return "ClusterIP";
        case ServiceType::node_port:
            return "NodePort";
        case ServiceType::load_balancer:
            return "LoadBalancer";
        case ServiceType::external_name:
            return "ExternalName";
    }
    return "?";
}

std::string_view to_string(IpFamilyPolicy policy) {
    switch (policy) {
        case IpFamilyPolicy::single_stack:
            return "SingleStack";
        case IpFamilyPolicy::prefer_dual_stack:
            return "PreferDualStack";
        case IpFamilyPolicy::require_dual_stack:
            return "RequireDualStack";
    }
    return "?";
}

std::string to_string(const Origin& origin) {
    const auto file = origin.file == nullptr ? std::string() : *origin.file;
    return origin.line == 0 ? file : file + ':' + std::to_string(origin.line);
}

ObjectName key_of(const Service& service) {
    return {service.meta.namespace_, service.meta.name};
}
EndpointSliceKey key_of(const EndpointSlice& slice) {
    return {slice.meta.namespace_, slice.service, slice.meta.name};
}
ObjectName key_of(const Pod& pod) {
    return {pod.meta.namespace_, pod.meta.name};
}
std::string key_of(const Node& node) {
    return node.meta.name;
}

std::vector<Stored<EndpointSlice>> slices_of(const Objects& objects, const ObjectName& service) {
    std::vector<Stored<EndpointSlice>> slices;
    for (auto found = objects.slices.lower_bound({service.namespace_, service.name, {}});
         found != objects.slices.end() && found->first.namespace_ == service.namespace_ &&
         found->first.service == service.name;
         ++found)
        slices.push_back(found->second);
    const auto is_own = [](const auto& slice) { return !slice->from_endpoints; };
    if (std::any_of(slices.begin(), slices.end(), is_own))
        std::erase_if(slices, [&](const auto& slice) { return !is_own(slice); });
    return slices;
}

}  // namespace viaduct::kubernetes
