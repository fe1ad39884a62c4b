// Ports of outside addresses: no port twice, whoever asks; sharing, mappings and giving back.
#include "tables/nat_ports.h"

#include <atomic>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace viaduct::dataplane {
namespace {

NatPorts::Request request(std::uint16_t low = 1024, std::uint16_t high = 65535, std::uint16_t preferred = 0) {
    return {1, 17, *IpAddress::parse("192.0.2.1"), low, high, preferred, 0x123456789abcdef0U};
}

TEST(NatPorts, KeepsAPortThatIsFree) {
    NatPorts ports;
    EXPECT_EQ(ports.take(request(1024, 65535, 5000)), 5000);
    const auto other = ports.take(request(1024, 65535, 5000));
    ASSERT_TRUE(other);
    EXPECT_NE(*other, 5000);
    ports.release(1, 17, request().outside, 5000);
    EXPECT_EQ(ports.take(request(1024, 65535, 5000)), 5000);
    // Below the range it is not kept.
    EXPECT_GE(*ports.take(request(1024, 65535, 53)), 1024);
}

TEST(NatPorts, AddressesProtocolsAndZonesAreApart) {
    NatPorts ports;
    auto r = request(7, 7);
    EXPECT_TRUE(ports.take(r));
    EXPECT_FALSE(ports.take(r));
    r.protocol = 6;
    EXPECT_TRUE(ports.take(r));
    r.zone = 2;
    EXPECT_TRUE(ports.take(r));
    r.outside = *IpAddress::parse("2001:db8::1");
    EXPECT_TRUE(ports.take(r));
    EXPECT_FALSE(ports.take(r));
}

TEST(NatPorts, GivesEachPortOfARangeOnce) {
    NatPorts ports;
    // Ends in the middle of words, on their edges, and a range within one word.
    for (const auto& [low, high] : std::vector<std::pair<std::uint16_t, std::uint16_t>>{
             {0, 65535}, {1000, 1100}, {64, 127}, {65, 70}}) {
        auto r = request(low, high);
        r.zone = low;
        std::set<std::uint16_t> seen;
        for (unsigned i = 0; i <= static_cast<unsigned>(high - low); ++i) {
            r.start = i * 0x9e3779b97f4a7c15U;
            const auto port = ports.take(r);
            ASSERT_TRUE(port) << low << " after " << i;
            EXPECT_GE(*port, low);
            EXPECT_LE(*port, high);
            EXPECT_TRUE(seen.insert(*port).second) << *port;
        }
        EXPECT_FALSE(ports.take(r));
        ports.release(low, 17, r.outside, high);
        EXPECT_EQ(ports.take(r), high);
    }
}

TEST(NatPorts, BlocksStayWithinThemselves) {
    NatPorts ports;
    const auto r = request(2000, 2015);
    for (int i = 0; i < 16; ++i)
        EXPECT_TRUE(ports.take(r));
    EXPECT_FALSE(ports.take(r));
    EXPECT_TRUE(ports.take(request(2016, 2031)));
}

TEST(NatPorts, SharesWithCountedHolders) {
    NatPorts ports;
    const auto r = request(3000, 3000, 3000);
    EXPECT_EQ(ports.take(r), 3000);
    EXPECT_FALSE(ports.take(r));
    EXPECT_EQ(ports.share(r, 0), 3000);
    ports.release(1, 17, r.outside, 3000);
    EXPECT_FALSE(ports.take(r)) << "one still holds it";
    ports.release(1, 17, r.outside, 3000);
    EXPECT_EQ(ports.take(r), 3000);
    // As many as can be counted, and no more.
    for (int i = 0; i < 255; ++i)
        EXPECT_TRUE(ports.share(r, 1));
    EXPECT_FALSE(ports.share(r, 1));
    for (int i = 0; i < 256; ++i)
        ports.release(1, 17, r.outside, 3000);
    NatPorts::SpaceState state{};
    ports.visit([&](const auto& s) { state = s; });
    EXPECT_EQ(state.taken, 0U);
    EXPECT_EQ(state.shared, 0U);
    ports.release(1, 17, r.outside, 3000);  // nobody's: nothing happens
    EXPECT_EQ(ports.take(r), 3000);
}

TEST(NatPorts, TriesDifferentPortsToShare) {
    NatPorts ports;
    std::set<std::uint16_t> tried;
    for (unsigned i = 0; i < NatPorts::kTriesMost; ++i)
        tried.insert(*ports.share(request(1024, 65535, 4000), i));
    EXPECT_TRUE(tried.contains(4000));
    EXPECT_GT(tried.size(), NatPorts::kTriesMost * 3 / 4);
}

TEST(NatPorts, BoundsTheAddresses) {
    NatPorts ports({.spaces = 3, .mappings = 10});
    auto r = request();
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(ports.take(r));
        r.outside = *r.outside.plus(1);
    }
    EXPECT_FALSE(ports.take(r));
    EXPECT_FALSE(ports.share(r, 0));
    ports.release(1, 17, r.outside, 5);
    EXPECT_TRUE(ports.take(request()));
}

TEST(NatPorts, CountsExhaustionByRule) {
    NatPorts ports;
    EXPECT_EQ(ports.exhausted(7), 0U);
    ports.count_exhausted(7);
    ports.count_exhausted(7);
    ports.count_exhausted(7 + 1024);  // begins its search at the same place
    EXPECT_EQ(ports.exhausted(7), 2U);
    EXPECT_EQ(ports.exhausted(7 + 1024), 1U);
    EXPECT_EQ(ports.exhausted(), 3U);
}

