// The API's JSON of each kind, and YAML of any JSON by libyaml.
#include "kubernetes/writer.h"

#include <yaml.h>

#include <stdexcept>

#include <json/json.h>

#include "kubernetes/yaml.h"

namespace viaduct::kubernetes {

namespace {

Json::Value text(std::string_view value) {
    return {value.data(), value.data() + value.size()};
}

void set_text(Json::Value& json, const char* key, std::string_view value) {
    if (!value.empty()) json[key] = text(value);
}
void set_number(Json::Value& json, const char* key, std::uint32_t value) {
    if (value != 0) json[key] = value;
}
void set_labels(Json::Value& json, const char* key, const Labels& labels) {
    for (const auto& [name, value] : labels)
        json[key][name] = value;
}

template <typename Elements, typename Tell>
void set_list(Json::Value& json, const char* key, const Elements& elements, const Tell& tell) {
    for (const auto& element : elements)
        json[key].append(tell(element));
}
Json::Value address_text(const IpAddress& address) {
    return address.to_string();
}
Json::Value address_object(const char* key, const IpAddress& address) {
    Json::Value json;
    json[key] = address.to_string();
    return json;
}
Json::Value prefix_text(const Prefix& prefix) {
    return prefix.to_string();
}

Json::Value object_of(const char* api_version, const char* kind, const ObjectMeta& meta) {
    Json::Value json;
    json["apiVersion"] = api_version;
    json["kind"] = kind;
    auto& metadata = json["metadata"];
    metadata["name"] = meta.name;
    set_text(metadata, "namespace", meta.namespace_);
    set_labels(metadata, "labels", meta.labels);
    set_labels(metadata, "annotations", meta.annotations);
    if (meta.deletion) metadata["deletionTimestamp"] = "0001-01-01T00:00:00Z";
    return json;
}

Json::Value port_json(const ServicePort& port) {
    Json::Value json;
    set_text(json, "name", port.name);
    json["protocol"] = text(api_name(port.protocol));
    json["port"] = port.port;
    if (const auto* name = std::get_if<std::string>(&port.target)) {
        json["targetPort"] = *name;
    } else {
        json["targetPort"] = std::get<std::uint16_t>(port.target);
    }
    set_number(json, "nodePort", port.node_port);
    set_text(json, "appProtocol", port.app_protocol);
    return json;
}

void set_affinity(Json::Value& spec, std::uint32_t seconds) {
    if (seconds == 0) return;
    spec["sessionAffinity"] = "ClientIP";
    spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] = seconds;
}

Json::Value ingress_json(const Service& service) {
    Json::Value list(Json::arrayValue);
    for (const auto& ip : service.load_balancer_ips)
        list.append(address_object("ip", ip));
    for (const auto& ip : service.load_balancer_proxy_ips) {
        auto entry = address_object("ip", ip);
        entry["ipMode"] = "Proxy";
        list.append(std::move(entry));
    }
    return list;
}

Json::Value endpoint_port_json(const EndpointPort& port) {
    Json::Value json;
    set_text(json, "name", port.name);
    json["protocol"] = text(api_name(port.protocol));
    if (port.port) json["port"] = *port.port;
    set_text(json, "appProtocol", port.app_protocol);
    return json;
}

/// What endpoints of slices and addresses of Endpoints have in common.
void set_host(Json::Value& json, const Endpoint& endpoint) {
    set_text(json, "hostname", endpoint.hostname.str());
    set_text(json, "nodeName", endpoint.node_name.str());
    const auto& target = endpoint.target_ref;
    set_text(json["targetRef"], "kind", target.kind.str());
    set_text(json["targetRef"], "namespace", target.namespace_.str());
    set_text(json["targetRef"], "name", target.name);
    if (json["targetRef"].isNull()) json.removeMember("targetRef");
}

Json::Value endpoint_json(const Endpoint& endpoint) {
    Json::Value json;
    set_list(json, "addresses", endpoint.addresses, address_text);
    json["conditions"]["ready"] = endpoint.ready;
    json["conditions"]["serving"] = endpoint.serving;
    json["conditions"]["terminating"] = endpoint.terminating;
    set_host(json, endpoint);
    set_text(json, "zone", endpoint.zone.str());
    const auto set_hints = [&](const char* key, const std::vector<SharedText>& hints) {
        for (const auto& hint : hints) {
            Json::Value entry;
            entry["name"] = hint.str();
            json["hints"][key].append(std::move(entry));
        }
    };
    set_hints("forZones", endpoint.hints_for_zones);
    set_hints("forNodes", endpoint.hints_for_nodes);
    return json;
}

Json::Value endpoints_json(const EndpointSlice& slice) {
    auto json = object_of("v1", "Endpoints", slice.meta);
    json["metadata"]["name"] = slice.service;
    Json::Value subset;
    set_list(subset, "ports", slice.ports, endpoint_port_json);
    for (const auto& endpoint : slice.endpoints) {
        for (const auto& address : endpoint.addresses) {
            auto entry = address_object("ip", address);
            set_host(entry, endpoint);
            subset[endpoint.ready ? "addresses" : "notReadyAddresses"].append(std::move(entry));
        }
    }
    json["subsets"].append(std::move(subset));
    return json;
}

/// status.conditions of an object that is ready or not.
Json::Value ready_json(bool ready) {
    Json::Value condition;
    condition["type"] = "Ready";
    condition["status"] = ready ? "True" : "False";
    Json::Value list;
    list.append(std::move(condition));
    return list;
}

}  // namespace

