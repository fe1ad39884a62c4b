// The flow table between threads: readers during writes, two workers that meet one flow's first packet,
// listing and ageing meanwhile. Meant for the thread sanitizer as well.
#include <atomic>
#include <barrier>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "flow_bench.h"

namespace viaduct::dataplane {
namespace {

template <typename Key>
class FlowThreadsTest : public testing::Test {
protected:
    using Table = FlowTable<Key>;
    void make(std::uint32_t entries) {
        memory = std::make_unique<TableMemory>(Table::bytes(entries));
        table = std::make_unique<Table>(memory->get(), entries, 7, &gone);
    }
    Gone<Key> gone;
    std::unique_ptr<TableMemory> memory;
    std::unique_ptr<Table> table;
};

using Families = testing::Types<FlowKey4, FlowKey6>;
TYPED_TEST_SUITE(FlowThreadsTest, Families);

/// A record that says the same thing in each of its words.
template <typename Key>
FlowRecord<Key> uniform(const Key& key, std::uint32_t mark) {
    auto record = record_of(key, mark);
    record.l3_difference = static_cast<std::uint16_t>(mark);
    record.vlan = static_cast<std::uint16_t>(mark);
    record.tunnel = static_cast<std::uint16_t>(mark);
    record.new_source.bytes[0] = static_cast<std::uint8_t>(mark);
    return record;
}

template <typename Key>
bool is_uniform(const FlowRecord<Key>& record) {
    const auto mark = record.generation;
    return record.l3_difference == static_cast<std::uint16_t>(mark) &&
           record.vlan == static_cast<std::uint16_t>(mark) &&
           record.tunnel == static_cast<std::uint16_t>(mark) && record.port == static_cast<PortIndex>(mark) &&
           record.mtu == static_cast<std::uint16_t>(mark >> 16) &&
           record.new_source.bytes[0] == static_cast<std::uint8_t>(mark);
}

TYPED_TEST(FlowThreadsTest, NoReaderEverSeesHalfARecord) {
    this->make(1000);
    const auto key = numbered_key<TypeParam>(1);
    auto& flows = *this->table;
    const auto pair = flows.insert(uniform(key, 1), uniform(key.reversed(), 1), 0, 0);
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        for (std::uint32_t mark = 2; !stop; mark += 65'537)
            flows.update(pair.forward, uniform(key, mark));
    });
    std::uint32_t whole = 0;
    std::uint32_t changes = 0;
    std::uint32_t last = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (int turn = 0; turn < 100'000 || (changes < 100 && std::chrono::steady_clock::now() < deadline);
         ++turn) {
        FlowRecord<TypeParam> record{};
        if (!flows.read(pair.forward, key, record)) continue;
        ++whole;
        if (record.generation != last) ++changes;
        last = record.generation;
        ASSERT_TRUE(is_uniform(record));
        ASSERT_TRUE(record.key == key);
    }
    stop = true;
    writer.join();
    EXPECT_GT(whole, 0U);
    EXPECT_GE(changes, 100U) << "the writer did not run beside the reader";
}

TYPED_TEST(FlowThreadsTest, TwoWorkersWithTheSameFirstPacketMakeOneFlow) {
    constexpr std::uint32_t kFlows = 3000;
    this->make(4 * kFlows);
    auto& flows = *this->table;
    std::atomic<std::uint32_t> made{0};
    std::atomic<std::uint32_t> met{0};
    std::barrier ready(2);
    const auto work = [&](bool reply) {
        ready.arrive_and_wait();
        for (std::uint32_t number = 0; number < kFlows; ++number) {
            const auto key = numbered_key<TypeParam>(number);
            const auto pair = enter(flows, reply ? key.reversed() : key);
            if (pair.result == FlowTable<TypeParam>::Inserted::yes) ++made;
            if (pair.result == FlowTable<TypeParam>::Inserted::exists) ++met;
            FlowRecord<TypeParam> record{};
            EXPECT_TRUE(flows.read(pair.forward, reply ? key.reversed() : key, record));
        }
    };
    std::thread other(work, true);
    work(false);
    other.join();
    EXPECT_EQ(made, kFlows);
    EXPECT_EQ(met, kFlows);
    EXPECT_EQ(flows.entries(), 2 * kFlows);
}

TYPED_TEST(FlowThreadsTest, EveryFlowThatLeavesIsToldOnce) {
    // Smaller than what is entered: eviction, expiry, removal and listing all at once.
    this->make(2000);
    auto& flows = *this->table;
    std::atomic<bool> stop{false};
    const auto work = [&](std::uint32_t from) {
        for (std::uint32_t number = from; number < from + 20'000; ++number) {
            const auto key = numbered_key<TypeParam>(number % 5000);
            const auto pair = enter(flows, key, number / 4000);
            if (pair.forward == kNoFlow || number % 3 != 0) continue;
            if (number % 2 == 0) {
                flows.remove(pair.forward, key);
            } else {
                flows.remove(pair.reverse, key.reversed());
            }
        }
    };
    std::thread lister([&] {
        while (!stop) {
            flows.visit(0, flows.buckets(), [&](const auto& flow) {
                EXPECT_TRUE(flow.reverse.key == flow.forward.key.reversed());
                return true;
            });
        }
    });
    std::thread sweeper([&] {
        model::FlowTimeouts timeouts;
        timeouts.udp = 1;
        for (std::uint32_t bucket = 0; !stop; bucket = (bucket + 3) % flows.buckets())
            flows.expire(bucket, 3, 4, timeouts);
    });
    std::thread one(work, 0);
    std::thread other(work, 2500);
    one.join();
    other.join();
    stop = true;
    lister.join();
    sweeper.join();
    const auto counters = flows.counters();
    EXPECT_EQ(this->gone.pairs.size(), counters.evicted + counters.expired + counters.removed);
    EXPECT_GT(counters.removed, 0U);
    std::uint32_t present = 0;
    flows.visit(0, flows.buckets(), [&](const auto&) { return ++present != 0; });
    EXPECT_EQ(2 * present, flows.entries());
    EXPECT_EQ(counters.inserted, present + this->gone.pairs.size());
    // Nothing was left locked, and the counts of entries elsewhere are what they were.
    const auto* buckets = reinterpret_cast<const FlowBucket*>(this->memory->get());
    flows.expire(0, flows.buckets(), 1'000'000, {});
    EXPECT_EQ(flows.entries(), 0U);
    for (std::uint32_t bucket = 0; bucket < flows.buckets(); ++bucket) {
        EXPECT_EQ(buckets[bucket].elsewhere(), 0U);
        EXPECT_EQ(buckets[bucket].lock_word, 0U);
    }
}

}  // namespace
}  // namespace viaduct::dataplane
