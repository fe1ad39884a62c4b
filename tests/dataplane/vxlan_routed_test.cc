// Routed packets whose next hop is behind a tunnel: one look-up, one pass, and the path's MTU told.
#include <gtest/gtest.h>

#include "packets.h"

namespace viaduct::test {
namespace {

constexpr auto kHostMac = "02:00:00:00:00:11";
constexpr auto kHostGateway = "02:00:00:00:99:11";
constexpr auto kFarGateway = "02:00:00:00:99:12";
constexpr auto kFarMac = "02:00:00:00:00:12";
constexpr auto kUnderlayGateway = "02:00:00:00:99:01";
constexpr auto kPeerMac = "02:00:00:00:99:02";

/// A host's network, a network that lives behind a tunnel, and the underlay.
constexpr auto kNetwork = R"({"put":{"bridges":[{"name":"hosts"},{"name":"net"},{"name":"under"}],"ports":[
    {"name":"host","kind":"vhost-user","bridge":"hosts","path":"/host"},
    {"name":"up","kind":"vhost-user","bridge":"under","path":"/up"},
    {"name":"vx","kind":"vxlan","bridge":"net","vni":7,"local":"192.0.2.1","remotes":["192.0.2.2"]}],
    "fdb":[{"bridge":"under","mac":"02:00:00:00:99:02","port":"up"},
           {"bridge":"hosts","mac":"02:00:00:00:00:11","port":"host"},
           {"bridge":"net","mac":"02:00:00:00:00:12","port":"vx","remote":"192.0.2.2"}],
    "interfaces":[{"name":"h0","bridge":"hosts","mac":"02:00:00:00:99:11","addresses":["10.1.0.1/24"]},
                  {"name":"n0","bridge":"net","mac":"02:00:00:00:99:12","addresses":["10.2.0.1/24"]},
                  {"name":"u0","bridge":"under","mac":"02:00:00:00:99:01","addresses":["192.0.2.1/24"]}],
    "neighbours":[{"interface":"h0","address":"10.1.0.2","mac":"02:00:00:00:00:11"},
                  {"interface":"n0","address":"10.2.0.2","mac":"02:00:00:00:00:12"},
                  {"interface":"u0","address":"192.0.2.2","mac":"02:00:00:00:99:02"}]}})";

PacketSpec to_far(std::size_t payload = 18) {
    return {.source = "10.1.0.2",
            .destination = "10.2.0.2",
            .source_port = 5,
            .destination_port = 6,
            .payload = payload,
            .dont_fragment = true};
}

Bytes inner_of(const Bytes& frame) {
    return {frame.begin() + 14 + 36, frame.end()};
}

TEST(VxlanRouted, LeaveInOnePass) {
    Bench bench;
    bench.apply_json(kNetwork);
    // The first is explained, the others are executed.
    for (int i = 0; i < 3; ++i) {
        bench.inject("host", routed(to_far(), kHostGateway, kHostMac));
        const auto sent = bench.collect("up");
        ASSERT_EQ(sent.size(), 1U) << i;
        EXPECT_EQ(macs(sent[0]), std::string(kUnderlayGateway) + " > " + kPeerMac);
        const auto inner = inner_of(sent[0]);
        EXPECT_EQ(macs(inner), std::string(kFarGateway) + " > " + kFarMac);
        EXPECT_EQ(describe(inner), "udp 10.1.0.2:5 > 10.2.0.2:6 ttl 63") << i;
    }
    EXPECT_EQ(bench.state("vx").totals.tx_packets, 3U);
}

/// A frame in the tunnel's packet, as it comes in by the underlay.
Bytes wrapped(const Bytes& inner) {
    Bytes payload{8, 0, 0, 0, 0, 0, 7, 0};
    payload.insert(payload.end(), inner.begin(), inner.end());
    PacketSpec outer{
        .source = "192.0.2.2", .destination = "192.0.2.1", .source_port = 50000, .destination_port = 4789};
    outer.inside = payload;
    return routed(outer, kUnderlayGateway, kPeerMac);
}

TEST(VxlanRouted, ComeBackThroughTheTunnel) {
    Bench bench;
    bench.apply_json(kNetwork);
    const auto inner =
        routed({.source = "10.2.0.2", .destination = "10.1.0.2", .source_port = 6, .destination_port = 5},
               kFarGateway, kFarMac);
    for (int i = 0; i < 2; ++i) {
        bench.inject("up", wrapped(inner));
        const auto got = bench.collect("host");
        ASSERT_EQ(got.size(), 1U);
        EXPECT_EQ(macs(got[0]), std::string(kHostGateway) + " > " + kHostMac);
        EXPECT_EQ(describe(got[0]), "udp 10.2.0.2:6 > 10.1.0.2:5 ttl 63");
    }
}

TEST(VxlanRouted, TranslatedAnswersToAHostOnTheTunnelsBridgeComeByTheRouter) {
    constexpr auto near_mac = "02:00:00:00:00:21";
    Bench bench;
    bench.apply_json(kNetwork);
    bench.apply_json(R"({"put":{
        "ports":[{"name":"near","kind":"vhost-user","bridge":"net","path":"/near"}],
        "fdb":[{"bridge":"net","mac":"02:00:00:00:00:21","port":"near"}],
        "neighbours":[{"interface":"n0","address":"10.2.0.9","mac":"02:00:00:00:00:21"}],
        "port_forwards":[{"name":"dns","protocol":"udp","address":"10.2.0.1","port":53,
                          "to":"10.2.0.2","to_port":5353}]}})");
    for (int i = 0; i < 2; ++i) {
        bench.inject(
            "near",
            routed(
                {.source = "10.2.0.9", .destination = "10.2.0.1", .source_port = 5, .destination_port = 53},
                kFarGateway, near_mac));
        const auto sent = bench.collect("up");
        ASSERT_EQ(sent.size(), 1U);
        EXPECT_EQ(describe(inner_of(sent[0])), "udp 10.2.0.9:5 > 10.2.0.2:5353 ttl 63");
        bench.inject(
            "up",
            wrapped(routed(
                {.source = "10.2.0.2", .destination = "10.2.0.9", .source_port = 5353, .destination_port = 5},
                near_mac, kFarMac)));
        const auto got = bench.collect("near");
        ASSERT_EQ(got.size(), 1U);
        EXPECT_EQ(describe(got[0]), "udp 10.2.0.1:53 > 10.2.0.9:5 ttl 63");
    }
    EXPECT_EQ(bench.state("vx").totals.intercepted, 2U);
}

TEST(VxlanRouted, TellSendersWhatFits) {
    Bench bench;
    bench.apply_json(kNetwork);
    bench.inject("host", routed(to_far(1450 - 28), kHostGateway, kHostMac));
    EXPECT_EQ(bench.collect("up").size(), 1U);
    bench.inject("host", routed(to_far(1450 - 28 + 1), kHostGateway, kHostMac));
    EXPECT_TRUE(bench.collect("up").empty());
    const auto told = bench.collect("host");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_NE(describe(told[0]).find("type 3/4"), std::string::npos) << describe(told[0]);
    EXPECT_EQ(told[0][40] << 8 | told[0][41], 1450);
}

}  // namespace
}  // namespace viaduct::test
