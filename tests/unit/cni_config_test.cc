// What runtimes say, and what they should not: environment, CNI_ARGS and standard input.
#include <gtest/gtest.h>
#include <json/json.h>

#include "environment.h"
#include "error.h"
#include "network_config.h"

namespace viaduct::cni {
namespace {

using Map = std::map<std::string, std::string>;

Environment environment(const Map& variables) {
    return read_environment([&](const char* name) -> const char* {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
    });
}

Map complete(const char* command) {
    return {{"CNI_COMMAND", command},
            {"CNI_CONTAINERID", "c1"},
            {"CNI_NETNS", "/ns"},
            {"CNI_IFNAME", "eth0"},
            {"CNI_PATH", "/bin"}};
}

struct Refusal {
    unsigned code = 0;
    std::string message;
};

template <typename What>
Refusal refusal(const What& what) {
    try {
        what();
    } catch (const Error& error) {
        return {error.code(), error.what()};
    }
    return {};
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

NetworkConfig network(const std::string& text) {
    std::string version;
    return read_network(text, version);
}

/// `members` after name, type and version.
std::string config(const std::string& members) {
    return R"({"cniVersion":"1.0.0","name":"pods","type":"viaduct")" +
           (members.empty() ? "" : "," + members) + "}";
}

attachment::Request request(const std::string& members, const std::string& args = {}) {
    return read_request(network(config(members)), environment(complete("ADD")), read_arguments(args));
}

TEST(CniEnvironment, TellsAllThatIsMissingAtOnce) {
    const auto add = refusal([] { environment({{"CNI_COMMAND", "ADD"}, {"CNI_NETNS", ""}}); });
    EXPECT_EQ(add.code, 4U);
    for (const char* name : {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"})
        EXPECT_TRUE(has(add.message, name)) << name;
    const auto none = refusal([] { environment({}); });
    EXPECT_EQ(none.code, 4U);
    EXPECT_TRUE(has(none.message, "CNI_COMMAND"));
    EXPECT_TRUE(has(refusal([] { environment({{"CNI_COMMAND", "GC"}}); }).message, "CNI_PATH"));
    EXPECT_EQ(refusal([] { environment({{"CNI_COMMAND", "STATUS"}}); }).code, 0U);
    auto del = complete("DEL");
    del.erase("CNI_NETNS");
    EXPECT_EQ(refusal([&] { environment(del); }).code, 0U);
    EXPECT_EQ(refusal([] { environment({{"CNI_COMMAND", "ZAP"}}); }).code, 4U);
}

TEST(CniEnvironment, DoesNotLookCloselyAtAVersionProbe) {
    EXPECT_EQ(
        environment({{"CNI_COMMAND", "VERSION"}, {"CNI_CONTAINERID", ""}, {"CNI_IFNAME", "du/mmy"}}).command,
        Command::version);
}

TEST(CniEnvironment, ChecksNamesWhole) {
    for (const char* bad : {"ab\n", "-a", ".a", "a b", "a/b", "ä", "_a"}) {
        auto variables = complete("ADD");
        variables["CNI_CONTAINERID"] = bad;
        const auto refused = refusal([&] { environment(variables); });
        EXPECT_EQ(refused.code, 4U) << bad;
        EXPECT_TRUE(has(refused.message, "CNI_CONTAINERID")) << refused.message;
    }
    for (const char* bad : {".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-bytes-xx"}) {
        auto variables = complete("DEL");
        variables["CNI_IFNAME"] = bad;
        EXPECT_EQ(refusal([&] { environment(variables); }).code, 4U) << bad;
    }
    auto good = complete("ADD");
    good["CNI_CONTAINERID"] = "0a_.-Z";
    good["CNI_IFNAME"] = "fifteen-bytes-x";
    EXPECT_EQ(environment(good).ifname, "fifteen-bytes-x");
}

TEST(CniArguments, AreReadInAnyOrder) {
    const auto got =
        read_arguments("MAC=02:00:00:00:00:09;X=1;K8S_POD_NAME=web;IP=10.0.0.9;IgnoreUnknown=true;");
    ASSERT_EQ(got.ips.size(), 1U);
    EXPECT_EQ(got.ips[0].to_string(), "10.0.0.9");
    EXPECT_EQ(got.mac->to_string(), "02:00:00:00:00:09");
    EXPECT_EQ(got.labels.at("K8S_POD_NAME"), "web");
    EXPECT_TRUE(read_arguments("").ips.empty());
    EXPECT_TRUE(read_arguments("IgnoreUnknown=1;IP=;MAC=").ips.empty());
}

TEST(CniArguments, RefuseWhatTheyCannotKnow) {
    for (const char* bad :
         {"X=1", "X=1;IgnoreUnknown=0", "noise", "=x", "IP=10.0.0", "MAC=01:00:00:00:00:01", "MAC=zz"}) {
        const auto refused = refusal([&] { read_arguments(bad); });
        EXPECT_EQ(refused.code, 4U) << bad;
        EXPECT_TRUE(has(refused.message, "CNI_ARGS")) << refused.message;
    }
}

TEST(CniArguments, GiveAPodItsLabels) {
    const auto got = read_arguments("VIADUCT_LABELS=app=web,tier=front;K8S_POD_NAME=web");
    EXPECT_EQ(got.pod_labels, (Labels{{"app", "web"}, {"tier", "front"}}));
    EXPECT_TRUE(read_arguments("VIADUCT_LABELS=").pod_labels.empty());
    const auto refused = refusal([&] { read_arguments("VIADUCT_LABELS=app"); });
    EXPECT_EQ(refused.code, 4U);
    EXPECT_TRUE(has(refused.message, "CNI_ARGS has VIADUCT_LABELS, which has \"app\"")) << refused.message;
}

TEST(CniConfig, TakesLabelsFromAnnotationsAndConventionalArguments) {
    const auto got =
        request(R"("args":{"cni":{"labels":[{"key":"app","value":"web"},{"key":"tier","value":"a"}]}},
        "runtimeConfig":{"io.kubernetes.cri.pod-annotations":
            {"other/annotation":"= = =","viaduct.io/labels":"tier=front, canary="}})",
                "VIADUCT_LABELS=app=first,from=args");
    EXPECT_EQ(got.pod_labels, (Labels{{"app", "web"}, {"tier", "front"}, {"canary", ""}, {"from", "args"}}));
    Faults faults;
    EXPECT_EQ(attachment::request_from_json(attachment::to_json(got), "", faults), got);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    const auto wrong = refusal([] {
        request(R"("runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"viaduct.io/labels":"app"}})");
    });
    EXPECT_EQ(wrong.code, 7U);
    EXPECT_TRUE(has(wrong.message, "annotation viaduct.io/labels: has \"app\", which is not KEY=VALUE"))
        << wrong.message;
    for (const char* bad :
         {R"("args":{"cni":{"labels":[{"key":"a b","value":"c"}]}})", R"("args":{"cni":{"labels":["a=b"]}})",
          R"("runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"viaduct.io/labels":7}})"})
        EXPECT_EQ(refusal([&] { request(bad); }).code, 7U) << bad;
}

TEST(CniConfig, KnowsItsVersions) {
    for (const char* version : {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
        EXPECT_EQ(network(R"({"cniVersion":")" + std::string(version) + R"(","name":"a"})").version, version);
    }
    for (const char* text :
         {R"({"name":"a"})", R"({"cniVersion":"2.0.0","name":"a"})", R"({"cniVersion":"","name":"a"})"}) {
        EXPECT_EQ(refusal([&] { network(text); }).code, 1U) << text;
    }
    EXPECT_EQ(refusal([] { network(R"({"cniVersion":1,"name":"a"})"); }).code, 6U);
}

TEST(CniConfig, RefusesWhatIsNoConfiguration) {
    for (const std::string text : {"", "{", "null", "[]", "\"x\"", "{\"a\":1}x", "\xff\xfe"}) {
        EXPECT_EQ(refusal([&] { network(text); }).code, 6U) << text;
    }
    EXPECT_EQ(refusal([] { network(std::string(100000, '[')); }).code, 6U);
    EXPECT_EQ(refusal([] { network(std::string(kInputMost + 1, ' ')); }).code, 6U);
    for (const char* text :
         {R"({"cniVersion":"1.0.0"})", R"({"cniVersion":"1.0.0","name":""})",
          R"({"cniVersion":"1.0.0","name":"a\n"})", R"({"cniVersion":"1.0.0","name":"../a"})",
          R"({"cniVersion":"1.0.0","name":"a","ipam":{"type":"../evil"}})",
          R"({"cniVersion":"1.0.0","name":"a","ipam":{"subnet":"10.0.0.0/8"}})",
          R"({"cniVersion":"1.0.0","name":"a","ipam":[]})",
          R"({"cniVersion":"1.0.0","name":"a","prevResult":"x"})",
          R"({"cniVersion":"1.0.0","name":"a","controlSocket":"relative"})"}) {
        EXPECT_EQ(refusal([&] { network(text); }).code, 7U) << text;
    }
}

TEST(CniConfig, ReadsKeysInAnyCaseAndNullAsAbsent) {
    const auto got =
        network(R"({"CNIVersion":"1.0.0","Name":"pods","IPAM":{"Type":"host-local"},"prevResult":null})");
    EXPECT_EQ(got.name, "pods");
    EXPECT_EQ(got.ipam, Ipam::delegated);
    EXPECT_EQ(got.previous, nullptr);
    const auto asked =
        request(R"("MTU":9000,"vlan":null,"ipam":null,"runtimeConfig":{"Mac":"02:00:00:00:00:05",
        "PortMappings":null,"DNS":{"Servers":["10.0.0.53"],"Searches":["a.b"],"Options":null},
        "aliases":{"x":["y"]},"CgroupPath":"/x"},"capabilities":{"mac":true})");
    EXPECT_EQ(asked.mtu, 9000U);
    EXPECT_EQ(asked.mac->to_string(), "02:00:00:00:00:05");
    EXPECT_EQ(asked.dns.nameservers, std::vector<std::string>{"10.0.0.53"});
    EXPECT_TRUE(asked.unknown_keys.empty());
}

TEST(CniConfig, AcceptsWhatTheBridgePluginAccepts) {
    const auto asked =
        request(R"("bridge":"mybr","isGateway":false,"isDefaultGateway":false,"forceAddress":false,
        "ipMasq":false,"hairpinMode":false,"promiscMode":false,"macspoofchk":false,"vlan":100,
        "vlanTrunk":[{"minID":200,"maxID":202},{"id":42},{"id":201}],"preserveDefaultVlan":false,"enabledad":true,
        "disableContainerInterface":true,"mtu":0,"ipam":{})");
    EXPECT_EQ(asked.bridge, "mybr");
    EXPECT_EQ(asked.vlan->untagged, 100);
    EXPECT_EQ(asked.vlan->tagged, (std::vector<model::VlanRange>{{42, 42}, {200, 202}}));
    EXPECT_TRUE(asked.detect_duplicates);
    EXPECT_FALSE(asked.up);
    EXPECT_EQ(asked.mtu, 1500U);
    EXPECT_EQ(request("").bridge, "cni0");
}

TEST(CniConfig, RefusesByNameWhatItCannotDo) {
    for (const char* key : {"hairpinMode", "promiscMode", "forceAddress", "portIsolation"}) {
        const auto refused = refusal([&] { request("\"" + std::string(key) + "\":true"); });
        EXPECT_EQ(refused.code, 2U) << key;
        EXPECT_TRUE(has(refused.message, key) && has(refused.message, "true")) << refused.message;
    }
    const auto published = refusal([] {
        request(
            R"("runtimeConfig":{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"dccp"}]})");
    });
    EXPECT_EQ(published.code, 2U);
    EXPECT_TRUE(has(published.message, "portMappings") && has(published.message, "8080"))
        << published.message;
    EXPECT_EQ(refusal([] {
                  request(R"("runtimeConfig":{"portMappings":[{"HostPort":0,"ContainerPort":80}]})");
              }).code,
              0U);
    EXPECT_EQ(refusal([] { request(R"("vlan":5,"preserveDefaultVlan":true)"); }).code, 2U);
}

TEST(NetworkConfig, ReadsBandwidthInCnisUnits) {
    const auto asked = request(
        R"("runtimeConfig":{"bandwidth":{"IngressRate":1000000,"ingressBurst":80000,"egressRate":2000000,"egressBurst":0}})");
    EXPECT_EQ(asked.ingress, (model::RateLimit{1'000'000, 10'000}));
    EXPECT_EQ(asked.egress, (model::RateLimit{2'000'000, 0}));
    const auto none = request(R"("runtimeConfig":{"bandwidth":{"IngressRate":0,"IngressBurst":4294967295}})");
    EXPECT_EQ(none.ingress, model::RateLimit());
    EXPECT_EQ(
        request(R"("runtimeConfig":{"bandwidth":{"egressRate":8000,"egressBurst":18446744073709551615}})")
            .egress.burst,
        model::kBurstMost);
    const auto slow = refusal([] { request(R"("runtimeConfig":{"bandwidth":{"ingressRate":1000}})"); });
    EXPECT_EQ(slow.code, 7U);
    EXPECT_TRUE(has(slow.message, "ingressRate") && has(slow.message, "8000")) << slow.message;
    EXPECT_EQ(refusal([] { request(R"("runtimeConfig":{"bandwidth":{"ingressRate":-5}})"); }).code, 7U);
}

TEST(CniConfig, ReadsWhatTheRouterIsAskedFor) {
    const auto plain = request(R"("isGateway":false,"ipMasq":false)");
    EXPECT_FALSE(plain.gateway || plain.default_gateway || plain.masquerade);
    const auto gateway = request(R"("isGateway":true,"ipMasq":true,"ipMasqBackend":"nftables",
        "ipam":{"type":"viaduct","subnet":"10.0.0.0/24"})");
    EXPECT_TRUE(gateway.gateway && gateway.masquerade);
    EXPECT_TRUE(gateway.routes.empty());
    const auto both = request(R"("isDefaultGateway":true,"ipam":{"type":"viaduct",
        "ranges":[[{"subnet":"10.0.0.0/24"}],[{"subnet":"fd00::/64"}]],"routes":[{"dst":"::/0","gw":"fd00::9"}]})");
    EXPECT_TRUE(both.gateway && both.default_gateway);
    ASSERT_EQ(both.routes.size(), 2U);
    EXPECT_EQ(both.routes[1].destination.to_string(), "0.0.0.0/0");
    EXPECT_FALSE(both.routes[1].gateway);
}

TEST(CniConfig, ReadsPublishedPorts) {
    const auto asked =
        request(R"("ipam":{"type":"viaduct","subnet":"10.0.0.0/24"},"runtimeConfig":{"portMappings":[
        {"hostPort":8080,"containerPort":80,"protocol":"tcp"},
        {"HostPort":53,"ContainerPort":5353,"Protocol":"UDP","HostIP":"192.0.2.1"},
        {"hostPort":0,"containerPort":81}, {"hostPort":9,"containerPort":9,"hostIP":"0.0.0.0"}]})");
    ASSERT_EQ(asked.port_mappings.size(), 3U);
    EXPECT_EQ(asked.port_mappings[0].host_port, 8080);
    EXPECT_EQ(asked.port_mappings[0].container_port, 80);
    EXPECT_FALSE(asked.port_mappings[0].host_address);
    EXPECT_EQ(asked.port_mappings[1].protocol, model::Transport::udp);
    EXPECT_EQ(asked.port_mappings[1].host_address, IpAddress::parse("192.0.2.1"));
    EXPECT_FALSE(asked.port_mappings[2].host_address);
    for (const char* bad : {R"({"hostPort":80})", R"({"hostPort":80,"containerPort":0})",
                            R"({"hostPort":80,"containerPort":80,"hostIP":"x"})", R"({"hostPort":65536})"}) {
        const auto refused = refusal([&] {
            request(R"("ipam":{"type":"viaduct","subnet":"10.0.0.0/24"},"runtimeConfig":{"portMappings":[)" +
                    std::string(bad) + "]}");
        });
        EXPECT_EQ(refused.code, 7U) << bad;
        EXPECT_TRUE(has(refused.message, "portMappings")) << refused.message;
    }
}

TEST(CniConfig, NotesUnknownKeys) {
    const auto asked = request(
        R"("zzz":1,"ipam":{"type":"viaduct","subnet":"10.0.0.0/24","dataDir":"/x"},"vhostUser":{"x":1})");
    EXPECT_EQ(asked.unknown_keys, (std::vector<std::string>{"ipam/dataDir", "vhostUser/x", "zzz"}));
}

TEST(CniConfig, RefusesWrongTypesWithTheirKey) {
    for (const char* members :
         {R"("mtu":"big")", R"("mtu":10)", R"("mtu":70000)", R"("vlan":4095)", R"("vlan":-1)",
          R"("bridge":"a/b")", R"("interface":"veth")", R"("queues":0)", R"("isGateway":"yes")",
          R"("runtimeConfig":{"mac":"01:00:00:00:00:00"})", R"("runtimeConfig":{"ips":["x"]})",
          R"("vhostUser":{"permissions":"9"})", R"("vhostUser":{"directory":"rel"})",
          R"("vlanTrunk":[{"minID":5}])", R"("runtimeConfig":{"ips":["10.0.0.1"]})"}) {
        const auto refused = refusal([&] { request(members); });
        EXPECT_EQ(refused.code, 7U) << members << refused.message;
    }
}

attachment::Request with_ipam(const std::string& members, const std::string& more = {}) {
    return request(R"("ipam":{"type":"viaduct",)" + members + "}" + more);
}

TEST(CniConfig, ReadsHostLocalsRanges) {
    const auto single = with_ipam(R"("subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0"}])");
    ASSERT_EQ(single.ranges.size(), 1U);
    const auto& range = single.ranges[0][0];
    EXPECT_EQ(to_string(range), "10.1.0.1-10.1.0.254");
    EXPECT_EQ(range.gateway->to_string(), "10.1.0.1");
    const auto dual =
        with_ipam(R"("ranges":[[{"subnet":"10.1.0.0/24","rangeStart":"10.1.0.10","rangeEnd":"10.1.0.20",
        "gateway":"10.1.0.254"},{"subnet":"10.2.0.0/31"}],[{"subnet":"fd00::/64"}]],"exclude":["10.1.0.11","10.1.0.16/30"])");
    EXPECT_EQ(to_string(dual.ranges[0][0]), "10.1.0.10-10.1.0.20");
    EXPECT_EQ(to_string(dual.ranges[0][1]), "10.2.0.0-10.2.0.1");
    EXPECT_EQ(dual.ranges[0][1].gateway, std::nullopt);
    EXPECT_EQ(to_string(dual.ranges[1][0]), "fd00::1-fd00::ffff:ffff:ffff:ffff");
    EXPECT_EQ(dual.exclude.size(), 2U);
}

