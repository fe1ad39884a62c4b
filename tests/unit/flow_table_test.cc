// The flow table against a model, and each rule that its header states: pairs, clashes, states, timeouts, who
// gives way. For both families.
#include "flow/flow_table.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <unordered_map>

#include <gtest/gtest.h>

#include "flow_bench.h"

namespace viaduct::dataplane {
namespace {

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint64_t kSeed = 0x1234567890abcdefU;

template <typename Key>
class FlowTableTest : public testing::Test {
protected:
    using Table = FlowTable<Key>;
    using Inserted = typename Table::Inserted;

    void make(std::uint32_t entries) {
        memory = std::make_unique<TableMemory>(Table::bytes(entries));
        table = std::make_unique<Table>(memory->get(), entries, kSeed, &gone);
    }
    /// As forwarding looks up; kNoFlow when nothing is found.
    FlowIndex look_up(const Key& key) {
        const auto hash = table->hash(key);
        const auto step = table->likely_step();
        table->prefetch(hash, step);
        const auto index = table->candidate(hash, step);
        const auto found = table->find(key, hash, record);
        if (index == kNoFlow) {
            EXPECT_EQ(found, kNoFlow) << "a definite miss that is there";
            return kNoFlow;
        }
        if (!table->read(index, key, record)) return found;
        EXPECT_EQ(found, index);
        return index;
    }
    /// Both directions have sent, as TCP does until it is established.
    void establish(const typename Table::Pair& pair, std::uint32_t now) {
        if (pair.result != Inserted::yes) return;
        for (const auto index : {pair.forward, pair.reverse}) {
            table->tail(index).tcp_seen = kTcpSyn | kTcpAck;
            table->tail(index).packets = 2;
            table->tail(index).seen = now;
        }
    }
    std::uint32_t expire_all(std::uint32_t now, const model::FlowTimeouts& timeouts = {}) {
        return table->expire(0, table->buckets(), now, timeouts);
    }

