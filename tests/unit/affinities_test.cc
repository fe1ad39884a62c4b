// Which backend a client had last, for how long, and who gives way when there are too many.
#include "tables/affinities.h"

#include <thread>

#include <gtest/gtest.h>

namespace viaduct::dataplane {
namespace {

IpAddress ip(const char* text) {
    return *IpAddress::parse(text);
}

const Affinities::Place kFirst{*IpAddress::parse("10.0.0.2"), 80};
const Affinities::Place kSecond{*IpAddress::parse("10.0.0.3"), 80};

TEST(Affinities, AreOfOneServiceAndOneClient) {
    Affinities affinities(1);
    EXPECT_FALSE(affinities.find(1, ip("198.51.100.7"), 100));
    affinities.keep(1, ip("198.51.100.7"), kFirst, 100, 10);
    EXPECT_EQ(affinities.find(1, ip("198.51.100.7"), 100), kFirst);
    EXPECT_FALSE(affinities.find(2, ip("198.51.100.7"), 100));
    EXPECT_FALSE(affinities.find(1, ip("198.51.100.8"), 100));
    EXPECT_FALSE(affinities.find(1, ip("2001:db8::7"), 100));
    affinities.keep(1, ip("198.51.100.7"), kSecond, 100, 10);
    EXPECT_EQ(affinities.find(1, ip("198.51.100.7"), 100), kSecond);
    EXPECT_EQ(affinities.size(), 1U);
}

TEST(Affinities, LastFromTheLastFlowOn) {
    Affinities affinities(1);
    affinities.keep(1, ip("198.51.100.7"), kFirst, 100, 10);
    EXPECT_TRUE(affinities.find(1, ip("198.51.100.7"), 109));
    EXPECT_FALSE(affinities.find(1, ip("198.51.100.7"), 110));
    affinities.keep(1, ip("198.51.100.7"), kFirst, 109, 10);
    EXPECT_TRUE(affinities.find(1, ip("198.51.100.7"), 118));
    EXPECT_FALSE(affinities.find(1, ip("198.51.100.7"), 119));
}

TEST(Affinities, TheClockMayGoRound) {
    Affinities affinities(1);
    affinities.keep(1, ip("198.51.100.7"), kFirst, UINT32_MAX - 3, 10);
    EXPECT_TRUE(affinities.find(1, ip("198.51.100.7"), UINT32_MAX));
    EXPECT_TRUE(affinities.find(1, ip("198.51.100.7"), 5));
    EXPECT_FALSE(affinities.find(1, ip("198.51.100.7"), 6));
}

/// Of as many clients as there can be with what lies behind each, how many are remembered.
unsigned kept(const Affinities& affinities, const IpAddress& first, unsigned clients, std::uint32_t now) {
    unsigned found = 0;
    for (unsigned i = 0; i < clients; ++i)
        found += affinities.find(1, *first.plus(i), now) ? 1 : 0;
    return found;
}

// An attacker with a large network does not take more memory, and loses its own places before those that last
// longer.
TEST(Affinities, AreBoundedAndThoseThatEndFirstGiveWay) {
    constexpr unsigned kMost = 64 * 16384;
    Affinities affinities(1);
    affinities.keep(1, ip("198.51.100.7"), kSecond, 0, 1000);
    const auto flood = ip("2001:db8::");
    constexpr unsigned kFlood = kMost * 5 / 4;
    for (unsigned i = 0; i < kFlood; ++i)
        affinities.keep(1, *flood.plus(i), kFirst, i >> 16, 100);
    EXPECT_LE(affinities.size(), kMost);
    EXPECT_GT(affinities.size(), kMost / 2);
    EXPECT_EQ(affinities.find(1, ip("198.51.100.7"), 40), kSecond);
    EXPECT_GT(kept(affinities, *flood.plus(kFlood - 65536), 65536, 40), 65536U * 9 / 10) << "the latest";
    // Those whose time is over make room at once.
    for (unsigned i = 0; i < kMost / 4; ++i)
        affinities.keep(2, *flood.plus(i), kFirst, 500, 100);
    EXPECT_LE(affinities.size(), kMost);
    EXPECT_EQ(affinities.find(1, ip("198.51.100.7"), 500), kSecond);
}

TEST(Affinities, TakeAnyNumberOfWorkers) {
    Affinities affinities(1);
    std::vector<std::thread> workers;
    for (std::uint32_t worker = 0; worker < 4; ++worker) {
        workers.emplace_back([&, worker] {
            for (unsigned i = 0; i < 20000; ++i) {
                const auto client = *ip("10.0.0.0").plus(i % 1000);
                affinities.keep(worker % 2, client, worker % 2 == 0 ? kFirst : kSecond, 1, 10);
                EXPECT_TRUE(affinities.find(worker % 2, client, 2));
            }
        });
    }
    for (auto& worker : workers)
        worker.join();
    EXPECT_EQ(affinities.size(), 2000U);
    EXPECT_EQ(affinities.find(0, ip("10.0.0.9"), 2), kFirst);
    EXPECT_EQ(affinities.find(1, ip("10.0.0.9"), 2), kSecond);
}

}  // namespace
}  // namespace viaduct::dataplane