TEST(CniConfig, RefusesImpossibleRanges) {
    for (const char* members :
         {R"("subnet":"10.1.0.5/24")", R"("subnet":"10.1.0.0")", R"("subnet":"x/8")",
          R"("subnet":"10.1.0.0/24","rangeStart":"10.2.0.1")",
          R"("subnet":"10.1.0.0/24","rangeStart":"10.1.0.9","rangeEnd":"10.1.0.8")",
          R"("subnet":"10.1.0.0/24","rangeEnd":"10.1.0.255")",
          R"("subnet":"10.1.0.0/24","rangeStart":"10.1.0.0")",
          R"("subnet":"10.1.0.0/24","gateway":"fd00::1")", R"("ranges":[[]])", R"("ranges":[{}])",
          R"("ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.1.0.0/16"}]])",
          R"("ranges":[[{"subnet":"10.1.0.0/24"},{"subnet":"fd00::/64"}]])", R"("ranges":[])",
          R"("subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0"}])",
          R"("subnet":"10.1.0.0/24","routes":[{"dst":"::/0","gw":"10.1.0.1"}])",
          R"("subnet":"10.1.0.0/24","resolvConf":"/etc/resolv.conf")"}) {
        EXPECT_EQ(refusal([&] { with_ipam(members); }).code, 7U) << members;
    }
}

