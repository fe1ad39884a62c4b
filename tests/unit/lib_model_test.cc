// The third layer's objects: their JSON there and back, and every rule that they must keep.
#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model.h"
#include "viaduct/model_kinds.h"

namespace viaduct::model {
namespace {

/// A node with two networks, a way out, a tunnel and everything else that there is.
constexpr const char* kNode = R"({
  "bridges": [{"name": "pods"}, {"name": "up"}, {"name": "lan", "vlan_filtering": true}],
  "vrfs": [{"name": "blue", "forwarding6": false}],
  "interfaces": [
    {"name": "gw0", "bridge": "pods", "addresses": ["fd00::1/64", "10.1.0.1/24"], "proxy_arp": true,
     "router_advertisements": true, "clamp_mss": true, "mtu": 9000, "mac": "02:00:00:00:00:11"},
    {"name": "out", "bridge": "up", "addresses": ["192.0.2.2/24"], "reverse_path": "strict", "up": false},
    {"name": "gw1", "bridge": "lan", "vlan": 20, "vrf": "blue", "addresses": ["10.1.0.1/24"]}],
  "ports": [
    {"name": "eth", "kind": "uplink", "device": "net_af_packet0,iface=eth1", "bridge": "up", "gro": true,
     "promiscuous": false},
    {"name": "bond", "kind": "uplink", "members": ["0000:03:00.0", "net_ring0"], "bond": "802.3ad"},
    {"name": "vx", "kind": "vxlan", "vni": 100, "local": "192.0.2.2", "remotes": ["192.0.2.9", "198.51.100.1"],
     "udp_port": 8472, "ttl": 9, "udp_checksum": true, "bridge": "pods"}],
  "fdb": [{"bridge": "pods", "mac": "02:00:00:00:00:09", "port": "vx", "remote": "192.0.2.9"}],
  "routes": [
    {"prefix": "0.0.0.0/0", "via": "192.0.2.1", "interface": "out"},
    {"prefix": "10.9.0.0/16", "mtu": 1400, "next_hops": [{"via": "192.0.2.3", "interface": "out", "weight": 3},
                                                        {"via": "192.0.2.1", "interface": "out"}]},
    {"prefix": "10.8.0.0/16", "kind": "blackhole"},
    {"prefix": "fd01::/64", "via": "fe80::1", "interface": "gw0"},
    {"vrf": "blue", "prefix": "10.7.0.7/32", "interface": "gw1"}],
  "neighbours": [{"interface": "out", "address": "192.0.2.1", "mac": "02:00:00:00:00:01"},
                 {"interface": "gw0", "address": "fe80::9", "mac": "02:00:00:00:00:02"}],
  "masquerades": [{"name": "m", "source": "10.1.0.0/24", "except": ["10.0.0.0/8"], "interface": "out",
                   "pool": ["192.0.2.10", "192.0.2.20-192.0.2.23"], "port_low": 2000, "port_high": 50000, "block": 64,
                   "endpoint_independent": true}],
  "port_forwards": [{"name": "web", "address": "192.0.2.2", "port": 80, "port_last": 82, "to": "10.1.0.9",
                     "to_port": 8080},
                    {"name": "dns", "protocol": "udp", "address": "192.0.2.2", "port": 80, "to": "10.1.0.9"}],
  "static_nats": [{"name": "s", "outside": "192.0.2.50", "inside": "10.1.0.50"}],
  "timeouts": {"udp": 10, "tcp_established": 4294967}})";

Config read(const std::string& text, Faults& faults) {
    return config_from_json(parse_json(text, "x"), "", faults);
}

