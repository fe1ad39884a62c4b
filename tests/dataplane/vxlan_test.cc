// VXLAN both ways, through the real worker loop: bytes of the outer headers, who is let in, who learns what.
#include <gtest/gtest.h>

#include "forward/tunnel.h"
#include "packets.h"

namespace viaduct::test {
namespace {

using dataplane::Drop;

constexpr auto kPeerMac = "02:00:00:00:99:02";
constexpr auto kOtherPeerMac = "02:00:00:00:99:03";
constexpr auto kGatewayMac = "02:00:00:00:99:01";
constexpr auto kPodMac = "02:00:00:00:00:01";
constexpr auto kFarMac = "02:00:00:00:00:02";

struct Underlay {
    std::string local = "192.0.2.1";
    std::string prefix = "24";
    std::string peer = "192.0.2.2";
    std::string other = "192.0.2.3";
};
const Underlay kV6{"2001:db8::1", "64", "2001:db8::2", "2001:db8::3"};

/// A pod and a tunnel's end with two peers on one bridge, the underlay's port and gateway on another.
std::string network(const Underlay& u, const std::string& more = "", std::uint32_t underlay_mtu = 1500) {
    const auto neighbour = [](const std::string& address, const std::string& mac) {
        return R"({"interface":"u0","address":")" + address + R"(","mac":")" + mac + R"("})";
    };
    return R"({"put":{"bridges":[{"name":"net"},{"name":"under"}],"ports":[
        {"name":"pod","kind":"vhost-user","bridge":"net","path":"/pod"},
        {"name":"up","kind":"vhost-user","bridge":"under","path":"/up"},
        {"name":"vx","kind":"vxlan","bridge":"net","vni":7,"local":")" +
           u.local + R"(","remotes":[")" + u.peer + R"(",")" + u.other + R"("]})" + more + R"(],
        "fdb":[{"bridge":"under","mac":")" +
           kPeerMac + R"(","port":"up"},{"bridge":"under","mac":")" + kOtherPeerMac +
           R"(","port":"up"}],
        "interfaces":[{"name":"u0","bridge":"under","mac":")" +
           kGatewayMac + R"(","mtu":)" + std::to_string(underlay_mtu) + R"(,"addresses":[")" + u.local + "/" +
           u.prefix + R"("]}],"neighbours":[)" + neighbour(u.peer, kPeerMac) + "," +
           neighbour(u.other, kOtherPeerMac) + "]}}";
}

/// VXLAN's header and a frame in UDP.
Bytes carried(const Bytes& inner, std::uint32_t vni = 7, std::uint8_t flags = 8) {
    Bytes bytes{flags,
                0,
                0,
                0,
                static_cast<std::uint8_t>(vni >> 16),
                static_cast<std::uint8_t>(vni >> 8),
                static_cast<std::uint8_t>(vni),
                0};
    bytes.insert(bytes.end(), inner.begin(), inner.end());
    return bytes;
}

/// What a peer sends: `change` may spoil the packet.
Bytes outer(const Underlay& u, const std::string& from, const Bytes& payload, std::uint8_t tos = 0,
            bool no_checksum = true) {
    PacketSpec spec{.source = from, .destination = u.local, .source_port = 50000, .destination_port = 4789};
    spec.inside = payload;
    spec.no_checksum = no_checksum;
    auto ip = packet(spec);
    if (ip[0] == 0x45) {
        // Keeps the sum: the identification, which is 1, takes back what the octet adds.
        ip[1] = tos;
        const auto id = static_cast<std::uint16_t>(0x10000 + 1 - tos);
        const auto carry = tos > 1 ? 1 : 0;
        ip[4] = static_cast<std::uint8_t>((id - carry) >> 8);
        ip[5] = static_cast<std::uint8_t>(id - carry);
    } else {
        ip[0] = static_cast<std::uint8_t>(0x60 | tos >> 4);
        ip[1] = static_cast<std::uint8_t>(tos << 4);
    }
    return framed(ip, kGatewayMac, kPeerMac);
}

Bytes inner_of(const Bytes& frame, bool v4 = true) {
    return {frame.begin() + 14 + (v4 ? 36 : 56), frame.end()};
}

class Vxlan : public ::testing::TestWithParam<bool> {
protected:
    [[nodiscard]] bool v4() const { return GetParam(); }
    [[nodiscard]] Underlay underlay() const { return v4() ? Underlay{} : kV6; }
};
INSTANTIATE_TEST_SUITE_P(Family, Vxlan, ::testing::Bool(),
                         [](const auto& of) { return of.param ? "IPv4" : "IPv6"; });

Bytes from_far(std::uint8_t tos = 0) {
    auto ip =
        packet({.source = "10.0.0.2", .destination = "10.0.0.1", .source_port = 9, .destination_port = 10});
    ip[1] = tos;
    std::uint32_t sum = 0;
    ip[10] = ip[11] = 0;
    for (std::size_t i = 0; i < 20; i += 2)
        sum += static_cast<std::uint32_t>(ip[i] << 8 | ip[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    ip[10] = static_cast<std::uint8_t>(~sum >> 8);
    ip[11] = static_cast<std::uint8_t>(~sum);
    return framed(ip, kPodMac, kFarMac);
}

TEST_P(Vxlan, OpensWhatAPeerSendsAndLearnsBehindWhomItIs) {
    Bench bench;
    bench.apply_json(network(underlay()));
    const auto inner = from_far();
    bench.inject("up", outer(underlay(), underlay().peer, carried(inner), 0, v4()));
    const auto got = bench.collect("pod");
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0], inner);
    std::vector<std::string> entries;
    bench.dataplane().visit_fdb({.bridge = "net"}, [&](const dataplane::FdbState& state) {
        entries.push_back(state.entry.mac.to_string() + " " + state.entry.port + " " +
                          (state.entry.remote ? state.entry.remote->to_string() : "-"));
    });
    EXPECT_EQ(entries, std::vector<std::string>{std::string(kFarMac) + " vx " + underlay().peer});
    EXPECT_EQ(bench.state("vx").totals.rx_packets, 1U);
    EXPECT_EQ(bench.state("up").totals.consumed, 1U);
    // It moves to the other peer when it is heard from there.
    bench.inject("up", outer(underlay(), underlay().other, carried(inner), 0, v4()));
    EXPECT_EQ(bench.collect("pod").size(), 1U);
    entries.clear();
    bench.dataplane().visit_fdb({.bridge = "net"}, [&](const dataplane::FdbState& state) {
        entries.push_back(state.entry.remote ? state.entry.remote->to_string() : "-");
    });
    EXPECT_EQ(entries, std::vector<std::string>{underlay().other});
}

TEST_P(Vxlan, RefusesByName) {
    Bench bench;
    bench.apply_json(network(underlay()));
    const auto u = underlay();
    const auto stranger = v4() ? "192.0.2.9" : "2001:db8::9";
    const auto inner = from_far();
    const auto refused = [&](const Bytes& frame, Drop why) {
        bench.inject("up", frame);
        EXPECT_TRUE(bench.collect("pod").empty());
        EXPECT_EQ(bench.drops("up", why), 1U) << dataplane::reason(why).name;
    };
    refused(outer(u, stranger, carried(inner), 0, v4()), Drop::tunnel_unknown_peer);
    refused(outer(u, u.peer, carried(inner, 8), 0, v4()), Drop::tunnel_unknown_vni);
    refused(outer(u, u.peer, carried(inner, 7, 0), 0, v4()), Drop::tunnel_bad_header);
    auto spoiled = outer(u, u.peer, carried(inner), 0, false);
    spoiled.back() ^= 1;
    refused(spoiled, Drop::bad_checksum);
    // IPv6 needs a checksum, IPv4 does not.
    bench.inject("up", outer(u, u.peer, carried(inner), 0, true));
    EXPECT_EQ(bench.collect("pod").size(), v4() ? 1U : 0U);
    // A frame that is none.
    bench.inject("up", outer(u, u.peer, carried(Bytes(13)), 0, v4()));
    EXPECT_EQ(bench.drops("up", Drop::tunnel_bad_header), 2U);
    // A UDP length that is not the packet's.
    auto longer = outer(u, u.peer, carried(inner), 0, true);
    longer[14 + (v4() ? 20 : 40) + 5] = static_cast<std::uint8_t>(longer[14 + (v4() ? 20 : 40) + 5] + 1);
    bench.inject("up", longer);
    EXPECT_EQ(bench.drops("up", Drop::tunnel_bad_header), 3U);
}

TEST_P(Vxlan, MergesCongestionMarksAsRfc6040Says) {
    Bench bench;
    bench.apply_json(network(underlay()));
    // Rows: inner; columns: outer. 9: dropped.
    constexpr std::array<std::array<int, 4>, 4> kWanted{
        {{0, 0, 0, 9}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}}};
    for (std::uint8_t inner = 0; inner < 4; ++inner) {
        for (std::uint8_t outer_mark = 0; outer_mark < 4; ++outer_mark) {
            const auto dscp = 0x28;
            const auto tos = static_cast<std::uint8_t>(dscp | inner);
            bench.inject("up", outer(underlay(), underlay().peer, carried(from_far(tos)), outer_mark, v4()));
            const auto got = bench.collect("pod");
            const int wanted = kWanted[inner][outer_mark];
            if (wanted == 9) {
                EXPECT_TRUE(got.empty());
                EXPECT_EQ(bench.drops("up", Drop::tunnel_congestion), 1U);
                continue;
            }
            ASSERT_EQ(got.size(), 1U) << int{inner} << " in " << int{outer_mark};
            EXPECT_EQ(got[0][15], dscp | wanted) << int{inner} << " in " << int{outer_mark};
            EXPECT_EQ(describe(got[0]).find("BAD"), std::string::npos) << describe(got[0]);
        }
    }
}

