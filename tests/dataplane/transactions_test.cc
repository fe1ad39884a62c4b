// Whole transactions against the real dataplane: refused with every fault and nothing changed, or in force at
// once, while frames flow.
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "bench.h"

namespace viaduct::test {

using namespace dataplane;

namespace {

std::string port_json(const std::string& name, const std::string& more = "") {
    return R"({"name":")" + name + R"(","kind":"vhost-user","bridge":"br0","path":"/)" + name + "\"" + more +
           "}";
}

std::string ports_json(int from, int to, const std::string& more = "") {
    std::string list;
    for (int i = from; i < to; ++i)
        list += (list.empty() ? "" : ",") + port_json("p" + std::to_string(i), more);
    return list;
}

std::string put(const std::string& ports, const std::string& bridges = R"({"name":"br0"})") {
    return R"({"put":{"bridges":[)" + bridges + R"(],"ports":[)" + ports + "]}}";
}

std::string mac(int n) {
    char text[18];
    std::snprintf(text, sizeof text, "02:00:00:00:%02x:%02x", n >> 8 & 255, n & 255);
    return text;
}

}  // namespace

TEST(Transactions, ManyPortsExchangeFramesAndLeave) {
    Bench bench({.workers = 2, .packet_buffers = 32768});
    bench.apply_json(put(ports_json(0, 300)));
    bench.inject("p0", frame({.destination = "ff:ff:ff:ff:ff:ff", .source = mac(1)}));
    for (int i = 1; i < 300; ++i)
        EXPECT_EQ(bench.collect("p" + std::to_string(i)).size(), 1U) << i;
    EXPECT_EQ(bench.state("p0").totals.copies, 298U);
    std::string names;
    for (int i = 1; i < 300; ++i)
        names += (i > 1 ? ",\"p" : "\"p") + std::to_string(i) + "\"";
    bench.apply_json(R"({"delete":{"ports":[)" + names + "]}}");
    EXPECT_EQ(bench.dataplane().ports().size(), 1U);
    EXPECT_EQ(bench.dataplane().ledger().total.tx_packets, 299U)
        << "what removed ports counted stays in the ledger";
}

TEST(Transactions, TellEveryFaultAndChangeNothing) {
    Bench bench;
    bench.apply_json(put(port_json("a")));
    const auto before = bench.dataplane().config();
    const auto faults = bench.refused_json(
        R"({"put":{"ports":[)" + port_json("b", R"(,"vlan":{"untagged":5})") +
        R"(,{"name":"c","kind":"vhost-user","bridge":"nowhere","path":"/c"},{"name":"d","kind":"vhost-user","path":"/a"}]},)"
        R"("delete":{"ports":["gone"],"bridges":["br9"]}})");
    EXPECT_EQ(faults.size(), 5U) << to_string(faults);
    EXPECT_EQ(bench.dataplane().config(), before);
}

TEST(Transactions, RefusePortsWhoseBuffersAreNotThere) {
    Bench bench({.workers = 1, .packet_buffers = 2048});
    bench.apply_json(put(ports_json(0, 20)));
    const auto faults = bench.refused_json(put(ports_json(20, 40)));
    ASSERT_FALSE(faults.empty());
    EXPECT_NE(faults[0].reason.find("packet buffers"), std::string::npos) << faults[0].reason;
    EXPECT_EQ(bench.dataplane().ports().size(), 20U);
    const auto account = bench.dataplane().buffers();
    EXPECT_LE(account.reserved, account.total);
    // Jumbo frames take more buffers: growing the MTU is refused in the same words.
    EXPECT_FALSE(bench.refused_json(put(ports_json(0, 20, R"(,"mtu":9000)"))).empty());
    bench.inject("p0", frame({.destination = "ff:ff:ff:ff:ff:ff"}));
    EXPECT_EQ(bench.collect("p19").size(), 1U);
}

