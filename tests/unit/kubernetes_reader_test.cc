// Manifests that are right: what becomes of each field, and that what is written of an object reads as the
// same object again.
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"

#include "kubernetes/reader.h"
#include "kubernetes/writer.h"
#include "kubernetes/yaml.h"

namespace viaduct::kubernetes {
namespace {

Documents read(const std::string& text) {
    auto documents = read_documents(text, "m.yaml");
    for (const auto& fault : documents.faults)
        ADD_FAILURE() << to_string(fault);
    return documents;
}
Objects objects(const std::string& text) {
    return objects_of(read(text));
}

/// Each object written as JSON and as YAML reads as it was.
void expect_round_trip(const Objects& given) {
    const auto check = [](const auto& map) {
        for (const auto& [key, object] : map) {
            const AnyObject any = object;
            for (const auto& text : {to_json_text(to_json(any)), to_yaml_text(to_json(any))}) {
                const auto again = read(text);
                ASSERT_EQ(again.documents.size(), 1U) << text;
                ASSERT_EQ(again.documents.front().objects.size(), 1U) << text;
                EXPECT_TRUE(again.documents.front().objects.front() == any) << text;
            }
        }
    };
    check(given.services);
    check(given.slices);
    check(given.pods);
    check(given.nodes);
}

constexpr const char* kEverything = R"(
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: apps
  uid: 6d9b9a3e
  labels: {app.kubernetes.io/name: web, version: "1"}
  annotations:
    service.kubernetes.io/topology-mode: Auto
    note: "true"
    kubectl.kubernetes.io/last-applied-configuration: "{...}"
  managedFields: [{manager: kubectl}]
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00::a"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  externalIPs: [192.0.2.1]
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080, appProtocol: http}
  - {name: dns, port: 80, protocol: UDP, targetPort: 5353}
  - {name: sig, port: 2905, protocol: SCTP}
  selector: {app: web}
  sessionAffinity: ClientIP
  internalTrafficPolicy: Local
  externalTrafficPolicy: Local
  healthCheckNodePort: 32000
  loadBalancerIP: 192.0.2.9
  loadBalancerClass: example.com/vip
  loadBalancerSourceRanges: [203.0.113.7/24, "2001:db8::/32"]
  allocateLoadBalancerNodePorts: false
  publishNotReadyAddresses: true
  trafficDistribution: PreferClose
status:
  loadBalancer:
    ingress: [{ip: 192.0.2.9}, {ip: "2001:db8::9", ipMode: VIP}, {ip: 192.0.2.10, ipMode: Proxy}, {hostname: lb.example}]
)";

TEST(KubernetesReader, ReadsEveryFieldOfAService) {
    const auto all = objects(kEverything);
    const auto& service = *all.services.at({"apps", "web"});
    EXPECT_EQ(service.meta.labels, (Labels{{"app.kubernetes.io/name", "web"}, {"version", "1"}}));
    EXPECT_EQ(service.meta.annotations,
              (Labels{{"service.kubernetes.io/topology-mode", "Auto"}, {"note", "true"}}));
    EXPECT_EQ(service.type, ServiceType::load_balancer);
    EXPECT_EQ(service.cluster_ips,
              (std::vector{*IpAddress::parse("10.96.0.10"), *IpAddress::parse("fd00::a")}));
    EXPECT_EQ(service.ip_families, (std::vector{IpFamily::ipv4, IpFamily::ipv6}));
    EXPECT_EQ(service.ip_family_policy, IpFamilyPolicy::require_dual_stack);
    EXPECT_EQ(service.external_ips, std::vector{*IpAddress::parse("192.0.2.1")});
    ASSERT_EQ(service.ports.size(), 3U);
    EXPECT_EQ(service.ports[0], (ServicePort{"http", model::Transport::tcp, 80, "web", 30080, "http"}));
    EXPECT_EQ(service.ports[1], (ServicePort{"dns", model::Transport::udp, 80, std::uint16_t{5353}, 0, ""}));
    EXPECT_EQ(service.ports[2],
              (ServicePort{"sig", model::Transport::sctp, 2905, std::uint16_t{2905}, 0, ""}));
    EXPECT_EQ(service.selector, (Labels{{"app", "web"}}));
    EXPECT_EQ(service.session_affinity_seconds, 10800U);
    EXPECT_TRUE(service.internal_local);
    EXPECT_TRUE(service.external_local);
    EXPECT_EQ(service.health_check_node_port, 32000);
    EXPECT_EQ(service.load_balancer_ips,
              (std::vector{*IpAddress::parse("192.0.2.9"), *IpAddress::parse("2001:db8::9")}));
    EXPECT_EQ(service.load_balancer_proxy_ips, std::vector{*IpAddress::parse("192.0.2.10")});
    EXPECT_EQ(service.load_balancer_ip, IpAddress::parse("192.0.2.9"));
    EXPECT_EQ(service.load_balancer_class, "example.com/vip");
    EXPECT_EQ(service.load_balancer_source_ranges,
              (std::vector{*Prefix::parse("203.0.113.0/24"), *Prefix::parse("2001:db8::/32")}));
    EXPECT_FALSE(service.allocate_node_ports);
    EXPECT_TRUE(service.publish_not_ready);
    EXPECT_EQ(service.traffic_distribution, "PreferClose");
    expect_round_trip(all);
}

