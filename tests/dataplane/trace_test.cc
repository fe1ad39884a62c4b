// A trace and the packet itself come to the same end, in words and by wire; and a trace leaves nothing
// behind.
#include "trace.h"

#include <gtest/gtest.h>

#include "packets.h"

namespace viaduct::test {

namespace {

using dataplane::Drop;
using dataplane::TraceAnswer;

constexpr const char* kPod = "02:00:00:00:00:02";
constexpr const char* kGateway = "02:00:00:00:01:fe";

/// A pod on a routed bridge, masqueraded behind an uplink's address; the world's gateway is known.
constexpr const char* kConfig = R"({"put": {
    "bridges": [{"name": "in"}, {"name": "out"}],
    "ports": [{"name": "pod", "bridge": "in", "kind": "tap", "ifname": "x0"},
              {"name": "world", "bridge": "out", "kind": "tap", "ifname": "x1"}],
    "fdb": [{"bridge": "out", "mac": "02:00:00:00:01:fe", "port": "world"},
            {"bridge": "in", "mac": "02:00:00:00:00:02", "port": "pod"}],
    "interfaces": [{"name": "lan", "bridge": "in", "addresses": ["10.0.0.1/24"]},
                   {"name": "wan", "bridge": "out", "addresses": ["192.0.2.1/24"]}],
    "neighbours": [{"interface": "wan", "address": "192.0.2.254", "mac": "02:00:00:00:01:fe"},
                   {"interface": "lan", "address": "10.0.0.2", "mac": "02:00:00:00:00:02"}],
    "routes": [{"prefix": "0.0.0.0/0", "next_hops": [{"via": "192.0.2.254", "interface": "wan"}]},
               {"prefix": "198.51.100.0/24", "kind": "blackhole"}],
    "masquerades": [{"name": "pods", "source": "10.0.0.0/24", "interface": "wan"}]}})";

std::string lan_mac() {
    return model::derived_mac("lan").to_string();
}

PacketSpec query(const std::string& to) {
    return {.source = "10.0.0.2", .destination = to, .source_port = 5000, .destination_port = 53};
}

std::string text_of(const TraceAnswer& answer) {
    std::string all;
    for (const auto& line : answer.why)
        all += std::string(line.stage) + ": " + line.text + "\n";
    return all + answer.decision;
}

}  // namespace

TEST(Trace, SaysWhatThePacketThenDoes) {
    Bench bench;
    bench.apply_json(kConfig);
    const auto frame = routed(query("203.0.113.9"), lan_mac(), kPod);
    const auto before = bench.dataplane().trace({"pod", frame});
    EXPECT_EQ(before.decision, "forwarded") << text_of(before);
    EXPECT_EQ(before.port, "world");
    EXPECT_EQ(before.interface, "wan");
    EXPECT_FALSE(before.routed.flow);
    EXPECT_NE(text_of(before).find("masquerade pods as 192.0.2.1 port "), std::string::npos)
        << text_of(before);
    EXPECT_TRUE(bench.collect("world").empty()) << "a trace has sent something";

    bench.inject("pod", frame);
    const auto out = bench.collect("world");
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(describe(out[0]), "udp " + before.routed.became->source.to_string() + ":" +
                                    std::to_string(before.routed.became->source_port) +
                                    " > 203.0.113.9:53 ttl 63");
    const auto after = bench.dataplane().trace({"pod", frame});
    EXPECT_TRUE(after.routed.flow) << text_of(after);
    EXPECT_EQ(after.routed.became->source_port, before.routed.became->source_port);

    // And back.
    const auto reply = routed({.source = "203.0.113.9",
                               .destination = "192.0.2.1",
                               .source_port = 53,
                               .destination_port = before.routed.became->source_port},
                              model::derived_mac("wan").to_string(), kGateway);
    const auto back = bench.dataplane().trace({"world", reply});
    EXPECT_EQ(back.port, "pod") << text_of(back);
    EXPECT_TRUE(back.routed.reply);
    bench.inject("world", reply);
    const auto in = bench.collect("pod");
    ASSERT_EQ(in.size(), 1U);
    EXPECT_EQ(describe(in[0]), "udp 203.0.113.9:53 > 10.0.0.2:5000 ttl 63");
}

TEST(Trace, SaysWhetherAChangeMattersToAFlow) {
    Bench bench;
    bench.apply_json(kConfig);
    const auto frame = routed(query("203.0.113.9"), lan_mac(), kPod);
    bench.inject("pod", frame);
    ASSERT_EQ(bench.collect("world").size(), 1U);
    const auto after = [&](const std::string& prefix) {
        bench.apply_json(R"({"put": {"routes": [{"prefix": ")" + prefix +
                         R"(", "next_hops": [{"via": "192.0.2.254", "interface": "wan"}]}]}})");
        return text_of(bench.dataplane().trace({"pod", frame}));
    };
    EXPECT_NE(after("172.20.0.0/16").find("goes on as it is"), std::string::npos);
    EXPECT_NE(after("203.0.113.0/24").find("to be resolved again"), std::string::npos);
}

TEST(Trace, NamesTheReasonOfADrop) {
    Bench bench;
    bench.apply_json(kConfig);
    const auto frame = routed(query("198.51.100.1"), lan_mac(), kPod);
    const auto answer = bench.dataplane().trace({"pod", frame});
    EXPECT_EQ(answer.decision, "dropped");
    EXPECT_EQ(answer.reason, Drop::blackhole);
    EXPECT_EQ(bench.drops("pod", Drop::blackhole), 0U) << "a trace was counted";
    bench.inject("pod", frame);
    EXPECT_EQ(bench.drops("pod", Drop::blackhole), 1U);
}

TEST(Trace, KnowsTheBridge) {
    Bench bench;
    bench.apply_json(kConfig);
    const auto to = [&](const std::string& mac) {
        return bench.dataplane().trace({"pod", routed(query("203.0.113.9"), mac, kPod)});
    };
    EXPECT_EQ(to("02:00:00:00:00:77").decision, "flooded");
    EXPECT_EQ(to("ff:ff:ff:ff:ff:ff").decision, "flooded");
    EXPECT_EQ(to(kPod).reason, Drop::same_port);
    auto runt = frame({.size = 14});
    runt.resize(13);
    EXPECT_EQ(bench.dataplane().trace({"pod", runt}).reason, Drop::runt);
    EXPECT_EQ(bench.dataplane().trace({"pod", {}}).reason, Drop::runt);
    EXPECT_THROW((void)bench.dataplane().trace({"nobody", runt}), Refused);
    auto filled = routed(query("203.0.113.9"), "00:00:00:00:00:00", kPod);
    EXPECT_EQ(bench.dataplane().trace({"pod", filled, true}).decision, "forwarded");
}

TEST(Trace, TakesAnyBytes) {
    Bench bench;
    bench.apply_json(kConfig);
    const auto whole = routed(query("203.0.113.9"), lan_mac(), kPod);
    for (std::size_t length = 0; length <= whole.size(); ++length) {
        const Bytes part(whole.begin(), whole.begin() + static_cast<long>(length));
        EXPECT_FALSE(bench.dataplane().trace({"pod", part}).decision.empty());
    }
    for (std::size_t at = 14; at < whole.size(); ++at) {
        auto changed = whole;
        changed[at] ^= 0xff;
        EXPECT_FALSE(bench.dataplane().trace({"pod", changed}).decision.empty());
    }
}

}  // namespace viaduct::test
