// What the flow table costs on one core: TSC cycles a packet (or an entry) beside the time. Look-ups are made
// as forwarding makes them, by the burst of 32: hash all, prefetch all, compare all, read all.
//
//   build/perf/viaduct-micro --benchmark_filter=LookUp
#include "flow/flow_table.h"

#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "flow/flow_memory.h"

namespace viaduct::dataplane {
namespace {

constexpr std::size_t kBurst = 32;
constexpr std::uint64_t kSeed = 0x5bd1e995cafef00dU;
/// So many packets before their order repeats: no predictor learns it.
constexpr std::size_t kPackets = 1U << 20U;

/// splitmix64
std::uint64_t scramble(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

template <typename Key>
Key key_of(std::uint64_t number) {
    Key key{};
    const auto bits = scramble(number);
    std::memcpy(key.source.bytes.data(), &bits, 4);
    std::memcpy(key.destination.bytes.data(), &number, 4);
    key.source_port = Be16::from_host(static_cast<std::uint16_t>(bits >> 32));
    key.destination_port = Be16::from_host(443);
    key.protocol = 17;
    return key;
}

template <typename Key>
FlowRecord<Key> record_of(const Key& key) {
    FlowRecord<Key> record{};
    record.key = key;
    record.generation = 1;
    return record;
}

template <typename Key>
struct Filled {
    explicit Filled(std::uint32_t entries, bool fill = true)
        : memory({.entries4 = Key::kWords == 2 ? entries : 1,
                  .entries6 = Key::kWords == 2 ? 1 : entries,
                  .huge = true,
                  .seed = kSeed}),
          table(Key::kWords == 2 ? memory.table4() : memory.table6(), entries, kSeed, nullptr) {
        for (std::uint64_t number = 0; fill && number < entries / 2; ++number)
            insert(number, 0);
    }
    auto insert(std::uint64_t number, std::uint32_t now) {
        const auto key = key_of<Key>(number);
        return table.insert(record_of(key), record_of(key.reversed()), 0, now);
    }
    /// As first packets are entered: each pass starts the loads of what the next one reads.
    void insert_burst(std::uint64_t first, std::uint32_t now) {
        std::array<FlowRecord<Key>, kBurst> forward;
        std::array<FlowRecord<Key>, kBurst> reverse;
        std::array<typename FlowTable<Key>::Places, kBurst> places;
        for (std::size_t i = 0; i < kBurst; ++i) {
            const auto key = key_of<Key>(first + i);
            forward[i] = record_of(key);
            reverse[i] = record_of(key.reversed());
            places[i] = table.places(key, key.reversed());
        }
        bool roomy = true;
        for (auto& place : places)
            roomy = table.fetch(place) && roomy;
        if (!roomy) {
            for (const auto& place : places)
                table.fetch_victims(place);
            for (const auto& place : places)
                table.fetch_victims_peers(place);
        }
        for (std::size_t i = 0; i < kBurst; ++i)
            table.insert(places[i], forward[i], reverse[i], 0, now);
    }
    FlowMemory memory;
    FlowTable<Key> table;
};

/// One table at a time: ten million entries take 1.5 GB.
template <typename Key>
Filled<Key>& filled(std::uint32_t entries) {
    static std::map<std::uint32_t, std::unique_ptr<Filled<Key>>> tables;
    if (!tables.contains(entries)) {
        tables.clear();
        tables.emplace(entries, std::make_unique<Filled<Key>>(entries));
    }
    return *tables.at(entries);
}

void count(benchmark::State& state, std::uint64_t cycles, std::uint64_t things) {
    state.counters["TSC_cycles"] = static_cast<double>(cycles) / static_cast<double>(things);
    state.SetItemsProcessed(static_cast<std::int64_t>(things));
}

/// Keys of packets in random order: of both directions of what is in the table, or of nothing in it.
template <typename Key>
std::vector<Key> packets(std::uint32_t entries, bool hit) {
    std::vector<Key> keys(kPackets);
    for (std::size_t at = 0; at < kPackets; ++at) {
        const auto number = scramble(at + kPackets) % (entries / 2);
        const auto key = key_of<Key>(hit ? number : number + (std::uint64_t{1} << 31U));
        keys[at] = at % 2 == 0 ? key : key.reversed();
    }
    return keys;
}

template <typename Key>
void hash(benchmark::State& state) {
    const auto keys = packets<Key>(1'000'000, true);
    std::size_t at = 0;
    std::uint64_t sum = 0;
    const auto began = __rdtsc();
    for (auto _ : state) {
        for (std::size_t i = 0; i < kBurst; ++i)
            sum += flow_hash(keys[at + i], kSeed);
        at = (at + kBurst) % kPackets;
    }
    count(state, __rdtsc() - began, state.iterations() * kBurst);
    benchmark::DoNotOptimize(sum);
}

template <typename Key>
std::uint32_t look_up_burst(const FlowTable<Key>& table, const Key* keys,
                            std::array<FlowRecord<Key>, kBurst>& records) {
    std::array<std::uint64_t, kBurst> hashes;
    std::array<FlowIndex, kBurst> places;
    const auto step = table.likely_step();
    for (std::size_t i = 0; i < kBurst; ++i) {
        hashes[i] = table.hash(keys[i]);
        table.prefetch(hashes[i], step);
    }
    for (std::size_t i = 0; i < kBurst; ++i)
        places[i] = table.candidate(hashes[i], step);
    std::uint32_t found = 0;
    for (std::size_t i = 0; i < kBurst; ++i) {
        if (places[i] == kNoFlow) continue;
        if (!table.read(places[i], keys[i], records[i])) {
            if (table.find(keys[i], hashes[i], records[i]) == kNoFlow) continue;
        }
        ++found;
    }
    return found;
}

template <typename Key>
void look_up(benchmark::State& state, bool hit) {
    const auto entries = static_cast<std::uint32_t>(state.range(0));
    const auto& table = filled<Key>(entries).table;
    const auto keys = packets<Key>(entries, hit);
    std::array<FlowRecord<Key>, kBurst> records{};
    std::size_t at = 0;
    std::uint64_t found = 0;
    const auto began = __rdtsc();
    for (auto _ : state) {
        found += look_up_burst(table, &keys[at], records);
        benchmark::DoNotOptimize(records);
        at = (at + kBurst) % kPackets;
    }
    const auto looked_up = static_cast<std::uint64_t>(state.iterations()) * kBurst;
    count(state, __rdtsc() - began, looked_up);
    state.counters["found"] = static_cast<double>(found) / static_cast<double>(looked_up);
}

template <typename Key>
void look_up_hit(benchmark::State& state) {
    look_up<Key>(state, true);
}
template <typename Key>
void look_up_miss(benchmark::State& state) {
    look_up<Key>(state, false);
}

/// New flows into a table with room, both entries each; it is emptied in between, untimed.
template <typename Key>
void insert(benchmark::State& state) {
    constexpr std::uint32_t kFlows = kBurst * 3'000;
    const auto entries = static_cast<std::uint32_t>(state.range(0));
    Filled<Key> filled(entries);  // so that no page is touched for the first time below
    filled.table.expire(0, filled.table.buckets(), 1'000'000, {});
    std::uint64_t number = entries;
    std::uint64_t cycles = 0;
    for (auto _ : state) {
        const auto began = __rdtsc();
        for (std::uint32_t i = 0; i < kFlows; i += kBurst, number += kBurst)
            filled.insert_burst(number, 0);
        cycles += __rdtsc() - began;
        if (filled.table.entries() + 2 * kFlows <= entries / 2) continue;
        state.PauseTiming();
        filled.table.expire(0, filled.table.buckets(), 1'000'000, {});
        state.ResumeTiming();
    }
    count(state, cycles, static_cast<std::uint64_t>(state.iterations()) * kFlows);
}

/// New flows into a table that is full of others that were never answered: each takes one's place.
template <typename Key>
void insert_into_full(benchmark::State& state) {
    const auto entries = static_cast<std::uint32_t>(state.range(0));
    Filled<Key> filled(entries);
    std::uint64_t number = entries;
    for (; number < 2ULL * entries; ++number)
        filled.insert(number, 1);
    const auto began = __rdtsc();
    for (auto _ : state) {
        filled.insert_burst(number, 2);
        number += kBurst;
    }
    count(state, __rdtsc() - began, static_cast<std::uint64_t>(state.iterations()) * kBurst);
    state.counters["evicted"] = static_cast<double>(filled.table.counters().evicted);
}

/// A sweep that finds nothing to forget: what ageing costs all the time.
template <typename Key>
void sweep(benchmark::State& state) {
    auto& filled_table = filled<Key>(static_cast<std::uint32_t>(state.range(0))).table;
    const auto began = __rdtsc();
    for (auto _ : state)
        filled_table.expire(0, filled_table.buckets(), 1, {});
    count(state, __rdtsc() - began, static_cast<std::uint64_t>(state.iterations()) * filled_table.entries());
}

/// A sweep that forgets everything, by the flow.
template <typename Key>
void expire(benchmark::State& state) {
    const auto entries = static_cast<std::uint32_t>(state.range(0));
    Filled<Key> filled(entries, false);
    std::uint64_t cycles = 0;
    std::uint64_t gone = 0;
    for (auto _ : state) {
        state.PauseTiming();
        for (std::uint64_t number = 0; number < entries / 2; ++number)
            filled.insert(number, 0);
        state.ResumeTiming();
        const auto began = __rdtsc();
        gone += filled.table.expire(0, filled.table.buckets(), 1'000'000, {});
        cycles += __rdtsc() - began;
    }
    count(state, cycles, gone);
}

void sizes(benchmark::internal::Benchmark* bench) {
    for (const auto entries : {1'000, 100'000, 2'000'000, 10'000'000})
        bench->Arg(entries);
}

BENCHMARK(hash<FlowKey4>)->Name("Hash/IPv4");
BENCHMARK(hash<FlowKey6>)->Name("Hash/IPv6");
BENCHMARK(look_up_hit<FlowKey4>)->Name("LookUp/IPv4/hit")->Apply(sizes);
BENCHMARK(look_up_miss<FlowKey4>)->Name("LookUp/IPv4/miss")->Apply(sizes);
BENCHMARK(look_up_hit<FlowKey6>)->Name("LookUp/IPv6/hit")->Apply(sizes);
BENCHMARK(look_up_miss<FlowKey6>)->Name("LookUp/IPv6/miss")->Apply(sizes);
BENCHMARK(insert<FlowKey4>)->Name("Insert/IPv4")->Arg(2'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(insert_into_full<FlowKey4>)->Name("InsertIntoFull/IPv4")->Arg(1'000'000);
BENCHMARK(sweep<FlowKey4>)->Name("Sweep/IPv4")->Arg(2'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(expire<FlowKey4>)->Name("Expire/IPv4")->Arg(2'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace viaduct::dataplane
