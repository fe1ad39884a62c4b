// The map whose copies share, against std::map, and with its copies on several threads.
#include <map>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "viaduct/shared_map.h"

namespace viaduct {
namespace {

using Shared = SharedMap<int, std::string>;
using Model = std::map<int, std::string>;

Model entries_of(const Shared& map) {
    Model all;
    int last = -1;
    for (const auto& [key, value] : map) {
        EXPECT_LT(last, key) << "in order";
        last = key;
        all[key] = value;
    }
    EXPECT_EQ(all.size(), map.size());
    return all;
}

/// One step of the test's, made on both.
void change(std::mt19937& random, Shared& map, Model& model, int keys) {
    const int key = static_cast<int>(random() % static_cast<unsigned>(keys));
    const auto value = std::to_string(random() % 1000);
    switch (random() % 4) {
        case 0:
            EXPECT_EQ(map.erase(key), model.erase(key));
            break;
        case 1:
            EXPECT_EQ(map.emplace(key, value).second, model.emplace(key, value).second);
            break;
        case 2:
            map.insert_or_assign(key, value);
            model.insert_or_assign(key, value);
            break;
        default:
            map[key] += "x";
            model[key] += "x";
    }
}

TEST(SharedMap, IsWhatAMapIsAndSoAreItsCopies) {
    std::mt19937 random(11);
    for (const int keys : {3, 300, 3000}) {
        Shared map;
        Model model;
        std::vector<std::pair<Shared, Model>> copies;
        for (int step = 0; step < 12'000; ++step) {
            change(random, map, model, keys);
            if (step % 1500 == 0) copies.emplace_back(map, model);
        }
        copies.emplace_back(map, model);
        for (const auto& [copy, was] : copies) {
            ASSERT_EQ(entries_of(copy), was) << "what came later is not in it";
            for (int key = 0; key < keys; ++key) {
                ASSERT_EQ(copy.contains(key), was.contains(key));
                const auto above = copy.lower_bound(key);
                const auto expected = was.lower_bound(key);
                ASSERT_EQ(above == copy.end(), expected == was.end());
                if (expected != was.end()) {
                    ASSERT_EQ(above->first, expected->first);
                }
            }
        }
        for (int key = 0; key < keys; ++key)
            map.erase(key);
        EXPECT_TRUE(map.empty());
        EXPECT_TRUE(map.begin() == map.end());
        map.insert_or_assign(1, "again");
        EXPECT_EQ(map.at(1), "again");
    }
}

TEST(SharedMap, TellsDifferencesAndNothingElse) {
    std::mt19937 random(12);
    for (int round = 0; round < 60; ++round) {
        Shared from;
        Model before;
        for (int step = 0; step < 3'000; ++step)
            change(random, from, before, 2'000);
        auto to = from;
        auto after = before;
        EXPECT_EQ(from, to);
        for (int step = 0; step < round; ++step)
            change(random, to, after, 2'000);
        std::map<int, std::pair<std::string, std::string>> expected;
        for (const auto& [key, value] : before)
            expected[key].first = value;
        for (const auto& [key, value] : after)
            expected[key].second = value;
        std::erase_if(expected, [](const auto& one) { return one.second.first == one.second.second; });
        std::map<int, std::pair<std::string, std::string>> told;
        Shared::differences(from, to, [&](int key, const std::string* old, const std::string* now) {
            told[key] = {old == nullptr ? "" : *old, now == nullptr ? "" : *now};
            return true;
        });
        ASSERT_EQ(told, expected);
        EXPECT_EQ(from == to, before == after);
    }
}

TEST(SharedMap, WhatIsSharedIsNotLookedAt) {
    struct Counted {
        int value = 0;
        std::size_t* compared = nullptr;
        bool operator==(const Counted& other) const {
            ++*compared;
            return value == other.value;
        }
    };
    std::size_t compared = 0;
    SharedMap<int, Counted> from;
    for (int key = 0; key < 100'000; ++key)
        from.insert_or_assign(key, {key, &compared});
    auto to = from;
    to[50'000].value = 7;
    to.erase(123);
    to.insert_or_assign(1'000'000, {1, &compared});
    std::vector<int> keys;
    SharedMap<int, Counted>::differences(from, to, [&](int key, const Counted*, const Counted*) {
        keys.push_back(key);
        return true;
    });
    EXPECT_EQ(keys, (std::vector<int>{123, 50'000, 1'000'000}));
    EXPECT_LT(compared, 1'000U);
}

TEST(SharedMap, ErasesByAPredicate) {
    Shared map;
    for (int key = 0; key < 1'000; ++key)
        map.insert_or_assign(key, "");
    EXPECT_EQ(erase_if(map, [](const auto& entry) { return entry.first % 3 == 0; }), 334U);
    EXPECT_EQ(map.size(), 666U);
    EXPECT_FALSE(map.contains(999));
    EXPECT_THROW(static_cast<void>(map.at(999)), std::out_of_range);
}

TEST(SharedMap, CopiesGoTheirWaysOnTheirThreads) {
    Shared map;
    for (int key = 0; key < 2'000; ++key)
        map.insert_or_assign(key, "0");
    std::vector<std::thread> threads;
    for (int number = 1; number <= 3; ++number) {
        threads.emplace_back([mine = map, number]() mutable {
            for (int round = 0; round < 50; ++round) {
                for (int key = round; key < 2'000; key += 50)
                    mine[key] = std::to_string(number);
            }
            for (const auto& [key, value] : mine)
                ASSERT_EQ(value, std::to_string(number));
        });
    }
    for (int key = 0; key < 2'000; ++key)
        map[key] = "9";
    for (auto& thread : threads)
        thread.join();
    for (const auto& [key, value] : map)
        ASSERT_EQ(value, "9");
}

}  // namespace
}  // namespace viaduct
