// Routing as a whole, through the real worker loop: the first packet is resolved, the next ones are executed,
// both are the same; changes take effect on the next packet; and several workers make one flow of what they
// meet at once.
#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "flow/flow_table.h"
#include "forward/first_packets.h"
#include "ip_frame.h"

namespace viaduct::test {

namespace {

using namespace dataplane;

/// Hosts 10.1.0.2 and fd00:1::2 behind p0 and p1 of br1, 10.2.0.2 and fd00:2::2 behind p2 on VLAN 20 of br2.
class RoutingTest : public testing::TestWithParam<unsigned> {
protected:
    RoutingTest() : bench({.workers = GetParam()}) {
        bench.apply_json(R"({"put": {
            "bridges": [{"name": "br1"}, {"name": "br2", "vlan_filtering": true}],
            "ports": [{"name": "p0", "kind": "vhost-user", "path": "/p0", "bridge": "br1"},
                      {"name": "p1", "kind": "vhost-user", "path": "/p1", "bridge": "br1"},
                      {"name": "p2", "kind": "vhost-user", "path": "/p2", "bridge": "br2",
                       "vlan": {"untagged": 0, "tagged": ["20"]}}],
            "fdb": [{"bridge": "br1", "mac": "02:00:00:00:00:01", "port": "p0"},
                    {"bridge": "br2", "vlan": 20, "mac": "02:00:00:00:00:02", "port": "p2"}],
            "interfaces": [
                {"name": "gw1", "bridge": "br1", "mac": "02:00:00:00:01:01",
                 "addresses": ["10.1.0.1/24", "fd00:1::1/64"]},
                {"name": "gw2", "bridge": "br2", "vlan": 20, "mac": "02:00:00:00:01:02",
                 "addresses": ["10.2.0.1/24", "fd00:2::1/64"]}],
            "neighbours": [
                {"interface": "gw1", "address": "10.1.0.2", "mac": "02:00:00:00:00:01"},
                {"interface": "gw1", "address": "fd00:1::2", "mac": "02:00:00:00:00:01"},
                {"interface": "gw2", "address": "10.2.0.2", "mac": "02:00:00:00:00:02"},
                {"interface": "gw2", "address": "fd00:2::2", "mac": "02:00:00:00:00:02"}]}})");
        collect_all();
    }

    void collect_all() {
        for (const auto* port : {"p0", "p1", "p2"})
            bench.collect(port);
    }
    /// From p0 to p2.
    static IpFrame there(bool v6 = false, std::uint8_t protocol = 17, std::uint16_t port = 1000) {
        IpFrame spec{.protocol = protocol, .source_port = port};
        if (v6) {
            spec.source = "fd00:1::2";
            spec.destination = "fd00:2::2";
        }
        return spec;
    }
    /// The answer, from p2.
    static IpFrame back(IpFrame spec) {
        std::swap(spec.source, spec.destination);
        std::swap(spec.source_port, spec.destination_port);
        spec.destination_mac = "02:00:00:00:01:02";
        spec.source_mac = "02:00:00:00:00:02";
        spec.vlans = {20};
        return spec;
    }
    static IpFrame out_at_p2(IpFrame spec) {
        spec.destination_mac = "02:00:00:00:00:02";
        spec.source_mac = "02:00:00:00:01:02";
        spec.vlans = {20};
        --spec.ttl;
        return spec;
    }
    static IpFrame out_at_p0(IpFrame spec) {
        spec.destination_mac = "02:00:00:00:00:01";
        spec.source_mac = "02:00:00:00:01:01";
        spec.vlans = {};
        --spec.ttl;
        return spec;
    }
    std::uint32_t entries() {
        const auto flows = bench.dataplane().flows();
        return flows.v4->entries() + flows.v6->entries();
    }

    Bench bench;
};

INSTANTIATE_TEST_SUITE_P(Workers, RoutingTest, testing::Values(1U, 2U));

