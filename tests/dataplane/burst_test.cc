// What becomes of a frame does not depend on which others came in the same burst: each burst once frame by
// frame and once as a whole, through the real worker loop.
#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "router.h"

namespace viaduct::test {
namespace {

constexpr std::array kPorts{"a", "b", "c"};

std::string network(bool vlan_filtering) {
    const std::string filtering = vlan_filtering ? "true" : "false";
    const auto port = [&](const std::string& name, const std::string& vlan) {
        return R"({"name":")" + name + R"(","kind":"vhost-user","path":"/)" + name +
               R"(","bridge":"br0","mtu":)" + (name == "c" ? "200" : "300") +
               (vlan_filtering ? R"(,"vlan":)" + vlan : std::string()) + "}";
    };
    return R"({"put":{"bridges":[{"name":"br0","vlan_filtering":)" + filtering + R"(}],"ports":[)" +
           port("a", R"({"untagged":1,"tagged":["10","11"]})") + "," +
           port("b", R"({"untagged":10,"tagged":["1"]})") + "," + port("c", R"({"tagged":["1","10","11"]})") +
           R"(],"fdb":[)" +
           (vlan_filtering ? R"({"bridge":"br0","mac":"02:00:00:00:00:02","vlan":1,"port":"b"},
                                {"bridge":"br0","mac":"02:00:00:00:00:02","vlan":10,"port":"b"},
                                {"bridge":"br0","mac":"02:00:00:00:00:03","vlan":10,"port":"c"})"
                           : R"({"bridge":"br0","mac":"02:00:00:00:00:02","port":"b"},
                                {"bridge":"br0","mac":"02:00:00:00:00:03","port":"c"})") +
           R"(],"interfaces":[{"name":"gw","bridge":"br0","mac":"02:00:00:00:00:0a","addresses":["10.0.0.1/24"])" +
           (vlan_filtering ? R"(,"vlan":10)" : "") + "}]}}";
}

/// Mostly like the one before, or it would say nothing about those that are alike.
class Palette {
public:
    Bytes next() {
        if (random_() % 3 == 0) spec_.destination = pick(destinations_);
        if (random_() % 6 == 0) spec_.source = pick(sources_);
        if (random_() % 6 == 0) spec_.vlans = pick(tags_);
        if (random_() % 4 == 0) spec_.size = pick(sizes_);
        if (random_() % 8 == 0) spec_.ethertype = random_() % 2 == 0 ? 0x0800 : 0x88b5;
        auto bytes = frame(spec_);
        bytes.resize(spec_.size);
        // The last bytes say which frame it is.
        if (bytes.size() > 24) bytes.back() = static_cast<std::uint8_t>(random_());
        return bytes;
    }

private:
    template <typename T>
    T pick(const std::vector<T>& from) {
        return from[random_() % from.size()];
    }

    std::mt19937 random_{20261127};
    FrameSpec spec_;
    const std::vector<std::string> destinations_{
        "02:00:00:00:00:02", "02:00:00:00:00:03", "02:00:00:00:00:0a", "02:00:00:00:00:77",
        "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05", "01:80:c2:00:00:0e"};
    const std::vector<std::string> sources_{"02:00:00:00:00:01", "02:00:00:00:01:01", "02:00:00:00:02:00",
                                            "00:00:00:00:00:00", "01:00:00:00:00:01"};
    const std::vector<std::vector<std::uint16_t>> tags_{{},  {10},     {0x600a}, {11},    {12},    {0},
                                                        {1}, {0xe000}, {0xfff},  {0, 10}, {0, 12}, {10, 10}};
    const std::vector<std::size_t> sizes_{13, 14, 15, 17, 18, 60, 64, 214, 215, 218, 219, 314, 315, 318, 319};
};

struct Outcome {
    std::map<std::string, std::vector<Bytes>> out;
    std::map<std::string, std::vector<std::uint64_t>> drops;
};

class Bursts : public ::testing::TestWithParam<bool> {
protected:
    Outcome outcome() {
        Outcome all;
        for (const std::string name : kPorts) {
            all.out[name] = bench.collect(name);
            // Routed and flooded ones leave after the others.
            std::ranges::sort(all.out[name]);
            const auto& now = bench.state(name).totals.drops;
            for (std::size_t i = 0; i < now.size(); ++i)
                all.drops[name].push_back(now[i] - std::exchange(before[name][i], now[i]));
        }
        return all;
    }