TEST(Transactions, AFullHouseForgetsNothingWhenPortsComeAndGoUnderTraffic) {
    Bench bench({.workers = 2});
    bench.apply_json(put(ports_json(0, 4)));
    bench.inject("p1", frame({.destination = "ff:ff:ff:ff:ff:ff", .source = mac(2)}));
    bench.settle();
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> sent{0};
    std::thread traffic([&] {
        const auto bytes = frame({.destination = mac(2), .source = mac(1)});
        while (!stop) {
            if (bench.wire("p0").inject(0, bytes)) ++sent;
            bench.wire("p1").collect_bytes(0);
            bench.wire("p1").inject(0, frame({.destination = mac(1), .source = mac(2)}));
            bench.wire("p0").collect_bytes(0);
        }
    });
    for (int round = 0; round < 100; ++round) {
        bench.apply_json(put(ports_json(10, 20)));
        std::string names;
        for (int i = 10; i < 20; ++i)
            names += (i > 10 ? ",\"p" : "\"p") + std::to_string(i) + "\"";
        bench.apply_json(R"({"delete":{"ports":[)" + names + "]}}");
    }
    while (sent < 1000)
        std::this_thread::yield();
    stop = true;
    traffic.join();
    bench.settle();
    EXPECT_EQ(bench.dataplane().ports().size(), 4U);
    EXPECT_EQ(bench.drops("p1", Drop::tx_gone), 0U);
    EXPECT_EQ(bench.drops("p1", Drop::tx_link_down), 0U);
}

TEST(Transactions, APortIsMadeAnewOnlyWhenItMust) {
    Bench bench;
    bench.apply_json(put(port_json("a") + "," + port_json("b")));
    auto* before = &bench.wire("a");
    bench.apply_json(put(port_json("a", R"(,"mtu":9000,"up":false,"fdb_limit":3)")));
    EXPECT_EQ(&bench.wire("a"), before);
    EXPECT_EQ(before->mtu(), 9000U);
    const auto index = bench.state("a").index;
    bench.apply_json(put(port_json("a", R"(,"queues":2)")));
    EXPECT_EQ(bench.state("a").queues.size(), 2U);
    (void)index;
    bench.inject("a", frame({.destination = "ff:ff:ff:ff:ff:ff"}), 1);
    EXPECT_EQ(bench.collect("b").size(), 1U);
}

TEST(Transactions, DryRunChecksAndChangesNothing) {
    Bench bench;
    model::Change change;
    change.put.bridges["br0"].name = "br0";
    bench.apply(change, true);
    EXPECT_TRUE(bench.dataplane().config().bridges.empty());
    change.put.ports["x"] = {.name = "x", .bridge = "nowhere"};
    EXPECT_THROW(bench.apply(change, true), Refused);
}

TEST(Fdb, APortsLimitHoldsAndItsNeighbourIsNotFelt) {
    Bench bench;
    bench.apply_json(put(port_json("a", R"(,"fdb_limit":10)") + "," + port_json("b")));
    for (int i = 0; i < 50; ++i)
        bench.inject("a", frame({.destination = "ff:ff:ff:ff:ff:ff", .source = mac(100 + i)}));
    for (int i = 0; i < 50; ++i)
        bench.inject("b", frame({.destination = "ff:ff:ff:ff:ff:ff", .source = mac(1000 + i)}));
    bench.settle();
    EXPECT_EQ(bench.state("a").fdb_entries, 10U);
    EXPECT_EQ(bench.state("a").totals.not_learned, 40U);
    EXPECT_EQ(bench.state("b").fdb_entries, 50U);
    std::size_t listed = 0;
    bench.dataplane().visit_fdb({.port = "b"}, [&](const FdbState&) { ++listed; });
    EXPECT_EQ(listed, 50U);
    EXPECT_EQ(bench.dataplane().flush_fdb({.port = "a"}), 10U);
    EXPECT_THROW(bench.dataplane().flush_fdb({.bridge = "br7"}), Refused);
}

TEST(Fdb, ATableIsFilledToItsSizeAndNotBeyond) {
    Bench bench;
    bench.apply_json(put(port_json("a") + "," + port_json("b"), R"({"name":"br0","fdb_size":512})"));
    for (int i = 0; i < 2000; ++i) {
        bench.inject("a", frame({.destination = mac(9000), .source = mac(1 + i)}));
        if (i % 256 == 0) bench.collect("b");
    }
    bench.collect("b");
    EXPECT_LE(bench.state("a").fdb_entries, 512U);
    EXPECT_GT(bench.state("a").fdb_entries, 480U);
}

