// What a routed packet costs from a port's burst to another port's, without the ports themselves: bridge,
// parse, look up, execute, stage. "Fill" is what the benchmark itself does for each packet, to be taken off
// the others.
//
//   build/perf/viaduct-micro --benchmark_filter=Forward
#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "flow/flow_memory.h"
#include "forward/forwarder.h"
#include "forward/switch.h"
#include "parts.h"

namespace viaduct::dataplane::micro {
namespace {

constexpr std::uint64_t kGateway = 0x020000000101;
constexpr std::uint64_t kHost = 0x020000000002;

struct Unresolved final : FirstPackets {
    void resolve(const RoutedFrame*, std::uint16_t count) override { missed += count; }
    bool is_answer(const RoutedFrame&) override { return false; }
    void send_outer(TunnelIndex, rte_mbuf*) override { ++missed; }
    std::uint64_t missed = 0;
};

/// Two ports, a bridge, a router interface, and flows from one port to the other.
struct Router {
    Router(std::uint32_t flows, std::uint32_t room, bool translate)
        : memory({.entries4 = room, .entries6 = 1024, .huge = true, .seed = 7}),
          v4(memory.table4(), memory.entries4(), 7, nullptr),
          v6(memory.table6(), memory.entries6(), 7, nullptr) {
        auto bridge = std::make_unique<BridgeView>();
        bridge->fdb = std::make_shared<Fdb>(1024, 7);
        bridge->switch_burst = switch_burst_plain;
        bridge->floods.resize(1);
        bridge->gateways.assign(1, {0});
        bridge->fdb->set_static(fdb_key(kGateway, 0), kGatewayFirst);
        bridge->fdb->set_static(fdb_key(kHost, 0), 1);
        for (PortIndex i = 0; i < 2; ++i) {
            topology.ports[i] = {.port = &sink,
                                 .bridge = bridge.get(),
                                 .admin_up = true,
                                 .link_up = true,
                                 .frame_most = 1514,
                                 .receive = switch_burst_plain};
        }
        topology.interfaces.push_back({.bridge = bridge.get(), .up = true});
        topology.bridges.push_back(std::move(bridge));
        topology.workers.resize(1);
        topology.workers[0].tx.fill({0, 0});
        topology.flow_generation = 1;
        forwarder.set_first_packets(unresolved);
        for (std::uint32_t flow = 0; flow < flows; ++flow)
            enter(content(kGateway, flow), translate);
    }
    void enter(const std::array<std::uint8_t, 64>& bytes, bool translate) {
        FlowRecord<FlowKey4> record{};
        std::memcpy(&record.key, &bytes[26], 12);
        record.key.protocol = 17;
        std::memcpy(&record.new_source, &record.key, 8);
        std::memcpy(&record.new_source_port, &record.key.source_port, 4);
        if (translate) {
            record.new_source = {{192, 0, 2, 1}};
            record.l3_difference = 0x1234;
            record.l4_difference = 0x2345;
            record.flags = kFlowTranslate;
        }
        record.port = 1;
        record.generation = 1;
        record.mtu = 1500;
        auto reply = record;
        reply.key = record.key.reversed();
        v4.insert(record, reply, 0, 1);
    }

    /// As if each had a flow beside this one.
    void expect_answers(const std::vector<std::array<std::uint8_t, 64>>& all) {
        for (const auto& bytes : all) {
            FlowKey4 key{};
            std::memcpy(&key, &bytes[26], 8);
            bridged.add(key);
        }
    }

    FlowMemory memory;
    FlowTable<FlowKey4> v4;
    FlowTable<FlowKey6> v6;
    BridgedPairs bridged{1};
    Sink sink;
    NoHandOff no_hand_off;
    Unresolved unresolved;
    Topology topology;
    std::unique_ptr<CounterBlock> counters = std::make_unique<CounterBlock>();
    Forwarder forwarder{0, nullptr, *counters, no_hand_off, FlowTables{&v4, &v6, &bridged}};
};

std::vector<std::array<std::uint8_t, 64>> contents(std::uint64_t to, std::uint32_t flows) {
    std::vector<std::array<std::uint8_t, 64>> all;
    std::mt19937 random(7);
    const std::size_t count = std::max<std::size_t>(flows, 1U << 17U) / kBurst * kBurst;
    for (std::size_t i = 0; i < count; ++i)
        all.push_back(content(to, static_cast<std::uint32_t>(random() % flows)));
    return all;
}

/// On the bridge: where no hosts have translated flows among them; where some have, but not these; where
/// these have others than those that are sent.
enum class Job : std::uint8_t { fill, bridge, bridge_beside, bridge_asked, route, translate };

template <Job kJob>
void forward(benchmark::State& state) {
    const auto flows = static_cast<std::uint32_t>(state.range(0));
    const auto room = static_cast<std::uint32_t>(state.range(1));
    Router router(flows, room, kJob == Job::translate);
    const bool routed = kJob == Job::route || kJob == Job::translate;
    const auto all = contents(routed ? kGateway : kHost, flows);
    if (kJob == Job::bridge_beside) router.bridged.add(FlowKey4{});
    if (kJob == Job::bridge_asked) router.expect_answers(all);
    Frames frames;
    std::size_t at = 0;
    std::uint64_t packets = 0;
    const auto before = __rdtsc();
    for (auto _ : state) {
        auto** burst = frames.fill(&all[at]);
        at = at + kBurst == all.size() ? 0 : at + kBurst;
        if constexpr (kJob != Job::fill) {
            router.forwarder.begin(router.topology, 1);
            router.forwarder.receive(0, burst, kBurst);
            router.forwarder.flush();
        } else {
            benchmark::DoNotOptimize(burst);
            benchmark::ClobberMemory();
        }
        packets += kBurst;
    }
    state.counters["cycles"] = static_cast<double>(__rdtsc() - before) / static_cast<double>(packets);
    if (router.unresolved.missed != 0) state.SkipWithError("flows were missed");
}

/// Flows, and directions that there is room for: few in a table for many are what a node has most of its
/// time.
constexpr std::int64_t kRoom = 4'000'000;
void few_and_many(benchmark::internal::Benchmark* benchmark) {
    benchmark->Args({1'000, 8'000})->Args({1'000, kRoom})->Args({1'000'000, kRoom});
}

BENCHMARK(forward<Job::fill>)->Name("ForwardFill")->Args({1'000, kRoom})->Args({1'000'000, kRoom});
BENCHMARK(forward<Job::bridge>)->Name("ForwardBridge")->Args({1'000, kRoom});
BENCHMARK(forward<Job::bridge_beside>)->Name("ForwardBridge/beside")->Args({1'000, kRoom});
BENCHMARK(forward<Job::bridge_asked>)->Name("ForwardBridge/asked")->Args({1'000, kRoom});
BENCHMARK(forward<Job::route>)->Name("ForwardRoute")->Apply(few_and_many);
BENCHMARK(forward<Job::translate>)->Name("ForwardTranslate")->Apply(few_and_many);

}  // namespace
}  // namespace viaduct::dataplane::micro