TEST(NatPorts, NeverGivesOnePortToTwoThreads) {
    NatPorts ports;
    constexpr unsigned kThreads = 4;
    std::array<std::atomic<int>, 65536> owner{};
    std::atomic<bool> twice{false};
    const auto work = [&](unsigned self) {
        std::vector<std::uint16_t> mine;
        std::uint64_t random = self + 1;
        // The range is smaller than what all want, so it is full most of the time.
        for (int i = 0; i < 200000; ++i) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            auto r = request(10000, 12000, static_cast<std::uint16_t>(10000 + (random >> 33) % 2001));
            r.start = random;
            if (mine.size() < 700 && (random >> 60) < 9) {
                if (const auto port = ports.take(r)) {
                    if (owner[*port].fetch_add(1) != 0) twice = true;
                    mine.push_back(*port);
                }
            } else if (!mine.empty()) {
                const auto port = mine.back();
                mine.pop_back();
                owner[port].fetch_sub(1);
                ports.release(1, 17, r.outside, port);
            }
        }
        for (const auto port : mine) {
            owner[port].fetch_sub(1);
            ports.release(1, 17, request().outside, port);
        }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; ++i)
        threads.emplace_back(work, i);
    for (auto& thread : threads)
        thread.join();
    EXPECT_FALSE(twice);
    // The summary has forgotten nothing: every port can be had again.
    for (int i = 0; i <= 2000; ++i)
        ASSERT_TRUE(ports.take(request(10000, 12000))) << i;
    int spaces = 0;
    ports.visit([&](const auto&) { ++spaces; });
    EXPECT_EQ(spaces, 1) << "made once, whoever came first";
}

FlowRecord<FlowKey4> masqueraded(std::uint16_t inside_port, std::uint16_t outside_port, std::uint16_t flags) {
    FlowRecord<FlowKey4> record{};
    record.key = {
        {{10, 0, 0, 1}}, {{198, 51, 100, 1}}, Be16::from_host(inside_port), Be16::from_host(53), 17, 0, 1};
    record.new_source = {{192, 0, 2, 1}};
    record.new_destination = record.key.destination;
    record.new_source_port = Be16::from_host(outside_port);
    record.new_destination_port = record.key.destination_port;
    record.flags = static_cast<std::uint16_t>(flags | kFlowTranslate | kFlowInitiator);
    return record;
}

FlowRecord<FlowKey4> reply_of(const FlowRecord<FlowKey4>& r) {
    FlowRecord<FlowKey4> reply{};
    reply.key = FlowKey4{r.new_source, r.new_destination, r.new_source_port, r.new_destination_port, 17, 0, 1}
                    .reversed();
    return reply;
}

TEST(NatPorts, AFlowThatGoesReleasesItsPort) {
    NatPorts ports;
    const auto r = request(6000, 6000);
    ASSERT_TRUE(ports.take(r));
    auto flow = masqueraded(1111, 6000, kFlowStatic);
    ports.flow_removed(flow, reply_of(flow));
    EXPECT_FALSE(ports.take(r)) << "a one-to-one rule's flow holds none";
    flow = masqueraded(1111, 6000, 0);
    ports.flow_removed(flow, reply_of(flow));
    EXPECT_TRUE(ports.take(r));
}

TEST(NatPorts, AMappingLastsAsLongAsAnyOfItsFlows) {
    NatPorts ports;
    const auto r = request(6000, 6000);
    ASSERT_TRUE(ports.take(r));
    const NatMappings::Inside inside{1, 17, *IpAddress::parse("10.0.0.1"), 1111};
    const NatMappings::Outside outside{r.outside, 6000};
    EXPECT_FALSE(ports.mappings().use(inside, 5));
    EXPECT_EQ(ports.mappings().enter(inside, outside, 5), outside);
    EXPECT_EQ(ports.mappings().use(inside, 5), outside);
    EXPECT_FALSE(ports.mappings().use(inside, 6)) << "another rule's";
    const auto flow = masqueraded(1111, 6000, kFlowMapping);
    ports.flow_removed(flow, reply_of(flow));
    EXPECT_FALSE(ports.take(r));
    EXPECT_EQ(ports.mappings().count(), 1U);
    ports.flow_removed(flow, reply_of(flow));
    EXPECT_EQ(ports.mappings().count(), 0U);
    EXPECT_TRUE(ports.take(r));
}

TEST(NatMappings, IsBounded) {
    NatMappings mappings(2 * NatMappings::kPlaces);
    unsigned entered = 0;
    for (std::uint16_t port = 0; port < 1000; ++port) {
        if (mappings.enter({1, 17, {}, port}, {{}, port}, 1)) ++entered;
    }
    EXPECT_GE(entered, NatMappings::kPlaces);
    EXPECT_LE(entered, 2 * NatMappings::kPlaces);
    EXPECT_EQ(mappings.count(), entered);
}

TEST(NatMappings, TwoWorkersAgreeOnOne) {
    NatMappings mappings(1000);
    std::vector<std::thread> threads;
    std::atomic<int> differing{0};
    for (std::uint16_t self = 0; self < 4; ++self) {
        threads.emplace_back([&, self] {
            for (int i = 0; i < 20000; ++i) {
                const NatMappings::Inside inside{1, 17, {}, static_cast<std::uint16_t>(i % 50)};
                auto mine = mappings.use(inside, 1);
                if (!mine) mine = mappings.enter(inside, {{}, static_cast<std::uint16_t>(self + 1)}, 1);
                const auto again = mappings.use(inside, 1);
                if (again != mine) ++differing;
                mappings.release(inside, *mine);
                mappings.release(inside, *mine);
            }
        });
    }
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(differing, 0);
    EXPECT_EQ(mappings.count(), 0U);
}

}  // namespace
}  // namespace viaduct::dataplane