TEST_P(RoutingTest, FirstAndLaterPacketsOfBothDirectionsAreTheSame) {
    std::uint32_t flows = 0;
    for (const bool v6 : {false, true}) {
        for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{6, 17, 132, 47}) {
            SCOPED_TRACE(std::string(v6 ? "IPv6" : "IPv4") + " protocol " + std::to_string(protocol));
            auto spec = there(v6, protocol);
            if (protocol == 47) spec.source_port = spec.destination_port = 0;
            const auto out = ip_frame(out_at_p2(spec));
            bench.inject("p0", ip_frame(spec));
            EXPECT_EQ(bench.collect("p2"), std::vector<Bytes>{out}) << "the first";
            bench.inject("p0", ip_frame(spec));
            EXPECT_EQ(bench.collect("p2"), std::vector<Bytes>{out}) << "the second";
            const auto answer = back(spec);
            const auto in = ip_frame(out_at_p0(answer));
            for (const auto* which : {"first", "second"}) {
                bench.inject("p2", ip_frame(answer));
                EXPECT_EQ(bench.collect("p0"), std::vector<Bytes>{in}) << "the answer, " << which;
            }
            EXPECT_EQ(entries(), 2 * ++flows);
        }
    }
}

TEST_P(RoutingTest, TheFastPathTakesOverAfterTheFirstPacket) {
    const auto spec = there();
    bench.inject("p0", ip_frame(spec));
    collect_all();
    auto& table = *bench.dataplane().flows().v4;
    FlowKey4 key{{{10, 1, 0, 2}}, {{10, 2, 0, 2}}, Be16::from_host(1000), Be16::from_host(2000), 17, 0, 0};
    FlowRecord<FlowKey4> record{};
    const auto flow = table.find(key, table.hash(key), record);
    ASSERT_NE(flow, kNoFlow);
    EXPECT_EQ(record.generation, bench.dataplane().flow_generation());
    EXPECT_EQ(record.flags & kFlowSlow, 0);
    // A record that says something else than resolve would: who follows it is the fast path.
    record.destination_mac = {2, 0, 0, 0, 0, 0x77};
    table.update(flow, record);
    auto marked = out_at_p2(spec);
    marked.destination_mac = "02:00:00:00:00:77";
    bench.inject("p0", ip_frame(spec));
    EXPECT_EQ(bench.collect("p2"), std::vector<Bytes>{ip_frame(marked)});
    // After a change it is resolved again.
    bench.dataplane().request_resolve();
    bench.dataplane().tick();
    bench.inject("p0", ip_frame(spec));
    EXPECT_EQ(bench.collect("p2"), std::vector<Bytes>{ip_frame(out_at_p2(spec))});
    EXPECT_EQ(entries(), 2U);
}

TEST_P(RoutingTest, AChangeTakesEffectOnTheNextPacket) {
    auto spec = there();
    spec.destination = "198.51.100.1";
    bench.apply_json(R"({"put": {"routes": [
        {"prefix": "198.51.100.0/24", "via": "10.2.0.2", "interface": "gw2"}]}})");
    bench.inject("p0", ip_frame(spec));
    bench.inject("p0", ip_frame(spec));
    EXPECT_EQ(bench.collect("p2").size(), 2U);
    bench.apply_json(R"({"put": {"routes": [{"prefix": "198.51.100.0/24", "kind": "blackhole"}]}})");
    bench.inject("p0", ip_frame(spec));
    EXPECT_TRUE(bench.collect("p2").empty());
    EXPECT_EQ(bench.drops("p0", Drop::blackhole), 1U);
    bench.apply_json(R"({"put": {"routes": [
        {"prefix": "198.51.100.0/24", "via": "10.2.0.2", "interface": "gw2"}]}})");
    bench.inject("p0", ip_frame(spec));
    EXPECT_EQ(bench.collect("p2").size(), 1U);
}

TEST_P(RoutingTest, OnlyFlowsOfAChangedRouteAreResolvedAgain) {
    bench.inject("p0", ip_frame(there()));
    collect_all();
    auto& table = *bench.dataplane().flows().v4;
    const FlowKey4 key{
        {{10, 1, 0, 2}}, {{10, 2, 0, 2}}, Be16::from_host(1000), Be16::from_host(2000), 17, 0, 0};
    FlowRecord<FlowKey4> record{};
    const auto flow = table.find(key, table.hash(key), record);
    ASSERT_NE(flow, kNoFlow);
    // Resolve would not say this: as long as it is done, nobody has asked resolve.
    record.destination_mac = {2, 0, 0, 0, 0, 0x77};
    table.update(flow, record);
    auto marked = out_at_p2(there());
    marked.destination_mac = "02:00:00:00:00:77";
    // More than are remembered, with packets in between.
    for (int i = 0; i < 100; ++i) {
        bench.apply_json(R"({"put": {"routes": [{"prefix": "172.20.)" + std::to_string(i) +
                         R"(.0/24", "via": "10.2.0.2", "interface": "gw2"},
                             {"prefix": "fd00:77::/64", "kind": "blackhole"}]}})");
        bench.inject("p0", ip_frame(there()));
        ASSERT_EQ(bench.collect("p2"), std::vector<Bytes>{ip_frame(marked)}) << "change " << i;
    }
    EXPECT_EQ(table.find(key, table.hash(key), record), flow);
    EXPECT_EQ(record.generation, bench.dataplane().flow_generation());
    bench.apply_json(
        R"({"put": {"routes": [{"prefix": "10.2.0.2/32", "via": "10.2.0.2", "interface": "gw2"}]}})");
    bench.inject("p0", ip_frame(there()));
    EXPECT_EQ(bench.collect("p2"), std::vector<Bytes>{ip_frame(out_at_p2(there()))}) << "a route to it";
    // Too many changes while it was silent.
    table.update(flow, record);
    for (int i = 0; i < 70; ++i) {
        bench.apply_json(R"({"put": {"routes": [{"prefix": "172.21.)" + std::to_string(i) +
                         R"(.0/24", "via": "10.2.0.2", "interface": "gw2"}]}})");
    }
    bench.inject("p0", ip_frame(there()));
    EXPECT_EQ(bench.collect("p2"), std::vector<Bytes>{ip_frame(out_at_p2(there()))}) << "too old";
}

