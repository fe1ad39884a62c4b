// Routed packets through the real worker loop: what flows that are known become, and what becomes of
// everything that is not known or not in order. Records are entered by hand here, so that nothing but
// forwarding is shown.
#include <gtest/gtest.h>

#include "flow/flow_table.h"
#include "forward/checksum.h"
#include "forward/first_packets.h"
#include "ip_frame.h"

namespace viaduct::test {

namespace {

using namespace dataplane;

constexpr const char* kGateway1 = "02:00:00:00:01:01";
constexpr const char* kGateway2 = "02:00:00:00:01:02";

/// Two bridges with a router interface each: 10.1.0.0/24 and fd00:1::/64 on br1 with ports p0 and
/// p1, 10.2.0.0/24 and fd00:2::/64 on VLAN 20 of br2 with p2 (untagged) and p3 (tagged).
class RoutedTest : public testing::TestWithParam<unsigned> {
protected:
    RoutedTest() : bench({.workers = GetParam()}) {
        bench.apply_json(R"({"put": {
            "bridges": [{"name": "br1"}, {"name": "br2", "vlan_filtering": true}],
            "ports": [{"name": "p0", "kind": "vhost-user", "path": "/run/p0", "bridge": "br1"}, {"name": "p1", "kind": "vhost-user", "path": "/run/p1", "bridge": "br1"},
                      {"name": "p2", "kind": "vhost-user", "path": "/run/p2", "bridge": "br2", "vlan": {"untagged": 20}},
                      {"name": "p3", "kind": "vhost-user", "path": "/run/p3", "bridge": "br2", "vlan": {"untagged": 0, "tagged": ["20"]}}],
            "interfaces": [
                {"name": "gw1", "bridge": "br1", "mac": "02:00:00:00:01:01",
                 "addresses": ["10.1.0.1/24", "fd00:1::1/64"]},
                {"name": "gw2", "bridge": "br2", "vlan": 20, "mac": "02:00:00:00:01:02",
                 "addresses": ["10.2.0.1/24", "fd00:2::1/64"]}]}})");
    }

    /// The key of what a frame without tags carries.
    template <typename Key>
    static Key key_of(const IpFrame& spec) {
        Key key{};
        const auto put = [](auto& into, const std::string& text) {
            const auto address = IpAddress::parse(text).value();
            std::copy(address.bytes().begin(), address.bytes().end(), into.bytes.begin());
        };
        put(key.source, spec.source);
        put(key.destination, spec.destination);
        key.source_port = Be16::from_host(spec.source_port);
        key.destination_port = Be16::from_host(spec.destination_port);
        key.protocol = spec.protocol;
        return key;
    }

    /// Enters a flow from gw1 to gw2, out by port `to` with tag `vlan`. Returns its entry.
    template <typename Key>
    FlowIndex enter(const IpFrame& spec, const std::string& to, std::uint16_t vlan, std::uint16_t flags = 0) {
        FlowRecord<Key> record{};
        record.key = key_of<Key>(spec);
        record.new_source = record.key.source;
        record.new_destination = record.key.destination;
        record.new_source_port = record.key.source_port;
        record.new_destination_port = record.key.destination_port;
        record.destination_mac = {2, 0, 0, 0, 0, 3};
        record.source_mac = {2, 0, 0, 0, 1, 2};
        record.port = bench.state(to).index;
        record.vlan = vlan;
        record.generation = bench.dataplane().flow_generation();
        record.ingress = 0;
        record.mtu = 1500;
        record.flags = flags;
        auto reply = record;
        reply.key = record.key.reversed();
        reply.generation = 0;
        const auto pair = bench.dataplane().flows().of<Key>().insert(record, reply, 0, 1000);
        EXPECT_EQ(static_cast<int>(pair.result), static_cast<int>(FlowTable<Key>::Inserted::yes));
        return pair.forward;
    }

    static IpFrame routed(IpFrame spec, std::vector<std::uint16_t> vlans = {}) {
        spec.destination_mac = "02:00:00:00:00:03";
        spec.source_mac = kGateway2;
        spec.vlans = std::move(vlans);
        --spec.ttl;
        return spec;
    }

    Bench bench;
};

INSTANTIATE_TEST_SUITE_P(Workers, RoutedTest, testing::Values(1U, 2U));

TEST_P(RoutedTest, ExecutesKnownFlowsOfBothFamilies) {
    const IpFrame v4{.payload = 10, .padding = 8};
    const IpFrame v6{.source = "fd00:1::2", .destination = "fd00:2::2", .protocol = 6};
    const auto flow4 = enter<FlowKey4>(v4, "p2", 0);
    enter<FlowKey6>(v6, "p3", 20, kFlowTcp);
    bench.inject("p0", ip_frame(v4));
    bench.inject("p0", ip_frame(v6));
    bench.inject("p0", ip_frame(v4));
    EXPECT_EQ(bench.collect("p2"), (std::vector<Bytes>{ip_frame(routed(v4)), ip_frame(routed(v4))}));
    EXPECT_EQ(bench.collect("p3"), std::vector<Bytes>{ip_frame(routed(v6, {20}))});
    const auto& tail = bench.dataplane().flows().v4->tail(flow4);
    EXPECT_EQ(tail.packets.load(), 2U);
    EXPECT_EQ(tail.bytes.load(), 2U * 38);
    EXPECT_EQ(bench.state("p2").totals.offered, 2U);
}

