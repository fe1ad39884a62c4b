// What a routed packet costs from a port's burst to another port's, without the ports themselves: bridge,
// parse, look up, execute, stage. "Fill" is what the benchmark itself does for each packet, to be taken off
// the others.
//
//   build/perf/viaduct-micro --benchmark_filter=Forward
#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include <rte_mbuf.h>

#include "flow/flow_memory.h"
#include "forward/checksum.h"
#include "forward/forwarder.h"
#include "forward/switch.h"

namespace viaduct::dataplane {
namespace {

constexpr std::size_t kFrameBytes = 60;
constexpr std::uint64_t kGateway = 0x020000000101;
constexpr std::uint64_t kHost = 0x020000000002;

/// Takes everything and does nothing: the benchmark fills the same frames again.
class Sink final : public Port {
public:
    std::uint16_t receive(std::uint16_t, rte_mbuf**, std::uint16_t) override { return 0; }
    std::uint16_t transmit(std::uint16_t, rte_mbuf**, std::uint16_t count) override { return count; }
    [[nodiscard]] bool link_up() const override { return true; }
    [[nodiscard]] std::uint16_t active_queues() const override { return 1; }
    [[nodiscard]] Readiness readiness() const override { return Readiness::polled; }
    [[nodiscard]] int wait_descriptor(std::uint16_t) const override { return -1; }
    void set_mtu(std::uint32_t) override {}
    void stop() override {}
};

struct NoHandOff final : HandOff {
    std::uint16_t hand_off(std::uint16_t, PortIndex, rte_mbuf**, std::uint16_t) override { return 0; }
};

struct Unresolved final : FirstPackets {
    void resolve(const RoutedFrame*, std::uint16_t count) override { missed += count; }
    void send_outer(TunnelIndex, rte_mbuf*) override { ++missed; }
    std::uint64_t missed = 0;
};

/// A burst of frames in buffers of their own, as a port's would be.
class Frames {
public:
    Frames() : memory_(static_cast<std::byte*>(std::aligned_alloc(4096, kCount * kSize))) {
        std::fill_n(memory_.get(), kCount * kSize, std::byte{});
        for (std::size_t i = 0; i < kCount; ++i) {
            auto* frame = reinterpret_cast<rte_mbuf*>(memory_.get() + i * kSize);
            frame->buf_addr = frame + 1;
            frame->buf_len = kSize - sizeof(rte_mbuf);
            rte_mbuf_refcnt_set(frame, 1);
            frame->nb_segs = 1;
            frames_[i] = frame;
        }
    }
    /// The next burst with the given contents.
    rte_mbuf** fill(const std::array<std::uint8_t, 64>* contents) {
        auto** burst = frames_.data() + at_;
        at_ = (at_ + kBurst) % kCount;
        for (std::size_t i = 0; i < kBurst; ++i) {
            burst[i]->data_off = RTE_PKTMBUF_HEADROOM;
            burst[i]->data_len = kFrameBytes;
            burst[i]->pkt_len = kFrameBytes;
            std::memcpy(rte_pktmbuf_mtod(burst[i], void*), contents + i, 64);
        }
        return burst;
    }

private:
    static constexpr std::size_t kCount = 512;
    static constexpr std::size_t kSize = 2304;
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };
    std::unique_ptr<std::byte, Free> memory_;
    std::array<rte_mbuf*, kCount> frames_{};
    std::size_t at_ = 0;
};

std::array<std::uint8_t, 64> content(std::uint64_t to, std::uint32_t flow) {
    std::array<std::uint8_t, 64> bytes{0x02, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0x01, 0x08, 0x00};
    for (int i = 0; i < 6; ++i)
        bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(to >> (40 - 8 * i));
    auto* ip = &bytes[14];
    const std::array<std::uint8_t, 12> head{0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0};
    std::copy(head.begin(), head.end(), ip);
    ip[12] = 10;
    std::memcpy(ip + 13, &flow, 3);
    ip[16] = 192;
    ip[19] = 9;
    ip[20] = 4;
    ip[22] = 5;
    ip[25] = 26;
    ip[26] = 0x77;
    std::uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += load16(ip + i);
    store16(ip + 10, static_cast<std::uint16_t>(~fold(sum)));
    return bytes;
}

/// Two ports, a bridge, a router interface, and flows from one port to the other.
struct Router {
    Router(std::uint32_t flows, bool translate)
        : memory({.entries4 = 4 * flows + 1024, .entries6 = 1024, .huge = true, .seed = 7}),
          v4(memory.table4(), memory.entries4(), 7, nullptr),
          v6(memory.table6(), memory.entries6(), 7, nullptr) {
        auto bridge = std::make_unique<BridgeView>();
        bridge->fdb = std::make_shared<Fdb>(1024, 7);
        bridge->switch_burst = switch_burst_plain;
        bridge->floods.resize(1);
        bridge->gateways.resize(1);
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

    FlowMemory memory;
    FlowTable<FlowKey4> v4;
    FlowTable<FlowKey6> v6;
    Sink sink;
    NoHandOff no_hand_off;
    Unresolved unresolved;
    Topology topology;
    std::unique_ptr<CounterBlock> counters = std::make_unique<CounterBlock>();
    Forwarder forwarder{0, nullptr, *counters, no_hand_off, FlowTables{&v4, &v6}};
};

std::vector<std::array<std::uint8_t, 64>> contents(std::uint64_t to, std::uint32_t flows) {
    std::vector<std::array<std::uint8_t, 64>> all;
    std::mt19937 random(7);
    const std::size_t count = std::max<std::size_t>(flows, 1U << 17U) / kBurst * kBurst;
    for (std::size_t i = 0; i < count; ++i)
        all.push_back(content(to, static_cast<std::uint32_t>(random() % flows)));
    return all;
}

enum class Job : std::uint8_t { fill, bridge, route, translate };

template <Job kJob>
void forward(benchmark::State& state) {
    const auto flows = static_cast<std::uint32_t>(state.range(0));
    Router router(flows, kJob == Job::translate);
    const auto all = contents(kJob == Job::bridge ? kHost : kGateway, flows);
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

BENCHMARK(forward<Job::fill>)->Name("ForwardFill")->Arg(1000)->Arg(1000000);
BENCHMARK(forward<Job::bridge>)->Name("ForwardBridge")->Arg(1000);
BENCHMARK(forward<Job::route>)->Name("ForwardRoute")->Arg(1000)->Arg(1000000);
BENCHMARK(forward<Job::translate>)->Name("ForwardTranslate")->Arg(1000)->Arg(1000000);

}  // namespace
}  // namespace viaduct::dataplane