Config node() {
    Faults faults;
    auto config = read(kNode, faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    return config;
}

/// The node with more put on top.
std::string faults_with(const std::string& more) {
    auto config = node();
    Faults faults;
    const auto change = change_from_json(parse_json(R"({"put": )" + more + "}", "x"), "", faults);
    apply_to(config, change, faults);
    EXPECT_TRUE(faults.empty()) << more << ": " << to_string(faults);
    check(config, faults);
    return to_string(faults);
}

TEST(ModelNode, AnUplinkFiltersByTheInterfacesInItsVlans) {
    EXPECT_EQ(faults_with(R"({"ports": [{"name": "p", "kind": "uplink", "device": "net_p", "bridge": "lan",
                                         "promiscuous": false, "vlan": {"untagged": 30, "tagged": ["10", "20-21"]}},
                                        {"name": "q", "kind": "vhost-user", "path": "/run/q", "bridge": "lan", "vlan": {"untagged": 40}},
                                        {"name": "h", "kind": "tap", "ifname": "h", "bridge": "up", "host": "out"}]})"),
              "");
    auto config = node();
    EXPECT_EQ(filter_of(config, config.ports.at("eth")), std::vector{derived_mac("out")});
    auto trunk = config.ports.at("eth");
    trunk.bridge = "lan";
    EXPECT_TRUE(filter_of(config, trunk).empty());
    trunk.vlan = VlanMembership{0, {{10, 20}}};
    EXPECT_EQ(filter_of(config, trunk), std::vector{derived_mac("gw1")});
    trunk.bridge.clear();
    EXPECT_TRUE(filter_of(config, trunk).empty());
}

TEST(ModelNode, IsRightAndComesBackAsItWent) {
    const auto config = node();
    Faults faults;
    check(config, faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    EXPECT_EQ(read(to_json_text(to_json(config)), faults), config);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    EXPECT_EQ(config.timeouts.udp, 10U);
    EXPECT_EQ(config.timeouts.icmp, 30U);
    EXPECT_EQ(config.port_forwards.at("dns").port_last, 80);
    EXPECT_EQ(config.port_forwards.at("dns").to_port, 80);
    EXPECT_EQ(config.interfaces.at("gw0").addresses.front().to_string(), "10.1.0.1/24");
    EXPECT_EQ(config.routes.at({"default", *Prefix::parse("10.9.0.0/16")}).next_hops.size(), 2U);
    EXPECT_EQ(config.ports.at("vx").vxlan.vni, 100U);
}

TEST(ModelNode, GoesAndComesAsAChange) {
    Faults faults;
    const auto config = node();
    for (const auto& change : {difference({}, config), difference(config, {})}) {
        EXPECT_FALSE(change.empty());
        const auto again = change_from_json(parse_json(to_json_text(to_json(change)), "x"), "", faults);
        EXPECT_EQ(to_json_text(to_json(again)), to_json_text(to_json(change)));
    }
    EXPECT_EQ(apply({}, difference({}, config), faults), config);
    EXPECT_EQ(apply(config, difference(config, {}), faults), Config{});
    EXPECT_TRUE(difference(config, config).empty());
    EXPECT_TRUE(faults.empty()) << to_string(faults);
}

TEST(ModelNode, KeepsTimeoutsThatAChangeDoesNotName) {
    Faults faults;
    const auto change =
        change_from_json(parse_json(R"({"put": {"timeouts": {"icmp": 5}}})", "x"), "", faults);
    EXPECT_FALSE(change.empty());
    const auto after = apply(node(), change, faults);
    EXPECT_EQ(after.timeouts.icmp, 5U);
    EXPECT_EQ(after.timeouts.udp, 10U);
    EXPECT_TRUE(faults.empty());
}

TEST(ModelNode, DeletesByKeysAndFaultsWhatIsNotThere) {
    Faults faults;
    const auto change = change_from_json(parse_json(R"({"delete": {
        "routes": [{"prefix": "10.8.0.0/16"}, {"vrf": "blue", "prefix": "10.7.0.7/32"}, {"prefix": "10.77.0.0/16"}],
        "neighbours": [{"interface": "out", "address": "192.0.2.1"}], "vrfs": ["red"]}})",
                                                    "x"),
                                         "", faults);
    ASSERT_TRUE(faults.empty()) << to_string(faults);
    const auto after = apply(node(), change, faults);
    EXPECT_EQ(after.routes.size(), 3U);
    EXPECT_EQ(after.neighbours.size(), 1U);
    ASSERT_EQ(faults.size(), 2U);
    EXPECT_EQ(faults[0].where, "vrfs/red");
    EXPECT_EQ(faults[1].where, "routes/default/10.77.0.0/16");
}