TEST(KubernetesReader, HasTheApisDefaults) {
    const auto all = objects(
        "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: null}, spec: {ports: [{port: 80}], "
        "selector: {}}}");
    const auto& service = *all.services.at({"default", "a"});
    Service expected;
    expected.meta.namespace_ = "default";
    expected.meta.name = "a";
    expected.ports = {{"", model::Transport::tcp, 80, std::uint16_t{80}, 0, ""}};
    expected.selector = Labels();
    EXPECT_EQ(service, expected);
    expect_round_trip(all);
    const auto others = objects(
        "{apiVersion: v1, kind: Service, metadata: {name: h}, spec: {clusterIP: None}}\n---\n"
        "{apiVersion: v1, kind: Service, metadata: {name: e}, spec: {type: ExternalName, externalName: "
        "db.example.}}\n");
    EXPECT_TRUE(others.services.at({"default", "h"})->headless);
    EXPECT_TRUE(others.services.at({"default", "h"})->cluster_ips.empty());
    EXPECT_EQ(others.services.at({"default", "e"})->external_name, "db.example.");
    expect_round_trip(others);
}

TEST(KubernetesReader, ReadsSlicesAndConditionsThatAreNotTold) {
    const auto all = objects(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: apps, labels: {kubernetes.io/service-name: web}, deletionTimestamp: "2026-01-01T00:00:00Z"}
addressType: IPv6
ports: [{name: "", protocol: UDP, port: 53}, {name: all}]
endpoints:
- addresses: ["fd00::1", "fd00::2"]
  hostname: web-0
  nodeName: node-1
  zone: z1
  hints: {forZones: [{name: z1}, {name: z2}], forNodes: [{name: node-1}]}
  targetRef: {kind: Pod, namespace: apps, name: web-0, uid: x}
- {addresses: ["fd00::3"], conditions: {ready: false}}
- {addresses: ["fd00::4"], conditions: {ready: false, serving: true, terminating: true}}
)");
    const auto& slice = *all.slices.at({"apps", "web", "web-1"});
    EXPECT_TRUE(slice.meta.deletion);
    EXPECT_EQ(slice.family, IpFamily::ipv6);
    ASSERT_EQ(slice.ports.size(), 2U);
    EXPECT_EQ(slice.ports[0], (EndpointPort{"", model::Transport::udp, 53, ""}));
    EXPECT_EQ(slice.ports[1], (EndpointPort{"all", model::Transport::tcp, std::nullopt, ""}));
    ASSERT_EQ(slice.endpoints.size(), 3U);
    const auto& first = slice.endpoints[0];
    EXPECT_EQ(first.addresses.size(), 2U);
    EXPECT_TRUE(first.ready && first.serving && !first.terminating);
    EXPECT_EQ(first.node_name, "node-1");
    EXPECT_EQ(first.zone, "z1");
    EXPECT_EQ(first.hostname, "web-0");
    EXPECT_EQ(first.hints_for_zones, (std::vector<SharedText>{"z1", "z2"}));
    EXPECT_EQ(first.hints_for_nodes, (std::vector<SharedText>{"node-1"}));
    EXPECT_EQ(first.target_ref, (TargetReference{"Pod", "apps", "web-0"}));
    EXPECT_FALSE(slice.endpoints[1].ready || slice.endpoints[1].serving);
    EXPECT_TRUE(slice.endpoints[2].serving && slice.endpoints[2].terminating);
    expect_round_trip(all);
}