TEST(CniConfig, GathersRequestedAddressesFromEverywhere) {
    const auto asked = read_request(
        network(
            config(R"("ipam":{"type":"viaduct","subnet":"10.0.0.0/24"},"args":{"cni":{"ips":["10.0.0.7/24"],
            "mac":"02:00:00:00:00:02"}},"runtimeConfig":{"ips":["10.0.0.9","10.0.0.8"]})")),
        environment(complete("ADD")), read_arguments("IP=10.0.0.9;MAC=02:00:00:00:00:01"));
    std::string list;
    for (const auto& address : asked.requested)
        list += address.to_string() + " ";
    EXPECT_EQ(list, "10.0.0.9 10.0.0.7 10.0.0.8 ");
    EXPECT_EQ(asked.mac->to_string(), "02:00:00:00:00:02");
}

TEST(CniConfig, ReadsVhostUser) {
    const auto asked =
        request(R"("interface":"vhost-user","queues":4,"vhostUser":{"mode":"client","directory":"/d",
        "owner":"qemu","group":"107","permissions":"0770"},"runtimeConfig":{"CNIDeviceInfoFile":"/f","deviceID":"d0"})");
    EXPECT_EQ(asked.interface, attachment::Interface::vhost_user);
    EXPECT_FALSE(asked.vhost.pod_listens);
    EXPECT_EQ(asked.vhost.permissions, 0770U);
    EXPECT_EQ(asked.device_info_file, "/f");
    EXPECT_EQ(asked.device_id, "d0");
    EXPECT_EQ(asked.queues, 4);
}

TEST(CniConfig, ReadsValidAttachmentsUnderEitherKey) {
    for (const char* key : {"cni.dev/valid-attachments", "cni.dev/attachments"}) {
        const auto got =
            network(config("\"" + std::string(key) + R"(":[{"containerID":"c1","ifname":"eth0"}])"));
        ASSERT_TRUE(got.valid.has_value());
        EXPECT_EQ(got.valid->at(0).first, "c1");
    }
    EXPECT_FALSE(network(config("")).valid.has_value());
    EXPECT_FALSE(network(config(R"("cni.dev/attachments":null)")).valid.has_value());
    EXPECT_TRUE(network(config(R"("cni.dev/attachments":[])")).valid.has_value());
    EXPECT_EQ(refusal([] { network(config(R"("cni.dev/attachments":[{"containerID":"c1"}])")); }).code, 7U);
}

}  // namespace
}  // namespace viaduct::cni
