// Wires: what comes in by one end leaves by the other, whatever it is, through the real worker loop.
#include <gtest/gtest.h>

#include "bench.h"

namespace viaduct::test {
namespace {

using dataplane::Drop;

std::string port(const std::string& name, const std::string& bridge, const std::string& more = {}) {
    return R"({"name":")" + name + R"(","kind":"vhost-user","path":"/)" + name + R"(","bridge":")" + bridge +
           "\"" + more + "}";
}

class WireTest : public ::testing::Test {
protected:
    void apply(const std::string& ports) {
        bench.apply_json(R"({"put":{"bridges":[{"name":"chain","wire":true}],"ports":[)" + ports + "]}}");
    }
    Bench bench;
};

TEST_F(WireTest, CarriesWhatASwitchWouldNot) {
    apply(port("a", "chain") + "," + port("b", "chain"));
    const std::vector<Bytes> odd{
        frame({.destination = "01:80:c2:00:00:0e", .ethertype = 0x88cc}),            // LLDP
        frame({.destination = "01:80:c2:00:00:02", .ethertype = 0x8809}),            // LACP
        frame({.destination = "01:80:c2:00:00:00", .source = "01:00:00:00:00:01"}),  // nobody's
        frame({.destination = "02:00:00:00:00:01", .source = "02:00:00:00:00:01"}),  // to itself
        frame({.vlans = {0x6fff, 5}}),
        frame({.vlans = {0}, .ethertype = 0x0806}),
        frame({.size = 14}),
        frame({.vlans = {7}, .size = 1518})};
    for (const char* from : {"a", "b"}) {
        ASSERT_TRUE(bench.wire(from).inject(0, odd));
        EXPECT_EQ(bench.collect(from == std::string("a") ? "b" : "a"), odd);
        EXPECT_TRUE(bench.collect(from).empty());
    }
    EXPECT_EQ(bench.state("a").fdb_entries, 0U);
}

TEST_F(WireTest, DropsByName) {
    apply(port("a", "chain"));
    bench.inject("a", frame({}));
    bench.settle();
    EXPECT_EQ(bench.drops("a", Drop::no_output), 1U) << "no other end";
    apply(port("b", "chain", R"(,"mtu":200)"));
    bench.inject("a", frame({.size = 215}));
    bench.inject("a", frame({.size = 214}));
    bench.inject("a", frame({.size = 1600}));
    bench.inject("a", Bytes(13));
    EXPECT_EQ(bench.collect("b").size(), 1U);
    EXPECT_EQ(bench.drops("b", Drop::tx_too_big), 1U);
    EXPECT_EQ(bench.drops("a", Drop::oversize), 1U);
    EXPECT_EQ(bench.drops("a", Drop::runt), 1U);
    bench.wire("b").set_link(false);
    bench.inject("a", frame({}));
    bench.settle();
    EXPECT_EQ(bench.drops("b", Drop::tx_link_down), 1U);
}

TEST_F(WireTest, HasTwoEndsAndNothingElse) {
    apply(port("a", "chain") + "," + port("b", "chain"));
    const auto third = bench.refused_json(R"({"put":{"ports":[)" + port("c", "chain") + "]}}");
    ASSERT_EQ(third.size(), 1U);
    EXPECT_EQ(third[0].where, "ports/c/bridge");
    EXPECT_NE(third[0].reason.find("\"a\" and \"b\""), std::string::npos) << third[0].reason;
    const auto refused = [&](const std::string& put) {
        return bench.refused_json(R"({"put":{)" + put + "}}").size();
    };
    EXPECT_EQ(refused(R"("interfaces":[{"name":"gw","bridge":"chain","addresses":["10.0.0.1/24"]}])"), 1U);
    EXPECT_EQ(refused(R"("fdb":[{"bridge":"chain","mac":"02:00:00:00:00:02","port":"a"}])"), 1U);
    EXPECT_EQ(refused(R"("bridges":[{"name":"chain","wire":true,"vlan_filtering":true}])"), 1U);
    // It becomes a switch, and a wire again.
    bench.apply_json(R"({"put":{"bridges":[{"name":"chain"}]}})");
    bench.inject("a", frame({.destination = "01:80:c2:00:00:0e"}));
    bench.settle();
    EXPECT_EQ(bench.drops("a", Drop::reserved_multicast), 1U);
    apply(port("a", "chain"));
    bench.inject("a", frame({.destination = "01:80:c2:00:00:0e"}));
    EXPECT_EQ(bench.collect("b").size(), 1U);
}

}  // namespace
}  // namespace viaduct::test