TEST(ModelNode, HasPlacesThatAreReadAgain) {
    const auto config = node();
    std::size_t objects = 0;
    for_each_kind([&](const auto& kind) {
        for (const auto& [key, object] : config.*kind.objects) {
            ++objects;
            EXPECT_EQ(key_of(object), key);
            EXPECT_EQ(key_from_place(kind, place_of(kind, key)), key);
            EXPECT_EQ(key_from_place(kind, place_of(kind, key) + "/mtu"), key);
        }
        EXPECT_FALSE(key_from_place(kind, kind.name));
        EXPECT_FALSE(key_from_place(kind, std::string(kind.name) + "/"));
        EXPECT_FALSE(key_from_place(kind, "x/y/z"));
    });
    EXPECT_EQ(objects, 22U);
}

TEST(ModelNode, RefusesValuesThatNoObjectCanHave) {
    for (
        const char* text : {
            R"({"vrfs": [{"name": ""}]})",
            R"({"interfaces": [{"name": "i"}]})",
            R"({"interfaces": [{"name": "i", "bridge": "b", "addresses": ["10.0.0.1"]}]})",
            R"({"interfaces": [{"name": "i", "bridge": "b", "addresses": ["10.0.0.1/24", "10.0.0.1/24"]}]})",
            R"({"interfaces": [{"name": "i", "bridge": "b", "mtu": 67}]})",
            R"({"interfaces": [{"name": "i", "bridge": "b", "vlan": 4095}]})",
            R"({"interfaces": [{"name": "i", "bridge": "b", "reverse_path": "yes"}]})",
            R"({"routes": [{"prefix": "10.0.0.1/24", "interface": "i"}]})",
            R"({"routes": [{"prefix": "10.0.0.0/24"}]})",
            R"({"routes": [{"prefix": "10.0.0.0/24", "kind": "blackhole", "interface": "i"}]})",
            R"({"routes": [{"prefix": "10.0.0.0/24", "interface": "i", "mtu": 67}]})",
            R"({"routes": [{"prefix": "10.0.0.0/24", "via": "x", "interface": "i"}]})",
            R"({"routes": [{"prefix": "10.0.0.0/24", "interface": "i", "weight": 257}]})",
            R"({"routes": [{"prefix": "10.0.0.0/24", "via": "10.0.0.1"}]})",
            R"({"routes": [{"prefix": "1.0.0.0/8", "interface": "i"}, {"prefix": "1.0.0.0/8", "interface": "i"}]})",
            R"({"neighbours": [{"interface": "i", "address": "10.0.0.1"}]})",
            R"({"neighbours": [{"interface": "i", "address": "10.0.0.1", "mac": "ff:ff:ff:ff:ff:ff"}]})",
            R"({"masquerades": [{"name": "m"}]})",
            R"({"masquerades": [{"name": "m", "source": "10.0.0.0/8", "pool": ["10.0.0.9-10.0.0.1"]}]})",
            R"({"masquerades": [{"name": "m", "source": "10.0.0.0/8", "pool": ["10.0.0.9-fd00::1"]}]})",
            R"({"masquerades": [{"name": "m", "source": "10.0.0.0/8", "port_low": 0}]})",
            R"({"port_forwards": [{"name": "f", "address": "10.0.0.1", "to": "10.0.0.2"}]})",
            R"({"port_forwards": [{"name": "f", "address": "10.0.0.1", "to": "10.0.0.2", "port": 1, "protocol": "icmp"}]})",
            R"({"static_nats": [{"name": "s", "outside": "10.0.0.1"}]})",
            R"({"timeouts": {"udp": 0}})",
            R"({"timeouts": {"upd": 1}})",
            R"({"timeouts": []})",
            R"({"ports": [{"name": "p", "kind": "uplink"}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "device": "a b"}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "device": ",iface=eth1"}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "device": "net_a", "members": ["net_b", "net_c"]}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "device": "net_a", "bond": "802.3ad"}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "members": ["net_a"]}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "members": []}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "members": "net_a"}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "members": ["net_a", 7]}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "members": ["net_a", "net_a,x=1"]}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "members": ["03:00.0", "0000:03:00.0"]}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "members": ["net_a,iface=e", "net_b,iface=e"]}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "members": ["a", "b", "c", "d", "e", "f", "g", "h", "i"]}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "members": ["net_a", "net_b"], "bond": "round-robin"}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "device": "net_a", "gro": 1}]})",
            R"({"ports": [{"name": "p", "kind": "uplink", "device": "net_a", "promiscuous": "off"}]})",
            R"({"ports": [{"name": "p", "kind": "vxlan", "local": "10.0.0.1"}]})",
            R"({"ports": [{"name": "p", "kind": "vxlan", "vni": 16777216, "local": "10.0.0.1"}]})",
            R"({"ports": [{"name": "p", "kind": "vxlan", "vni": 1, "local": "10.0.0.1", "remotes": ["x"]}]})",
            R"({"ports": [{"name": "p", "kind": "vxlan", "vni": 1, "local": "10.0.0.1", "device": "x"}]})",
        }) {
        Faults faults;
        read(text, faults);
        EXPECT_EQ(faults.size(), 1U) << text << ": " << to_string(faults);
    }
}

