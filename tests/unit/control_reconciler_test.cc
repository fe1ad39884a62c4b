// Desired state against a dataplane that comes, goes, forgets, is meddled with and refuses.
#include <set>

#include <gtest/gtest.h>

#include "viaduct/model_kinds.h"

#include "control_fake_dataplane.h"
#include "reconcile/config_changes.h"
#include "reconcile/leave_out.h"
#include "reconcile/reconciler.h"
#include "store/config_history.h"

namespace viaduct::reconcile {
namespace {

using test::bridge;
using test::eventually;
using test::FakeDataplane;
using test::port;
using test::put;

/// What pods would want: ports on a bridge that exists while they do.
class Pods : public DesiredSource {
public:
    void contribute(store::Transaction&, model::Config& desired, Faults& faults) const override {
        const std::scoped_lock lock(mutex_);
        for (const auto& name : ports_) {
            desired.bridges.emplace("pods", bridge("pods"));
            if (!desired.ports.emplace(name, port(name, "pods")).second) {
                faults.push_back({"ports/" + name, "has the name of a configured port"});
            }
        }
    }
    void add(const std::string& name) {
        const std::scoped_lock lock(mutex_);
        ports_.insert(name);
    }
    void remove(const std::string& name) {
        const std::scoped_lock lock(mutex_);
        ports_.erase(name);
    }

private:
    mutable std::mutex mutex_;
    std::set<std::string> ports_;
};

class Reconciling : public testing::Test {
protected:
    void start_dataplane() { dataplane = std::make_unique<FakeDataplane>(socket); }
    void start() {
        reconciler.start();
        if (dataplane) {
            ASSERT_TRUE(eventually([&] { return reconciler.status().in_sync; }));
        }
    }
    bool in_force(const std::string& name) { return dataplane->config().ports.contains(name); }