    Bench bench{{.poll = dataplane::PollMode::busy}};
    std::map<std::string, std::map<std::size_t, std::uint64_t>> before;
};

INSTANTIATE_TEST_SUITE_P(Bridges, Bursts, ::testing::Bool(),
                         [](const auto& bridge) { return bridge.param ? "filtering" : "plain"; });

TEST_P(Bursts, AreWhatTheirFramesAreOneByOne) {
    bench.apply_json(network(GetParam()));
    Palette palette;
    std::size_t seen = 0;
    for (int round = 0; round < 40; ++round) {
        std::vector<Bytes> burst;
        while (burst.size() < 32)
            burst.push_back(palette.next());
        for (const auto& one : burst) {
            bench.inject("a", one);
            bench.settle();
        }
        const auto singly = outcome();
        ASSERT_TRUE(bench.wire("a").inject(0, burst));
        const auto together = outcome();
        ASSERT_EQ(singly.out, together.out) << "round " << round;
        ASSERT_EQ(singly.drops, together.drops) << "round " << round;
        seen += together.out.at("b").size() + together.out.at("c").size();
    }
    EXPECT_GT(seen, 400U) << "there is something to compare";
}

class RoutedBursts : public RouterTest {
protected:
    /// The `number`th packet of what a port sends: of one of 40 flows of either family, every second one of
    /// them not seen before this round. The payload begins with its number and its flow.
    static Bytes packet_of(const std::string& port, int round, int number) {
        const bool inside = port != "up";
        const int flow = number * 7 % 40;
        const bool v6 = flow % 4 == 1;
        const std::string last = port == "pod" ? "2" : "3";
        const std::string host = v6 ? "fd00::" + last : "10.0.0." + last;
        const std::string far = v6 ? "2001:db8:7::7" : "198.51.100.7";
        PacketSpec spec{.source = inside ? host : far, .destination = inside ? far : host};
        spec.source_port = static_cast<std::uint16_t>(flow % 2 == 0 ? 1000 + flow : 2000 + round * 40 + flow);
        spec.destination_port = 9;
        spec.inside = {static_cast<std::uint8_t>(number), static_cast<std::uint8_t>(flow)};
        spec.inside.resize(18);
        return routed(spec, inside ? kIn : kOut, port == "pod" ? kPod : port == "peer" ? kPeer : kWorld);
    }
    /// Number and flow of each packet that came out of a port, by who sent it.
    using Sent = std::map<std::string, std::map<int, std::vector<int>>>;
    static void sort_out(const std::vector<Bytes>& out, Sent& by_sender) {
        for (const auto& frame : out) {
            const std::size_t payload = frame[12] == 0x08 ? 42 : 62;
            const auto last = frame[payload - 8 - (frame[12] == 0x08 ? 5 : 17)];  // of the source address
            by_sender[last == 2   ? "pod"
                      : last == 3 ? "peer"
                                  : "up"][frame.at(payload + 1)]
                .push_back(frame.at(payload));
        }
    }
};

/// Several ports' bursts are under way in one turn, flows that are known among new ones.
TEST_F(RoutedBursts, KeepTheOrderOfEachFlow) {
    apply();
    constexpr int kEach = 100;
    for (int round = 0; round < 5; ++round) {
        for (const char* port : {"pod", "peer", "up"}) {
            std::vector<Bytes> burst;
            for (int i = 0; i < kEach; ++i)
                burst.push_back(packet_of(port, round, i));
            ASSERT_TRUE(bench.wire(port).inject(0, burst));
        }
        Sent by_sender;
        for (const char* port : {"pod", "peer", "up"})
            sort_out(frames(port), by_sender);
        for (const char* port : {"pod", "peer", "up"}) {
            int all = 0;
            for (const auto& [flow, numbers] : by_sender[port]) {
                EXPECT_TRUE(std::ranges::is_sorted(numbers))
                    << port << ", flow " << flow << ", round " << round;
                all += static_cast<int>(numbers.size());
            }
            EXPECT_EQ(all, kEach) << port << ", round " << round;
        }
    }
}

}  // namespace
}  // namespace viaduct::test
