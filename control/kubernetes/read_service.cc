// v1 Service, with what its fields may be beside each other.
#include <algorithm>
#include <set>
#include <utility>

#include "kubernetes/names.h"
#include "kubernetes/reading.h"

namespace viaduct::kubernetes {

namespace {

constexpr std::size_t kServicePortsMost = 1000;

bool is_reached_from_outside(const Service& service) {
    return service.type == ServiceType::node_port || service.type == ServiceType::load_balancer;
}

/// The first field of `spec` that is there, of those that make sense for load balancers alone.
void refuse_load_balancer_fields(const Value& spec, const Service& service) {
    if (service.type == ServiceType::load_balancer) return;
    for (const auto* key :
         {"loadBalancerClass", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts"}) {
        const auto value = spec[key];
        if (!value.absent()) value.fault("is for type LoadBalancer alone; leave it out or change spec.type");
    }
}

TargetPort read_target(const Value& value, std::uint16_t port) {
    if (value.absent()) return port;
    if (!value.is_text()) return value.port().value_or(0);
    const auto name = value.text_or_empty();
    if (!is_port_name(name)) {
        const bool number = name.find_first_not_of("0123456789") == std::string::npos;
        value.fault("is the text \"" + name.substr(0, 80) +
                    "\"; a number without quotes, or a port's name (" +
                    (number ? "which has a letter" : kPortNameWords) + "), is wanted");
    }
    return name;
}

ServicePort read_port(const Value& value, const Service& service) {
    ServicePort port;
    port.name = value["name"].name(is_dns1123_label, kDns1123LabelWords).value_or("");
    port.protocol = value["protocol"].transport().value_or(model::Transport::tcp);
    if (const auto number = value["port"]; number.absent()) {
        number.fault("is missing; 1 to 65535 are possible");
    } else {
        port.port = number.port().value_or(0);
    }
    port.target = read_target(value["targetPort"], port.port);
    const auto node_port = value["nodePort"];
    port.node_port = node_port.port_or_zero();
    if (port.node_port != 0 && !is_reached_from_outside(service))
        node_port.fault("is for types NodePort and LoadBalancer; leave it out or change spec.type");
    const auto app_protocol = value["appProtocol"];
    port.app_protocol = app_protocol.text_or_empty();
    return port;
}

void read_ports(const Value& spec, Service& service) {
    const auto ports = spec["ports"];
    std::set<std::pair<model::Transport, std::uint16_t>> numbers;
    std::set<std::pair<model::Transport, std::uint16_t>> node_ports;
    std::set<std::string> names;
    const auto number_words = [](const ServicePort& port, std::uint16_t number) {
        return std::string(api_name(port.protocol)) + " port " + std::to_string(number);
    };
    bool unnamed = false;
    ports.each_mapping(kServicePortsMost, [&](const Value& value) {
        auto port = read_port(value, service);
        if (port.port != 0 && !numbers.emplace(port.protocol, port.port).second)
            value["port"].fault("is " + number_words(port, port.port) +
                                ", which the service has already; each is wanted once");
        if (port.node_port != 0 && !node_ports.emplace(port.protocol, port.node_port).second)
            value["nodePort"].fault("is " + number_words(port, port.node_port) +
                                    ", which another port of the service has; each needs its own");
        if (port.name.empty()) {
            unnamed = unnamed || value["name"].absent();
        } else if (!names.insert(port.name).second) {
            value["name"].fault("is \"" + port.name + "\", as another port's; each needs its own");
        }
        service.ports.push_back(std::move(port));
    });
    if (unnamed && service.ports.size() > 1)
        ports.fault("have one without a name; a service with several ports names each");
    if (ports.absent() && !service.headless && service.type != ServiceType::external_name)
        ports.fault("is missing; a service has at least one port, unless it is headless");
}

/// clusterIP and clusterIPs: the first of the second is the first.
void read_cluster_ips(const Value& spec, Service& service) {
    std::vector<std::string> written;
    const auto list = spec["clusterIPs"];
    list.each(2, [&](const Value& element) { written.push_back(element.text_or_empty()); });
    const auto one = spec["clusterIP"];
    const auto first = one.text_or_empty();
    if (!first.empty() && !written.empty() && written.front() != first)
        one.fault("is \"" + first.substr(0, 80) + "\", and clusterIPs begins with \"" +
                  written.front().substr(0, 80) + "\"; both must be the same");
    const auto& where = written.empty() ? one : list;
    if (written.empty() && !first.empty()) written.push_back(first);
    if (written.empty()) return;
    if (service.type == ServiceType::external_name)
        return where.fault("is set, and a service of type ExternalName has none; leave it out");
    if (written.front() == "None") {
        service.headless = true;
        if (written.size() > 1) where.fault("has an address beside None; one of both is right");
        if (service.type != ServiceType::cluster_ip)
            where.fault("is None, which is for type ClusterIP alone; leave it out or change spec.type");
        return;
    }
    const auto read_one = [&](const Value& value) {
        const auto address = value.address();
        if (!address) return;
        require_ordinary(value, *address);
        service.cluster_ips.push_back(*address);
    };
    if (!list.absent()) list.each(2, read_one);
    if (service.cluster_ips.empty() && !first.empty()) read_one(one);
    if (service.cluster_ips.size() == 2 && service.cluster_ips[0].is_v4() == service.cluster_ips[1].is_v4())
        list.fault("has two addresses of one family; at most one of each is possible");
}

void read_families(const Value& spec, Service& service) {
    static const std::vector<std::string_view> policies{"SingleStack", "PreferDualStack", "RequireDualStack"};
    const auto families = spec["ipFamilies"];
    families.each(2, [&](const Value& element) {
        if (const auto word = element.choice({"IPv4", "IPv6"}))
            service.ip_families.push_back(*word == 0 ? IpFamily::ipv4 : IpFamily::ipv6);
    });
    const auto policy = spec["ipFamilyPolicy"];
    if (const auto word = policy.choice(policies))
        service.ip_family_policy = static_cast<IpFamilyPolicy>(*word);
    if (service.ip_families.size() == 2 && service.ip_families[0] == service.ip_families[1])
        families.fault("has one family twice; each is wanted once");
    const bool single =
        service.ip_family_policy.value_or(IpFamilyPolicy::single_stack) == IpFamilyPolicy::single_stack;
    if (single && service.ip_families.size() == 2)
        families.fault("has two families, which needs ipFamilyPolicy PreferDualStack or RequireDualStack");
    if (single && service.cluster_ips.size() == 2)
        spec["clusterIPs"].fault(
            "has two addresses, which needs ipFamilyPolicy PreferDualStack or RequireDualStack");
    for (std::size_t i = 0; i < std::min(service.ip_families.size(), service.cluster_ips.size()); ++i) {
        if (family_of(service.cluster_ips[i]) == service.ip_families[i]) continue;
        families.fault("has " + std::string(to_string(service.ip_families[i])) + " where the cluster IP is " +
                       service.cluster_ips[i].to_string() + "; families and addresses go in one order");
    }
}

void read_affinity(const Value& spec, Service& service) {
    const auto affinity = spec["sessionAffinity"].choice({"None", "ClientIP"});
    const auto config = spec.mapping("sessionAffinityConfig");
    const auto client_ip = config.mapping("clientIP");
    const auto seconds = client_ip["timeoutSeconds"].number(1, kAffinitySecondsMost);
    if (affinity.value_or(0) == 1) {
        service.session_affinity_seconds = seconds.value_or(kAffinitySecondsDefault);
    } else if (!config.absent()) {
        config.fault("is set, and sessionAffinity is not ClientIP; leave it out or set that");
    }
}

void read_policies(const Value& spec, Service& service) {
    const std::vector<std::string_view> words{"Cluster", "Local"};
    service.internal_local = spec["internalTrafficPolicy"].choice(words).value_or(0) == 1;
    const auto external = spec["externalTrafficPolicy"];
    service.external_local = external.choice(words).value_or(0) == 1;
    if (!external.absent() && !is_reached_from_outside(service) && service.external_ips.empty())
        external.fault(
            "is for services that are reached from outside (NodePort, LoadBalancer, externalIPs); "
            "leave it out");
    const auto health = spec["healthCheckNodePort"];
    service.health_check_node_port = health.port_or_zero();
    if (service.health_check_node_port != 0 &&
        (service.type != ServiceType::load_balancer || !service.external_local))
        health.fault("is for type LoadBalancer with externalTrafficPolicy Local; leave it out");
}

void read_load_balancer(const Value& root, const Value& spec, Service& service) {
    refuse_load_balancer_fields(spec, service);
    service.load_balancer_ip =
        spec["loadBalancerIP"].text_or_empty().empty() ? std::nullopt : spec["loadBalancerIP"].address();
    service.load_balancer_class = spec["loadBalancerClass"]
                                      .name(is_qualified_name, "a name such as example.com/internal is right")
                                      .value_or("");
    service.allocate_node_ports = spec["allocateLoadBalancerNodePorts"].boolean_or(true);
    spec["loadBalancerSourceRanges"].each(kListMost, [&](const Value& element) {
        const auto written = element.text_or_empty();
        const auto range = Prefix::parse(written);
        if (!range)
            return element.fault("is \"" + written.substr(0, 80) +
                                 "\"; a network such as 192.0.2.0/24 is wanted");
        service.load_balancer_source_ranges.push_back({range->network(), range->length});
    });
    const auto status = root.mapping("status");
    const auto balancer = status.mapping("loadBalancer");
    balancer["ingress"].each_mapping(kListMost, [&](const Value& ingress) {
        const bool proxy = ingress["ipMode"].choice({"VIP", "Proxy"}).value_or(0) == 1;
        if (ingress["ip"].text_or_empty().empty()) return;
        if (const auto address = ingress["ip"].address())
            (proxy ? service.load_balancer_proxy_ips : service.load_balancer_ips).push_back(*address);
    });
}

void read_external_name(const Value& spec, Service& service) {
    const auto value = spec["externalName"];
    service.external_name = value.text_or_empty();
    if (service.type != ServiceType::external_name) return;
    std::string_view name = service.external_name;
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty()) {
        value.fault("is missing; a service of type ExternalName names a host, such as db.example.com");
    } else if (!is_dns1123_subdomain(name)) {
        value.fault("is \"" + service.external_name.substr(0, 80) + "\"; " + kDns1123SubdomainWords);
    }
}

}  // namespace

Service read_service(const Value& root, ObjectMeta meta) {
    static const std::vector<std::string_view> types{"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};
    Service service;
    service.meta = std::move(meta);
    const auto spec = root.mapping("spec");
    service.type = static_cast<ServiceType>(spec["type"].choice(types).value_or(0));
    read_cluster_ips(spec, service);
    read_families(spec, service);
    const auto external_ips = spec["externalIPs"];
    external_ips.each(kListMost, [&](const Value& element) {
        if (element.absent()) return element.fault("is nothing; an address is wanted");
        const auto address = element.address();
        if (!address) return;
        require_ordinary(element, *address);
        service.external_ips.push_back(*address);
    });
    read_external_name(spec, service);
    read_ports(spec, service);
    service.selector = spec["selector"].labels(true);
    read_affinity(spec, service);
    read_policies(spec, service);
    read_load_balancer(root, spec, service);
    service.publish_not_ready = spec["publishNotReadyAddresses"].boolean_or(false);
    const auto distribution = spec["trafficDistribution"];
    if (distribution.choice({"PreferClose", "PreferSameZone", "PreferSameNode"}))
        service.traffic_distribution = distribution.text_or_empty();
    return service;
}

}  // namespace viaduct::kubernetes
