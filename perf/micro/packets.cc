// What a packet of a known flow costs besides its look-up: reading its headers, and carrying out its record.
// Frames lie in the second-level cache, as those of a busy worker do.
#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <array>
#include <cstring>
#include <vector>

#include "forward/checksum.h"
#include "forward/execute.h"
#include "forward/parse.h"

namespace viaduct::dataplane {
namespace {

constexpr std::size_t kFrames = 1024;
constexpr std::uint16_t kRoom = 256;  ///< bytes for each frame
constexpr std::uint16_t kHeadroom = 64;

template <typename Key>
constexpr std::uint16_t kLength = kIpHeader<Key> + 8 + 18;  ///< UDP with 18 bytes

/// UDP frames in buffers of their own, as if a port had received them.
template <typename Key>
class Frames {
public:
    Frames() : memory_(kFrames * kRoom), mbufs_(kFrames) {
        for (std::size_t i = 0; i < kFrames; ++i) {
            auto& mbuf = mbufs_[i];
            std::memset(static_cast<void*>(&mbuf), 0, sizeof mbuf);
            mbuf.buf_addr = &memory_[i * kRoom];
            mbuf.buf_len = kRoom;
            mbuf.data_off = kHeadroom;
            mbuf.nb_segs = 1;
            rte_mbuf_refcnt_set(&mbuf, 1);
            mbuf.data_len = 14 + kLength<Key>;
            mbuf.pkt_len = mbuf.data_len;
            write(rte_pktmbuf_mtod(&mbuf, std::uint8_t*) + 14, i);
            routed_.push_back({&mbuf, 0, 0, 14, false});
        }
    }

    const RoutedFrame* burst(std::size_t at) const { return &routed_[at % kFrames]; }

private:
    static void write(std::uint8_t* ip, std::size_t number) {
        if constexpr (Key::kWords == 2) {
            const std::array<std::uint8_t, 20> header{
                0x45, 0, 0, kLength<Key>, 0, 0, 0, 0, 64, kUdp, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1};
            std::memcpy(ip, header.data(), header.size());
            std::memcpy(ip + 14, &number, 2);
            std::uint32_t sum = 0;
            for (std::size_t i = 0; i < 20; i += 2)
                sum += load16(ip + i);
            store16(ip + 10, static_cast<std::uint16_t>(~fold(sum)));
        } else {
            ip[0] = 0x60;
            ip[5] = kLength<Key> - 40;
            ip[6] = kUdp;
            ip[7] = 64;
            ip[8] = ip[24] = 0xfd;
            std::memcpy(ip + 20, &number, 2);
        }
        auto* udp = ip + kIpHeader<Key>;
        udp[0] = 0x12;
        udp[3] = 53;
        udp[5] = 26;
        udp[6] = 0x55;  // a checksum there is; that it is right nobody asks
    }

    std::vector<std::uint8_t> memory_;
    std::vector<rte_mbuf> mbufs_;
    std::vector<RoutedFrame> routed_;
};

void count(benchmark::State& state, std::uint64_t cycles, std::uint64_t packets) {
    state.counters["TSC_cycles"] = static_cast<double>(cycles) / static_cast<double>(packets);
    state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

template <typename Key>
void parse_burst(benchmark::State& state) {
    const Frames<Key> frames;
    std::array<Parsed<Key>, kBurst> packets;
    std::size_t at = 0;
    std::uint64_t parsed = 0;
    const auto began = __rdtsc();
    for (auto _ : state) {
        const auto* burst = frames.burst(at);
        for (std::size_t i = 0; i < kBurst; ++i)
            parsed += parse(burst[i], Zone{1}, packets[i]) ? 1 : 0;
        benchmark::DoNotOptimize(packets);
        at += kBurst;
    }
    const auto all = static_cast<std::uint64_t>(state.iterations()) * kBurst;
    count(state, __rdtsc() - began, all);
    if (parsed != all) state.SkipWithError("frames were not what the fast path carries");
}

/// A record as a masquerade's forward direction has it, or a route's.
template <typename Key>
FlowRecord<Key> record_of(const Parsed<Key>& packet, bool translate) {
    FlowRecord<Key> record{};
    record.key = packet.key;
    record.new_source = packet.key.source;
    record.new_destination = packet.key.destination;
    record.new_source_port = packet.key.source_port;
    record.new_destination_port = packet.key.destination_port;
    record.destination_mac = {2, 0, 0, 0, 0, 1};
    record.source_mac = {2, 0, 0, 0, 0, 2};
    record.generation = 1;
    record.mtu = 1500;
    if (!translate) return record;
    record.flags = kFlowTranslate;
    record.new_source.bytes[3] ^= 0x5aU;
    record.new_source_port = Be16::from_host(40000);
    record.l3_difference = 0x1234;
    record.l4_difference = 0x4321;
    return record;
}

template <typename Key>
void execute_burst(benchmark::State& state, bool translate) {
    const Frames<Key> frames;
    std::vector<Parsed<Key>> packets(kFrames);
    std::vector<FlowRecord<Key>> records;
    for (std::size_t i = 0; i < kFrames; ++i) {
        if (!parse(*frames.burst(i), Zone{1}, packets[i])) return state.SkipWithError("not parsed");
        records.push_back(record_of(packets[i], translate));
    }
    std::size_t at = 0;
    const auto began = __rdtsc();
    for (auto _ : state) {
        for (std::size_t i = 0; i < kBurst; ++i)
            rewrite(packets[at + i], records[at + i], packets[at + i].ip + kIpHeader<Key>);
        benchmark::ClobberMemory();
        at = (at + kBurst) % kFrames;
    }
    count(state, __rdtsc() - began, static_cast<std::uint64_t>(state.iterations()) * kBurst);
}

template <typename Key>
void execute_route(benchmark::State& state) {
    execute_burst<Key>(state, false);
}
template <typename Key>
void execute_translation(benchmark::State& state) {
    execute_burst<Key>(state, true);
}

BENCHMARK(parse_burst<FlowKey4>)->Name("Parse/IPv4");
BENCHMARK(parse_burst<FlowKey6>)->Name("Parse/IPv6");
BENCHMARK(execute_route<FlowKey4>)->Name("Execute/IPv4/route");
BENCHMARK(execute_translation<FlowKey4>)->Name("Execute/IPv4/translate");
BENCHMARK(execute_route<FlowKey6>)->Name("Execute/IPv6/route");
BENCHMARK(execute_translation<FlowKey6>)->Name("Execute/IPv6/translate");

}  // namespace
}  // namespace viaduct::dataplane
