// What a flow's first packet costs from the routed path's look-up to the staged frame: found missing,
// explained by the pipeline, masqueraded or given a service's backend, entered, carried out.
//
//   build/perf/viaduct-micro --benchmark_filter=FirstPackets
#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>

#include <rte_byteorder.h>
#include <rte_mempool.h>

#include "parts.h"
#include "resolve/resolver.h"
#include "unit/resolve_world.h"

namespace viaduct::dataplane::micro {
namespace {

constexpr std::uint32_t kEntries = 2'000'000;
/// Beyond so many the table is emptied, untimed: ports and places stay plentiful.
constexpr std::uint32_t kFlowsMost = 600'000;

constexpr std::uint32_t kServiceAddress = 10U << 24U | 96U << 16U;  ///< the first one's
constexpr std::uint32_t kBackendAddress = 172U << 24U | 16U << 16U;
constexpr std::uint16_t kServicePort = 0x0500;  ///< to which content() sends
constexpr std::uint32_t kBackends = 10;

IpAddress v4(std::uint32_t address) {
    const std::uint32_t bytes = rte_cpu_to_be_32(address);
    std::array<std::uint8_t, 4> text;
    std::memcpy(text.data(), &bytes, text.size());
    return IpAddress::from_bytes(text).value();
}

/// A network whose packets are masqueraded with a pool of addresses, or go to services, and its worker.
struct Node {
    explicit Node(std::uint32_t services) {
        for (std::uint32_t number = 0; number < services; ++number)
            add_service(number);
        if (services == 0) add_masquerade();
        world.build();
        for (PortIndex port = 0; port < 2; ++port)
            world.topology->ports[port].port = &sink;
        world.topology->workers.resize(1);
        world.topology->workers[0].tx.fill({0, 0});
        forwarder.set_first_packets(resolver);
    }

    void add_masquerade() {
        model::Masquerade rule;
        rule.name = "pods";
        rule.source = Prefix::parse("10.0.0.0/24").value();
        rule.interface = "wan";
        rule.pool.push_back(
            {IpAddress::parse("192.0.2.64").value(), IpAddress::parse("192.0.2.127").value()});
        world.config.masquerades[rule.name] = rule;
    }

    void add_service(std::uint32_t number) {
        model::Service service;
        service.namespace_ = "perf";
        service.name = "service-" + std::to_string(number);
        service.port = "main";
        service.protocol = model::Transport::udp;
        service.frontends.push_back({v4(kServiceAddress + number), kServicePort});
        for (std::uint32_t i = 0; i < kBackends; ++i)
            service.backends.push_back({v4(kBackendAddress + number * kBackends + i), 5353});
        world.config.services.insert_or_assign(service.key(), service);
    }

    World world{kEntries};
    Sink sink;
    NoHandOff no_hand_off;
    std::unique_ptr<CounterBlock> counters = std::make_unique<CounterBlock>();
    rte_mempool pool{};  ///< of which nothing is taken
    Forwarder forwarder{0, &pool, *counters, no_hand_off, world.flows()};
    Resolver resolver{forwarder, *world.shared, 0, 1};
};

/// Of a flow of its own, in 10.0.0.0/24: to an address of its own, or to one of so many services.
std::array<std::uint8_t, 64> first_packet(std::uint32_t flow, std::uint32_t services) {
    auto bytes = content(0x020000000101, flow);
    const auto host = static_cast<std::uint8_t>(2 + (services == 0 ? 0 : flow >> 16U & 0x7fU));
    const std::array<std::uint8_t, 4> source{10, 0, 0, host};
    std::memcpy(&bytes[26], source.data(), 4);
    const std::uint32_t scattered = flow * 0x9e3779b1U;
    const auto destination =
        services == 0
            ? 198U << 24U | scattered >> 8U
            : kServiceAddress + static_cast<std::uint32_t>(std::uint64_t{scattered} * services >> 32U);
    const auto address = rte_cpu_to_be_32(destination);
    std::memcpy(&bytes[30], &address, sizeof address);
    std::memcpy(&bytes[34], &flow, 2);
    bytes[24] = bytes[25] = 0;
    std::uint32_t sum = 0;
    for (std::size_t i = 14; i < 34; i += 2)
        sum += load16(&bytes[i]);
    store16(&bytes[24], static_cast<std::uint16_t>(~fold(sum)));
    return bytes;
}

void first_packets(benchmark::State& state) {
    const auto services = static_cast<std::uint32_t>(state.range(0));
    const auto made = std::make_unique<Node>(services);  // too large for a stack
    auto& node = *made;
    Frames frames;
    std::array<std::array<std::uint8_t, 64>, kBurst> contents;
    std::array<RoutedFrame, kBurst> routed;
    std::uint32_t flow = 0;
    std::uint64_t cycles = 0;
    for (auto _ : state) {
        for (auto& content : contents)
            content = first_packet(flow++, services);
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

BENCHMARK(first_packets)->Name("FirstPackets/masquerade")->Arg(0);
BENCHMARK(first_packets)->Name("FirstPackets/service")->Arg(1)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace viaduct::dataplane::micro
