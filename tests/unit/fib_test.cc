// The trie of routes against a plain list, both families, and a million routes.
#include "tables/fib.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <thread>

#include <gtest/gtest.h>

namespace viaduct::dataplane {

namespace {

RouteEntryPtr entry_to(InterfaceIndex interface) {
    return new RouteEntry(RouteAction::unicast, RouteOrigin::configured, {{std::nullopt, interface, 1}});
}

Prefix prefix(const std::string& text) {
    return Prefix::parse(text).value();
}
IpAddress address(const std::string& text) {
    return IpAddress::parse(text).value();
}

/// The interface of the route found, -1 for none.
int found(const Fib& fib, const std::string& text) {
    const auto match = fib.find(address(text));
    return match ? match.entry->hops.front().interface : -1;
}

/// Random prefixes that are near each other, so that they nest, fork and share bits.
struct Random {
    std::mt19937_64 engine{4711};
    IpAddress any(bool v4) {
        std::array<std::uint8_t, 16> bytes{};
        const std::size_t size = v4 ? 4 : 16;
        for (std::size_t i = 0; i < size; ++i)
            bytes[i] = engine() % 3 == 0 ? static_cast<std::uint8_t>(engine() % 4 * 85) : bytes[0];
        return IpAddress::from_bytes({bytes.data(), size}).value();
    }
    Prefix any_prefix(bool v4) {
        const Prefix whole{any(v4), static_cast<std::uint8_t>(engine() % (v4 ? 33 : 129))};
        return {whole.network(), whole.length};
    }
};

/// The model: a list, looked at from end to end.
using Model = std::map<Prefix, RouteEntryPtr>;

const RouteEntry* naive(const Model& model, const IpAddress& at) {
    const RouteEntry* best = nullptr;
    int length = -1;
    for (const auto& [network, entry] : model) {
        if (network.address.is_v4() != at.is_v4() || !network.contains(at) || network.length <= length)
            continue;
        best = entry.get();
        length = network.length;
    }
    return best;
}

class FibFamilies : public testing::TestWithParam<bool> {};

void expect_same(const Fib& fib, const Model& model, Random& random, bool v4, int probes) {
    EXPECT_EQ(fib.size(), model.size());
    for (int i = 0; i < probes; ++i) {
        const auto at = random.any(v4);
        const auto match = fib.find(at);
        ASSERT_EQ(match.entry, naive(model, at)) << at.to_string();
        if (match) {
            const Prefix matched{Prefix{at, match.length}.network(), match.length};
            ASSERT_EQ(match.entry, fib.find_exact(matched).get());
        }
    }
}

}  // namespace

TEST(Fib, FindsTheLongestPrefix) {
    const auto fib = Fib::build({{prefix("0.0.0.0/0"), entry_to(1)},
                                 {prefix("10.0.0.0/8"), entry_to(2)},
                                 {prefix("10.1.0.0/16"), entry_to(3)},
                                 {prefix("10.1.2.3/32"), entry_to(4)},
                                 {prefix("2001:db8::/32"), entry_to(5)}});
    EXPECT_EQ(found(fib, "192.0.2.1"), 1);
    EXPECT_EQ(found(fib, "10.200.0.1"), 2);
    EXPECT_EQ(found(fib, "10.1.2.4"), 3);
    EXPECT_EQ(found(fib, "10.1.2.3"), 4);
    EXPECT_EQ(found(fib, "2001:db8::1"), 5);
    EXPECT_EQ(found(fib, "2001:db9::1"), -1) << "IPv4's default route is not IPv6's";
    EXPECT_EQ(fib.find(address("10.1.2.4")).length, 16);
}

TEST(Fib, AnEmptyOneFindsNothing) {
    EXPECT_EQ(found(Fib(), "0.0.0.0"), -1);
    EXPECT_EQ(found(Fib(), "::"), -1);
    EXPECT_EQ(Fib().without(prefix("10.0.0.0/8")).size(), 0U);
}

TEST(Fib, TheLaterOfTwoRoutesWithOnePrefixStays) {
    const auto fib = Fib::build({{prefix("10.0.0.0/8"), entry_to(1)}, {prefix("10.0.0.0/8"), entry_to(2)}});
    EXPECT_EQ(found(fib, "10.0.0.1"), 2);
    EXPECT_EQ(fib.size(), 1U);
}

TEST(Fib, AChangeLeavesTheOneBeforeAsItWas) {
    const auto before =
        Fib::build({{prefix("10.0.0.0/8"), entry_to(1)}, {prefix("10.64.0.0/10"), entry_to(2)}});
    const auto added = before.with({prefix("10.64.0.0/16"), entry_to(3)});
    const auto replaced = added.with({prefix("10.0.0.0/8"), entry_to(4)});
    const auto removed = replaced.without(prefix("10.64.0.0/10"));
    EXPECT_EQ(found(before, "10.64.0.1"), 2);
    EXPECT_EQ(found(added, "10.64.0.1"), 3);
    EXPECT_EQ(found(added, "10.0.0.1"), 1);
    EXPECT_EQ(found(replaced, "10.0.0.1"), 4);
    EXPECT_EQ(found(removed, "10.65.0.1"), 4);
    EXPECT_EQ(found(removed, "10.64.0.1"), 3);
    EXPECT_EQ(removed.size(), 2U);
    EXPECT_EQ(before.size(), 2U);
}

TEST_P(FibFamilies, AgreesWithAListWhateverIsAddedAndRemoved) {
    const bool v4 = GetParam();
    Random random;
    Model model;
    Fib fib;
    for (int step = 0; step < 3000; ++step) {
        const auto network = random.any_prefix(v4);
        if (random.engine() % 3 != 0) {
            const auto entry = entry_to(static_cast<InterfaceIndex>(step % 1000));
            model[network] = entry;
            fib = fib.with({network, entry});
        } else if (!model.empty() && random.engine() % 4 != 0) {
            const auto victim = std::next(model.begin(), static_cast<long>(random.engine() % model.size()));
            fib = fib.without(victim->first);
            model.erase(victim);
        } else {
            fib = fib.without(network);
            model.erase(network);
        }
        if (step % 100 == 0) expect_same(fib, model, random, v4, 50);
    }
    expect_same(fib, model, random, v4, 2000);
    std::vector<FibRoute> routes;
    for (const auto& [network, entry] : model)
        routes.push_back({network, entry});
    std::ranges::shuffle(routes, random.engine);
    const auto built = Fib::build(routes);
    expect_same(built, model, random, v4, 2000);
    EXPECT_EQ(built.bytes(), fib.bytes()) << "one set of routes has one trie";
    for (const auto& route : routes)
        fib = fib.without(route.prefix);
    EXPECT_EQ(fib.size(), 0U);
    EXPECT_EQ(fib.bytes(), 0U) << "nodes without routes are left";
}

INSTANTIATE_TEST_SUITE_P(Both, FibFamilies, testing::Bool(),
                         [](const auto& family) { return family.param ? "IPv4" : "IPv6"; });

TEST(Fib, HoldsAMillionRoutes) {
    std::mt19937_64 engine(1);
    std::map<Prefix, RouteEntryPtr> model;
    std::vector<RouteEntryPtr> entries;
    for (InterfaceIndex i = 0; i < 16; ++i)
        entries.push_back(entry_to(i));
    while (model.size() < 1'000'000) {
        const auto bits = static_cast<std::uint32_t>(engine());
        const std::array<std::uint8_t, 4> bytes{
            static_cast<std::uint8_t>(bits >> 24), static_cast<std::uint8_t>(bits >> 16),
            static_cast<std::uint8_t>(bits >> 8), static_cast<std::uint8_t>(bits)};
        const auto length = static_cast<std::uint8_t>(16 + engine() % 9);
        model.emplace(Prefix{Prefix{IpAddress::from_bytes(bytes).value(), length}.network(), length},
                      entries[engine() % entries.size()]);
    }
    std::vector<FibRoute> routes;
    for (const auto& [network, entry] : model)
        routes.push_back({network, entry});
    const auto start = std::chrono::steady_clock::now();
    auto fib = Fib::build(routes);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    RecordProperty("build_milliseconds", static_cast<int>(took.count() * 1000));
    RecordProperty("megabytes", static_cast<int>(fib.bytes() >> 20U));
    EXPECT_EQ(fib.size(), 1'000'000U);
    EXPECT_LT(fib.bytes(), std::size_t{100} << 20U);
    for (std::size_t i = 0; i < routes.size(); i += 997)
        ASSERT_EQ(fib.find_exact(routes[i].prefix), routes[i].entry);
    const auto changed = fib.with({prefix("10.1.2.3/32"), entries[0]});
    EXPECT_EQ(changed.find(address("10.1.2.3")).length, 32);
    EXPECT_NE(fib.find(address("10.1.2.3")).length, 32);
}

TEST(Fib, IsReadWhileOthersAreMadeOfIt) {
    Random random;
    std::vector<FibRoute> routes;
    for (int i = 0; i < 500; ++i)
        routes.push_back({random.any_prefix(true), entry_to(7)});
    const auto fib = Fib::build(routes);
    std::atomic<bool> stop{false};
    std::thread reader([&] {
        Random mine;
        while (!stop) {
            const auto copy = fib;
            const auto match = copy.find(mine.any(true));
            if (match) {
                EXPECT_EQ(match.entry->hops.front().interface, 7);
            }
        }
    });
    for (int i = 0; i < 2000; ++i)
        (void)fib.with({random.any_prefix(true), entry_to(8)}).without(routes[0].prefix);
    stop = true;
    reader.join();
}

TEST(RouteEntry, SharesFlowsOutByWeight) {
    const RouteEntry entry(RouteAction::unicast, RouteOrigin::configured,
                           {{std::nullopt, 1, 1}, {std::nullopt, 2, 3}});
    std::mt19937_64 engine(3);
    int second = 0;
    constexpr int flows = 40000;
    for (int i = 0; i < flows; ++i) {
        const auto hash = engine();
        const auto& hop = entry.hop_for(hash);
        EXPECT_EQ(&hop, &entry.hop_for(hash));
        second += hop.interface == 2 ? 1 : 0;
    }
    EXPECT_NEAR(second, flows * 3 / 4, flows / 50);
}

}  // namespace viaduct::dataplane