TEST_P(Vxlan, WrapsExactlyWhatLeaves) {
    Bench bench;
    bench.apply_json(network(underlay()));
    bench.inject("up", outer(underlay(), underlay().peer, carried(from_far()), 0, v4()));
    ASSERT_EQ(bench.collect("pod").size(), 1U);
    auto inner =
        routed({.source = "10.0.0.1", .destination = "10.0.0.2", .source_port = 1, .destination_port = 2},
               kFarMac, kPodMac);
    inner[15] = 0xb9;  // DSCP 46, ECT(1); the inner checksum is nobody's concern here
    bench.inject("pod", inner);
    const auto got = bench.collect("up");
    ASSERT_EQ(got.size(), 1U);
    const auto& frame = got[0];
    EXPECT_EQ(macs(frame), std::string(kGatewayMac) + " > " + kPeerMac);
    const std::size_t ip_header = v4() ? 20 : 40;
    const auto port = static_cast<unsigned>(frame[14 + ip_header] << 8 | frame[15 + ip_header]);
    EXPECT_GE(port, 49152U);
    const auto from = v4() ? underlay().local : "[" + underlay().local + "]";
    const auto to = v4() ? underlay().peer : "[" + underlay().peer + "]";
    EXPECT_EQ(describe(frame), "udp " + from + ":" + std::to_string(port) + " > " + to + ":4789 ttl 64" +
                                   (v4() ? " unchecked" : ""));
    if (v4()) {
        EXPECT_EQ(frame[15], 0xb9);
        EXPECT_EQ(frame[20] << 8 | frame[21], 0x4000) << "DF";
    } else {
        EXPECT_EQ((frame[14] & 0xf) << 4 | frame[15] >> 4, 0xb9);
    }
    const Bytes vxlan(frame.begin() + 14 + static_cast<std::ptrdiff_t>(ip_header) + 8,
                      frame.begin() + 14 + static_cast<std::ptrdiff_t>(ip_header) + 16);
    EXPECT_EQ(vxlan, (Bytes{8, 0, 0, 0, 0, 0, 7, 0}));
    EXPECT_EQ(inner_of(frame, v4()), inner);
    // One flow keeps its port, another has most likely another.
    bench.inject("pod", inner);
    EXPECT_EQ(bench.collect("up").at(0), frame);
    std::set<unsigned> ports;
    for (std::uint16_t i = 0; i < 32; ++i) {
        bench.inject(
            "pod",
            routed({.source = "10.0.0.1", .destination = "10.0.0.2", .source_port = i, .destination_port = 2},
                   kFarMac, kPodMac));
        for (const auto& sent : bench.collect("up"))
            ports.insert(static_cast<unsigned>(sent[14 + ip_header] << 8 | sent[15 + ip_header]));
    }
    EXPECT_GT(ports.size(), 28U);
    EXPECT_EQ(bench.state("vx").totals.tx_packets, 34U);
    EXPECT_EQ(bench.state("up").totals.originated, 34U);
}