struct Rule {
    const char* put;
    const char* fault;  ///< part of what is told
};

class ModelRule : public testing::TestWithParam<Rule> {};

TEST_P(ModelRule, IsKept) {
    const auto told = faults_with(GetParam().put);
    EXPECT_NE(told.find(GetParam().fault), std::string::npos) << GetParam().put << "\ntold: " << told;
}

INSTANTIATE_TEST_SUITE_P(
    Interfaces, ModelRule,
    testing::Values(
        Rule{R"({"interfaces": [{"name": "i", "bridge": "none"}]})",
             "interfaces/i/bridge: names bridge \"none\""},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "pods", "vrf": "red"}]})",
             "interfaces/i/vrf: names VRF \"red\""},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "lan"}]})", "interfaces/i/vlan: is required"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "vlan": 5}]})",
             "interfaces/i/vlan: needs vlan_filtering"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["224.0.0.1/24"]}]})",
             "of one host"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["0.0.0.0/0"]}]})", "of one host"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["255.255.255.255/32"]}]})",
             "of one host"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["127.0.0.1/8"]}]})",
             "of one host"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["::1/128"]}]})", "of one host"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["::ffff:10.0.0.1/128"]}]})",
             "of one host"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["10.5.0.0/24"]}]})",
             "10.5.0.0/24 is the network itself"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["10.5.0.255/24"]}]})",
             "broadcast"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["fd05::/64"]}]})", "anycast"},
        Rule{
            R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["10.5.0.1/24", "10.5.0.1/16"]}]})",
            "two lengths"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "mtu": 1279, "addresses": ["fd05::1/64"]}]})",
             "interfaces/i/mtu: is 1279"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "pods", "mac": "02:00:00:00:00:11"}]})",
             "interfaces/i/mac: is 02:00:00:00:00:11, which interface \"gw0\" has"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "pods", "mac": "02:00:00:00:00:09"}]})",
             "static FDB entry"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["10.1.0.130/25"]}]})",
             "interfaces/i/addresses: have network 10.1.0.128/25, which overlaps 10.1.0.0/24 of interface "
             "\"gw0\""},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["10.0.0.1/8"]}]})", "overlaps"},
        Rule{R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["10.1.0.1/32"]}]})",
             "overlaps"}));

