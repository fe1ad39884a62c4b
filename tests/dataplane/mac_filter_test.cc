// An uplink that is not promiscuous, through the real worker loop: strangers' frames do not come in, the
// router's do, and the filter follows the configuration while the port stays the same one.
#include <gtest/gtest.h>

#include "router.h"
#include "trace.h"

namespace viaduct::test {
namespace {

const char* const kOther = "02:00:00:00:02:02";
const char* const kStranger = "02:00:00:00:02:99";

class MacFilter : public RouterTest {
protected:
    MacFilter() {
        auto& up = change.put.ports["up"];
        up.kind = model::PortKind::uplink;
        up.uplink.device = "net_wire0";
        up.uplink.promiscuous = false;
    }
    /// From the world to the pod, by way of `mac`; how many packets the pod gets.
    std::size_t arrives_by(const char* mac) {
        const PacketSpec spec{.source = "198.51.100.7", .destination = "10.0.0.2"};
        bench.inject("up", routed(spec, mac, kWorld));
        return collect("pod").size();
    }
    std::uint64_t received() { return bench.state("up").totals.rx_packets; }
};

TEST_F(MacFilter, TakesWhatIsForTheRouterAndGroups) {
    apply();
    EXPECT_EQ(bench.state("up").filter, std::vector{*MacAddress::parse(kOut)});
    EXPECT_EQ(arrives_by(kOut), 1U);
    EXPECT_EQ(arrives_by(kOut), 1U);
    const auto before = received();
    EXPECT_EQ(arrives_by(kStranger), 0U);
    EXPECT_EQ(arrives_by(kIn), 0U);  // the router's, and not on this bridge
    EXPECT_EQ(received(), before);
    EXPECT_EQ(bench.state("up").refused, 2U);
    (void)arrives_by("ff:ff:ff:ff:ff:ff");
    (void)arrives_by("33:33:00:00:00:01");
    EXPECT_EQ(received(), before + 2);
}

TEST_F(MacFilter, FollowsTheConfigurationWithoutANewPort) {
    apply();
    EXPECT_EQ(arrives_by(kOut), 1U);
    const auto before = received();
    const auto index = bench.state("up").index;
    bench.apply_json(
        R"({"put": {"interfaces": [{"name": "more", "bridge": "outside", "mac": "02:00:00:00:02:02",
                                                 "addresses": ["203.0.113.1/24"]}]}})");
    EXPECT_EQ(bench.state("up").filter, (std::vector{*MacAddress::parse(kOut), *MacAddress::parse(kOther)}));
    EXPECT_EQ(arrives_by(kOut), 1U);
    EXPECT_EQ(arrives_by(kOther), 1U);
    EXPECT_EQ(arrives_by(kStranger), 0U);
    bench.apply_json(
        R"({"put": {"interfaces": [{"name": "more", "bridge": "outside", "mac": "02:00:00:00:02:99",
                                                 "addresses": ["203.0.113.1/24"]}]}})");
    EXPECT_EQ(arrives_by(kOther), 0U);
    EXPECT_EQ(arrives_by(kStranger), 1U);
    bench.apply_json(R"({"delete": {"interfaces": ["more"]}})");
    EXPECT_EQ(arrives_by(kStranger), 0U);
    EXPECT_EQ(arrives_by(kOut), 1U);
    // The counters of a port that was made anew would have begun again.
    EXPECT_EQ(received(), before + 4);
    EXPECT_EQ(bench.state("up").index, index);
}

TEST_F(MacFilter, TraceSaysWhatWouldNotComeIn) {
    apply();
    const PacketSpec spec{.source = "198.51.100.7", .destination = "10.0.0.2"};
    const auto stray = bench.dataplane().trace({"up", routed(spec, kStranger, kWorld)});
    EXPECT_EQ(stray.decision, "dropped");
    ASSERT_EQ(stray.why.size(), 1U);
    EXPECT_EQ(stray.why[0].stage, "filter");
    EXPECT_NE(bench.dataplane().trace({"up", routed(spec, kOut, kWorld)}).decision, "dropped");
}

TEST_F(MacFilter, PodsAreNotBehindIt) {
    apply();
    model::Change move;
    move.put.ports["peer"] = change.put.ports.at("peer");
    move.put.ports["peer"].bridge = "outside";
    try {
        bench.apply(move);
        ADD_FAILURE() << "was taken";
    } catch (const Refused& refused) {
        const auto& fault = refused.faults().back();
        EXPECT_EQ(fault.where, "ports/up/promiscuous");
        EXPECT_NE(fault.reason.find("nothing would come in for port \"peer\""), std::string::npos);
    }
}

}  // namespace
}  // namespace viaduct::test
