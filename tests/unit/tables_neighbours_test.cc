// Neighbours with a clock moved by hand: the states of RFC 4861 step by step, the bounds under a scan, and
// many threads at once. And the rate limits.
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tables/neighbours.h"
#include "tables/rate_limits.h"

namespace viaduct::dataplane {

namespace {

using Asked = Neighbours::Asked;
using State = NeighbourState;

constexpr std::uint32_t kGeneration = 7;
constexpr NeighbourTimes kTimes{};
const auto kMac = MacAddress::from_u64(0x020000000001);
const auto kOther = MacAddress::from_u64(0x020000000002);
constexpr Neighbours::Evidence kAnswer{.solicited = true, .override = true, .create = false};
constexpr Neighbours::Evidence kRequest{.solicited = false, .override = true, .create = true};
constexpr Neighbours::Evidence kGratuitous{.solicited = false, .override = true, .create = false};

NeighbourKey key(std::uint32_t n, InterfaceIndex interface = 1) {
    return {interface, *IpAddress::parse("10.0.0.0")->plus(n)};
}

/// Frames that are only names: nothing in these tests reads or frees them.
WaitingFrame frame(std::uintptr_t n, bool originated = false) {
    return {reinterpret_cast<rte_mbuf*>(n << 6), 3, 1, 14, originated};
}

/// A table whose waiting frames are all taken out before it goes, since they are no real ones.
class Table : public Neighbours {
public:
    explicit Table(NeighbourLimits limits = {}) : Neighbours(42, limits) {}
    ~Table() {
        remove_if([](const NeighbourKey&) { return true; });
        Work work;
        for (std::uint32_t shard = 0; shard < kShards; ++shard)
            due(shard, 0, 0, work);
        EXPECT_EQ(held(), 0U);
    }
    Work at(std::uint32_t now, std::uint32_t generation = kGeneration) {
        Work work;
        for (std::uint32_t shard = 0; shard < kShards; ++shard)
            due(shard, now, generation, work);
        return work;
    }
    std::optional<State> state(const NeighbourKey& key) const {
        const auto seen = peek(key);
        return seen ? std::optional(seen->state) : std::nullopt;
    }
    Asked ask(const NeighbourKey& key, std::uint32_t now, std::uintptr_t n = 1) {
        return Neighbours::ask(key, frame(n), now, dropped);
    }
    void learn(const NeighbourKey& key, const MacAddress& mac, std::uint32_t now, Evidence evidence) {
        Neighbours::learn(key, mac, now, evidence, released);
    }
    std::vector<WaitingFrame> dropped;
    std::vector<WaitingFrame> released;
};

/// The first second at which a reachable entry, unused, is stale.
std::uint32_t expiry(Table& table, const NeighbourKey& key, std::uint32_t from) {
    for (auto now = from; now < from + 100; ++now) {
        EXPECT_TRUE(table.at(now).solicit.empty());
        if (table.state(key) == State::stale) return now;
    }
    ADD_FAILURE() << "never expires";
    return 0;
}

}  // namespace

TEST(Neighbours, AsksThreeTimesASecondApartAndGivesUp) {
    Table table;
    EXPECT_EQ(table.ask(key(1), 100, 1), Asked::solicit);
    EXPECT_EQ(table.ask(key(1), 100, 2), Asked::waits);
    EXPECT_EQ(table.held(), 2U);
    EXPECT_TRUE(table.at(100).solicit.empty());
    for (std::uint32_t now : {101U, 102U}) {
        const auto work = table.at(now);
        ASSERT_EQ(work.solicit.size(), 1U) << now;
        EXPECT_EQ(work.solicit[0].key, key(1));
        EXPECT_FALSE(work.solicit[0].to) << "nobody knows its address: everybody is asked";
        EXPECT_TRUE(table.at(now).solicit.empty()) << "once a second";
    }
    const auto work = table.at(103);
    EXPECT_TRUE(work.solicit.empty());
    ASSERT_EQ(work.unanswered.size(), 2U);
    EXPECT_EQ(work.unanswered[0].frame, frame(1).frame) << "in order";
    EXPECT_EQ(table.state(key(1)), State::failed);
    EXPECT_EQ(table.held(), 0U);
    EXPECT_FALSE(table.take_changed()) << "no flow can carry a MAC that was never known";
    EXPECT_EQ(table.ask(key(1), 104), Asked::solicit) << "and is asked again";
    table.at(105);
    table.at(106);
    table.at(107);
    EXPECT_EQ(table.at(107 + kTimes.failed).solicit.size(), 0U);
    EXPECT_EQ(table.entries(), 0U) << "failures are forgotten";
}

TEST(Neighbours, ReleasesWhatWaitedInOrder) {
    Table table;
    for (std::uintptr_t n = 1; n <= 3; ++n)
        table.ask(key(1), 100, n);
    EXPECT_FALSE(table.find(key(1), 100, kGeneration));
    table.learn(key(1), kMac, 100, kAnswer);
    ASSERT_EQ(table.released.size(), 3U);
    EXPECT_EQ(table.released[0].frame, frame(1).frame);
    EXPECT_EQ(table.released[2].frame, frame(3).frame);
    EXPECT_EQ(table.state(key(1)), State::reachable);
    EXPECT_EQ(table.find(key(1), 100, kGeneration), kMac);
    EXPECT_EQ(table.ask(key(1), 100), Asked::known);
    EXPECT_TRUE(table.dropped.empty());
}

TEST(Neighbours, TheNewestFramesWait) {
    Table table;
    for (std::uintptr_t n = 1; n <= 10; ++n)
        table.ask(key(1), 100, n);
    ASSERT_EQ(table.dropped.size(), 2U);
    EXPECT_EQ(table.dropped[0].frame, frame(1).frame);
    EXPECT_EQ(table.dropped[1].frame, frame(2).frame);
    EXPECT_EQ(table.held(), 8U);
}

TEST(Neighbours, TheNodesOwnFramesWaitOutsideTheLedger) {
    Table table;
    std::vector<WaitingFrame> dropped;
    static_cast<Neighbours&>(table).ask(key(1), frame(1, true), 100, dropped);
    EXPECT_EQ(table.held(), 0U);
    table.ask(key(1), 100, 2);
    EXPECT_EQ(table.held(), 1U);
    table.learn(key(1), kMac, 100, kAnswer);
    EXPECT_EQ(table.released.size(), 2U);
    EXPECT_EQ(table.held(), 0U);
}

TEST(Neighbours, UnusedOnesGoStaleAndAreForgotten) {
    Table table;
    table.ask(key(1), 100);
    table.learn(key(1), kMac, 100, kAnswer);
    const auto stale = expiry(table, key(1), 100);
    EXPECT_GE(stale, 115U);
    EXPECT_LT(stale, 146U);
    EXPECT_FALSE(table.take_changed());
    table.at(100 + kTimes.stale - 1);
    EXPECT_EQ(table.entries(), 1U);
    table.at(100 + kTimes.stale);
    EXPECT_EQ(table.entries(), 0U);
}

TEST(Neighbours, ThoseThatFlowsCarryAreProbedBeforeTheyExpire) {
    Table table;
    table.ask(key(1), 100);
    table.learn(key(1), kMac, 100, kAnswer);
    table.find(key(1), 100, kGeneration);
    // Used once: flows that carry the MAC do not come again.
    for (std::uint32_t round = 0, confirmed = 100; round < 5; ++round) {
        auto now = confirmed;
        auto work = table.at(now);
        while (work.solicit.empty()) {
            ASSERT_LT(now, confirmed + 45);
            work = table.at(++now);
        }
        EXPECT_GE(now, confirmed + 12);
        EXPECT_EQ(work.solicit[0].to, kMac) << "by unicast";
        EXPECT_EQ(table.find(key(1), now, kGeneration), kMac) << "and used meanwhile";
        table.learn(key(1), kMac, now, kAnswer);
        EXPECT_EQ(table.state(key(1)), State::reachable);
        confirmed = now;
    }
    EXPECT_FALSE(table.take_changed());
}

TEST(Neighbours, AFailedProbeHasFlowsResolvedAgain) {
    Table table;
    table.ask(key(1), 100);
    table.learn(key(1), kMac, 100, kAnswer);
    table.find(key(1), 100, kGeneration);
    auto now = 100U;
    while (table.at(now).solicit.empty())
        ++now;
    EXPECT_EQ(table.at(now + 1).solicit.size(), 1U);
    EXPECT_EQ(table.at(now + 2).solicit.size(), 1U);
    EXPECT_FALSE(table.take_changed());
    EXPECT_TRUE(table.at(now + 3).solicit.empty());
    EXPECT_EQ(table.state(key(1)), State::failed);
    EXPECT_FALSE(table.find(key(1), now + 3, kGeneration));
    EXPECT_TRUE(table.take_changed());
    EXPECT_FALSE(table.take_changed()) << "told once";
}

TEST(Neighbours, AnotherGenerationsUseIsNone) {
    Table table;
    table.ask(key(1), 100);
    table.learn(key(1), kMac, 100, kAnswer);
    table.find(key(1), 100, kGeneration);
    for (auto now = 100U; now < 200; ++now)
        EXPECT_TRUE(table.at(now, kGeneration + 1).solicit.empty());
    EXPECT_EQ(table.state(key(1)), State::stale);
}

TEST(Neighbours, AStaleOneIsUsedThenProbed) {
    Table table;
    table.learn(key(1), kMac, 100, kRequest);
    EXPECT_EQ(table.state(key(1)), State::stale);
    EXPECT_EQ(table.find(key(1), 150, kGeneration), kMac);
    EXPECT_EQ(table.state(key(1)), State::delay);
    EXPECT_TRUE(table.at(154).solicit.empty());
    const auto work = table.at(155);
    ASSERT_EQ(work.solicit.size(), 1U);
    EXPECT_EQ(work.solicit[0].to, kMac);
    EXPECT_EQ(table.state(key(1)), State::probe);
    table.learn(key(1), kMac, 155, kAnswer);
    EXPECT_EQ(table.state(key(1)), State::reachable);
}

TEST(Neighbours, AChangedMacCountsWhereFlowsCarryTheOld) {
    Table table;
    table.learn(key(1), kMac, 100, kRequest);
    table.learn(key(1), kOther, 101, kGratuitous);
    EXPECT_EQ(table.peek(key(1))->mac, kOther);
    EXPECT_FALSE(table.take_changed()) << "nobody used it";
    table.find(key(1), 101, kGeneration);
    table.learn(key(1), kMac, 102, kGratuitous);
    EXPECT_TRUE(table.take_changed());
    EXPECT_EQ(table.state(key(1)), State::delay) << "to be probed, for nobody may come again";
    EXPECT_EQ(table.counters().mac_changes, 2U);
}

TEST(Neighbours, AMacDoesNotFlap) {
    Table table;
    table.learn(key(1), kMac, 100, kRequest);
    table.learn(key(1), kOther, 100, kGratuitous);
    EXPECT_EQ(table.peek(key(1))->mac, kMac);
    table.learn(key(1), kOther, 101, kGratuitous);
    EXPECT_EQ(table.peek(key(1))->mac, kOther);
}

TEST(Neighbours, WithoutOverrideOnlyDoubtComes) {
    Table table;
    table.ask(key(1), 100);
    table.learn(key(1), kMac, 100, kAnswer);
    table.learn(key(1), kOther, 110, {.solicited = true, .override = false, .create = false});
    EXPECT_EQ(table.peek(key(1))->mac, kMac);
    EXPECT_EQ(table.state(key(1)), State::stale);
    table.learn(key(1), kMac, 111, {.solicited = true, .override = false, .create = false});
    EXPECT_EQ(table.state(key(1)), State::reachable);
}

TEST(Neighbours, WhatNobodyAskedForMakesNoEntry) {
    Table table;
    table.learn(key(1), kMac, 100, kGratuitous);
    table.learn(key(2), kMac, 100, kAnswer);
    EXPECT_EQ(table.entries(), 0U);
}

TEST(Neighbours, AScanStaysWithinItsBoundsAndSparesWhatIsUsed) {
    Table table(
        {.entries = 4096, .entries_an_interface = 1024, .incomplete_an_interface = 256, .waiting = 512});
    for (std::uint32_t n = 0; n < 64; ++n) {
        table.learn(key(n), kMac, 100, kRequest);
        table.find(key(n), 1000, kGeneration);
    }
    table.learn(key(1, 2), kMac, 100, kRequest);
    std::uint64_t refused = 0;
    for (std::uint32_t n = 1000; n < 200'000; ++n) {
        const auto asked = table.ask(key(n), 1001 + n / 1000, n);
        refused += asked == Asked::refused ? 1 : 0;
        ASSERT_LE(table.entries(), 64 + 1 + 256U);
        ASSERT_LE(table.held(), 512U);
    }
    EXPECT_LT(refused, 20'000U) << "the oldest gives way";
    EXPECT_GT(table.dropped.size(), 170'000U);
    for (std::uint32_t n = 0; n < 64; ++n)
        EXPECT_TRUE(table.peek(key(n))) << n;
    EXPECT_TRUE(table.peek(key(1, 2)));
    // Whoever speaks from thousands of made-up addresses does not push out what flows use either.
    for (std::uint32_t n = 1'000'000; n < 1'100'000; ++n)
        table.learn(key(n), kMac, 900, kRequest);
    EXPECT_LE(table.entries(), 1025U);
    for (std::uint32_t n = 0; n < 64; ++n)
        EXPECT_TRUE(table.peek(key(n))) << n;
}

TEST(Neighbours, AllFramesTogetherAreBounded) {
    Table table({.waiting = 16});
    for (std::uint32_t n = 0; n < 16; ++n)
        EXPECT_EQ(table.ask(key(n), 100, n + 1), Asked::solicit);
    EXPECT_EQ(table.ask(key(20), 100, 99), Asked::refused);
    EXPECT_EQ(table.ask(key(3), 100, 99), Asked::waits) << "in the place of its own oldest";
    EXPECT_EQ(table.dropped.size(), 1U);
    EXPECT_EQ(table.held(), 16U);
}

TEST(Neighbours, PermanentOnesAreNeitherAskedForNorReplaced) {
    Table table;
    table.ask(key(1), 100);
    table.configure([](InterfaceIndex) { return true; }, {{key(1), kMac}, {key(2), kMac}});
    EXPECT_EQ(table.at(101).released.size(), 1U) << "what waited goes on";
    table.learn(key(1), kOther, 110, kAnswer);
    EXPECT_EQ(table.find(key(1), 110, kGeneration), kMac);
    EXPECT_TRUE(table.at(10'000).solicit.empty());
    EXPECT_EQ(table.state(key(2)), State::permanent);
    table.configure([](InterfaceIndex) { return true; }, {{key(1), kOther}});
    EXPECT_TRUE(table.take_changed());
    table.at(10'001);
    EXPECT_EQ(table.find(key(1), 110, kGeneration), kOther);
    EXPECT_FALSE(table.peek(key(2)));
    table.configure([](InterfaceIndex) { return true; }, {});
}

TEST(Neighbours, AnInterfacesOwnGoWithIt) {
    Table table;
    table.learn(key(1, 1), kMac, 100, kRequest);
    table.learn(key(1, 2), kMac, 100, kRequest);
    table.ask(key(5, 2), 100);
    table.configure([](InterfaceIndex index) { return index == 1; }, {});
    EXPECT_FALSE(table.find(key(1, 2), 100, kGeneration));
    EXPECT_EQ(table.at(100).unanswered.size(), 1U);
    EXPECT_EQ(table.entries(), 1U);
}

TEST(Neighbours, FlushedOnesAreAskedForAgainAtOnce) {
    Table table;
    table.learn(key(1), kMac, 100, kRequest);
    table.find(key(1), 100, kGeneration);
    EXPECT_EQ(table.remove_if([](const NeighbourKey&) { return true; }), 1U);
    EXPECT_TRUE(table.take_changed());
    EXPECT_EQ(table.ask(key(1), 100), Asked::solicit);
    EXPECT_EQ(table.state(key(1)), State::incomplete);
}

TEST(Neighbours, BothFamiliesAreApart) {
    Table table;
    const NeighbourKey v4{1, *IpAddress::parse("10.0.0.1")};
    const NeighbourKey v6{1, *IpAddress::parse("::ffff:10.0.0.1")};
    table.learn(v4, kMac, 100, kRequest);
    EXPECT_FALSE(table.peek(v6) && !v6.address.is_v4());
    const NeighbourKey real6{1, *IpAddress::parse("fe80::1")};
    table.learn(real6, kOther, 100, kRequest);
    EXPECT_EQ(table.peek(real6)->mac, kOther);
    std::uint32_t listed = 0;
    table.visit([&](const Neighbours::Listed&) { ++listed; });
    EXPECT_EQ(listed, 2U);
}

TEST(Neighbours, ManyThreadsLoseNoFrame) {
    Table table({.entries = 256, .entries_an_interface = 256, .incomplete_an_interface = 64, .waiting = 128});
    std::atomic<std::uint64_t> in{0};
    std::atomic<std::uint64_t> out{0};
    std::vector<std::thread> threads;
    for (std::uint32_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            std::vector<WaitingFrame> mine;
            Neighbours::Work work;
            for (std::uint32_t i = 0; i < 20'000; ++i) {
                const auto k = key((i * 7 + t) % 300);
                const auto asked = static_cast<Neighbours&>(table).ask(k, frame(i + 1), i / 100, mine);
                if (asked == Asked::solicit || asked == Asked::waits) ++in;
                if (i % 5 == 0)
                    static_cast<Neighbours&>(table).learn(key(i % 300), kMac, i / 100, kAnswer, mine);
                if (i % 50 == 0) {
                    table.due(i / 50 % Neighbours::kShards, i / 100, kGeneration, work);
                    table.remove_if([&](const NeighbourKey& x) { return x == key(i % 300); });
                }
                if (i % 1000 == 0) table.visit([](const Neighbours::Listed&) {});
                out += mine.size() + work.unanswered.size() + work.released.size();
                mine.clear();
                work.clear();
            }
        });
    }
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(in - out, table.held());
    EXPECT_LE(table.entries(), 256U);
}

TEST(RateLimits, BucketsFillByTheSecond) {
    TokenBucket bucket;
    for (int i = 0; i < 5; ++i)
        EXPECT_TRUE(bucket.take({2, 5}, 1000));
    EXPECT_FALSE(bucket.take({2, 5}, 1000));
    EXPECT_TRUE(bucket.take({2, 5}, 1001));
    EXPECT_TRUE(bucket.take({2, 5}, 1000)) << "a clock that is a second behind";
    EXPECT_FALSE(bucket.take({2, 5}, 1001));
    for (int i = 0; i < 5; ++i)
        EXPECT_TRUE(bucket.take({2, 5}, 4'000'000'000));
    EXPECT_FALSE(bucket.take({2, 5}, 4'000'000'000));
}

TEST(RateLimits, OneDestinationDoesNotTakeTheOthers) {
    RateLimits limits(7);
    const auto address = [](std::uint32_t n) { return *IpAddress::parse("192.0.2.0")->plus(n); };
    int allowed = 0;
    for (int i = 0; i < 10'000; ++i)
        allowed += limits.allow_error(1, address(1), false, 100) ? 1 : 0;
    EXPECT_EQ(allowed, 20);
    EXPECT_TRUE(limits.allow_error(1, address(2), false, 100));
    EXPECT_TRUE(limits.allow_error(1, address(1), true, 100)) << "path MTU discovery goes on";
    for (std::uint32_t i = 0; i < 10'000; ++i)
        allowed += limits.allow_error(1, address(3 + i), false, 100) ? 1 : 0;
    EXPECT_LE(allowed, 1000);
    EXPECT_TRUE(limits.allow_error(2, address(2), false, 100)) << "another interface";
}

}  // namespace viaduct::dataplane