INSTANTIATE_TEST_SUITE_P(
    Routes, ModelRule,
    testing::Values(
        Rule{R"({"routes": [{"vrf": "red", "prefix": "1.0.0.0/8", "kind": "prohibit"}]})",
             "routes/red/1.0.0.0/8/vrf: names VRF \"red\""},
        Rule{R"({"routes": [{"prefix": "1.0.0.0/8", "interface": "none"}]})",
             "routes/default/1.0.0.0/8/next_hops: name interface \"none\", which does not exist"},
        Rule{R"({"routes": [{"prefix": "1.0.0.0/8", "interface": "gw1"}]})", "is in VRF \"blue\""},
        Rule{R"({"routes": [{"prefix": "1.0.0.0/8", "via": "192.0.3.1", "interface": "out"}]})",
             "which is in none of the networks of interface \"out\""},
        Rule{R"({"routes": [{"prefix": "1.0.0.0/8", "via": "192.0.2.2", "interface": "out"}]})",
             "own address"},
        Rule{R"({"routes": [{"prefix": "1.0.0.0/8", "via": "192.0.2.255", "interface": "out"}]})",
             "broadcast"},
        Rule{R"({"routes": [{"prefix": "fd02::/64", "via": "10.1.0.7", "interface": "gw0"}]})",
             "other IP version"},
        Rule{R"({"routes": [{"prefix": "1.0.0.0/8", "next_hops": [{"interface": "out", "weight": 2},
                                                                  {"interface": "out"}]}]})",
             "same next hop twice"},
        Rule{R"({"routes": [{"prefix": "224.0.0.0/8", "interface": "out"}]})", "group addresses"},
        Rule{R"({"routes": [{"prefix": "fd02::/64", "interface": "gw0", "mtu": 1000}]})", "IPv6 needs 1280"},
        Rule{R"({"neighbours": [{"interface": "none", "address": "1.0.0.1", "mac": "02:00:00:00:00:01"}]})",
             "neighbours/none/1.0.0.1: names interface"},
        Rule{R"({"neighbours": [{"interface": "out", "address": "1.0.0.1", "mac": "02:00:00:00:00:01"}]})",
             "neighbours/out/1.0.0.1: is in none of the networks"}));

INSTANTIATE_TEST_SUITE_P(
    Nat, ModelRule,
    testing::Values(
        Rule{R"({"masquerades": [{"name": "n", "source": "10.0.0.0/8", "vrf": "red"}]})",
             "masquerades/n/vrf"},
        Rule{R"({"masquerades": [{"name": "n", "source": "10.0.0.0/8", "interface": "x"}]})",
             "names interface \"x\""},
        Rule{R"({"masquerades": [{"name": "n", "source": "10.0.0.0/8", "interface": "gw1"}]})",
             "in VRF \"blue\""},
        Rule{R"({"masquerades": [{"name": "n", "source": "10.0.0.0/8", "except": ["fd00::/8"]}]})",
             "masquerades/n/except: fd00::/8 is of the other IP version"},
        Rule{R"({"masquerades": [{"name": "n", "source": "10.0.0.0/8", "pool": ["fd00::1"]}]})",
             "masquerades/n/pool"},
        Rule{
            R"({"masquerades": [{"name": "n", "source": "10.0.0.0/8", "pool": ["1.0.0.1-1.0.0.9", "1.0.0.9"]}]})",
            "overlapping ranges 1.0.0.1-1.0.0.9 and 1.0.0.9"},
        Rule{R"({"masquerades": [{"name": "n", "source": "10.0.0.0/8", "pool": ["1.0.0.0-1.1.0.0"]}]})",
             "more than 65536 addresses"},
        Rule{R"({"masquerades": [{"name": "n", "source": "10.0.0.0/8", "port_low": 9, "port_high": 8}]})",
             "masquerades/n/port_high"},
        Rule{R"({"masquerades": [{"name": "n", "source": "10.0.0.0/24", "block": 253}]})",
             "masquerades/n/block: is 253: the pool has 254 blocks"},
        Rule{R"({"masquerades": [{"name": "n", "source": "fd00::/64", "block": 1}]})", "2^64 addresses"},
        Rule{R"({"port_forwards": [{"name": "n", "address": "224.0.0.1", "port": 1, "to": "10.1.0.9"}]})",
             "of one host"},
        Rule{R"({"port_forwards": [{"name": "n", "address": "1.0.0.1", "port": 1, "to": "fd00::9"}]})",
             "other IP version"},
        Rule{
            R"({"port_forwards": [{"name": "n", "address": "1.0.0.1", "port": 9, "port_last": 8, "to": "10.1.0.9"}]})",
            "port_forwards/n/port_last"},
        Rule{
            R"({"port_forwards": [{"name": "n", "address": "1.0.0.1", "port": 1, "port_last": 2, "to": "10.1.0.9",
                                    "to_port": 65535}]})",
            "above 65535"},
        Rule{R"({"port_forwards": [{"name": "n", "address": "192.0.2.2", "port": 82, "port_last": 90,
                                    "to": "10.1.0.8"}]})",
             "port_forwards/n/port: is 82 of tcp at 192.0.2.2, which port forward \"web\" has"},
        Rule{
            R"({"port_forwards": [{"name": "n", "address": "1.0.0.1", "port": 1, "to": "10.1.0.9", "vrf": "red"}]})",
            "port_forwards/n/vrf"},
        Rule{R"({"static_nats": [{"name": "n", "outside": "192.0.2.50", "inside": "10.1.0.51"}]})",
             "which static NAT \""},
        Rule{R"({"static_nats": [{"name": "n", "outside": "192.0.2.51", "inside": "10.1.0.50"}]})",
             "which static NAT \""},
        Rule{R"({"static_nats": [{"name": "n", "outside": "192.0.2.21", "inside": "10.1.0.51"}]})",
             "in the pool of masquerade \"m\""},
        Rule{R"({"static_nats": [{"name": "n", "outside": "fd00::5", "inside": "10.1.0.51"}]})",
             "other IP version"},
        Rule{R"({"static_nats": [{"name": "n", "outside": "1.0.0.1", "inside": "1.0.0.1"}]})",
             "nothing to translate"}));