Json::Value to_json(const Service& service) {
    auto json = object_of("v1", "Service", service.meta);
    auto& spec = json["spec"];
    spec["type"] = text(to_string(service.type));
    if (service.headless) {
        spec["clusterIP"] = "None";
    } else if (!service.cluster_ips.empty()) {
        spec["clusterIP"] = service.cluster_ips.front().to_string();
        set_list(spec, "clusterIPs", service.cluster_ips, address_text);
    }
    set_list(spec, "ipFamilies", service.ip_families,
             [](IpFamily family) { return text(to_string(family)); });
    if (service.ip_family_policy) spec["ipFamilyPolicy"] = text(to_string(*service.ip_family_policy));
    set_list(spec, "externalIPs", service.external_ips, address_text);
    set_text(spec, "externalName", service.external_name);
    set_list(spec, "ports", service.ports, port_json);
    if (service.selector) {
        spec["selector"] = Json::objectValue;
        set_labels(spec, "selector", *service.selector);
    }
    set_affinity(spec, service.session_affinity_seconds);
    if (service.internal_local) spec["internalTrafficPolicy"] = "Local";
    if (service.external_local) spec["externalTrafficPolicy"] = "Local";
    set_number(spec, "healthCheckNodePort", service.health_check_node_port);
    if (service.load_balancer_ip) spec["loadBalancerIP"] = service.load_balancer_ip->to_string();
    set_text(spec, "loadBalancerClass", service.load_balancer_class);
    set_list(spec, "loadBalancerSourceRanges", service.load_balancer_source_ranges, prefix_text);
    if (!service.allocate_node_ports) spec["allocateLoadBalancerNodePorts"] = false;
    if (service.publish_not_ready) spec["publishNotReadyAddresses"] = true;
    set_text(spec, "trafficDistribution", service.traffic_distribution);
    if (auto ingress = ingress_json(service); !ingress.empty())
        json["status"]["loadBalancer"]["ingress"] = std::move(ingress);
    return json;
}

Json::Value to_json(const EndpointSlice& slice) {
    if (slice.from_endpoints) return endpoints_json(slice);
    auto json = object_of("discovery.k8s.io/v1", "EndpointSlice", slice.meta);
    json["addressType"] = text(to_string(slice.family));
    set_list(json, "ports", slice.ports, endpoint_port_json);
    json["endpoints"] = Json::arrayValue;
    set_list(json, "endpoints", slice.endpoints, endpoint_json);
    return json;
}

Json::Value to_json(const Pod& pod) {
    auto json = object_of("v1", "Pod", pod.meta);
    auto& spec = json["spec"];
    set_text(spec, "nodeName", pod.node_name);
    if (pod.host_network) spec["hostNetwork"] = true;
    Json::Value container;
    for (const auto& port : pod.ports) {
        Json::Value entry;
        set_text(entry, "name", port.name);
        entry["protocol"] = text(api_name(port.protocol));
        entry["containerPort"] = port.port;
        container["ports"].append(std::move(entry));
    }
    if (!pod.ports.empty()) spec["containers"].append(std::move(container));
    auto& status = json["status"];
    set_text(status, "phase", pod.phase);
    status["conditions"] = ready_json(pod.ready);
    const auto ip_object = [](const IpAddress& address) { return address_object("ip", address); };
    set_list(status, "podIPs", pod.pod_ips, ip_object);
    set_list(status, "hostIPs", pod.host_ips, ip_object);
    return json;
}

Json::Value to_json(const Node& node) {
    auto json = object_of("v1", "Node", node.meta);
    set_list(json["spec"], "podCIDRs", node.pod_cidrs, prefix_text);
    auto& status = json["status"];
    status["conditions"] = ready_json(node.ready);
    set_list(status, "addresses", node.internal_ips, [](const IpAddress& address) {
        auto entry = address_object("address", address);
        entry["type"] = "InternalIP";
        return entry;
    });
    return json;
}

