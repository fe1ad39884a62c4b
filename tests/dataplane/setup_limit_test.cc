// How much of a worker's time new flows get: the rule, and what the resolver makes of it with packets. By a
// clock of the test's own: the machine's may stand still for a test, or be too fast for its packets.
#include <cstring>
#include <memory>

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include "bench.h"
#include "packets.h"
#include "resolve/flow_setup_share.h"
#include "resolve/resolver.h"
#include "unit/idle_port.h"
#include "unit/resolve_world.h"

namespace viaduct::dataplane {
namespace {

constexpr std::uint64_t kHz = 1'000'000;
constexpr std::uint64_t kWindow = kHz / FlowSetupShare::kWindowsPerSecond;
constexpr std::uint64_t kBurstTakes = kWindow / 20;

/// Windows in each of which bursts of 32 packets that are of no flow take all the time; each comes in a turn
/// of `frames`, beside `idle_turns` that find nothing. Returns how many bursts were refused.
unsigned press(FlowSetupShare& share, std::uint64_t& now, std::uint64_t windows, std::uint32_t frames,
               unsigned idle_turns = 0) {
    constexpr std::uint64_t kBursts = 20;
    unsigned refused = 0;
    for (std::uint64_t i = 0; i < windows * kBursts; ++i) {
        if (share.begin(now, 32)) ++refused;
        share.end(now += kWindow / kBursts);
        share.turn(frames);
        for (unsigned turn = 0; turn < idle_turns; ++turn)
            share.turn(0);
    }
    return refused;
}

TEST(FlowSetupShare, NewFlowsGetTheirShareBesideOthersAndNoMore) {
    FlowSetupShare share(kHz);
    std::uint64_t now = 10 * kWindow;
    EXPECT_EQ(press(share, now, FlowSetupShare::kPatience, 320), 0U) << "a burst is not a flood";
    const auto most = static_cast<std::uint64_t>(static_cast<double>(kWindow) * FlowSetupShare::kShare);
    std::uint64_t spent = 0;
    while (!share.begin(now, 32)) {
        ASSERT_LT(spent, most);
        share.end(now += most / 4);
        spent += most / 4;
        share.turn(320);
    }
    EXPECT_EQ(spent, most);
    share.end(now);
    EXPECT_FALSE(share.begin(now += kWindow, 32)) << "the next window has time again";
    share.turn(320);
    share.end(now + 2 * most);
    EXPECT_TRUE(share.begin(now += kWindow, 32)) << "what went beyond is taken from the next one";
    share.turn(320);
    share.end(now);
    EXPECT_FALSE(share.begin(now + kWindow, 32)) << "and then it is paid";
}

TEST(FlowSetupShare, NobodyIsRefusedWhereNobodyIsSparedForIt) {
    const auto refused = [](std::uint32_t frames, unsigned idle_turns) {
        FlowSetupShare share(kHz);
        std::uint64_t now = 10 * kWindow;
        return press(share, now, 3 * FlowSetupShare::kPatience, frames, idle_turns) > 0;
    };
    EXPECT_TRUE(refused(320, 0));
    EXPECT_FALSE(refused(64, 0)) << "as many first packets as others: a node of short connections";
    EXPECT_FALSE(refused(32, 0)) << "nothing but first packets";
    EXPECT_FALSE(refused(320, 2)) << "a worker that has time to spare";
}

TEST(FlowSetupShare, TimeToSpareIsRemembered) {
    FlowSetupShare share(kHz);
    std::uint64_t now = 10 * kWindow;
    unsigned refused = 0;
    for (unsigned burst = 0; burst < 50; ++burst) {
        refused += press(share, now, FlowSetupShare::kPatience / 2, 320);
        now += FlowSetupShare::kPatience * kWindow;
        for (unsigned turn = 0; turn < 100'000; ++turn)
            share.turn(0);
    }
    EXPECT_EQ(refused, 0U) << "bursts with rest between them";
}

/// Takes frames as a guest would that reads all.
class Swallow final : public IdlePort {
public:
    std::uint16_t transmit(std::uint16_t, rte_mbuf** frames, std::uint16_t count) override {
        taken += count;
        rte_pktmbuf_free_bulk(frames, count);
        return count;
    }
    std::uint64_t taken = 0;
};

/// A router whose worker's turns the test makes.
class SetupLimit : public ::testing::Test {
protected:
    SetupLimit() {
        for (PortIndex port = 0; port < 2; ++port)
            world.topology->ports[port].port = &sink;
        world.topology->workers.resize(1);
        world.topology->workers[0].tx.fill({0, 0});
        forwarder.set_first_packets(resolver);
    }
    ~SetupLimit() override { rte_mempool_free(pool); }

    static rte_mempool* make_pool() {
        test::start_eal();
        auto* made = rte_pktmbuf_pool_create("setup-limit", 1023, 0, 0, 2048, SOCKET_ID_ANY);
        if (made == nullptr) throw std::runtime_error("no memory for packet buffers");
        return made;
    }
    using Burst = std::array<RoutedFrame, kBurst>;

    /// One packet each of the 32 flows that begin with number `flow`.
    Burst make(std::uint32_t flow) {
        Burst routed;
        for (auto& one : routed) {
            const auto bytes =
                test::routed({.source = "10.0.0.2",
                              .destination = "203.0.113.9",
                              .source_port = static_cast<std::uint16_t>(1 + flow % 60'000),
                              .destination_port = static_cast<std::uint16_t>(1 + flow / 60'000)},
                             "02:00:00:00:01:01", "02:00:00:00:0a:00");
            ++flow;
            auto* frame = rte_pktmbuf_alloc(pool);
            if (frame == nullptr) throw std::runtime_error("no packet buffer is left");
            std::memcpy(rte_pktmbuf_append(frame, static_cast<std::uint16_t>(bytes.size())), bytes.data(),
                        bytes.size());
            one = {frame, 0, World::kLan, 14, false};
        }
        return routed;
    }
    /// The worker's turn took in `frames` in all.
    void send(const Burst& burst, std::uint32_t frames) {
        forwarder.begin(*world.topology, world.now);
        for (const auto& one : burst)
            forwarder.deliver(one);
        forwarder.flush();
        resolver.end_turn(frames);
        sent += kBurst;
    }
    void send(std::uint32_t flow, std::uint32_t frames) { send(make(flow), frames); }
    [[nodiscard]] std::uint64_t refused() const {
        return (*counters)[0].drops[static_cast<std::size_t>(Drop::flow_setup_limit)].get();
    }

    rte_mempool* pool = make_pool();
    World world{200'000};
    Swallow sink;
    NoHandOff no_hand_off;
    std::unique_ptr<CounterBlock> counters = std::make_unique<CounterBlock>();
    Forwarder forwarder{0, pool, *counters, no_hand_off, world.flows()};
    /// Each look at the clock finds it later by what a burst takes to be resolved.
    std::uint64_t cycles = 10 * kWindow;
    Resolver resolver{forwarder, *world.shared, 0, 1, {[this] { return cycles += kBurstTakes; }, kHz}};
    std::uint64_t sent = 0;
};

TEST_F(SetupLimit, AFloodLeavesTimeForFlowsThatAreThere) {
    send(0, kBurst);
    ASSERT_EQ(sink.taken, kBurst);
    // Ten times as many frames are of flows that are there, says the worker, window after window.
    std::uint32_t flow = kBurst;
    const auto flood = [&] {
        send(flow, 10 * kBurst);
        flow += kBurst;
    };
    for (std::uint64_t i = 0; i <= FlowSetupShare::kPatience; ++i) {
        flood();
        cycles += kWindow;
    }
    EXPECT_EQ(refused(), 0U) << "they have not taken much";
    // Refused ones take as long by this clock, so that the next windows have no time for any.
    const auto bursts = kWindow / kBurstTakes;
    for (std::uint64_t i = 0; i < bursts; ++i)
        flood();
    const auto most = static_cast<std::uint64_t>(static_cast<double>(bursts) * FlowSetupShare::kShare);
    const auto limited = (bursts - most) * kBurst;
    EXPECT_EQ(refused(), limited) << "all but one window's share";
    EXPECT_EQ(sink.taken + refused(), sent) << "every packet was sent, or dropped for this reason";

    // A change makes every flow one to be resolved again: they are, whoever else is refused.
    world.build();
    for (PortIndex port = 0; port < 2; ++port)
        world.topology->ports[port].port = &sink;
    world.topology->workers.resize(1);
    world.topology->workers[0].tx.fill({0, 0});
    for (int round = 0; round < 1'000; ++round) {
        flood();
        const auto before = sink.taken;
        send(0, 10 * kBurst);
        ASSERT_EQ(sink.taken - before, kBurst) << "round " << round;
    }
    EXPECT_GT(refused(), limited);
}

TEST_F(SetupLimit, AFloodOfNothingElseIsResolvedAsFarAsItGoes) {
    for (std::uint32_t flow = 0; flow < 60'000; flow += kBurst)
        send(flow, kBurst);
    EXPECT_EQ(refused(), 0U);
    EXPECT_EQ(sink.taken, sent);
}

}  // namespace
}  // namespace viaduct::dataplane