INSTANTIATE_TEST_SUITE_P(
    Ports, ModelRule,
    testing::Values(
        Rule{R"({"ports": [{"name": "p", "kind": "uplink", "device": "net_af_packet0,iface=x"}]})",
             "ports/p: uses device net_af_packet0, which port \"eth\" has"},
        Rule{R"({"ports": [{"name": "p", "kind": "uplink", "device": "net_af_packet1,iface=eth1"}]})",
             "ports/p: uses interface eth1, which port \"eth\" has"},
        Rule{R"({"ports": [{"name": "p", "kind": "uplink", "device": "03:00.0,x=1"}]})",
             "ports/p: uses device 0000:03:00.0, which port \"bond\" has"},
        Rule{
            R"({"ports": [{"name": "p", "kind": "uplink", "members": ["net_b", "net_af_xdp0,iface=eth1"]}]})",
            "ports/p: uses interface eth1, which port \"eth\" has"},
        Rule{R"({"ports": [{"name": "p", "kind": "vhost-user", "path": "/run/p", "bridge": "up"}]})",
             "ports/eth/promiscuous: is off, so nothing would come in for port \"p\" on bridge \"up\""},
        Rule{R"({"bridges": [{"name": "w", "wire": true}],
                 "ports": [{"name": "p", "kind": "uplink", "device": "net_p", "bridge": "w", "promiscuous": false}]})",
             "ports/p/promiscuous: is off, and bridge \"w\" is a wire"},
        Rule{
            R"({"ports": [{"name": "p", "kind": "uplink", "device": "net_p", "bridge": "lan", "promiscuous": false,
                            "vlan": {"untagged": 0, "tagged": ["10-20"]}},
                           {"name": "q", "kind": "vhost-user", "path": "/run/q", "bridge": "lan", "vlan": {"untagged": 20}}]})",
            "ports/p/promiscuous: is off, so nothing would come in for port \"q\""},
        Rule{R"({"ports": [{"name": "w", "kind": "vxlan", "vni": 100, "local": "192.0.2.2"}]})",
             "ports/w: uses VNI 100 at 192.0.2.2 of VRF default, which port \"vx\" has"},
        Rule{R"({"ports": [{"name": "w", "kind": "vxlan", "vni": 1, "local": "192.0.2.3"}]})",
             "ports/w/local: is 192.0.2.3, which no interface of VRF \"default\" has"},
        Rule{R"({"ports": [{"name": "w", "kind": "vxlan", "vni": 1, "local": "192.0.2.2", "vrf": "red"}]})",
             "ports/w/vrf"},
        Rule{
            R"({"ports": [{"name": "w", "kind": "vxlan", "vni": 1, "local": "192.0.2.2", "remotes": ["fd00::9"]}]})",
            "not of the family"},
        Rule{
            R"({"ports": [{"name": "w", "kind": "vxlan", "vni": 1, "local": "192.0.2.2", "remotes": ["192.0.2.2"]}]})",
            "own end"},
        Rule{R"({"ports": [{"name": "w", "kind": "vxlan", "vni": 1, "local": "192.0.2.2",
                            "remotes": ["1.0.0.1", "1.0.0.1"]}]})",
             "names 1.0.0.1 twice"},
        Rule{R"({"ports": [{"name": "w", "kind": "vxlan", "vni": 1, "local": "192.0.2.2", "bridge": "up"}]})",
             "would carry its own packets"},
        Rule{
            R"({"fdb": [{"bridge": "up", "mac": "02:00:00:00:00:08", "port": "eth", "remote": "192.0.2.9"}]})",
            "remote: is for vxlan ports"},
        Rule{
            R"({"fdb": [{"bridge": "pods", "mac": "02:00:00:00:00:08", "port": "vx", "remote": "192.0.2.8"}]})",
            "not among the remotes of port \"vx\" (192.0.2.9, 198.51.100.1)"},
        Rule{R"({"fdb": [{"bridge": "pods", "mac": "02:00:00:00:00:08", "port": "vx"}]})",
             "remote: is required"}));