TEST(KubernetesReader, MakesSlicesOfEndpointsThatCountWhereThereAreNoOthers) {
    const std::string endpoints = R"(
apiVersion: v1
kind: Endpoints
metadata: {name: web}
subsets:
- addresses: [{ip: 10.0.0.1, nodeName: n1}, {ip: "fd00::1"}]
  notReadyAddresses: [{ip: 10.0.0.2}]
  ports: [{name: http, port: 8080}]
- addresses: [{ip: 10.0.0.3}]
)";
    const auto all = objects(endpoints);
    EXPECT_EQ(all.slices.size(), 3U);
    const auto slices = slices_of(all, {"default", "web"});
    ASSERT_EQ(slices.size(), 3U);
    EXPECT_EQ(slices[0]->meta.name, "web/0/IPv4");
    EXPECT_EQ(slices[0]->endpoints.size(), 2U);
    EXPECT_TRUE(slices[0]->endpoints[0].ready);
    EXPECT_FALSE(slices[0]->endpoints[1].ready);
    EXPECT_EQ(slices[0]->ports.front().port, 8080);
    EXPECT_EQ(slices[1]->family, IpFamily::ipv6);
    EXPECT_EQ(slices[2]->meta.name, "web/1/IPv4");

    const auto both = objects(endpoints + "---\n" + R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
)");
    const auto own = slices_of(both, {"default", "web"});
    ASSERT_EQ(own.size(), 1U);
    EXPECT_EQ(own.front()->meta.name, "web-1");
    EXPECT_TRUE(slices_of(both, {"default", "we"}).empty());
}

TEST(KubernetesReader, ReadsPodsAndNodes) {
    const auto all = objects(R"(
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web}}
spec:
  nodeName: n1
  hostNetwork: true
  containers: [{name: a, ports: [{name: http, containerPort: 8080}, {containerPort: 53, protocol: UDP}]}, {name: b}]
  initContainers: [{name: once, ports: [{containerPort: 1}]}, {name: side, restartPolicy: Always, ports: [{containerPort: 2}]}]
status:
  phase: Running
  conditions: [{type: Initialized, status: "False"}, {type: Ready, status: "True"}]
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]
  hostIP: 192.0.2.1
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}
spec: {podCIDR: 10.244.0.0/24, podCIDRs: [10.244.0.0/24, "fd00:1::/64"]}
status:
  addresses: [{type: Hostname, address: n1}, {type: InternalIP, address: 192.0.2.1}]
  conditions: [{type: Ready, status: "True"}]
)");
    const auto& pod = *all.pods.at({"default", "web-0"});
    EXPECT_EQ(pod.node_name, "n1");
    EXPECT_TRUE(pod.host_network && pod.ready && !pod.terminating);
    EXPECT_EQ(pod.phase, "Running");
    EXPECT_EQ(pod.pod_ips.size(), 2U);
    EXPECT_EQ(pod.host_ips, std::vector{*IpAddress::parse("192.0.2.1")});
    ASSERT_EQ(pod.ports.size(), 3U);
    EXPECT_EQ(pod.ports[0], (ContainerPort{"http", model::Transport::tcp, 8080}));
    EXPECT_EQ(pod.ports[2], (ContainerPort{"", model::Transport::tcp, 2}));
    const auto& node = *all.nodes.at("n1");
    EXPECT_EQ(node.meta.namespace_, "");
    EXPECT_EQ(node.zone, "z1");
    EXPECT_EQ(node.internal_ips, std::vector{*IpAddress::parse("192.0.2.1")});
    EXPECT_EQ(node.pod_cidrs.size(), 2U);
    EXPECT_TRUE(node.ready);
    expect_round_trip(all);
}

TEST(KubernetesReader, TellsDocumentsApart) {
    const auto documents = read(
        "# a comment\n---\n# nothing\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: "
        "[{port: 1}]}\n"
        "--- # another\napiVersion: v1\nkind: Node\nmetadata: {name: n}\n...\n---\n\n---\nkind: ConfigMap\n"
        "apiVersion: v1\ndata:\n  text: |\n    kind: Service\n---\n"
        "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: b}, spec: {}}");
    ASSERT_EQ(documents.documents.size(), 2U);
    EXPECT_EQ(to_string(documents.documents[0].id), "Service default/a");
    EXPECT_EQ(documents.documents[0].line, 5U);
    EXPECT_EQ(to_string(documents.documents[1].id), "Node n");
    EXPECT_EQ(documents.documents[1].line, 10U);
    EXPECT_EQ(documents.passed_over, 2U);
    EXPECT_TRUE(read("").documents.empty());
    EXPECT_TRUE(read("\xef\xbb\xbf---").documents.empty());
}