TEST_P(RoutedTest, CarriesManyFlowsInWholeBursts) {
    for (std::uint16_t port = 1; port <= 200; ++port)
        enter<FlowKey4>({.source_port = port}, port % 2 == 0 ? "p2" : "p3", port % 2 == 0 ? 0 : 20);
    for (std::uint16_t port = 1; port <= 200; ++port)
        bench.inject("p0", ip_frame({.source_port = port}));
    const auto plain = bench.collect("p2");
    const auto tagged = bench.collect("p3");
    ASSERT_EQ(plain.size(), 100U);
    ASSERT_EQ(tagged.size(), 100U);
    for (std::uint16_t i = 0; i < 100; ++i) {
        EXPECT_EQ(tagged[i], ip_frame(routed({.source_port = static_cast<std::uint16_t>(2 * i + 1)}, {20})));
        EXPECT_EQ(plain[i], ip_frame(routed({.source_port = static_cast<std::uint16_t>(2 * i + 2)})));
    }
}

TEST_P(RoutedTest, TagsOfTheVlanThatAPacketCameInByGo) {
    // From gw2's side, tagged, to br1, which knows no tags.
    IpFrame spec{
        .destination_mac = kGateway2, .vlans = {20}, .source = "10.2.0.2", .destination = "10.1.0.2"};
    FlowRecord<FlowKey4> record{};
    record.key = key_of<FlowKey4>(spec);
    record.new_source = record.key.source;
    record.new_destination = record.key.destination;
    record.destination_mac = {2, 0, 0, 0, 0, 1};
    record.source_mac = {2, 0, 0, 0, 1, 1};
    record.port = bench.state("p1").index;
    record.generation = bench.dataplane().flow_generation();
    record.ingress = 1;
    record.mtu = 1500;
    auto reply = record;
    reply.key = record.key.reversed();
    bench.dataplane().flows().v4->insert(record, reply, 0, 1000);
    bench.inject("p3", ip_frame(spec));
    spec.destination_mac = "02:00:00:00:00:01";
    spec.source_mac = kGateway1;
    spec.vlans = {};
    spec.ttl = 63;
    EXPECT_EQ(bench.collect("p1"), std::vector<Bytes>{ip_frame(spec)});
}

TEST_P(RoutedTest, ExecutesNothingThatIsStale) {
    const auto flow = enter<FlowKey4>({}, "p2", 0);
    bench.dataplane().request_resolve();
    bench.dataplane().tick();
    bench.inject("p0", ip_frame({}));
    EXPECT_TRUE(bench.collect("p2").empty() || bench.dataplane().flows().v4->tail(flow).packets.load() == 0);
    EXPECT_EQ(bench.dataplane().flows().v4->tail(flow).packets.load(), 0U);
}

TEST_P(RoutedTest, OnlyChangesThatMatterMakeFlowsStale) {
    const auto generation = bench.dataplane().flow_generation();
    bench.wire("p0").set_active_queues(1);
    bench.dataplane().tick();
    EXPECT_EQ(bench.dataplane().flow_generation(), generation) << "queues";
    bench.wire("p1").set_link(false);
    bench.dataplane().tick();
    EXPECT_NE(bench.dataplane().flow_generation(), generation) << "a link";
    const auto after = bench.dataplane().flow_generation();
    bench.apply_json(R"({"put": {"bridges": [{"name": "br3"}]}})");
    EXPECT_NE(bench.dataplane().flow_generation(), after) << "a transaction";
}

TEST_P(RoutedTest, InterfacesKeepTheirPlacesWhileOthersComeAndGo) {
    enter<FlowKey4>({}, "p2", 0);
    bench.apply_json(
        R"({"put": {"interfaces": [{"name": "aaa", "bridge": "br1", "addresses": ["10.9.0.1/24"]}]}})");
    const auto& table = *bench.dataplane().flows().v4;
    FlowRecord<FlowKey4> record{};
    const auto key = key_of<FlowKey4>({});
    const auto flow = table.find(key, table.hash(key), record);
    ASSERT_NE(flow, kNoFlow);
    record.generation = bench.dataplane().flow_generation();
    bench.dataplane().flows().v4->update(flow, record);
    bench.inject("p0", ip_frame({}));
    EXPECT_EQ(bench.collect("p2"), std::vector<Bytes>{ip_frame(routed({}))});
}

TEST_P(RoutedTest, ForgetsFlowsThatAreIdle) {
    enter<FlowKey4>({}, "p2", 0);
    enter<FlowKey6>({.source = "fd00:1::2", .destination = "fd00:2::2"}, "p2", 0);
    bench.advance_clock(29);
    EXPECT_EQ(bench.dataplane().flows().v4->entries(), 2U);
    bench.inject("p0", ip_frame({}));
    bench.advance_clock(29);
    EXPECT_EQ(bench.dataplane().flows().v4->entries(), 2U) << "seen meanwhile";
    EXPECT_EQ(bench.dataplane().flows().v6->entries(), 0U);
    bench.advance_clock(2);
    EXPECT_EQ(bench.dataplane().flows().v4->entries(), 0U);
}

}  // namespace

}  // namespace viaduct::test
