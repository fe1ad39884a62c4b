// Manifests that are right, by what becomes of them, and manifests that are wrong, by the sentence that
// refuses them. Both are data.
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kubernetes/objects.h"
#include "kubernetes/reader.h"

namespace viaduct::kubernetes {
namespace {

std::vector<std::string> words_of(const Documents& documents) {
    std::vector<std::string> words;
    for (const auto& fault : documents.faults)
        words.push_back(to_string(fault));
    return words;
}
std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const auto& word : words)
        text += word + "\n";
    return text;
}

/// A Service of what comes after "spec: ".
std::string service(const std::string& spec) {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: apps}\nspec: " + spec + "\n";
}
std::string slice(const std::string& rest) {
    return "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, labels: "
           "{kubernetes.io/service-name: web}}\n" +
           rest + "\n";
}

struct Bad {
    const char* name;
    std::string text;
    std::string fault;  ///< all of them, a line each, without "m.yaml:"
};

std::string name_of(const testing::TestParamInfo<Bad>& bad) {
    return bad.param.name;
}

void PrintTo(const Bad& bad, std::ostream* out) {
    *out << bad.name;
}

class BadManifest : public testing::TestWithParam<Bad> {};

TEST_P(BadManifest, IsRefusedInWords) {
    const auto& [name, text, fault] = GetParam();
    const auto read = read_documents(text, "m");
    EXPECT_EQ(joined(words_of(read)), fault);
    EXPECT_EQ(objects_of(read), Objects());
    // And alone.
    const auto beside =
        read_documents(text + "\n---\n{apiVersion: v1, kind: Node, metadata: {name: good}}\n", "m");
    EXPECT_EQ(words_of(beside), words_of(read));
    EXPECT_TRUE(objects_of(beside).nodes.contains("good"));
}

const std::string kSlice = "EndpointSlice default/web-1: ";

std::string flat(const std::string& field_and_reason) {
    return "m:4: Service apps/web: " + field_and_reason + "\n";
}

