// Flows found by filters and listed page by page: what the API answers, from tables filled by hand.
#include "flow_listing.h"

#include <set>

#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"

#include "api/flow_json.h"
#include "flow_bench.h"

namespace viaduct::dataplane {
namespace {

constexpr std::uint32_t kEntries = 4000;

class FlowListing : public testing::Test {
protected:
    FlowListing()
        : memory4(FlowTable<FlowKey4>::bytes(kEntries)),
          memory6(FlowTable<FlowKey6>::bytes(kEntries)),
          v4(memory4.get(), kEntries, 1, nullptr),
          v6(memory6.get(), kEntries, 2, nullptr) {
        names.vrfs = {{0, "default"}, {1, "red"}};
        names.interfaces = {"gw0", "gw1"};
        names.ports = {"", "p1", "p2"};
        names.generation = 7;
        names.now = 100;
    }

    /// A flow of IPv4 addresses' and ports' numbers; replied unless told otherwise.
    FlowIndex flow4(std::uint8_t source, std::uint8_t destination, std::uint16_t from, std::uint16_t to,
                    std::uint8_t protocol = 17, Zone zone = 0, bool replied = true) {
        FlowKey4 key{{{10, 0, 0, source}},
                     {{10, 1, 0, destination}},
                     Be16::from_host(from),
                     Be16::from_host(to),
                     protocol,
                     0,
                     zone};
        auto record = record_of(key, 7);
        record.ingress = 1;
        record.port = 2;
        const auto pair = v4.insert(record, record_of(key.reversed(), 7), 0, 90);
        v4.tail(pair.reverse).packets = replied ? 1 : 0;
        return pair.forward;
    }
    std::uint64_t counted(const FlowFilter& filter) const {
        return count_flows(tables(), names, filter).flows;
    }
    [[nodiscard]] FlowTables tables() const {
        return {const_cast<FlowTable<FlowKey4>*>(&v4), const_cast<FlowTable<FlowKey6>*>(&v6)};
    }
    Json::Value page(const FlowFilter& filter = {}, FlowCursor from = {}, std::uint32_t most = 1000) {
        return parse_json(flows_text(tables(), names, filter, from, most), "a page");
    }
    static AskedValue asking(std::map<std::string, std::string> values) {
        return [values = std::move(values)](const char* key) -> std::optional<std::string> {
            const auto found = values.find(key);
            return found == values.end() ? std::nullopt : std::optional(found->second);
        };
    }

