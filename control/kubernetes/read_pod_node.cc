// v1 Pod and v1 Node: what a service's endpoints and their nodes are made of.
#include <utility>

#include "kubernetes/names.h"
#include "kubernetes/reading.h"

namespace viaduct::kubernetes {

namespace {

/// Whether status.conditions has one of type Ready that is True.
bool is_ready(const Value& status) {
    bool ready = false;
    status["conditions"].each_mapping(kListMost, [&](const Value& condition) {
        if (condition["type"].text_or_empty() != "Ready") return;
        ready = condition["status"].choice({"False", "True", "Unknown"}).value_or(0) == 1;
    });
    return ready;
}

/// `list`[].`member`, and `one` where the list is not there.
std::vector<IpAddress> read_ips(const Value& status, const char* list, const char* one) {
    std::vector<IpAddress> ips;
    const auto several = status[list];
    several.each_mapping(kListMost, [&](const Value& element) {
        if (const auto address = element["ip"].address()) ips.push_back(*address);
    });
    const auto single = status[one];
    if (several.absent() && !single.text_or_empty().empty()) {
        if (const auto address = single.address()) ips.push_back(*address);
    }
    return ips;
}

void read_container_ports(const Value& container, Pod& pod) {
    container["ports"].each_mapping(kListMost, [&](const Value& value) {
        ContainerPort port;
        const auto name = value["name"];
        if (!name.text_or_empty().empty()) port.name = name.name(is_port_name, kPortNameWords).value_or("");
        port.protocol = value["protocol"].transport().value_or(model::Transport::tcp);
        const auto number = value["containerPort"];
        if (number.absent()) number.fault("is missing; 1 to 65535 are possible");
        port.port = number.port().value_or(0);
        pod.ports.push_back(std::move(port));
    });
}

void read_pod_cidr(const Value& value, Node& node) {
    const auto written = value.text_or_empty();
    if (const auto prefix = Prefix::parse(written)) {
        node.pod_cidrs.push_back({prefix->network(), prefix->length});
    } else {
        value.fault("is \"" + written.substr(0, 80) + "\"; a network such as 10.244.1.0/24 is wanted");
    }
}

}  // namespace

Pod read_pod(const Value& root, ObjectMeta meta) {
    Pod pod;
    pod.meta = std::move(meta);
    pod.terminating = pod.meta.deletion;
    const auto spec = root.mapping("spec");
    pod.node_name = spec["nodeName"].text_or_empty();
    pod.host_network = spec["hostNetwork"].boolean_or(false);
    spec["containers"].each_mapping(kListMost,
                                    [&](const Value& container) { read_container_ports(container, pod); });
    spec["initContainers"].each_mapping(kListMost, [&](const Value& container) {
        if (container["restartPolicy"].text_or_empty() == "Always") read_container_ports(container, pod);
    });
    const auto status = root.mapping("status");
    pod.pod_ips = read_ips(status, "podIPs", "podIP");
    pod.host_ips = read_ips(status, "hostIPs", "hostIP");
    const auto phase = status["phase"];
    if (phase.choice({"Pending", "Running", "Succeeded", "Failed", "Unknown"}))
        pod.phase = phase.text_or_empty();
    pod.ready = is_ready(status);
    return pod;
}

Node read_node(const Value& root, ObjectMeta meta) {
    Node node;
    node.meta = std::move(meta);
    if (const auto label = node.meta.labels.find(std::string(kZoneLabel)); label != node.meta.labels.end())
        node.zone = label->second;
    const auto spec = root.mapping("spec");
    const auto cidrs = spec["podCIDRs"];
    cidrs.each(kListMost, [&](const Value& element) { read_pod_cidr(element, node); });
    if (cidrs.absent() && !spec["podCIDR"].text_or_empty().empty()) read_pod_cidr(spec["podCIDR"], node);
    const auto status = root.mapping("status");
    status["addresses"].each_mapping(kListMost, [&](const Value& element) {
        if (element["type"].text_or_empty() != "InternalIP") return;
        if (const auto address = element["address"].address()) node.internal_ips.push_back(*address);
    });
    node.ready = is_ready(status);
    return node;
}

}  // namespace viaduct::kubernetes