INSTANTIATE_TEST_SUITE_P(
    Shape, BadManifest,
    testing::Values(
        Bad{"no_yaml", "{a: [}\n",
            "m:1: is no YAML: while parsing a flow node, did not find expected node content\n"},
        Bad{"scalar", "hello\n", "m:1: is no object; a manifest begins with apiVersion and kind\n"},
        Bad{"list", "- a\n", "m:1: is no object; a manifest begins with apiVersion and kind\n"},
        Bad{"no_kind", "apiVersion: v1\n",
            "m:1: kind is missing; a manifest says what it describes (kind: Service)\n"},
        Bad{"kind_number", "kind: 7\n",
            "m:1: kind is the number 7; text is wanted: write it in quotes, \"7\"\n"},
        Bad{"no_version", "kind: Node\nmetadata: {name: n}\n",
            "m:1: Node n: apiVersion is missing; Node is read in v1\n"},
        Bad{"old_version",
            "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1beta1\nmetadata: {name: x}\naddressType: "
            "IPv4\n",
            "m:2: EndpointSlice default/x: apiVersion is \"discovery.k8s.io/v1beta1\"; EndpointSlice is read "
            "in discovery.k8s.io/v1\n"},
        Bad{"no_name", "kind: Pod\napiVersion: v1\n",
            "m:1: Pod: metadata.name is missing; every object has a name\n"},
        Bad{"bad_name", "kind: Service\napiVersion: v1\nmetadata: {name: 9web}\nspec: {ports: [{port: 1}]}\n",
            "m:3: Service: metadata.name is \"9web\"; 1 to 63 of a-z, 0-9 and '-', with a letter first and a "
            "letter or digit last, are right\n"},
        Bad{"bad_namespace", "kind: Pod\napiVersion: v1\nmetadata: {name: a, namespace: A_b}\n",
            "m:3: Pod: metadata.namespace is \"A_b\"; 1 to 63 of a-z, 0-9 and '-', with a letter or digit at "
            "both ends, are right\n"},
        Bad{"meta_text", "kind: Pod\napiVersion: v1\nmetadata: x\n",
            "m:3: Pod: metadata is the text \"x\"; a mapping is wanted\nm:3: Pod: metadata.name is missing; "
            "every "
            "object has a name\n"},
        Bad{"label_number", "kind: Pod\napiVersion: v1\nmetadata: {name: a, labels: {v: 1}}\n",
            "m:3: Pod default/a: metadata.labels.v is the number 1; text is wanted: write it in quotes, "
            "\"1\"\n"},
        Bad{"label_key", "kind: Pod\napiVersion: v1\nmetadata: {name: a, labels: {a/b/c: x}}\n",
            "m:3: Pod default/a: metadata.labels[\"a/b/c\"] has a key that is no label's; 1 to 63 letters, "
            "digits, "
            "'-', '_' and '.', after a domain and '/' or without, are right\n"},
        Bad{"twice_key", "kind: Pod\napiVersion: v1\nmetadata:\n  name: a\n  name: b\n",
            "m:5: has the key \"name\" twice in one mapping; once is right\n"},
        Bad{"merge_key", "a: &a {x: y}\nb: {<<: *a}\n",
            "m:2: has a merge key (<<), which is not read: write the fields out\n"},
        Bad{"unknown_alias", "a: *nobody\n",
            "m:1: has the alias *nobody, which stands for nothing that was finished before it\n"},
        Bad{"alias_of_itself", "a: &a [*a]\n",
            "m:1: has the alias *a, which stands for nothing that was finished before it\n"},
        Bad{"nested_list", "kind: List\napiVersion: v1\nitems:\n- kind: List\n  items: []\n",
            "m:4: List is a list within a list; write its items into the outer one\n"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Service, BadManifest,
    testing::Values(
        Bad{"type", service("{type: clusterip, ports: [{port: 1}]}"),
            flat("spec.type is \"clusterip\"; ClusterIP, NodePort, LoadBalancer and ExternalName are "
                 "possible")},
        Bad{"no_ports", service("{}"),
            flat("spec.ports is missing; a service has at least one port, unless it is headless")},
        Bad{"port_range", service("{ports: [{port: 65536}]}"),
            flat("spec.ports[0].port is 65536; 1 to 65535 are possible")},
        Bad{"port_zero", service("{ports: [{port: 0}]}"),
            flat("spec.ports[0].port is 0; 1 to 65535 are possible")},
        Bad{"port_huge", service("{ports: [{port: 99999999999999999999999}]}"),
            flat("spec.ports[0].port is 99999999999999999999999; 1 to 65535 are possible")},
        Bad{"port_quoted", service("{ports: [{port: \"80\"}]}"),
            flat("spec.ports[0].port is the text \"80\"; a number is wanted: write 80 without quotes")},
        Bad{"port_float", service("{ports: [{port: 80.0}]}"),
            flat("spec.ports[0].port is the number 80.0; a whole number in decimal digits is wanted")},
        Bad{"port_missing", service("{ports: [{name: a}]}"),
            flat("spec.ports[0].port is missing; 1 to 65535 are possible")},
        Bad{"port_twice", service("{ports: [{name: a, port: 80}, {name: b, port: 80}]}"),
            flat("spec.ports[1].port is TCP port 80, which the service has already; each is wanted once")},
        Bad{"port_name_twice", service("{ports: [{name: a, port: 80}, {name: a, port: 81}]}"),
            flat("spec.ports[1].name is \"a\", as another port's; each needs its own")},
        Bad{"port_unnamed", service("{ports: [{name: a, port: 80}, {port: 81}]}"),
            flat("spec.ports have one without a name; a service with several ports names each")},
        Bad{"protocol", service("{ports: [{port: 80, protocol: tcp}]}"),
            flat("spec.ports[0].protocol is \"tcp\"; TCP, UDP and SCTP are possible")},
        Bad{"target_text", service("{ports: [{port: 80, targetPort: \"8080\"}]}"),
            flat("spec.ports[0].targetPort is the text \"8080\"; a number without quotes, or a port's name "
                 "(which "
                 "has a letter), is wanted")},
        Bad{"node_port_type", service("{ports: [{port: 80, nodePort: 30080}]}"),
            flat("spec.ports[0].nodePort is for types NodePort and LoadBalancer; leave it out or change "
                 "spec.type")},
        Bad{"node_port_twice",
            service("{type: NodePort, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, "
                    "nodePort: 30080}]}"),
            flat("spec.ports[1].nodePort is TCP port 30080, which another port of the service has; each "
                 "needs its "
                 "own")},
        Bad{"cluster_ip", service("{clusterIP: 10.0.0.300, ports: [{port: 1}]}"),
            flat("spec.clusterIP is \"10.0.0.300\"; an IPv4 address such as 10.0.0.1 or an IPv6 address such "
                 "as "
                 "fd00::1 is wanted")},
        Bad{"cluster_ip_loopback", service("{clusterIP: 127.0.0.1, ports: [{port: 1}]}"),
            flat("spec.clusterIP is 127.0.0.1, a loopback address; one that is routed is wanted")},
        Bad{"cluster_ips_differ",
            service("{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2], ports: [{port: 1}]}"),
            flat("spec.clusterIP is \"10.0.0.1\", and clusterIPs begins with \"10.0.0.2\"; both must be the "
                 "same")},
        Bad{"two_of_a_family",
            service(
                "{ipFamilyPolicy: PreferDualStack, clusterIPs: [10.0.0.1, 10.0.0.2], ports: [{port: 1}]}"),
            flat("spec.clusterIPs has two addresses of one family; at most one of each is possible")},
        Bad{"two_single_stack", service("{clusterIPs: [10.0.0.1, 'fd00::1'], ports: [{port: 1}]}"),
            flat("spec.clusterIPs has two addresses, which needs ipFamilyPolicy PreferDualStack or "
                 "RequireDualStack")},
        Bad{"family_order", service("{clusterIP: 10.0.0.1, ipFamilies: [IPv6], ports: [{port: 1}]}"),
            flat(
                "spec.ipFamilies has IPv6 where the cluster IP is 10.0.0.1; families and addresses go in one "
                "order")},
        Bad{"family_twice",
            service("{ipFamilies: [IPv6, IPv6], ipFamilyPolicy: PreferDualStack, ports: [{port: 1}]}"),
            flat("spec.ipFamilies has one family twice; each is wanted once")},
        Bad{"headless_node_port", service("{type: NodePort, clusterIP: None, ports: [{port: 1}]}"),
            flat("spec.clusterIP is None, which is for type ClusterIP alone; leave it out or change "
                 "spec.type")},
        Bad{"external_ip", service("{externalIPs: [\"::ffff:1.2.3.4\"], ports: [{port: 1}]}"),
            flat("spec.externalIPs[0] is \"::ffff:1.2.3.4\", an IPv4 address written as IPv6; write it as "
                 "IPv4")},
        Bad{"no_external_name", service("{type: ExternalName}"),
            flat("spec.externalName is missing; a service of type ExternalName names a host, such as "
                 "db.example.com")},
        Bad{"external_name_ip", service("{type: ExternalName, externalName: x.example, clusterIP: 10.0.0.1}"),
            flat("spec.clusterIP is set, and a service of type ExternalName has none; leave it out")},
        Bad{"affinity_seconds",
            service("{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}, "
                    "ports: "
                    "[{port: 1}]}"),
            flat("spec.sessionAffinityConfig.clientIP.timeoutSeconds is 86401; 1 to 86400 are possible")},
        Bad{"affinity_none",
            service("{sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}, ports: [{port: 1}]}"),
            flat(
                "spec.sessionAffinityConfig is set, and sessionAffinity is not ClientIP; leave it out or set "
                "that")},
        Bad{"external_policy", service("{externalTrafficPolicy: Local, ports: [{port: 1}]}"),
            flat("spec.externalTrafficPolicy is for services that are reached from outside (NodePort, "
                 "LoadBalancer, "
                 "externalIPs); leave it out")},
        Bad{"health_port", service("{type: NodePort, healthCheckNodePort: 30000, ports: [{port: 1}]}"),
            flat("spec.healthCheckNodePort is for type LoadBalancer with externalTrafficPolicy Local; leave "
                 "it out")},
        Bad{"source_range",
            service("{type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.1], ports: [{port: 1}]}"),
            flat("spec.loadBalancerSourceRanges[0] is \"10.0.0.1\"; a network such as 192.0.2.0/24 is "
                 "wanted")},
        Bad{"class_without", service("{loadBalancerClass: a.b/c, ports: [{port: 1}]}"),
            flat("spec.loadBalancerClass is for type LoadBalancer alone; leave it out or change spec.type")},
        Bad{"not_ready_text", service("{publishNotReadyAddresses: \"true\", ports: [{port: 1}]}"),
            flat("spec.publishNotReadyAddresses is the text \"true\"; true or false, without quotes, is "
                 "wanted")},
        Bad{"ports_mapping", service("{ports: {port: 1}}"),
            flat("spec.ports is a mapping; a list is wanted")},
        Bad{"port_null", service("{ports: [null]}"), flat("spec.ports[0] is nothing; a mapping is wanted")}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Endpoints, BadManifest,
    testing::Values(
        Bad{"no_type", slice(""), "m:1: " + kSlice + "addressType is missing; IPv4 and IPv6 are possible\n"},
        Bad{"fqdn", slice("addressType: FQDN"),
            "m:4: " + kSlice +
                "addressType is FQDN, whose endpoints are names that no packet can be sent to; IPv4 and IPv6 "
                "are "
                "possible\n"},
        Bad{"family", slice("addressType: IPv4\nendpoints:\n- addresses: ['fd00::1']"),
            "m:6: " + kSlice +
                "endpoints[0].addresses[0] is fd00::1, and the slice's addressType is IPv4; each family has "
                "its "
                "own slices\n"},
        Bad{"no_address", slice("addressType: IPv4\nendpoints:\n- conditions: {}"),
            "m:6: " + kSlice + "endpoints[0].addresses has none; an endpoint has at least one address\n"},
        Bad{"port_names", slice("addressType: IPv4\nports: [{port: 1}, {port: 2}]"),
            "m:5: " + kSlice + "ports[1].name is missing, as another port's; each needs its own\n"},
        Bad{"condition",
            slice("addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: 1}}]"),
            "m:5: " + kSlice +
                "endpoints[0].conditions.ready is the number 1; true or false, without quotes, is wanted\n"},
        Bad{"link_local", slice("addressType: IPv6\nendpoints: [{addresses: ['fe80::1']}]"),
            "m:5: " + kSlice +
                "endpoints[0].addresses[0] is fe80::1, a link-local address; one that is routed is wanted\n"},
        Bad{"endpoints_ip",
            "apiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\nsubsets:\n- addresses: [{ip: x}]\n",
            "m:5: Endpoints default/web: subsets[0].addresses[0].ip is \"x\"; an IPv4 address such as "
            "10.0.0.1 or an "
            "IPv6 address such as fd00::1 is wanted\n"},
        Bad{"endpoints_no_ip",
            "apiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\nsubsets:\n- notReadyAddresses: [{}]\n",
            "m:5: Endpoints default/web: subsets[0].notReadyAddresses[0].ip is missing; an address is "
            "wanted\n"},
        Bad{"pod_port",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - ports: [{name: "
            "a-name-that-is-long, containerPort: 1}]\n",
            "m:6: Pod default/p: spec.containers[0].ports[0].name is \"a-name-that-is-long\"; 1 to 15 of "
            "a-z, 0-9 "
            "and single '-' within, with a letter among them, are right\n"},
        Bad{"node_cidr", "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {podCIDR: 10.0.0.0}\n",
            "m:4: Node n: spec.podCIDR is \"10.0.0.0\"; a network such as 10.244.1.0/24 is wanted\n"}),
    name_of);

TEST(Manifest, TooMuchIsRefused) {
    std::string endpoints = "addressType: IPv4\nendpoints:\n";
    for (int i = 0; i <= 1000; ++i)
        endpoints += "- addresses: [10.0.0.1]\n";
    EXPECT_EQ(words_of(read_documents(slice(endpoints), "m")),
              std::vector<std::string>{"m:6: " + kSlice +
                                       "endpoints has 1001 elements; at most 1000 are possible"});
    std::string ports;
    for (int i = 0; i <= 100; ++i)
        ports += "- {name: p" + std::to_string(i) + "}\n";
    EXPECT_EQ(
        words_of(read_documents(slice("addressType: IPv4\nports:\n" + ports), "m")),
        std::vector<std::string>{"m:6: " + kSlice + "ports has 101 elements; at most 100 are possible"});
    EXPECT_EQ(words_of(read_documents(std::string(100, '['), "m")),
              std::vector<std::string>{"m:1: is nested more than 64 deep"});
    std::string lines;
    for (int i = 0; i < 1500; ++i)
        lines += "--- x\n";
    const auto faults = words_of(read_documents(lines, "m"));
    ASSERT_EQ(faults.size(), 1001U);
    EXPECT_EQ(faults.back(), "m: has 500 more faults, which are not told one by one");
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 12; ++i) {
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int j = 0; j < 10; ++j)
            bomb += (j == 0 ? "*a" : ", *a") + std::to_string(i - 1);
        bomb += "]\n";
    }
    EXPECT_EQ(
        words_of(read_documents(bomb, "m")),
        std::vector<std::string>{"m:6: stands for more than 1000000 values, aliases written out; no manifest "
                                 "needs so many"});
}

}  // namespace
}  // namespace viaduct::kubernetes
