// The objects of a Kubernetes cluster that a node's network is made of, as typed values, and sets of them.
// Whoever has desired state in this form (a directory of manifests, etcd, the API server) delivers an
// `Objects`; whoever makes services and endpoints of it reads nothing else. Only what the network needs is
// kept of each object.
//
// Sets are values: a copy shares what it has in common with the one it was copied from, and two sets are
// compared at the price of their difference (SharedMap::differences).
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/labels.h"
#include "viaduct/routing_model.h"
#include "viaduct/shared_map.h"

#include "kubernetes/shared_text.h"

namespace viaduct::kubernetes {

// The API's own bounds (pkg/apis/core/validation and pkg/apis/discovery/validation document them).
inline constexpr std::uint32_t kAffinitySecondsDefault = 10800;
inline constexpr std::uint32_t kAffinitySecondsMost = 86400;
inline constexpr std::size_t kSliceEndpointsMost = 1000;
inline constexpr std::size_t kSlicePortsMost = 100;
inline constexpr std::size_t kEndpointAddressesMost = 100;
inline constexpr std::size_t kHintsMost = 8;  ///< of each sort

/// Which service a slice is of.
inline constexpr std::string_view kServiceNameLabel = "kubernetes.io/service-name";
/// A node's zone.
inline constexpr std::string_view kZoneLabel = "topology.kubernetes.io/zone";
/// A service's "Auto" or "Disabled"; stays among its annotations.
inline constexpr std::string_view kTopologyModeAnnotation = "service.kubernetes.io/topology-mode";

using viaduct::Labels;

/// ObjectMeta. `kubectl`'s copy of the manifest (annotation last-applied-configuration) is not kept.
struct ObjectMeta {
    std::string namespace_;  ///< "default" where the manifest names none; empty: of no namespace (Node)
    std::string name;
    Labels labels;
    Labels annotations;
    bool deletion = false;  ///< has a deletionTimestamp
    friend bool operator==(const ObjectMeta&, const ObjectMeta&) = default;
};

/// Of an object in a namespace.
struct ObjectName {
    std::string namespace_;
    std::string name;
    friend auto operator<=>(const ObjectName&, const ObjectName&) = default;
};
/// "apps/web"
std::string to_string(const ObjectName& name);

enum class IpFamily : std::uint8_t { ipv4, ipv6 };
std::string_view to_string(IpFamily family);  ///< "IPv4", "IPv6"
inline IpFamily family_of(const IpAddress& address) {
    return address.is_v4() ? IpFamily::ipv4 : IpFamily::ipv6;
}

std::string_view api_name(model::Transport protocol);  ///< "TCP", "UDP", "SCTP"

enum class ServiceType : std::uint8_t { cluster_ip, node_port, load_balancer, external_name };
std::string_view to_string(ServiceType type);  ///< "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"

enum class IpFamilyPolicy : std::uint8_t { single_stack, prefer_dual_stack, require_dual_stack };
std::string_view to_string(IpFamilyPolicy policy);  ///< "SingleStack", ...

/// A port's number, or the name that a pod's container gives it.
using TargetPort = std::variant<std::uint16_t, std::string>;

struct ServicePort {
    std::string name;  ///< empty only where it is the service's one port
    model::Transport protocol = model::Transport::tcp;
    std::uint16_t port = 0;       ///< 1..65535; with `protocol` none twice in a service
    TargetPort target;            ///< `port` where the manifest names none
    std::uint16_t node_port = 0;  ///< 0: none was asked for
    std::string app_protocol;
    friend bool operator==(const ServicePort&, const ServicePort&) = default;
};

/// v1 Service.
struct Service {
    ObjectMeta meta;
    ServiceType type = ServiceType::cluster_ip;
    bool headless = false;               ///< clusterIP: None
    std::vector<IpAddress> cluster_ips;  ///< as asked for, at most one a family; empty: to be allocated
    std::vector<IpFamily> ip_families;   ///< in the order asked for, none twice; empty: to be chosen
    std::optional<IpFamilyPolicy> ip_family_policy;
    std::vector<IpAddress> external_ips;
    std::string external_name;  ///< type external_name
    std::vector<ServicePort> ports;
    std::optional<Labels> selector;              ///< absent: endpoints come from elsewhere
    std::uint32_t session_affinity_seconds = 0;  ///< 0: none; else ClientIP, 1..86400
    bool internal_local = false;                 ///< internalTrafficPolicy: Local
    bool external_local = false;                 ///< externalTrafficPolicy: Local
    std::uint16_t health_check_node_port = 0;    ///< 0: none was asked for
    /// status.loadBalancer.ingress[].ip: of those that the node itself answers to (ipMode VIP), and of those
    /// that a proxy before it answers to (ipMode Proxy).
    std::vector<IpAddress> load_balancer_ips;
    std::vector<IpAddress> load_balancer_proxy_ips;
    std::optional<IpAddress> load_balancer_ip;        ///< spec.loadBalancerIP: the one asked for
    std::string load_balancer_class;                  ///< empty: the cluster's own
    std::vector<Prefix> load_balancer_source_ranges;  ///< without host bits; empty: everybody
    bool allocate_node_ports = true;                  ///< allocateLoadBalancerNodePorts
    bool publish_not_ready = false;                   ///< publishNotReadyAddresses
    std::string traffic_distribution;                 ///< empty, "PreferClose", "PreferSameZone", ...
    friend bool operator==(const Service&, const Service&) = default;
};

/// An ObjectReference: what an endpoint is an endpoint of. Empty: of nothing told.
struct TargetReference {
    SharedText kind;
    SharedText namespace_;
    std::string name;
    [[nodiscard]] bool empty() const { return kind.empty() && name.empty(); }
    friend bool operator==(const TargetReference&, const TargetReference&) = default;
};

struct Endpoint {
    std::vector<IpAddress> addresses;  ///< 1..100 of the slice's family; they are interchangeable
    // Conditions, as the API reads those that are absent.
    bool ready = true;
    bool serving = true;  ///< absent: as `ready`
    bool terminating = false;
    SharedText hostname;
    SharedText node_name;
    SharedText zone;
    std::vector<SharedText> hints_for_zones;
    std::vector<SharedText> hints_for_nodes;
    TargetReference target_ref;
    friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

struct EndpointPort {
    std::string name;  ///< that of the service's port
    model::Transport protocol = model::Transport::tcp;
    std::optional<std::uint16_t> port;  ///< absent: every port, each as it was addressed
    std::string app_protocol;
    friend bool operator==(const EndpointPort&, const EndpointPort&) = default;
};

/// discovery.k8s.io/v1 EndpointSlice, and each subset of a v1 Endpoints by family.
struct EndpointSlice {
    ObjectMeta meta;      ///< out of Endpoints: `name` is "NAME/0/IPv4", which no slice can be called
    std::string service;  ///< name in the same namespace; empty: of none
    IpFamily family = IpFamily::ipv4;
    bool from_endpoints = false;  ///< read out of an Endpoints: see slices_of
    std::vector<EndpointPort> ports;
    std::vector<Endpoint> endpoints;
    friend bool operator==(const EndpointSlice&, const EndpointSlice&) = default;
};

struct ContainerPort {
    std::string name;
    model::Transport protocol = model::Transport::tcp;
    std::uint16_t port = 0;  ///< 1..65535
    friend bool operator==(const ContainerPort&, const ContainerPort&) = default;
};

/// v1 Pod.
struct Pod {
    ObjectMeta meta;
    std::string node_name;
    std::vector<IpAddress> pod_ips;
    std::vector<IpAddress> host_ips;
    bool ready = false;        ///< its Ready condition
    std::string phase;         ///< "Pending", "Running", "Succeeded", "Failed", "Unknown"; empty: not told
    bool terminating = false;  ///< has a deletionTimestamp
    std::vector<ContainerPort> ports;  ///< of all its containers and of those sidecars that go on running
    bool host_network = false;
    friend bool operator==(const Pod&, const Pod&) = default;
};

/// v1 Node.
struct Node {
    ObjectMeta meta;
    std::vector<IpAddress> internal_ips;
    std::vector<Prefix> pod_cidrs;
    std::string zone;  ///< its label kZoneLabel
    bool ready = false;
    friend bool operator==(const Node&, const Node&) = default;
};

/// Where an object was read.
struct Origin {
    std::shared_ptr<const std::string> file;  ///< as people call it; shared by all objects of the file
    std::uint32_t line = 0;                   ///< of the document's first line, from 1; 0: not of a file
};
/// "web.yaml:12"
std::string to_string(const Origin& origin);

/// An object that nobody changes any more, and where it came from. Copies share it. Two are equal when the
/// objects are, wherever they came from: an object that moved within its file has not changed.
template <typename Object>
class Stored {
public:
    Stored() = default;  ///< nothing: may only be assigned to, compared and asked `empty`
    Stored(Object object, Origin origin)
        : held_(std::make_shared<const Held>(Held{std::move(object), std::move(origin)})) {}