TEST_P(Vxlan, FloodsToEachPeerAndNotBack) {
    Bench bench;
    bench.apply_json(network(underlay()));
    const auto broadcast =
        frame({.destination = "ff:ff:ff:ff:ff:ff", .source = kPodMac, .ethertype = 0x88b5});
    bench.inject("pod", broadcast);
    std::set<std::string> to;
    for (const auto& sent : bench.collect("up")) {
        to.insert(macs(sent));
        EXPECT_EQ(inner_of(sent, v4()), broadcast);
    }
    const auto from = std::string(kGatewayMac) + " > ";
    EXPECT_EQ(to, (std::set<std::string>{from + kPeerMac, from + kOtherPeerMac}));
    EXPECT_EQ(bench.state("vx").totals.copies, 1U);
    // Split horizon: what one peer floods reaches the pod and no other peer.
    auto flooded = from_far();
    std::fill_n(flooded.begin(), 6, std::uint8_t{0xff});
    bench.inject("up", outer(underlay(), underlay().peer, carried(flooded), 0, v4()));
    EXPECT_EQ(bench.collect("pod").size(), 1U);
    EXPECT_TRUE(bench.collect("up").empty());
}

TEST_P(Vxlan, RefusesFramesTooLongForTheWay) {
    Bench bench;
    bench.apply_json(network(underlay()));
    const std::size_t overhead = v4() ? 36 : 56;
    const auto far = [&](std::size_t size) {
        return frame({.destination = kFarMac, .source = kPodMac, .size = size});
    };
    bench.inject("up", outer(underlay(), underlay().peer, carried(from_far()), 0, v4()));
    bench.settle();
    bench.inject("pod", far(1500 - overhead));
    EXPECT_EQ(bench.collect("up").size(), 1U);
    bench.inject("pod", far(1500 - overhead + 1));
    EXPECT_TRUE(bench.collect("up").empty());
    EXPECT_EQ(bench.drops("vx", Drop::tx_too_big), 1U);
    // With a longer way more fits.
    bench.apply_json(
        network(underlay(), R"(,{"name":"wide","kind":"vhost-user","path":"/w","mtu":1600})", 1600));
    bench.apply_json(
        R"({"put":{"ports":[{"name":"up","kind":"vhost-user","bridge":"under","path":"/up","mtu":1600}]}})");
    bench.inject("pod", far(1514));
    EXPECT_EQ(bench.collect("up").size(), 1U);
}