Json::Value to_json(const AnyObject& object) {
    return std::visit([](const auto& stored) { return to_json(*stored); }, object);
}

Json::Value manifest_of(const ObjectId& id, const std::vector<AnyObject>& objects) {
    if (objects.empty()) {
        // Endpoints without an address: nobody answers.
        ObjectMeta meta;
        meta.namespace_ = id.namespace_;
        meta.name = id.name;
        return object_of("v1", std::string(to_string(id.kind)).c_str(), meta);
    }
    auto json = to_json(objects.front());
    if (id.kind != ObjectKind::endpoints) return json;
    // Slices "NAME/0/IPv4" and "NAME/0/IPv6" were one subset.
    const auto subset_of = [](const AnyObject& object) {
        const auto& name = std::get<Stored<EndpointSlice>>(object)->meta.name;
        return name.substr(0, name.rfind('/'));
    };
    auto& subsets = json["subsets"];
    for (std::size_t at = 1; at < objects.size(); ++at) {
        auto more = to_json(objects[at])["subsets"][0];
        if (subset_of(objects[at]) != subset_of(objects[at - 1])) {
            subsets.append(std::move(more));
            continue;
        }
        auto& subset = subsets[subsets.size() - 1];
        for (const char* list : {"addresses", "notReadyAddresses"}) {
            for (const auto& address : more[list])
                subset[list].append(address);
        }
    }
    return json;
}

namespace {

class Emitter {
public:
    Emitter() {
        if (::yaml_emitter_initialize(&emitter_) == 0) throw std::bad_alloc();
        ::yaml_emitter_set_unicode(&emitter_, 1);
        ::yaml_emitter_set_width(&emitter_, -1);
        ::yaml_emitter_set_output(
            &emitter_,
            [](void* into, unsigned char* bytes, std::size_t size) {
                static_cast<std::string*>(into)->append(reinterpret_cast<const char*>(bytes), size);
                return 1;
            },
            &written_);
    }
    Emitter(const Emitter&) = delete;
    Emitter& operator=(const Emitter&) = delete;
    ~Emitter() { ::yaml_emitter_delete(&emitter_); }

    std::string document(const Json::Value& value) {
        yaml_event_t event;
        emit(::yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), event);
        emit(::yaml_document_start_event_initialize(&event, nullptr, nullptr, nullptr, 0), event);
        node(value);
        emit(::yaml_document_end_event_initialize(&event, 1), event);
        emit(::yaml_stream_end_event_initialize(&event), event);
        return std::move(written_);
    }

private:
    void emit(int initialized, yaml_event_t& event) {
        // The emitter frees the event, also where it fails.
        if (initialized == 0 || ::yaml_emitter_emit(&emitter_, &event) == 0)
            throw std::runtime_error("a value cannot be written as YAML: text that is no UTF-8");
    }

    void scalar(std::string_view text, yaml_scalar_style_t style) {
        yaml_event_t event;
        const auto* bytes = reinterpret_cast<const yaml_char_t*>(text.data());
        emit(::yaml_scalar_event_initialize(&event, nullptr, nullptr, bytes, static_cast<int>(text.size()), 1,
                                            1, style),
             event);
    }

    void string(const Json::Value& value) {
        const char* begin = nullptr;
        const char* end = nullptr;
        value.getString(&begin, &end);
        key({begin, static_cast<std::size_t>(end - begin)});
    }
    void key(std::string_view text) {
        const bool other = yaml::meaning_of(text) != yaml::Plain::text || text == "<<";
        scalar(text, other ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE);
    }

    void node(const Json::Value& value) {
        yaml_event_t event;
        if (value.isArray()) {
            emit(::yaml_sequence_start_event_initialize(&event, nullptr, nullptr, 1,
                                                        YAML_BLOCK_SEQUENCE_STYLE),
                 event);
            for (const auto& element : value)
                node(element);
            emit(::yaml_sequence_end_event_initialize(&event), event);
        } else if (value.isObject()) {
            emit(::yaml_mapping_start_event_initialize(&event, nullptr, nullptr, 1, YAML_BLOCK_MAPPING_STYLE),
                 event);
            for (auto member = value.begin(); member != value.end(); ++member) {
                key(member.name());
                node(*member);
            }
            emit(::yaml_mapping_end_event_initialize(&event), event);
        } else if (value.isString()) {
            string(value);
        } else {
            scalar(value.isNull() ? "null" : value.asString(), YAML_PLAIN_SCALAR_STYLE);
        }
    }

    yaml_emitter_t emitter_{};
    std::string written_;
};

}  // namespace

std::string to_yaml_text(const Json::Value& value) {
    return Emitter().document(value);
}

}  // namespace viaduct::kubernetes