    [[nodiscard]] bool empty() const { return held_ == nullptr; }
    const Object& operator*() const { return held_->object; }
    const Object* operator->() const { return &held_->object; }
    [[nodiscard]] const Origin& origin() const { return held_->origin; }
    friend bool operator==(const Stored& a, const Stored& b) {
        return a.held_ == b.held_ ||
               (a.held_ != nullptr && b.held_ != nullptr && a.held_->object == b.held_->object);
    }

private:
    struct Held {
        Object object;
        Origin origin;
    };
    std::shared_ptr<const Held> held_;
};

/// Slices lie by their service, so that those of one service are found at once.
struct EndpointSliceKey {
    std::string namespace_;
    std::string service;
    std::string name;
    friend auto operator<=>(const EndpointSliceKey&, const EndpointSliceKey&) = default;
};

ObjectName key_of(const Service& service);
EndpointSliceKey key_of(const EndpointSlice& slice);
ObjectName key_of(const Pod& pod);
std::string key_of(const Node& node);

/// All that is known of a cluster.
struct Objects {
    SharedMap<ObjectName, Stored<Service>> services;
    SharedMap<EndpointSliceKey, Stored<EndpointSlice>> slices;
    SharedMap<ObjectName, Stored<Pod>> pods;
    SharedMap<std::string, Stored<Node>> nodes;
    friend bool operator==(const Objects&, const Objects&) = default;
};

/// The slices that the service's endpoints are in. Those that were read out of an Endpoints count only where
/// the service has no slice of its own: a cluster keeps both, and they say the same.
std::vector<Stored<EndpointSlice>> slices_of(const Objects& objects, const ObjectName& service);

}  // namespace viaduct::kubernetes
