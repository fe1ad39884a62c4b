// Segments that an uplink puts together, on their way through bridge, router and NAT to who takes long ones
// and who does not. Through the real worker loop.
#include <gtest/gtest.h>

#include "ip_frame.h"
#include "port/offload.h"
#include "router.h"

namespace viaduct::test {
namespace {

constexpr std::uint16_t kNeverFragmented = 0x4000;

class Together : public RouterTest, public ::testing::WithParamInterface<bool> {
protected:
    Together() {
        auto& up = change.put.ports["up"];
        up.kind = model::PortKind::uplink;
        up.uplink.device = "net_wire0";
        up.uplink.gro = true;
    }
    static bool v4() { return GetParam(); }
    /// A row of segments from the world to the pod, which may be the first of their flow.
    static std::vector<Bytes> row(unsigned count, std::uint32_t sequence = 1000) {
        std::vector<Bytes> segments;
        for (unsigned i = 0; i < count; ++i) {
            IpFrame spec{.destination_mac = kOut, .source_mac = kWorld};
            spec.source = v4() ? "198.51.100.7" : "2001:db8:7::7";
            spec.destination = v4() ? "10.0.0.2" : "fd00::2";
            spec.protocol = kTcp;
            spec.sequence = sequence + i * 1000;
            spec.payload = 1000;
            spec.fragment = v4() ? kNeverFragmented : std::uint16_t{0};
            segments.push_back(ip_frame(spec));
        }
        return segments;
    }
};

INSTANTIATE_TEST_SUITE_P(Families, Together, ::testing::Bool(),
                         [](const auto& family) { return family.param ? "IPv4" : "IPv6"; });

TEST_P(Together, TheyGoOnAsOneToWhoTakesIt) {
    apply();
    for (std::uint32_t round = 0; round < 3; ++round) {  // the first is resolved, others executed
        ASSERT_TRUE(bench.wire("up").inject(0, row(20, 1000 + round * 20000)));
        const auto out = frames("pod");
        ASSERT_EQ(out.size(), 1U);
        EXPECT_EQ(out[0].size(), row(1)[0].size() + 19000U);
        EXPECT_EQ(bench.state("up").totals.rx_packets, round + 1U);
    }
}

TEST_P(Together, TheyAreCutAgainForWhoDoesNot) {
    apply();
    bench.wire("pod").set_offloads(0);
    for (std::uint32_t round = 0; round < 2; ++round) {
        const auto sent = row(20, 1000 + round * 20000);
        ASSERT_TRUE(bench.wire("up").inject(0, sent));
        const auto out = frames("pod");
        ASSERT_EQ(out.size(), sent.size());
        for (std::size_t i = 0; i < out.size(); ++i) {
            EXPECT_TRUE(checksums_hold(out[i])) << i;
            EXPECT_EQ(out[i].size(), sent[i].size()) << i;
        }
    }
}

TEST_P(Together, TheyAreSwitchedAsTheyCame) {
    // The pod's bridge has the uplink.
    change.put.ports["up"].bridge = "inside";
    change.put.fdb.clear();
    apply();
    bench.wire("peer").set_offloads(0);
    auto sent = row(20);
    for (auto& frame : sent)
        frame[0] = 0xff, frame[1] = 0xff, frame[2] = 0xff, frame[3] = 0xff, frame[4] = 0xff, frame[5] = 0xff;
    ASSERT_TRUE(bench.wire("up").inject(0, sent));
    EXPECT_EQ(frames("pod").size(), 1U);
    const auto out = bench.collect("peer");
    ASSERT_EQ(out.size(), 20U);
    for (std::size_t i = 0; i < out.size(); ++i) {
        if (v4()) {
            EXPECT_TRUE(checksums_hold(out[i])) << i;
        } else {
            EXPECT_EQ(out[i], sent[i]) << i;
        }
    }
}

}  // namespace
}  // namespace viaduct::test