TEST(ModelRules, LetThroughWhatIsRight) {
    for (
        const char* put : {
            R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["10.5.0.0/31", "10.6.0.7/32", "fd05::/127"]}]})",
            R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["10.5.0.1/24", "10.5.0.2/24"]}]})",
            R"({"interfaces": [{"name": "i", "bridge": "up", "addresses": ["fe80::1/64"]},
                                {"name": "j", "bridge": "up", "addresses": ["fe80::2/64"]}]})",
            R"({"interfaces": [{"name": "i", "bridge": "lan", "vlan": 1, "mac": "02:00:00:00:00:21"},
                                {"name": "j", "bridge": "lan", "vlan": 2, "mac": "02:00:00:00:00:21"}]})",
            R"({"routes": [{"prefix": "::/0", "via": "fe80::1", "interface": "out"}]})",
            R"({"masquerades": [{"name": "n", "source": "10.0.0.0/24", "block": 252}]})",
            R"({"port_forwards": [{"name": "n", "address": "192.0.2.2", "port": 79, "to": "10.1.0.8"},
                                   {"name": "o", "address": "192.0.2.2", "port": 83, "to": "10.1.0.8"}]})",
            R"({"ports": [{"name": "w", "kind": "vxlan", "vni": 100, "local": "10.1.0.1", "vrf": "blue"}]})",
        }) {
        EXPECT_EQ(faults_with(put), "") << put;
    }
}

TEST(DerivedMac, IsStableUnicastAndLocal) {
    EXPECT_EQ(derived_mac("gw0"), derived_mac("gw0"));
    EXPECT_NE(derived_mac("gw0"), derived_mac("gw1"));
    std::set<MacAddress> macs;
    for (int i = 0; i < 10000; ++i) {
        const auto mac = derived_mac("net-" + std::to_string(i));
        EXPECT_FALSE(mac.is_multicast());
        EXPECT_EQ(mac.bytes[0] & 0x02, 0x02);
        macs.insert(mac);
    }
    EXPECT_EQ(macs.size(), 10000U);
}

}  // namespace
}  // namespace viaduct::model