    TableMemory memory4;
    TableMemory memory6;
    FlowTable<FlowKey4> v4;
    FlowTable<FlowKey6> v6;
    FlowNames names;
};

TEST_F(FlowListing, EachFilterNarrows) {
    flow4(1, 1, 1000, 53);
    flow4(1, 2, 1001, 53, 17, 1);
    flow4(2, 1, 1002, 80, 6);
    flow4(3, 1, 1003, 53, 17, 0, false);
    enter(v6, numbered_key<FlowKey6>(1));
    const auto count = [&](std::map<std::string, std::string> values) {
        return counted(flow_filter(asking(std::move(values))));
    };
    EXPECT_EQ(count({}), 5U);
    EXPECT_EQ(count({{"vrf", "red"}}), 1U);
    EXPECT_EQ(count({{"source", "10.0.0.1"}}), 2U);
    EXPECT_EQ(count({{"source", "10.0.0.0/30"}}), 4U);
    EXPECT_EQ(count({{"destination", "10.1.0.2/32"}}), 1U);
    EXPECT_EQ(count({{"source", "::/0"}}), 1U);
    EXPECT_EQ(count({{"protocol", "tcp"}}), 1U);
    EXPECT_EQ(count({{"protocol", "17"}}), 4U);
    EXPECT_EQ(count({{"port", "53"}}), 4U);
    EXPECT_EQ(count({{"port", "1002"}}), 1U);
    EXPECT_EQ(count({{"state", "unreplied"}}), 3U);
    EXPECT_EQ(count({{"state", "replied"}, {"source", "10.0.0.1"}}), 2U);
    EXPECT_THROW(count({{"vrf", "blue"}}), Refused);
}

TEST_F(FlowListing, FaultsNameTheirKeysAllAtOnce) {
    try {
        flow_filter(asking({{"source", "10.0.0"}, {"protocol", "300"}, {"port", "x"}, {"state", "\x1b"}}));
        FAIL();
    } catch (const Refused& refused) {
        ASSERT_EQ(refused.faults().size(), 4U);
        EXPECT_EQ(refused.faults()[0].where, "source");
        EXPECT_EQ(refused.faults()[3].where, "state");
        EXPECT_NE(refused.faults()[3].reason.find("not \"?\""), std::string::npos);
    }
    EXPECT_THROW(flow_limit(asking({{"limit", "0"}})), Refused);
    EXPECT_THROW(flow_limit(asking({{"limit", "10001"}})), Refused);
    EXPECT_THROW(flow_cursor(asking({{"cursor", "5.1"}})), Refused);
    EXPECT_THROW(flow_cursor(asking({{"cursor", "4.4294967295"}})), Refused);
    EXPECT_EQ(flow_limit(asking({})), kFlowsOfAPage);
}

TEST_F(FlowListing, PagesTogetherHaveEachFlowOnce) {
    for (std::uint32_t number = 0; number < 1000; ++number) {
        enter(v4, numbered_key<FlowKey4>(number));
        enter(v6, numbered_key<FlowKey6>(number));
    }
    for (const auto most : {1U, 7U, 1000U, 5000U}) {
        std::set<std::string> seen;
        std::string cursor = "4.0";
        std::size_t pages = 0;
        for (bool more = true; more; ++pages) {
            const auto answer = page({}, flow_cursor(asking({{"cursor", cursor}})), most);
            EXPECT_LE(answer["flows"].size(), most);
            for (const auto& flow : answer["flows"])
                EXPECT_TRUE(seen.insert(flow["source"].asString() + flow["destination"].asString()).second);
            more = answer["next"].isString();
            if (more) cursor = answer["next"].asString();
        }
        EXPECT_EQ(seen.size(), 2000U);
        EXPECT_GE(pages, 2000U / most);
    }
    // Past the end, as a cursor of another table might be.
    EXPECT_EQ(page({}, {true, kNoFlow - 1})["flows"].size(), 0U);
}

TEST_F(FlowListing, AFlowIsToldInWhole) {
    const auto index = flow4(1, 1, 1000, 443, 6);
    auto record = record_of(
        FlowKey4{{{10, 0, 0, 1}}, {{10, 1, 0, 1}}, Be16::from_host(1000), Be16::from_host(443), 6, 0, 0}, 7);
    record.flags = kFlowTranslate;
    record.new_source = {{192, 0, 2, 1}};
    record.new_source_port = Be16::from_host(50000);
    record.ingress = 1;
    record.port = 2;
    ASSERT_TRUE(v4.update(index, record));
    v4.tail(index).tcp_seen = kTcpSyn | kTcpAck;
    v4.tail(v4.tail(index).peer).tcp_seen = kTcpSyn | kTcpAck;
    v4.tail(index).packets = 12;
    v4.tail(index).bytes = 3456;
    v4.tail(index).seen = 95;
    const auto flow = page()["flows"][0];
    EXPECT_EQ(
        to_json_text(flow),
        R"({"age_seconds":10,"bytes":3456,"destination":"10.1.0.1","destination_port":443,"idle_seconds":5,)"
        R"("interface":"gw1","packets":12,"port":"p2","protocol":"tcp","reply_bytes":0,"reply_packets":1,)"
        R"("source":"10.0.0.1","source_port":1000,"state":"established","timeout_seconds":432000,)"
        R"("translated":{"destination":"10.1.0.1","destination_port":443,"source":"192.0.2.1",)"
        R"("source_port":50000},"vrf":"default"})");
    // Indices of another generation mean something else now.
    names.generation = 8;
    EXPECT_FALSE(page()["flows"][0].isMember("interface"));
}

TEST_F(FlowListing, EchoesHaveAnIdentifier) {
    flow4(1, 1, 77, 0xffff, 1);
    const auto flow = page()["flows"][0];
    EXPECT_EQ(flow["id"].asUInt(), 77U);
    EXPECT_FALSE(flow.isMember("source_port"));
}

TEST_F(FlowListing, FlushesWhatMatches) {
    flow4(1, 1, 1000, 53);
    flow4(1, 2, 1001, 53);
    flow4(2, 1, 1002, 80, 6);
    enter(v6, numbered_key<FlowKey6>(1));
    FlowFilter udp;
    udp.protocol = 17;
    EXPECT_EQ(flush_flows(tables(), names, udp), 3U);
    EXPECT_EQ(counted({}), 1U);
    EXPECT_EQ(flush_flows(tables(), names, {}), 1U);
    EXPECT_EQ(v4.counters().removed + v6.counters().removed, 4U);
    EXPECT_EQ(flow_tables_json(tables())["ipv4"]["removed"].asUInt(), 3U);
    EXPECT_EQ(flow_count_json(count_flows(tables(), names, {}))["flows"].asUInt(), 0U);
}

}  // namespace
}  // namespace viaduct::dataplane
