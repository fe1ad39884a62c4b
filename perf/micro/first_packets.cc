// What a flow's first packet costs from the routed path's look-up to the staged frame: found missing,
// explained by the pipeline, masqueraded, entered, carried out.
//
//   build/perf/viaduct-micro --benchmark_filter=FirstPackets
#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <array>
#include <cstring>
#include <memory>

#include <rte_mempool.h>

#include "parts.h"
#include "resolve/resolver.h"
#include "unit/resolve_world.h"

namespace viaduct::dataplane::micro {
namespace {

constexpr std::uint32_t kEntries = 2'000'000;
/// Beyond so many the table is emptied, untimed: ports and places stay plentiful.
constexpr std::uint32_t kFlowsMost = 600'000;

/// A masqueraded network with a pool of addresses, and its worker.
struct Node {
    Node() {
        model::Masquerade rule;
        rule.name = "pods";
        rule.source = Prefix::parse("10.0.0.0/24").value();
        rule.interface = "wan";
        rule.pool.push_back(
            {IpAddress::parse("192.0.2.64").value(), IpAddress::parse("192.0.2.127").value()});
        world.config.masquerades[rule.name] = rule;
        world.build();
        for (PortIndex port = 0; port < 2; ++port)
            world.topology->ports[port].port = &sink;
        world.topology->workers.resize(1);
        world.topology->workers[0].tx.fill({0, 0});
        forwarder.set_first_packets(resolver);
    }

    World world{kEntries};
    Sink sink;
    NoHandOff no_hand_off;
    std::unique_ptr<CounterBlock> counters = std::make_unique<CounterBlock>();
    rte_mempool pool{};  ///< of which nothing is taken
    Forwarder forwarder{0, &pool, *counters, no_hand_off, world.flows()};
    Resolver resolver{forwarder, *world.shared, 0, 1};
};

/// From 10.0.0.2, each to an address of its own.
std::array<std::uint8_t, 64> first_packet(std::uint32_t flow) {
    auto bytes = content(0x020000000101, flow);
    const std::array<std::uint8_t, 4> source{10, 0, 0, 2};
    std::memcpy(&bytes[26], source.data(), 4);
    const std::uint32_t scattered = flow * 0x9e3779b1U;
    bytes[30] = 198;
    std::memcpy(&bytes[31], &scattered, 3);
    std::memcpy(&bytes[34], &flow, 2);
    bytes[24] = bytes[25] = 0;
    std::uint32_t sum = 0;
    for (std::size_t i = 14; i < 34; i += 2)
        sum += load16(&bytes[i]);
    store16(&bytes[24], static_cast<std::uint16_t>(~fold(sum)));
    return bytes;
}

void first_packets(benchmark::State& state) {
    const auto made = std::make_unique<Node>();  // too large for a stack
    auto& node = *made;
    Frames frames;
    std::array<std::array<std::uint8_t, 64>, kBurst> contents;
    std::array<RoutedFrame, kBurst> routed;
    std::uint32_t flow = 0;
    std::uint64_t cycles = 0;
    for (auto _ : state) {
        for (auto& content : contents)
            content = first_packet(flow++);
        auto** burst = frames.fill(contents.data());
        for (std::size_t i = 0; i < kBurst; ++i)
            routed[i] = {burst[i], 0, World::kLan, 14, false};
        const auto began = __rdtsc();
        node.forwarder.begin(*node.world.topology, node.world.now);
        for (const auto& one : routed)
            node.forwarder.deliver(one);
        node.forwarder.flush();
        cycles += __rdtsc() - began;
        if (flow % kFlowsMost >= kBurst) continue;
        state.PauseTiming();
        node.world.v4.expire(0, node.world.v4.buckets(), node.world.now + 1'000'000, {});
        state.ResumeTiming();
    }
    state.counters["cycles"] = static_cast<double>(cycles) / flow;
    if (node.world.v4.counters().inserted != flow) state.SkipWithError("flows were not entered");
}

BENCHMARK(first_packets)->Name("FirstPackets/masquerade");

}  // namespace
}  // namespace viaduct::dataplane::micro