TEST(KubernetesReader, ReadsListsAndRefusesTheirItemsOneByOne) {
    const auto documents = read_documents(
        "items:\n- {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1}]}}\n"
        "- {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: [{port: 0}]}}\n"
        "- {apiVersion: v1, kind: Secret, metadata: {name: c}}\n"
        "- {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 2}]}}\n"
        "kind: List\napiVersion: v1\n",
        "m");
    ASSERT_EQ(documents.documents.size(), 2U);
    EXPECT_TRUE(documents.documents[1].refused);
    EXPECT_EQ(documents.passed_over, 1U);
    ASSERT_EQ(documents.faults.size(), 2U);
    EXPECT_EQ(to_string(documents.faults[0]),
              "m:3: Service default/b: spec.ports[0].port is 0; 1 to 65535 are possible");
    EXPECT_EQ(to_string(documents.faults[1]),
              "m:5: Service default/a is described at line 2 already, which counts; take one of both away");
    // As the API tells it: items say no kind of their own.
    EXPECT_TRUE(
        objects(R"({"kind":"NodeList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"n"}}]})")
            .nodes.contains("n"));
    // Somebody else's object may have items that are nobody's.
    const auto other = read("kind: Playlist\napiVersion: music/v1\nitems: [{kind: Song}, 7]\n");
    EXPECT_TRUE(other.documents.empty());
}

TEST(KubernetesReader, ReadsAliasesAndJsonsText) {
    const auto all = objects(
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: Pod, metadata: {name: a, labels: &l {x: y}}}\n"
        "- {apiVersion: v1, kind: Pod, metadata: {name: b, labels: *l}}\n");
    EXPECT_EQ(all.pods.at({"default", "b"})->meta.labels, (Labels{{"x", "y"}}));
    const auto json = objects(
        "{\"apiVersion\":\"v1\",\t\"kind\":\"Node\",\n\t\"metadata\":{\"name\":\"n\",\"annotations\":{\"a\":"
        "\"\\u00e9\\/\\n\\ud83d\\ude00\"}}}");
    EXPECT_EQ(json.nodes.at("n")->meta.annotations.at("a"), "\xc3\xa9/\n\xf0\x9f\x98\x80");
}

TEST(KubernetesReader, ObjectsAreEqualWhereverTheyAreFrom) {
    const auto one = objects("apiVersion: v1\nkind: Node\nmetadata: {name: n}\n");
    const auto moved = objects("\n\n\napiVersion: v1\nkind: Node\nmetadata: {name: n}\n");
    EXPECT_EQ(one, moved);
    EXPECT_EQ(to_string(moved.nodes.at("n").origin()), "m.yaml:4");
    auto other = moved;
    other.nodes.erase("n");
    EXPECT_NE(one, other);
}

TEST(KubernetesReader, TakesPlainWordsAsKubectlDoes) {
    using yaml::Plain;
    for (const auto* word : {"80", "-1", "+1", "1.5", "1e3", "0x1F", "0o17", "1_000", ".5", ".inf"})
        EXPECT_EQ(yaml::meaning_of(word), Plain::number) << word;
    for (const auto* word :
         {"10.0.0.1", "fd00::1", "::", "1.2.3", "e3", "0x", "-", ".", "web", "1e", "2026-01-01", "_1"})
        EXPECT_EQ(yaml::meaning_of(word), Plain::text) << word;
    for (const auto* word : {"true", "False", "yes", "off", "ON"})
        EXPECT_EQ(yaml::meaning_of(word), Plain::boolean) << word;
    EXPECT_TRUE(yaml::truth_of("on") && yaml::truth_of("Yes") && !yaml::truth_of("off") &&
                !yaml::truth_of("no"));
    for (const auto* word : {"", "~", "null"})
        EXPECT_EQ(yaml::meaning_of(word), Plain::null) << word;
}

TEST(KubernetesReader, WritesTextThatReadsAsText) {
    Json::Value value;
    for (const auto* word : {"80", "true", "null", "", "a: b", "- x", "#", "two\nlines", "<<", " ", "\"", "'",
                             "yes", "10.0.0.1"})
        value[word] = word;
    value["number"] = 80;
    value["list"].append(true);
    const auto text = to_yaml_text(value);
    std::size_t seen = 0;
    yaml::parse(
        text,
        {{},
         [&](const yaml::Node& root) {
             for (const auto* link = root.first; link != nullptr; link = link->next) {
                 if (link->key == "list" || link->key == "number") continue;
                 ++seen;
                 EXPECT_EQ(link->node->text, link->key);
                 EXPECT_TRUE(!link->node->plain || yaml::meaning_of(link->node->text) == yaml::Plain::text)
                     << link->key;
             }
         },
         [&](const yaml::Problem& problem) { ADD_FAILURE() << problem.reason << text; }});
    EXPECT_EQ(seen, 14U);
}

}  // namespace
}  // namespace viaduct::kubernetes