TEST_P(Vxlan, SendsToStaticEntriesPeers) {
    Bench bench;
    bench.apply_json(network(underlay()));
    bench.apply_json(R"({"put":{"fdb":[{"bridge":"net","mac":"02:00:00:00:00:05","port":"vx","remote":")" +
                     underlay().other + R"("}]}})");
    bench.inject("pod", frame({.destination = "02:00:00:00:00:05", .source = kPodMac}));
    const auto got = bench.collect("up");
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(macs(got[0]), std::string(kGatewayMac) + " > " + kOtherPeerMac);
}

TEST_P(Vxlan, WaitsForTheNextHopAndDropsByNameWithoutOne) {
    Bench bench;
    bench.apply_json(network(underlay()));
    bench.apply_json(R"({"delete":{"neighbours":[{"interface":"u0","address":")" + underlay().peer +
                     R"("},{"interface":"u0","address":")" + underlay().other + R"("}]}})");
    bench.inject("pod", frame({.destination = "ff:ff:ff:ff:ff:ff", .source = kPodMac, .ethertype = 0x88b5}));
    const auto asked = bench.collect("up");
    ASSERT_EQ(asked.size(), 2U) << "two questions";
    bench.advance_clock(1);
    bench.advance_clock(1);
    bench.advance_clock(1);
    bench.advance_clock(1);
    EXPECT_EQ(bench.drops("vx", Drop::tx_tunnel_unresolved), 2U);
}

TEST(VxlanEcn, IsMergedAsTheTableSays) {
    using dataplane::decapsulated_ecn;
    EXPECT_EQ(decapsulated_ecn(0, 3), dataplane::kEcnDrop);
    EXPECT_EQ(decapsulated_ecn(2, 1), 1);
    EXPECT_EQ(decapsulated_ecn(1, 2), 1);
    EXPECT_EQ(decapsulated_ecn(2, 3), 3);
    EXPECT_EQ(decapsulated_ecn(3, 0), 3);
}

}  // namespace
}  // namespace viaduct::test