    test::TemporaryDirectory directory;
    std::string socket = directory.file("dataplane.sock");
    store::Database database{directory.file("v.db"), store::config_migrations()};
    ConfigSource configuration;
    Pods pods;
    std::unique_ptr<FakeDataplane> dataplane;
    Reconciler reconciler{
        {.dataplane_socket = socket, .every = std::chrono::seconds(1)}, database, {&configuration, &pods}};
    ConfigChanges changes{database, reconciler};
};

TEST_F(Reconciling, AppliesAChangeAtOnce) {
    start_dataplane();
    start();
    const auto outcome = changes.change(put({bridge("br0")}, {port("p1")}), false, "x");
    EXPECT_TRUE(outcome.applied);
    EXPECT_EQ(outcome.generation, 1);
    EXPECT_TRUE(in_force("p1"));
    const auto nothing = changes.change(put({bridge("br0")}, {}), false, "again");
    EXPECT_EQ(nothing.generation, 1);
    EXPECT_TRUE(nothing.change.empty());
}

TEST_F(Reconciling, KeepsAChangeForADataplaneThatIsAway) {
    start();
    const auto outcome = changes.change(put({bridge("br0")}, {port("p1")}), false, "");
    EXPECT_FALSE(outcome.applied);
    EXPECT_NE(outcome.note.find("away"), std::string::npos);
    EXPECT_THROW(reconciler.apply(put({}, {port("p1")})), http::Unreachable);
    start_dataplane();
    EXPECT_TRUE(eventually([&] { return in_force("p1"); }, std::chrono::milliseconds(1000)));
}

TEST_F(Reconciling, RestoresEverythingInOneTransactionAfterARestart) {
    start_dataplane();
    start();
    changes.change(put({bridge("br0")}, {port("p1"), port("p2")}), false, "");
    const auto before = dataplane->transactions();
    dataplane->restart();
    EXPECT_TRUE(eventually([&] { return in_force("p1"); }, std::chrono::milliseconds(1000)));
    EXPECT_EQ(dataplane->config().ports.size(), 2U);
    EXPECT_EQ(dataplane->transactions(), before + 1);
    EXPECT_TRUE(eventually([&] { return reconciler.status().restores == 2; }));
}

TEST_F(Reconciling, ChangesRightAfterARestartAreNotLost) {
    start_dataplane();
    start();
    changes.change(put({bridge("br0")}, {}), false, "");
    for (int i = 0; i < 5; ++i) {
        dataplane->restart();
        changes.change(put({}, {port("p" + std::to_string(i))}), false, "");
    }
    EXPECT_TRUE(eventually([&] { return dataplane->config().ports.size() == 5; }));
}

TEST_F(Reconciling, WaitsForADataplaneAsLongAsItIsToldTo) {
    start_dataplane();
    start();
    dataplane->stop();
    pods.add("pod1");
    std::jthread later([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        dataplane->start();
    });
    EXPECT_NO_THROW(
        reconciler.apply(put({bridge("pods")}, {port("pod1", "pods")}), std::chrono::seconds(10)));
    EXPECT_TRUE(in_force("pod1"));
}

TEST_F(Reconciling, RepairsWhatSomebodyElseChanged) {
    start_dataplane();
    start();
    changes.change(put({bridge("br0")}, {port("p1")}), false, "");
    dataplane->meddle([](model::Config& config) { config.ports.erase("p1"); });
    EXPECT_TRUE(eventually([&] { return in_force("p1"); }));  // at the next comparison
    dataplane->meddle([](model::Config& config) { config = {}; });
    EXPECT_TRUE(changes.change(put({}, {port("p2")}), false, "").applied);  // at once, when it shows
    EXPECT_TRUE(in_force("p1"));
}

TEST_F(Reconciling, DoesNotReadAllOfADataplaneThatNobodyElseChanges) {
    start_dataplane();
    start();
    changes.change(put({bridge("br0")}, {port("p1")}), false, "");
    pods.add("pod1");
    const auto readings = dataplane->readings();
    const auto comparisons = reconciler.status().comparisons;
    reconciler.wake();
    ASSERT_TRUE(eventually([&] { return reconciler.status().comparisons > comparisons; }));
    EXPECT_TRUE(in_force("pod1"));
    EXPECT_EQ(dataplane->readings(), readings);
    // Between a change of somebody's and the next comparison comes one of ours: his is found all the same.
    dataplane->meddle([](model::Config& config) { config.ports.erase("p1"); });
    changes.change(put({}, {port("p2")}), false, "");
    reconciler.wake();
    EXPECT_TRUE(eventually([&] { return in_force("p1") && in_force("p2"); }));
    EXPECT_GT(dataplane->readings(), readings);
}

TEST_F(Reconciling, RefusesWhatTheDataplaneRefusesAndKeepsNothing) {
    start_dataplane();
    start();
    changes.change(put({bridge("br0")}, {port("p1")}), false, "");
    dataplane->judge([](const model::Change& change) {
        return change.put.ports.contains("big")
                   ? Faults{{"ports/big", "would need more packet buffers than there are"}}
                   : Faults{};
    });
    try {
        changes.change(put({}, {port("big")}), false, "");
        FAIL() << "it was accepted";
    } catch (const Refused& refused) {
        EXPECT_NE(std::string(refused.what()).find("packet buffers"), std::string::npos);
    }
    store::Transaction tx(database);
    EXPECT_FALSE(store::load_config(tx).ports.contains("big"));
    EXPECT_EQ(store::newest_generation(tx), 1);
}

TEST_F(Reconciling, DryRunChangesNothing) {
    start_dataplane();
    start();
    const auto outcome = changes.change(put({bridge("br0")}, {port("p1")}), true, "");
    EXPECT_TRUE(outcome.applied);
    EXPECT_EQ(outcome.generation, 0);
    EXPECT_EQ(outcome.change.put.ports.size(), 1U);
    EXPECT_EQ(dataplane->config(), model::Config{});
    dataplane->judge([](const model::Change&) { return Faults{{"ports/p1", "no"}}; });
    EXPECT_THROW(changes.change(put({bridge("br0")}, {port("p1")}), true, ""), Refused);
    EXPECT_THROW(changes.change(put({}, {port("p1", "missing")}), true, ""), Refused);
    store::Transaction tx(database);
    EXPECT_EQ(store::newest_generation(tx), 0);
}

TEST_F(Reconciling, LeavesOutWhatIsRefusedAndRetries) {
    changes.change(
        put({bridge("br0"), bridge("br1")}, {port("p1"), port("p2"), port("p3", "br1"), port("p4")}), false,
        "");
    start_dataplane();
    dataplane->judge([](const model::Change& change) {
        Faults faults;
        if (change.put.ports.contains("p2")) faults.push_back({"ports/p2/netns", "does not exist"});
        if (change.put.bridges.contains("br1")) faults.push_back({"bridges/br1", "is too much"});
        return faults;
    });
    reconciler.start();
    ASSERT_TRUE(eventually([&] { return dataplane->config().ports.size() == 2; }));
    ASSERT_TRUE(eventually([&] { return reconciler.status().left_out.size() == 3; }));
    EXPECT_TRUE(in_force("p4"));
    EXPECT_FALSE(reconciler.status().in_sync);
    EXPECT_TRUE(reconciler.status().left_out.contains("ports/p3"));  // it hung on br1
    dataplane->judge(nullptr);
    EXPECT_TRUE(eventually([&] { return reconciler.status().in_sync; }));
    EXPECT_EQ(dataplane->config().ports.size(), 4U);
}

TEST_F(Reconciling, GoesObjectByObjectWhenFaultsNameNone) {
    changes.change(put({bridge("br0")}, {port("p1"), port("p2"), port("p3")}), false, "");
    start_dataplane();
    dataplane->judge([](const model::Change& change) {
        return change.put.ports.contains("p2") ? Faults{{"", "something is wrong"}} : Faults{};
    });
    reconciler.start();
    EXPECT_TRUE(eventually([&] { return dataplane->config().ports.size() == 2; }));
    EXPECT_TRUE(eventually([&] { return reconciler.status().left_out.contains("ports/p2"); }));
}

model::Change routed(int routes) {
    Faults faults;
    auto change = put({bridge("br0")}, {});
    model::Interface gateway{.name = "gw0", .bridge = "br0"};
    gateway.addresses = {*Prefix::parse("10.0.0.1/24")};
    change.put.interfaces.emplace("gw0", gateway);
    for (int i = 0; i < routes; ++i) {
        model::Route route;
        route.prefix =
            *Prefix::parse("172." + std::to_string(16 + i / 250) + "." + std::to_string(i % 250) + ".0/24");
        route.next_hops = {{IpAddress::parse("10.0.0.9"), "gw0", 1}};
        change.put.routes.emplace(model::key_of(route), route);
    }
    return change;
}

TEST_F(Reconciling, LeavesOutOneRouteOfMany) {
    changes.change(routed(700), false, "");
    start_dataplane();
    const std::tuple bad{std::string("default"), *Prefix::parse("172.17.7.0/24")};
    dataplane->judge([&](const model::Change& change) {
        return change.put.routes.contains(bad) ? Faults{{"routes/default/172.17.7.0/24", "is not liked"}}
                                               : Faults{};
    });
    reconciler.start();
    ASSERT_TRUE(eventually([&] { return dataplane->config().routes.size() == 699; }));
    EXPECT_TRUE(
        eventually([&] { return reconciler.status().left_out.contains("routes/default/172.17.7.0/24"); }));
    EXPECT_FALSE(dataplane->config().routes.contains(bad));
    EXPECT_EQ(reconciler.status().left_out.size(), 1U);
}

TEST_F(Reconciling, FindsTwoNamelessCulpritsAmongManyInFewTransactions) {
    changes.change(routed(700), false, "");
    start_dataplane();
    dataplane->judge([](const model::Change& change) {
        for (const auto& [key, route] : change.put.routes) {
            const auto text = route.prefix.to_string();
            if (text == "172.16.3.0/24" || text == "172.18.99.0/24")
                return Faults{{"", "something is wrong"}};
        }
        return Faults{};
    });
    reconciler.start();
    ASSERT_TRUE(eventually([&] { return reconciler.status().left_out.size() == 2; }));
    EXPECT_EQ(dataplane->config().routes.size(), 698U);
    EXPECT_LT(dataplane->transactions(), 120);
}

TEST_F(Reconciling, WhatIsInUseIsNotDeleted) {
    changes.change(routed(5), false, "");
    model::Change removal;
    removal.delete_interfaces = {"gw0"};
    removal.delete_bridges = {"br0"};
    try {
        changes.change(removal, false, "");
        FAIL();
    } catch (const Refused& refused) {
        ASSERT_EQ(refused.faults().size(), 1U) << refused.what();  // the bridge's only user goes with it
        EXPECT_EQ(refused.faults()[0].where, "interfaces/gw0");
        EXPECT_EQ(
            refused.faults()[0].reason,
            "is in use by routes default/172.16.0.0/24, default/172.16.1.0/24, default/172.16.2.0/24 and 2 "
            "more; delete it when they are gone");
    }
    store::Transaction tx(database);
    for (const auto& [key, route] : store::load_config(tx).routes)
        removal.delete_routes.insert(key);
    EXPECT_EQ(removal.delete_routes.size(), 5U);
}

TEST_F(Reconciling, APortThatCannotBeChangedStaysAsItWas) {
    start_dataplane();
    start();
    changes.change(put({bridge("br0")}, {port("p1")}), false, "");
    dataplane->stop();
    ASSERT_TRUE(eventually([&] { return !reconciler.status().connected; }));
    auto wide = port("p1");
    wide.mtu = 9000;
    changes.change(put({}, {wide}), false, "");
    dataplane->judge([](const model::Change& change) {
        const auto found = change.put.ports.find("p1");
        return found != change.put.ports.end() && found->second.mtu == 9000
                   ? Faults{{"ports/p1/mtu", "too wide"}}
                   : Faults{};
    });
    dataplane->meddle([](model::Config& config) {
        config.bridges.emplace("br0", bridge("br0"));
        config.ports.emplace("p1", port("p1"));
    });
    dataplane->start();
    EXPECT_TRUE(eventually([&] { return reconciler.status().left_out.contains("ports/p1"); }));
    EXPECT_TRUE(in_force("p1"));
}

TEST_F(Reconciling, ABridgeThatPodsAreOnIsNotDeleted) {
    start_dataplane();
    start();
    changes.change(put({bridge("pods")}, {}), false, "");
    pods.add("pod1");
    reconciler.apply(put({}, {port("pod1", "pods")}));
    model::Change removal;
    removal.delete_bridges = {"pods"};
    try {
        changes.change(removal, false, "");
        FAIL() << "it was deleted";
    } catch (const Refused& refused) {
        EXPECT_NE(std::string(refused.what()).find("pod1"), std::string::npos) << refused.what();
    }
    EXPECT_THROW(changes.change(put({}, {port("pod1", "pods")}), false, ""), Refused);  // its name is taken
    pods.remove("pod1");
    model::Change gone;
    gone.delete_ports = {"pod1"};
    reconciler.apply(gone);
    EXPECT_NO_THROW(changes.change(removal, false, ""));
    EXPECT_TRUE(eventually([&] { return !dataplane->config().bridges.contains("pods"); }));
}

TEST_F(Reconciling, ABridgeThatIsWantedAgainIsNotTakenAway) {
    start_dataplane();
    start();
    pods.add("pod1");
    reconciler.apply(put({bridge("pods")}, {port("pod1", "pods")}));
    model::Change late;  // of a pod that left before pod1 came
    late.delete_bridges = {"pods"};
    late.delete_ports = {"pod0"};
    EXPECT_NO_THROW(reconciler.apply(late));
    EXPECT_TRUE(in_force("pod1"));
}

TEST_F(Reconciling, RollsBack) {
    start_dataplane();
    start();
    changes.change(put({bridge("br0")}, {port("p1")}), false, "");
    changes.change(put({bridge("br1")}, {port("p2", "br1")}), false, "");
    const auto outcome = changes.rollback(1, false, "");
    EXPECT_EQ(outcome.generation, 3);
    EXPECT_FALSE(in_force("p2"));
    EXPECT_TRUE(in_force("p1"));
    EXPECT_THROW(changes.rollback(17, false, ""), Refused);
    changes.replace({}, false, "");
    EXPECT_EQ(dataplane->config(), model::Config{});
}

TEST_F(Reconciling, ServesSixtyFourAtOnce) {
    start_dataplane();
    start();
    std::vector<std::jthread> threads;
    for (int i = 0; i < 64; ++i) {
        threads.emplace_back([&, i] {
            const auto name = "pod" + std::to_string(i);
            pods.add(name);
            reconciler.apply(put({bridge("pods")}, {port(name, "pods")}));
            if (i == 20) dataplane->meddle([](model::Config& config) { config = {}; });
        });
    }
    threads.clear();
    EXPECT_TRUE(eventually([&] { return dataplane->config().ports.size() == 64; }));
}

TEST(LeaveOut, FindsTheObjectOfAFault) {
    EXPECT_EQ(object_of("ports/web-1/mtu"), "ports/web-1");
    EXPECT_EQ(object_of("put/bridges/br0"), "bridges/br0");
    EXPECT_EQ(object_of("fdb/br0/10/02:00:00:00:00:01/port"), "fdb/br0/10/02:00:00:00:00:01");
    EXPECT_EQ(object_of("put/routes/blue/10.0.0.0/8/next_hops/0"), "routes/blue/10.0.0.0/8");
    EXPECT_EQ(object_of("neighbours/gw0/fd00::1"), "neighbours/gw0/fd00::1");
    EXPECT_EQ(object_of("fdb/br0/x/02:00:00:00:00:01"), "");
    EXPECT_EQ(object_of("fdb/br0"), "");
    EXPECT_EQ(object_of("ports"), "");
    EXPECT_EQ(object_of(""), "");
}

TEST(LeaveOut, OneByOneComesInAnOrderThatWorks) {
    model::Config from;
    Faults faults;
    from = model::apply(from, put({bridge("old")}, {port("a", "old")}), faults);
    model::Config to;
    to = model::apply(to, put({bridge("new")}, {port("a", "new"), port("b", "new")}), faults);
    const model::FdbEntry entry{"new", 0, *MacAddress::parse("02:00:00:00:00:01"), "b"};
    to.fdb.emplace(entry.key(), entry);
    auto state = from;
    const auto change = model::difference(from, to);
    for (const auto& step : one_by_one(change)) {
        model::Change one;
        step.add(one);
        model::apply_to(state, one, faults);
        model::check(state, faults);
        EXPECT_TRUE(faults.empty()) << step.object << ": " << to_string(faults);
    }
    EXPECT_EQ(state, to);
}

}  // namespace
}  // namespace viaduct::reconcile