TEST(Workers, QueuesAreSpreadAndFramesCrossBetweenWorkers) {
    Bench bench({.workers = 2});
    bench.apply_json(put(port_json("a", R"(,"queues":2)") + "," + port_json("b")));
    const auto a = bench.state("a");
    ASSERT_EQ(a.queues.size(), 2U);
    EXPECT_NE(a.queues[0].worker, a.queues[1].worker);
    bench.inject("b", frame({.destination = "ff:ff:ff:ff:ff:ff", .source = mac(2)}));
    bench.settle();
    for (std::uint16_t queue = 0; queue < 2; ++queue) {
        for (int i = 0; i < 100; ++i)
            bench.inject("a", frame({.destination = mac(2), .source = mac(1)}), queue);
        EXPECT_EQ(bench.collect("b").size(), 100U) << "queue " << queue;
    }
    std::uint64_t handed = 0;
    for (const auto& worker : bench.dataplane().workers())
        handed += worker.handed_off;
    EXPECT_GE(handed, 100U);
}

TEST(Workers, QueuesThatAGuestTurnsOffAreNotUsed) {
    Bench bench({.workers = 2});
    bench.apply_json(put(port_json("a", R"(,"queues":4)") + "," + port_json("b")));
    bench.wire("a").set_active_queues(1);
    bench.dataplane().tick();
    EXPECT_EQ(bench.state("a").queues.size(), 1U);
    bench.inject("b", frame({.destination = "ff:ff:ff:ff:ff:ff"}));
    EXPECT_EQ(bench.collect("a").size(), 1U);
    bench.wire("a").set_active_queues(4);
    bench.dataplane().tick();
    EXPECT_EQ(bench.state("a").queues.size(), 4U);
}

TEST(Workers, FramesInOneFlowStayInOrder) {
    Bench bench({.workers = 2});
    bench.apply_json(put(port_json("a") + "," + port_json("b")));
    bench.inject("b", frame({.destination = "ff:ff:ff:ff:ff:ff", .source = mac(2)}));
    bench.collect("a");
    for (int i = 0; i < 500; ++i) {
        auto bytes = frame({.destination = mac(2), .source = mac(1)});
        bytes[20] = static_cast<std::uint8_t>(i >> 8);
        bytes[21] = static_cast<std::uint8_t>(i);
        bench.inject("a", bytes);
    }
    const auto out = bench.collect("b");
    ASSERT_EQ(out.size(), 500U);
    for (int i = 0; i < 500; ++i)
        ASSERT_EQ(out[static_cast<std::size_t>(i)][20] << 8 | out[static_cast<std::size_t>(i)][21], i);
}

TEST(Workers, AFullOutputIsCountedAndHurtsNobodyElse) {
    Bench bench;
    bench.apply_json(put(port_json("a") + "," + port_json("b") + "," + port_json("c")));
    bench.inject("b", frame({.destination = "ff:ff:ff:ff:ff:ff", .source = mac(2)}));
    bench.inject("c", frame({.destination = "ff:ff:ff:ff:ff:ff", .source = mac(3)}));
    bench.collect("b");
    bench.collect("c");
    bench.collect("a");
    // Nobody reads b: its line fills up, the rest is dropped by name, and c gets everything.
    std::size_t to_c = 0;
    for (int i = 0; i < 2000; ++i) {
        bench.inject("a", frame({.destination = mac(2), .source = mac(1)}));
        bench.inject("a", frame({.destination = mac(3), .source = mac(1)}));
        if (i % 200 == 0) to_c += bench.collect("c").size();
    }
    to_c += bench.collect("c").size();
    EXPECT_EQ(to_c, 2000U);
    EXPECT_GT(bench.drops("b", Drop::tx_full), 0U);
    EXPECT_EQ(bench.drops("b", Drop::tx_full) + bench.collect("b").size(), 2000U);
}

}  // namespace viaduct::test
