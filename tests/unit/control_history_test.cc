// Generations: what each changed, any earlier state, and the way back.
#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"

#include "control_fake_dataplane.h"
#include "store/config_history.h"

namespace viaduct::store {
namespace {

using test::bridge;
using test::port;

class History : public testing::Test {
protected:
    std::int64_t change(const model::Change& change, const std::string& comment = "") {
        Transaction tx(database);
        Faults faults;
        const auto current = load_config(tx);
        const auto number = change_config(tx, current, model::apply(current, change, faults), comment);
        EXPECT_TRUE(faults.empty()) << to_string(faults);
        tx.commit();
        return number;
    }
    model::Config at(std::int64_t number) {
        Transaction tx(database);
        return config_at(tx, number);
    }
    model::Config now() {
        Transaction tx(database);
        return load_config(tx);
    }

    test::TemporaryDirectory directory;
    Database database{directory.file("v.db"), config_migrations()};
};

model::FdbEntry entry(const std::string& mac) {
    model::FdbEntry entry{"br0", 0, *MacAddress::parse(mac), "p1"};
    return entry;
}

TEST_F(History, NumbersChangesAndTellsBeforeAndAfter) {
    EXPECT_EQ(change(test::put({bridge("br0")}, {port("p1")}), "first"), 1);
    auto wide = port("p1");
    wide.mtu = 9000;
    EXPECT_EQ(change(test::put({}, {wide})), 2);

    Transaction tx(database);
    EXPECT_EQ(newest_generation(tx), 2);
    const auto first = generation(tx, 1);
    EXPECT_EQ(first.comment, "first");
    EXPECT_EQ(first.kind, kConfiguration);
    ASSERT_EQ(first.changes.size(), 2U);
    EXPECT_EQ(first.changes[0].object, "bridges/br0");
    EXPECT_FALSE(first.changes[0].before);
    const auto second = generation(tx, 2);
    ASSERT_EQ(second.changes.size(), 1U);
    EXPECT_NE(second.changes[0].before->find("1500"), std::string::npos);
    EXPECT_NE(second.changes[0].after->find("9000"), std::string::npos);
    EXPECT_THROW(generation(tx, 3), Refused);
}

TEST_F(History, ReachesEveryEarlierState) {
    std::vector<model::Config> states = {{}};
    change(test::put({bridge("br0"), bridge("br1")}, {port("p1")}));
    states.push_back(now());
    model::Change statics;
    statics.put.fdb.emplace(entry("02:00:00:00:00:01").key(), entry("02:00:00:00:00:01"));
    change(statics);
    states.push_back(now());
    model::Change removal;
    removal.delete_bridges = {"br1"};
    removal.delete_fdb.insert(entry("02:00:00:00:00:01").key());
    change(removal);
    states.push_back(now());
    for (std::size_t i = 0; i < states.size(); ++i)
        EXPECT_EQ(at(static_cast<std::int64_t>(i)), states[i]) << i;
    EXPECT_THROW(at(4), Refused);
    EXPECT_THROW(at(-1), Refused);
    EXPECT_EQ(changes_between(states[3], states[3]).size(), 0U);
    EXPECT_EQ(changes_between(states[0], states[1]).size(), 3U);
}

TEST_F(History, WithdrawsWhatWasRefused) {
    change(test::put({bridge("br0")}, {port("p1")}));
    const auto before = now();
    auto wide = port("p1");
    wide.mtu = 9000;
    const auto number = change(test::put({bridge("br1")}, {wide}));
    Transaction tx(database);
    withdraw(tx, number);
    tx.commit();
    EXPECT_EQ(now(), before);
    Transaction again(database);
    EXPECT_EQ(newest_generation(again), 1);
}

TEST_F(History, AttachmentsAreToldButNotUndone) {
    change(test::put({bridge("br0")}, {}));
    {
        Transaction tx(database);
        EXPECT_EQ(record(tx, kAttachment, "ADD", {{"attachments/net/c1/eth0", std::nullopt, "{}"}}), 2);
        tx.commit();
    }
    change(test::put({bridge("br1")}, {}));
    EXPECT_EQ(at(2).bridges.size(), 1U);
    Transaction tx(database);
    const auto list = history(tx, 10);
    ASSERT_EQ(list.size(), 3U);
    EXPECT_EQ(list[0].number, 3);
    EXPECT_EQ(list[1].kind, kAttachment);
    EXPECT_EQ(history(tx, 1, 3)[0].number, 2);
}

TEST_F(History, ForgetsTheOldest) {
    {
        Transaction tx(database);
        for (std::int64_t i = 0; i < kGenerationsKept + 100; ++i)
            record(tx, kConfiguration, "", {});
        tx.commit();
    }
    Transaction tx(database);
    EXPECT_EQ(history(tx, 2 * kGenerationsKept).size(), static_cast<std::size_t>(kGenerationsKept));
    EXPECT_THROW(config_at(tx, 5), Refused);
    EXPECT_NO_THROW(config_at(tx, 100));
}

/// A router with routes of its own and timeouts.
model::Change router() {
    Faults faults;
    auto change = model::change_from_json(parse_json(R"({"put": {
        "bridges": [{"name": "br0"}], "vrfs": [{"name": "blue"}],
        "interfaces": [{"name": "gw0", "bridge": "br0", "vrf": "blue", "addresses": ["10.0.0.1/24"]}],
        "routes": [{"vrf": "blue", "prefix": "0.0.0.0/0", "via": "10.0.0.9", "interface": "gw0"}],
        "neighbours": [{"interface": "gw0", "address": "10.0.0.9", "mac": "02:00:00:00:00:09"}],
        "masquerades": [{"name": "m", "vrf": "blue", "source": "10.0.0.0/24"}],
        "timeouts": {"udp": 5}}})",
                                                     "x"),
                                          "", faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    return change;
}

TEST_F(History, KeepsObjectsOfEveryKindAndTimeouts) {
    change(router());
    const auto first = now();
    EXPECT_EQ(first.timeouts.udp, 5U);
    EXPECT_EQ(first.routes.size(), 1U);
    model::Change next;
    next.delete_routes.insert({"blue", *Prefix::parse("0.0.0.0/0")});
    next.put_timeouts["udp"] = 30;
    EXPECT_EQ(change(next), 2);
    EXPECT_EQ(now().timeouts, model::FlowTimeouts{});
    EXPECT_EQ(at(1), first);
    EXPECT_EQ(at(0), model::Config{});
    Transaction tx(database);
    const auto changes = generation(tx, 2).changes;
    ASSERT_EQ(changes.size(), 2U);
    EXPECT_EQ(changes[0].object, "routes/blue/0.0.0.0/0");
    EXPECT_EQ(changes[1].object, "timeouts/flows");
    EXPECT_FALSE(changes[1].after);
}

TEST_F(History, ReadsFromTheFileWhatItHadInMemory) {
    change(router());
    const auto before = now();
    {
        // Rolled back: what was in memory for it must go with it.
        Transaction tx(database);
        change_config(tx, load_config(tx), {}, "");
        EXPECT_EQ(load_config(tx), model::Config{});
    }
    EXPECT_EQ(now(), before);
    {
        Transaction tx(database);
        withdraw(tx, 1);
        EXPECT_EQ(load_config(tx), model::Config{});
        tx.commit();
    }
    EXPECT_EQ(now(), model::Config{});
}

}  // namespace
}  // namespace viaduct::store
