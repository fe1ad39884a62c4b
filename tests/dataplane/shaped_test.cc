// Ports with a rate: what comes in waits on the other side, what is to leave waits in line, and what finds no
// room there is dropped by name. Through the real worker loop.
#include <gtest/gtest.h>

#include "bench.h"
#include "port/shaped_port.h"

namespace viaduct::test {
namespace {

using dataplane::Drop;

class Shaped : public ::testing::Test {
protected:
    /// Two ports on a bridge; `b` with settings, such as R"(,"tx_rate":8000000)".
    void apply(const std::string& settings) {
        bench.apply_json(R"({"put":{"bridges":[{"name":"br0"}],"ports":[
            {"name":"a","kind":"vhost-user","path":"/a","bridge":"br0"},
            {"name":"b","kind":"vhost-user","path":"/b","bridge":"br0")" +
                         settings + R"(}],"fdb":[{"bridge":"br0","mac":"02:00:00:00:00:02","port":"b"},
            {"bridge":"br0","mac":"02:00:00:00:00:01","port":"a"}]}})");
    }
    static std::vector<Bytes> burst(std::size_t count, bool back = false) {
        std::vector<Bytes> frames(count, frame({.size = 1000}));
        for (std::size_t i = 0; i < count; ++i) {
            if (back) frames[i][5] = 1, frames[i][11] = 2;
            frames[i].back() = static_cast<std::uint8_t>(i);
        }
        return frames;
    }
    static bool in_order(const std::vector<Bytes>& frames) {
        for (std::size_t i = 1; i < frames.size(); ++i) {
            if (frames[i].back() <= frames[i - 1].back()) return false;
        }
        return true;
    }
    std::size_t held() { return bench.state("b").held; }
    template <typename Condition>
    static bool eventually(const Condition& condition) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return true;
    }

    Bench bench;
};

TEST_F(Shaped, WhatLeavesWaitsInOrder) {
    apply(R"(,"tx_rate":8000000,"tx_burst":4000)");
    const auto began = std::chrono::steady_clock::now();
    ASSERT_TRUE(bench.wire("a").inject(0, burst(100)));
    bench.settle();
    ASSERT_TRUE(eventually([&] { return held() == 0; }));
    EXPECT_GT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(90));  // 95 KB at 1 MB/s
    const auto out = bench.collect("b");
    EXPECT_EQ(out.size(), 100U);
    EXPECT_TRUE(in_order(out));
    EXPECT_EQ(bench.drops("b", Drop::tx_over_rate), 0U);
}

TEST_F(Shaped, WhatFindsNoRoomIsDroppedByName) {
    apply(R"(,"tx_rate":8000,"tx_burst":4000)");
    ASSERT_TRUE(bench.wire("a").inject(0, burst(200)));
    bench.settle();
    // The line holds 128 KiB, and what a burst lets pass has gone.
    EXPECT_EQ(held(), 131U);
    const auto gone = bench.collect("b").size();
    EXPECT_GE(gone, 4U);
    EXPECT_LE(gone, 6U);
    EXPECT_EQ(bench.drops("b", Drop::tx_over_rate), 200 - 131 - gone);
    // Without the limit the line leaves, and what comes is not held up.
    apply("");
    ASSERT_TRUE(eventually([&] { return held() == 0; }));
    EXPECT_EQ(bench.collect("b").size(), 131U);
}

TEST_F(Shaped, WhatComesInWaitsOnTheOtherSide) {
    apply(R"(,"rx_rate":8000000,"rx_burst":4000)");
    const auto began = std::chrono::steady_clock::now();
    ASSERT_TRUE(bench.wire("b").inject(0, burst(100, true)));
    bench.settle();
    EXPECT_GT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(90));
    const auto out = bench.collect("a");
    EXPECT_EQ(out.size(), 100U);
    EXPECT_TRUE(in_order(out));
}

/// What was taken at a slow rate is not paid for at a fast one.
TEST_F(Shaped, AnotherRateBeginsAnew) {
    apply(R"(,"rx_rate":8000,"rx_burst":100000)");
    ASSERT_TRUE(bench.wire("b").inject(0, burst(90, true)));  // a minute and a half's worth, at once
    EXPECT_EQ(bench.collect("a").size(), 90U);
    apply(R"(,"rx_rate":8000000)");
    ASSERT_TRUE(bench.wire("b").inject(0, burst(3, true)));
    EXPECT_EQ(bench.collect("a").size(), 3U);
}

TEST_F(Shaped, ALineIsGoneWithItsPort) {
    apply(R"(,"tx_rate":8000)");
    ASSERT_TRUE(bench.wire("a").inject(0, burst(100)));
    bench.settle();
    EXPECT_GT(held(), 0U);
    bench.apply_json(R"({"delete":{"ports":["b"],"fdb":[{"bridge":"br0","mac":"02:00:00:00:00:02"}]}})");
}

TEST_F(Shaped, LimitsThatAreNoneAreRefused) {
    for (const char* wrong :
         {R"("tx_rate":1)", R"("rx_rate":2000000000000)", R"("tx_rate":"fast")", R"("tx_rate":-1)"}) {
        const auto faults = bench.refused_json(
            R"({"put":{"ports":[{"name":"b","kind":"vhost-user","path":"/b",)" + std::string(wrong) + "}]}}");
        ASSERT_EQ(faults.size(), 1U) << wrong;
        EXPECT_NE(faults[0].where.find("_rate"), std::string::npos) << faults[0].where;
    }
    const auto tunnel = bench.refused_json(R"({"put":{"ports":[{"name":"vx","kind":"vxlan","vni":5,
        "local":"192.0.2.1","tx_rate":100000}]}})");
    ASSERT_FALSE(tunnel.empty());
    EXPECT_NE(tunnel[0].reason.find("tunnel"), std::string::npos) << tunnel[0].reason;
}

}  // namespace
}  // namespace viaduct::test
