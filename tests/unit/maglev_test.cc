// Maglev's table: equal shares, shares by weight, and few slots that move.
#include "tables/maglev.h"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace viaduct::dataplane {
namespace {

std::vector<MaglevMember> members(std::size_t count, std::uint64_t seed = 1) {
    std::mt19937_64 random(seed);
    std::vector<MaglevMember> all(count);
    for (auto& member : all)
        member = {random(), 1};
    return all;
}

/// Whose each slot is, by identity.
std::vector<std::uint64_t> owners(const std::vector<MaglevMember>& all) {
    std::vector<std::uint64_t> slots;
    for (const auto index : maglev_table(all))
        slots.push_back(all.at(index).identity);
    return slots;
}

/// How many slots each member has.
std::map<std::uint64_t, std::size_t> shares(const std::vector<MaglevMember>& all) {
    std::map<std::uint64_t, std::size_t> counts;
    for (const auto owner : owners(all))
        ++counts[owner];
    return counts;
}

/// The share of slots that are somebody else's.
double moved(const std::vector<std::uint64_t>& before, const std::vector<std::uint64_t>& after) {
    EXPECT_EQ(before.size(), after.size());
    std::size_t others = 0;
    for (std::size_t slot = 0; slot < before.size(); ++slot)
        others += before[slot] == after[slot] ? 0 : 1;
    return static_cast<double>(others) / static_cast<double>(before.size());
}

TEST(Maglev, NobodyHasNoSlots) {
    EXPECT_TRUE(maglev_table({}).empty());
}

TEST(Maglev, EqualMembersHaveEqualShares) {
    for (const std::size_t count : {1U, 2U, 3U, 10U, 40U, 100U, 1000U, 2000U}) {
        const auto all = shares(members(count));
        ASSERT_EQ(all.size(), count);
        const auto [least, most] =
            std::ranges::minmax_element(all, {}, [](const auto& share) { return share.second; });
        EXPECT_LE(most->second - least->second, 1U) << count;
        EXPECT_GE(least->second, 100U) << count << ": shares differ by a hundredth at most";
    }
}

TEST(Maglev, AsManyAsAServiceMayHaveAllGetSome) {
    const auto all = shares(members(16384));
    ASSERT_EQ(all.size(), 16384U);
    for (const auto& [identity, slots] : all)
        ASSERT_GE(slots, 31U);
}

TEST(Maglev, TheOrderOfMembersDoesNotMatter) {
    for (const std::size_t count : {2U, 10U, 100U}) {
        auto all = members(count);
        for (std::size_t i = 0; i < all.size(); ++i)
            all[i].weight = static_cast<std::uint32_t>(1 + i % 3);
        const auto first = owners(all);
        std::mt19937 random(7);
        for (int i = 0; i < 5; ++i) {
            std::ranges::shuffle(all, random);
            EXPECT_EQ(owners(all), first) << count;
        }
    }
}

// Its own hundredth, and less than as much of the others'.
TEST(Maglev, OneOfAHundredMovesTwoHundredthsAtMost) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        const auto all = members(100, seed);
        const auto before = owners(all);
        auto fewer = all;
        fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(seed * 37 % 100));
        EXPECT_LE(moved(before, owners(fewer)), 0.02) << "one gone";
        auto other = all;
        other[seed * 37 % 100].identity = ~seed;
        EXPECT_LE(moved(before, owners(other)), 0.04) << "one gone and one more";
        auto more = all;
        more.push_back({~seed, 1});
        EXPECT_LE(moved(before, owners(more)), 0.02) << "one more";
    }
}

TEST(Maglev, FewSlotsOfTheOthersMoveWhateverTheNumber) {
    for (const std::size_t count : {2U, 5U, 10U, 30U, 160U, 1000U}) {
        auto all = members(count, 3);
        const auto before = owners(all);
        all.back().identity = 12345;
        EXPECT_LE(moved(before, owners(all)), 2.0 / static_cast<double>(count) + 0.05) << count;
    }
}

// As many slots for all numbers of them: nobody but the newcomer gets more than a little.
TEST(Maglev, SmallServicesGrowAtLittleCost) {
    for (std::size_t count = 1; count < 10; ++count) {
        const auto before = owners(members(count, 3));
        EXPECT_LE(moved(before, owners(members(count + 1, 3))), 1.0 / static_cast<double>(count + 1) + 0.04)
            << count;
    }
}

TEST(Maglev, SlotsGoByWeight) {
    for (const std::vector<std::uint32_t>& weights :
         std::vector<std::vector<std::uint32_t>>{{1, 3},
                                                 {1, 2, 3, 4},
                                                 {256, 1},
                                                 {256, 255, 254, 128, 1, 1},
                                                 {7, 7, 7},
                                                 {100, 1, 1, 1, 1, 1, 1, 1}}) {
        auto all = members(weights.size(), 5);
        std::uint32_t sum = 0;
        for (std::size_t i = 0; i < weights.size(); ++i)
            sum += all[i].weight = weights[i];
        const auto slots = static_cast<double>(maglev_table(all).size());
        auto got = shares(all);
        for (const auto& member : all) {
            const auto share = static_cast<double>(got[member.identity]);
            EXPECT_NEAR(share, slots * member.weight / sum, static_cast<double>(all.size()) / 2)
                << member.weight << " of " << sum;
            EXPECT_GE(share, 1.0) << member.weight << " of " << sum;
        }
    }
}

// Weights are in proportion: three that weigh 2 each are three that weigh 1.
TEST(Maglev, WhatAllWeighDoesNotMatter) {
    auto all = members(30);
    const auto before = owners(all);
    for (auto& member : all)
        member.weight = 256;
    EXPECT_EQ(owners(all), before);
}

TEST(Maglev, EverySlotIsReached) {
    constexpr std::size_t kSlots = 1021;
    EXPECT_EQ(maglev_slot(0, kSlots), 0U);
    EXPECT_EQ(maglev_slot(~std::uint64_t{0}, kSlots), kSlots - 1);
    std::mt19937_64 random(9);
    std::vector<int> reached(kSlots);
    for (int i = 0; i < 100000; ++i)
        ++reached.at(maglev_slot(random(), kSlots));
    EXPECT_GT(*std::ranges::min_element(reached), 0);
}

}  // namespace
}  // namespace viaduct::dataplane
