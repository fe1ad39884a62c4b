// What becomes of a frame does not depend on which others came in the same burst: each burst once frame by
// frame and once as a whole, through the real worker loop.
#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "bench.h"

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

}  // namespace
}  // namespace viaduct::test