TEST_P(RoutingTest, EveryTruncationIsDroppedByName) {
    for (const bool v6 : {false, true}) {
        const auto whole = ip_frame(there(v6, 6));
        const std::size_t headers = v6 ? 74 : 54;
        bench.inject("p0", whole);
        for (std::size_t size = 14; size < headers; ++size)
            bench.inject("p0", Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
        EXPECT_EQ(bench.collect("p2").size(), 1U);
    }
    const auto drops = bench.state("p0").totals.drops;
    const auto of = [&](Drop why) { return drops[static_cast<std::size_t>(why)]; };
    EXPECT_EQ(of(Drop::bad_ip_header) + of(Drop::bad_transport_header) + of(Drop::runt), 40U + 60U);
}

TEST_P(RoutingTest, OneFlowResultsWhereverItsFirstPacketsCome) {
    // The same packets from two ports, which two workers poll, and the answers from a third.
    constexpr std::uint16_t kFlows = 200;
    for (std::uint16_t port = 1; port <= kFlows; ++port) {
        const auto spec = there(port % 2 == 0, 17, port);
        bench.inject("p0", ip_frame(spec));
        bench.inject("p1", ip_frame(spec));
        bench.inject("p2", ip_frame(back(spec)));
    }
    EXPECT_EQ(bench.collect("p2").size(), 2U * kFlows);
    EXPECT_EQ(bench.collect("p0").size(), kFlows);
    EXPECT_EQ(entries(), 2U * kFlows);
}

TEST_P(RoutingTest, MasqueradedFlowsAreOneWhereverTheirFirstPacketsCome) {
    bench.apply_json(
        R"({"put": {"masquerades": [{"name": "m", "source": "10.1.0.0/24", "interface": "gw2"}]}})");
    constexpr std::uint16_t kFlows = 200;
    for (std::uint16_t port = 1; port <= kFlows; ++port) {
        const auto spec = there(false, 17, static_cast<std::uint16_t>(20000 + port));
        bench.inject("p0", ip_frame(spec));
        bench.inject("p1", ip_frame(spec));
    }
    const auto out = bench.collect("p2");
    ASSERT_EQ(out.size(), 2U * kFlows);
    std::set<Bytes> distinct;
    for (const auto& frame : out) {
        EXPECT_TRUE(checksums_hold(frame));
        distinct.insert(frame);
    }
    EXPECT_EQ(distinct.size(), kFlows) << "both packets of a flow have one translation";
    EXPECT_EQ(entries(), 2U * kFlows);
    // The answers find their way back, from another port and perhaps another worker.
    for (const auto& frame : distinct) {
        const auto port = static_cast<std::uint16_t>(frame[38] << 8 | frame[39]);
        bench.inject("p2", ip_frame({.destination_mac = "02:00:00:00:01:02",
                                     .source_mac = "02:00:00:00:00:02",
                                     .vlans = {20},
                                     .source = "10.2.0.2",
                                     .destination = "10.2.0.1",
                                     .source_port = 2000,
                                     .destination_port = port}));
    }
    const auto answers = bench.collect("p0");
    EXPECT_EQ(answers.size(), kFlows);
    for (const auto& frame : answers)
        EXPECT_TRUE(checksums_hold(frame));
}

}  // namespace

}  // namespace viaduct::test