    Gone<Key> gone;
    std::unique_ptr<TableMemory> memory;
    std::unique_ptr<Table> table;
    FlowRecord<Key> record{};
};

using Families = testing::Types<FlowKey4, FlowKey6>;
TYPED_TEST_SUITE(FlowTableTest, Families);

TYPED_TEST(FlowTableTest, EntersBothDirectionsEachPointingAtItsPeer) {
    this->make(1000);
    const auto key = numbered_key<TypeParam>(7);
    const auto pair = enter(*this->table, key, 5, 99);
    ASSERT_EQ(pair.result, TestFixture::Inserted::yes);
    EXPECT_EQ(this->look_up(key), pair.forward);
    EXPECT_TRUE(this->record.has(kFlowInitiator));
    EXPECT_EQ(this->record.generation, 1U);
    EXPECT_EQ(this->look_up(key.reversed()), pair.reverse);
    EXPECT_FALSE(this->record.has(kFlowInitiator));
    const auto& tail = this->table->tail(pair.forward);
    EXPECT_EQ(tail.peer, pair.reverse);
    EXPECT_EQ(this->table->tail(pair.reverse).peer, pair.forward);
    EXPECT_EQ(tail.seen, 5U);
    EXPECT_EQ(tail.created, 5U);
    EXPECT_EQ(tail.rule, 99U);
    EXPECT_EQ(tail.packets, 0U);
    EXPECT_EQ(this->table->entries(), 2U);
}

TYPED_TEST(FlowTableTest, SaysThatAFlowExistsFromEitherDirection) {
    this->make(1000);
    const auto key = numbered_key<TypeParam>(7);
    const auto first = enter(*this->table, key);
    const auto again = enter(*this->table, key);
    EXPECT_EQ(again.result, TestFixture::Inserted::exists);
    EXPECT_EQ(again.forward, first.forward);
    EXPECT_EQ(again.reverse, first.reverse);
    const auto reply = enter(*this->table, key.reversed());
    EXPECT_EQ(reply.result, TestFixture::Inserted::exists);
    EXPECT_EQ(reply.forward, first.reverse);
    EXPECT_EQ(this->table->entries(), 2U);
}

TYPED_TEST(FlowTableTest, RefusesATranslationWhoseReplyBelongsToAnother) {
    this->make(1000);
    const auto one = numbered_key<TypeParam>(1);
    const auto other = numbered_key<TypeParam>(2);
    const auto reply = numbered_key<TypeParam>(3);
    const auto first = this->table->insert(record_of(one), record_of(reply), 1, 0);
    ASSERT_EQ(first.result, TestFixture::Inserted::yes);
    const auto second = this->table->insert(record_of(other), record_of(reply), 1, 0);
    EXPECT_EQ(second.result, TestFixture::Inserted::clashes);
    EXPECT_EQ(second.reverse, first.reverse);
    EXPECT_EQ(this->look_up(other), kNoFlow);
    EXPECT_EQ(this->table->entries(), 2U);
    // A flow that would be its own reply has no reply's key of its own.
    EXPECT_EQ(this->table->insert(record_of(other), record_of(other), 1, 0).result,
              TestFixture::Inserted::clashes);
}

TYPED_TEST(FlowTableTest, ZonesAndProtocolsAreOtherFlows) {
    this->make(1000);
    for (const auto zone : {0, 1}) {
        for (const auto protocol : {kTcp, kUdp}) {
            EXPECT_EQ(
                enter(*this->table, numbered_key<TypeParam>(7, protocol, static_cast<Zone>(zone))).result,
                TestFixture::Inserted::yes);
        }
    }
    EXPECT_EQ(this->table->entries(), 8U);
}

TYPED_TEST(FlowTableTest, UpdatesOnlyWhatIsStillTheKeys) {
    this->make(1000);
    const auto key = numbered_key<TypeParam>(7);
    const auto pair = enter(*this->table, key);
    auto changed = record_of(key, 2);
    EXPECT_TRUE(this->table->update(pair.forward, changed));
    EXPECT_EQ(this->look_up(key), pair.forward);
    EXPECT_EQ(this->record.generation, 2U);
    EXPECT_TRUE(this->record.has(kFlowInitiator)) << "which direction it is does not change";
    auto reply = record_of(key.reversed(), 3);
    reply.flags = kFlowInitiator | kFlowTranslate;
    EXPECT_TRUE(this->table->update(pair.reverse, reply));
    this->look_up(key.reversed());
    EXPECT_FALSE(this->record.has(kFlowInitiator));
    EXPECT_TRUE(this->record.has(kFlowTranslate));
    EXPECT_FALSE(this->table->update(pair.forward, record_of(numbered_key<TypeParam>(8), 2)));
    ASSERT_TRUE(this->table->remove(pair.forward, key));
    EXPECT_FALSE(this->table->update(pair.forward, changed));
    EXPECT_FALSE(this->table->read(pair.forward, key, this->record)) << "a kept index of a flow that is gone";
}

TYPED_TEST(FlowTableTest, RemovesAPairFromEitherSideAndTellsOnce) {
    this->make(1000);
    const auto key = numbered_key<TypeParam>(7);
    const auto pair = enter(*this->table, key);
    EXPECT_FALSE(this->table->remove(pair.forward, numbered_key<TypeParam>(8)));
    EXPECT_FALSE(this->table->remove(this->table->capacity(), key));
    EXPECT_TRUE(this->table->remove(pair.reverse, key.reversed()));
    EXPECT_FALSE(this->table->remove(pair.forward, key));
    ASSERT_EQ(this->gone.pairs.size(), 1U);
    EXPECT_EQ(this->gone.pairs[0].first.key, key);
    EXPECT_EQ(this->gone.pairs[0].second.key, key.reversed());
    EXPECT_EQ(this->look_up(key), kNoFlow);
    EXPECT_EQ(this->look_up(key.reversed()), kNoFlow);
    EXPECT_EQ(this->table->entries(), 0U);
    EXPECT_EQ(this->table->counters().removed, 1U);
}

TYPED_TEST(FlowTableTest, AgreesWithAModelUnderRandomOperations) {
    this->make(4000);
    std::mt19937 random(1);
    std::unordered_map<std::uint32_t, std::uint32_t> model;  // number -> mark
    for (int step = 0; step < 60'000; ++step) {
        const auto number = static_cast<std::uint32_t>(random() % 1500);
        const auto key = numbered_key<TypeParam>(number);
        const auto known = model.find(number);
        const auto index = this->look_up(key);
        ASSERT_EQ(index != kNoFlow, known != model.end());
        if (index != kNoFlow) {
            ASSERT_EQ(this->record.generation, known->second);
        }
        switch (random() % 4) {
            case 0:
                ASSERT_EQ(enter(*this->table, key).result,
                          index == kNoFlow ? TestFixture::Inserted::yes : TestFixture::Inserted::exists);
                model.emplace(number, 1);
                break;
            case 1:
                if (index == kNoFlow) break;
                ASSERT_TRUE(this->table->remove(index, key));
                model.erase(number);
                break;
            case 2:
                if (index == kNoFlow) break;
                known->second = static_cast<std::uint32_t>(step + 1);
                ASSERT_TRUE(this->table->update(index, record_of(key, known->second)));
                break;
            default:
                ASSERT_EQ(this->look_up(key.reversed()) != kNoFlow, known != model.end());
        }
        ASSERT_EQ(this->table->entries(), 2 * model.size());
    }
    std::set<std::uint32_t> seen;
    this->table->visit(0, this->table->buckets(), [&](const auto& flow) {
        seen.insert(flow.forward.generation);
        EXPECT_EQ(flow.reverse.key, flow.forward.key.reversed());
        return true;
    });
    EXPECT_EQ(this->table->counters().evicted, 0U);
}

TYPED_TEST(FlowTableTest, HoldsAsManyAsItWasMadeFor) {
    constexpr std::uint32_t kEntries = 100'000;
    this->make(kEntries);
    for (std::uint32_t number = 0; number < kEntries / 2; ++number)
        this->establish(enter(*this->table, numbered_key<TypeParam>(number, kTcp)), 0);
    // Hashes are no perfect spread: one in ten thousand may find both of its buckets full.
    EXPECT_LE(this->table->counters().refused, kEntries / 10'000);
    EXPECT_EQ(this->table->counters().evicted, 0U);
}

TYPED_TEST(FlowTableTest, StartsAtAnyBucketCountAndSize) {
    for (const auto entries : {1U, 2U, 28U, 57U, 1001U}) {
        this->make(entries);
        ASSERT_EQ(enter(*this->table, numbered_key<TypeParam>(entries)).result, TestFixture::Inserted::yes);
        EXPECT_NE(this->look_up(numbered_key<TypeParam>(entries)), kNoFlow);
        EXPECT_GE(this->table->capacity(), entries);
    }
}

struct StateCase {
    std::uint8_t protocol;
    std::uint8_t first;   // tcp_seen
    std::uint8_t second;  // tcp_seen, or packets where it is not TCP
    FlowState state;
    std::uint32_t timeout;
};

TYPED_TEST(FlowTableTest, ForgetsEachStateAfterItsTimeout) {
    model::FlowTimeouts t;
    const std::vector<StateCase> cases = {
        {kUdp, 0, 0, FlowState::unreplied, t.udp},
        {kUdp, 0, 1, FlowState::replied, t.udp_replied},
        {1, 0, 0, FlowState::unreplied, t.icmp},
        {58, 0, 1, FlowState::replied, t.icmp},
        {132, 0, 1, FlowState::replied, t.sctp},
        {47, 0, 1, FlowState::replied, t.other},
        {kTcp, 0, 0, FlowState::unreplied, t.tcp_syn_sent},
        {kTcp, kTcpSyn, 0, FlowState::syn_sent, t.tcp_syn_sent},
        {kTcp, kTcpSyn, kTcpSyn | kTcpAck, FlowState::syn_received, t.tcp_syn_received},
        {kTcp, kTcpSyn | kTcpAck, kTcpSyn | kTcpAck, FlowState::established, t.tcp_established},
        {kTcp, kTcpAck, kTcpAck, FlowState::established, t.tcp_established},
        {kTcp, kTcpAck | kTcpFin, kTcpAck, FlowState::fin_wait, t.tcp_fin_wait},
        {kTcp, kTcpAck, kTcpAck | kTcpFin, FlowState::fin_wait, t.tcp_fin_wait},
        {kTcp, kTcpAck | kTcpFin, kTcpAck | kTcpFin, FlowState::time_wait, t.tcp_time_wait},
        {kTcp, kTcpSyn, kTcpAck | kTcpReset, FlowState::closed, t.tcp_close},
        {kTcp, kTcpSyn | kTcpAck | kTcpReset, kTcpSyn | kTcpAck, FlowState::closed, t.tcp_close},
    };
    for (const auto& one : cases) {
        this->make(100);
        constexpr std::uint32_t kBegan = 0xffffff00;  // the clock runs over meanwhile
        const auto pair = enter(*this->table, numbered_key<TypeParam>(1, one.protocol), kBegan);
        auto& forward = this->table->tail(pair.forward);
        auto& reverse = this->table->tail(pair.reverse);
        forward.tcp_seen = one.first;
        reverse.packets = one.second;
        reverse.tcp_seen = one.protocol == kTcp ? one.second : std::uint8_t{0};
        const auto name = std::string(to_string(one.state)) + " of protocol " + std::to_string(one.protocol);
        EXPECT_EQ(flow_state(one.protocol, forward, reverse), one.state) << name;
        // The later of both directions counts.
        forward.seen = kBegan - 1000;
        EXPECT_EQ(this->expire_all(kBegan + one.timeout - 1), 0U) << name;
        EXPECT_EQ(this->expire_all(kBegan + one.timeout), 1U) << name;
        EXPECT_EQ(this->table->entries(), 0U) << name;
    }
    EXPECT_EQ(this->gone.pairs.size(), cases.size());
}

TYPED_TEST(FlowTableTest, AClockBehindAnotherWorkersForgetsNothing) {
    this->make(100);
    enter(*this->table, numbered_key<TypeParam>(1), 1000);
    EXPECT_EQ(this->expire_all(999), 0U);
    EXPECT_EQ(this->table->entries(), 2U);
}

TYPED_TEST(FlowTableTest, FewFlowsLieTogetherAtTheFrontOfALargeTable) {
    constexpr FlowIndex kFront = 512 * FlowBucket::kPlaces;
    this->make(1'000'000);
    const auto behind = [&](std::uint32_t flows) {
        std::uint32_t count = 0;
        for (std::uint32_t number = 0; number < flows; ++number) {
            const auto key = numbered_key<TypeParam>(number);
            FlowRecord<TypeParam> found;
            const auto index = this->table->find(key, this->table->hash(key), found);
            EXPECT_NE(index, kNoFlow) << number;
            if (index >= kFront) ++count;
        }
        return count;
    };
    std::uint32_t flows = 0;
    for (; flows < 1'000; ++flows)
        enter(*this->table, numbered_key<TypeParam>(flows));
    EXPECT_EQ(behind(flows), 0U);
    for (; flows < 50'000; ++flows)
        enter(*this->table, numbered_key<TypeParam>(flows));
    EXPECT_GT(behind(flows), flows / 2) << "and many do not crowd there";
    // What is found first and what is not there are told right, whichever end is looked at first.
    for (const bool swept : {false, true}) {
        if (swept) this->expire_all(0);
        for (std::uint32_t number = 0; number < flows; ++number) {
            const auto key = numbered_key<TypeParam>(number);
            EXPECT_NE(this->table->candidate(this->table->hash(key), this->table->likely_step()), kNoFlow)
                << number;
        }
    }
    EXPECT_EQ(this->expire_all(1'000'000), flows);
    EXPECT_EQ(this->table->entries(), 0U);
    for (flows = 0; flows < 1'000; ++flows)
        enter(*this->table, numbered_key<TypeParam>(flows));
    EXPECT_EQ(behind(flows), 0U) << "an empty table fills from the front again";
}

TYPED_TEST(FlowTableTest, TheWorstGivesWayFirst) {
    // Three buckets: 42 flows. Behind a front that is full, one flow of each kind beside established ones;
    // each round a newcomer takes the place of the worst.
    struct Kind {
        const char* name;
        std::uint8_t protocol, first, second;
        std::uint32_t seen;
    };
    constexpr std::uint32_t kNow = 100'000;
    const std::vector<Kind> order = {
        {"half open, idle", kTcp, kTcpSyn, 0, kNow - 50},
        {"half open", kTcp, kTcpSyn, kTcpSyn | kTcpAck, kNow - 2},
        {"reset", kTcp, kTcpAck | kTcpReset, kTcpAck, kNow - 1},
        {"closing and idle", kTcp, kTcpAck | kTcpFin, kTcpAck, kNow - 20},
        {"answered and idle", kUdp, 0, 1, kNow - 60},
        {"established and idle for long", kTcp, kTcpAck, kTcpAck, kNow - 5000},
    };
    this->make(1);
    ASSERT_EQ(this->table->buckets(), 3U);
    std::map<std::uint32_t, const char*> kinds;
    std::uint32_t number = 0;
    while (this->table->entries() < FlowBucket::kPlaces)
        this->establish(enter(*this->table, numbered_key<TypeParam>(number++, kTcp), kNow), kNow);
    for (const auto& kind : order) {
        const auto pair = enter(*this->table, numbered_key<TypeParam>(number, kind.protocol), kind.seen);
        this->table->tail(pair.forward).tcp_seen = kind.first;
        this->table->tail(pair.reverse).tcp_seen = kind.protocol == kTcp ? kind.second : std::uint8_t{0};
        this->table->tail(pair.reverse).packets = kind.second;
        kinds[number++] = kind.name;
    }
    while (this->table->entries() < this->table->capacity())
        this->establish(enter(*this->table, numbered_key<TypeParam>(number++, kTcp), kNow), kNow);
    for (const auto& kind : order) {
        const auto pair = enter(*this->table, numbered_key<TypeParam>(number++, kTcp), kNow);
        ASSERT_EQ(pair.result, TestFixture::Inserted::yes) << kind.name;
        this->establish(pair, kNow);
        ASSERT_FALSE(this->gone.pairs.empty());
        std::uint32_t who = 0;
        std::memcpy(
            &who,
            &this->gone.pairs.back().first.key.source.bytes[sizeof(typename TypeParam::AddressType) - 4], 4);
        EXPECT_STREQ(kinds[who], kind.name);
    }
    EXPECT_EQ(this->table->counters().evicted, order.size());
    const auto pair = enter(*this->table, numbered_key<TypeParam>(number++, kTcp), kNow);
    EXPECT_EQ(pair.result, TestFixture::Inserted::full) << "only active, established flows are left";
    EXPECT_EQ(this->table->counters().refused, 1U);
}

TYPED_TEST(FlowTableTest, EstablishedFlowsOutliveAFlood) {
    constexpr std::uint32_t kEntries = 20'000;
    constexpr std::uint32_t kEstablished = 200;
    this->make(kEntries);
    for (std::uint32_t number = 0; number < kEstablished; ++number) {
        const auto pair = enter(*this->table, numbered_key<TypeParam>(number, kTcp));
        this->establish(pair, 0);
    }
    for (std::uint32_t number = 0; number < 10 * kEntries; ++number) {
        const auto pair = enter(*this->table, numbered_key<TypeParam>(1'000'000 + number), number / 4'000);
        ASSERT_EQ(pair.result, TestFixture::Inserted::yes);
    }
    for (std::uint32_t number = 0; number < kEstablished; ++number)
        ASSERT_NE(this->look_up(numbered_key<TypeParam>(number, kTcp)), kNoFlow);
    EXPECT_GT(this->table->counters().evicted, 8 * kEntries);
    EXPECT_EQ(this->gone.pairs.size(), this->table->counters().evicted);
}

TYPED_TEST(FlowTableTest, ListsEachFlowOnceInSteps) {
    this->make(1000);
    std::set<std::uint32_t> wanted;
    for (std::uint32_t number = 1; number <= 300; ++number) {
        auto forward = record_of(numbered_key<TypeParam>(number), number);
        ASSERT_EQ(this->table->insert(forward, record_of(forward.key.reversed()), 0, 0).result,
                  TestFixture::Inserted::yes);
        wanted.insert(number);
    }
    std::multiset<std::uint32_t> seen;
    std::uint32_t calls = 0;
    for (std::uint32_t bucket = 0; bucket < this->table->buckets(); ++calls) {
        bucket = this->table->visit(bucket, 7, [&](const auto& flow) {
            seen.insert(flow.forward.generation);
            return true;
        });
    }
    EXPECT_EQ(std::set<std::uint32_t>(seen.begin(), seen.end()), wanted);
    EXPECT_EQ(seen.size(), wanted.size());
    EXPECT_GE(calls, this->table->buckets() / 7);
    std::uint32_t visited = 0;
    const auto next =
        this->table->visit(0, this->table->buckets(), [&](const auto&) { return ++visited < 5; });
    EXPECT_EQ(visited, 5U);
    EXPECT_LT(next, this->table->buckets());
}

}  // namespace
}  // namespace viaduct::dataplane
