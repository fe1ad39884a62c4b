// What a killed process may leave in the flow table's memory, made by hand: the next one keeps what is whole
// and nothing else.
#include <random>

#include <gtest/gtest.h>

#include "flow_bench.h"

namespace viaduct::dataplane {
namespace {

template <typename Key>
class FlowTakeOverTest : public testing::Test {
protected:
    static constexpr std::uint32_t kEntries = 2000;
    static constexpr std::uint32_t kFlows = 500;
    static constexpr std::uint64_t kSeed = 42;
    using Table = FlowTable<Key>;

    FlowTakeOverTest() : memory(Table::bytes(kEntries)), table(memory.get(), kEntries, kSeed, nullptr) {
        for (std::uint32_t number = 0; number < kFlows; ++number)
            pairs.push_back(enter(table, numbered_key<Key>(number), 10));
    }
    FlowBucket& bucket(FlowIndex index) {
        return reinterpret_cast<FlowBucket*>(memory.get())[index / FlowBucket::kPlaces];
    }
    FlowEntry<Key>& entry(FlowIndex index) {
        auto* entries = memory.get() + (table.buckets() * sizeof(FlowBucket) + 127) / 128 * 128;
        return reinterpret_cast<FlowEntry<Key>*>(entries)[index];
    }
    /// The next process's table on the same memory.
    typename Table::TakenOver take_over(std::uint32_t now = 20) {
        next = std::make_unique<Table>(memory.get(), kEntries, kSeed, nullptr);
        return next->take_over(now);
    }
    bool there(std::uint32_t number) {
        FlowRecord<Key> record{};
        bool both = true;
        for (const auto& key : {numbered_key<Key>(number), numbered_key<Key>(number).reversed()})
            both = both && next->find(key, next->hash(key), record) != kNoFlow && record.generation == 0;
        return both;
    }

    TableMemory memory;
    Table table;
    std::vector<typename Table::Pair> pairs;
    std::unique_ptr<Table> next;
};

using Families = testing::Types<FlowKey4, FlowKey6>;
TYPED_TEST_SUITE(FlowTakeOverTest, Families);

TYPED_TEST(FlowTakeOverTest, KeepsWhatIsWholeAndMakesItStale) {
    this->table.tail(this->pairs[3].forward).packets = 77;
    const auto result = this->take_over();
    EXPECT_EQ(result.kept, this->kFlows);
    EXPECT_EQ(result.dropped, 0U);
    EXPECT_EQ(this->next->entries(), 2 * this->kFlows);
    for (std::uint32_t number = 0; number < this->kFlows; ++number)
        EXPECT_TRUE(this->there(number));
    EXPECT_EQ(this->next->tail(this->pairs[3].forward).packets, 77U);
    EXPECT_EQ(this->next->tail(this->pairs[3].forward).seen, 10U);
}

TYPED_TEST(FlowTakeOverTest, AWriterKilledInTheMiddleLosesOnlyItsOwnFlow) {
    this->bucket(this->pairs[1].forward).lock();
    this->entry(this->pairs[1].forward).record.sequence |= 1U;
    const auto result = this->take_over();
    EXPECT_EQ(result.kept, this->kFlows - 1);
    EXPECT_EQ(result.dropped, 2U);
    EXPECT_FALSE(this->there(1));
    // The lock is free and the places are good again.
    const auto again = enter(*this->next, numbered_key<TypeParam>(1), 20);
    ASSERT_EQ(again.result, FlowTable<TypeParam>::Inserted::yes);
    FlowRecord<TypeParam> record{};
    EXPECT_TRUE(this->next->read(again.forward, numbered_key<TypeParam>(1), record));
}

TYPED_TEST(FlowTakeOverTest, HalfAPairGoes) {
    for (const auto index : {this->pairs[1].forward, this->pairs[2].reverse})
        this->bucket(index).set_signature(index % FlowBucket::kPlaces, 0);
    EXPECT_EQ(this->take_over().kept, this->kFlows - 2);
    EXPECT_FALSE(this->there(1));
    EXPECT_FALSE(this->there(2));
    EXPECT_EQ(this->next->entries(), 2 * (this->kFlows - 2));
}

TYPED_TEST(FlowTakeOverTest, PeersThatPointAstrayGo) {
    this->table.tail(this->pairs[1].forward).peer = kNoFlow;
    this->table.tail(this->pairs[2].forward).peer = this->pairs[2].forward;
    this->table.tail(this->pairs[3].forward).peer = this->pairs[4].forward;
    this->entry(this->pairs[5].reverse).record.flags |= kFlowInitiator;
    EXPECT_EQ(this->take_over().kept, this->kFlows - 4);
    for (const auto number : {1U, 2U, 3U, 5U})
        EXPECT_FALSE(this->there(number));
    EXPECT_TRUE(this->there(4));
}

TYPED_TEST(FlowTakeOverTest, WhatItsKeyDoesNotFindGoes) {
    this->entry(this->pairs[1].forward).record.key.source.bytes[1] ^= 1;
    auto& signatures = this->bucket(this->pairs[2].reverse).signatures;
    signatures[this->pairs[2].reverse % FlowBucket::kPlaces] ^= 0x100;
    this->entry(this->pairs[3].forward).record.key = this->entry(this->pairs[4].forward).record.key;
    EXPECT_EQ(this->take_over().kept, this->kFlows - 3);
    EXPECT_TRUE(this->there(4));
}

TYPED_TEST(FlowTakeOverTest, AnotherSeedFindsNothing) {
    FlowTable<TypeParam> other(this->memory.get(), this->kEntries, this->kSeed + 1, nullptr);
    EXPECT_EQ(other.take_over(20).kept, 0U);
    EXPECT_EQ(other.entries(), 0U);
}

TYPED_TEST(FlowTakeOverTest, TimesInTheFutureBecomeNow) {
    this->table.tail(this->pairs[1].forward).seen = 1'000'000;
    this->table.tail(this->pairs[1].forward).tcp_scale = 200;
    this->take_over(20);
    EXPECT_EQ(this->next->tail(this->pairs[1].forward).seen, 20U);
    EXPECT_EQ(this->next->tail(this->pairs[1].forward).tcp_scale, 14U);
}

TYPED_TEST(FlowTakeOverTest, AnyBytesAtAllAreSurvived) {
    std::mt19937_64 random(3);
    for (int round = 0; round < 20; ++round) {
        auto* const words = reinterpret_cast<std::uint64_t*>(this->memory.get());
        const auto count = this->memory.bytes() / 8;
        for (std::size_t at = 0; at < count; ++at) {
            if (round == 0 || random() % 64 == 0) words[at] = random();
        }
        this->take_over();
        std::uint32_t seen = 0;
        this->next->visit(0, this->next->buckets(), [&](const auto&) { return ++seen != 0; });
        EXPECT_EQ(2 * seen, this->next->entries());
        for (std::uint32_t number = 0; number < 2000; ++number)
            enter(*this->next, numbered_key<TypeParam>(number), 20);
        this->next->expire(0, this->next->buckets(), 1'000'000, {});
        EXPECT_EQ(this->next->entries(), 0U);
    }
}

}  // namespace
}  // namespace viaduct::dataplane
