// The dataplane's API through its real Unix socket, with wires for ports behind it.
#include "api/api.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/json.h"
#include "viaduct/log.h"
#include "viaduct/model.h"

#include "../dataplane/bench.h"
#include "api/transaction.h"

namespace viaduct::test {
namespace {

using dataplane::Api;
using dataplane::Identity;
using dataplane::in_words;

constexpr const char* kTwoPorts = R"({"put": {
    "bridges": [{"name": "br0"}],
    "ports": [{"name": "a", "kind": "tap", "ifname": "a0", "bridge": "br0"},
              {"name": "b", "kind": "tap", "ifname": "b0", "bridge": "br0"}]}})";

class ApiTest : public testing::Test {
protected:
    ApiTest()
        : identity_(dataplane::make_identity()),
          api_(identity_, bench_.dataplane()),
          path_(testing::TempDir() + "api-" + std::to_string(::getpid()) + ".sock"),
          server_(std::in_place,
                  http::ServerOptions{.path = path_, .threads = 2, .idle = std::chrono::seconds(5)},
                  [this](http::Request& request) { return api_.answer(request); }),
          client_(path_, std::chrono::seconds(20)) {}

    http::Response ask(const std::string& method, const std::string& target, const std::string& body = {}) {
        return client_.request(method, target, body);
    }
    /// The answer to a request that must be accepted.
    Json::Value good(const std::string& method, const std::string& target, const std::string& body = {}) {
        const auto response = ask(method, target, body);
        EXPECT_EQ(response.status, 200U) << response.body;
        EXPECT_EQ(response.content_type, "application/json");
        return parse_json(response.body, "answer");
    }
    /// The error's sentence; checks the form that all errors have.
    std::string bad(unsigned status, const std::string& method, const std::string& target,
                    const std::string& body = {}) {
        const auto response = ask(method, target, body);
        EXPECT_EQ(response.status, status) << response.body;
        const auto json = parse_json(response.body, "answer");
        EXPECT_TRUE(json["error"].isString() && json["faults"].isArray() && !json["faults"].empty())
            << response.body;
        return json["error"].asString();
    }

    Bench bench_;
    Identity identity_;
    Api api_;
    std::string path_;
    std::optional<http::Server> server_;
    http::Client client_;
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_F(ApiTest, TransactionIsInForceWhenItReturns) {
    const auto answer = good("POST", "/v1/transactions", kTwoPorts);
    EXPECT_TRUE(answer["applied"].asBool());
    EXPECT_EQ(answer["instance"].asString(), identity_.instance);
    const auto config = good("GET", "/v1/config");
    EXPECT_EQ(config["ports"].size(), 2U);
    EXPECT_EQ(config["bridges"][0]["name"].asString(), "br0");
    good("POST", "/v1/transactions", R"({"delete": {"ports": ["a"]}})");
    EXPECT_EQ(good("GET", "/v1/config")["ports"].size(), 1U);
}

constexpr const char* kServices = R"({"put": {"services": [
    {"namespace": "apps", "name": "web", "port": "http", "frontends": [{"address": "10.96.0.10", "port": 80}],
     "backends": [{"address": "10.0.0.2", "port": 8080, "name": "a \"name\"", "local": true},
                  {"address": "fd00::2", "port": 8080, "draining": true, "weight": 2}]},
    {"namespace": "apps", "name": "web", "port": "https", "frontends": [{"address": "10.96.0.10", "port": 443}]},
    {"namespace": "apps", "name": "dns", "port": "53", "protocol": "udp"}]}})";

TEST_F(ApiTest, ServicesAreListedInOrderAllOrByName) {
    EXPECT_TRUE(good("GET", "/v1/services")["services"].empty());
    good("POST", "/v1/transactions", kServices);
    const auto all = good("GET", "/v1/services")["services"];
    ASSERT_EQ(all.size(), 3U);
    EXPECT_EQ(all[0]["name"].asString(), "dns");
    EXPECT_TRUE(all[0]["backends"].empty());
    const auto& web = all[1];
    EXPECT_EQ(web["port"].asString(), "http");
    EXPECT_EQ(web["vrf"].asString(), "default");
    EXPECT_EQ(web["protocol"].asString(), "tcp");
    EXPECT_EQ(web["flows"].asUInt64() + web["refused"].asUInt64(), 0U);
    ASSERT_EQ(web["backends"].size(), 2U);
    EXPECT_EQ(web["backends"][0]["name"].asString(), "a \"name\"");
    EXPECT_TRUE(web["backends"][0]["local"].asBool());
    EXPECT_FALSE(web["backends"][1].isMember("name"));
    EXPECT_TRUE(web["backends"][1]["draining"].asBool());
    EXPECT_EQ(web["backends"][1]["weight"].asUInt(), 2U);
    for (const char* key : {"connections", "tx_packets", "tx_bytes", "rx_packets", "rx_bytes"})
        EXPECT_EQ(web["backends"][0][key].asUInt64(), 0U) << key;
    EXPECT_EQ(good("GET", "/v1/services?service=apps/web")["services"].size(), 2U);
    EXPECT_EQ(good("GET", "/v1/services?service=apps/web/https")["services"][0]["port"].asString(), "https");
    EXPECT_TRUE(contains(bad(404, "GET", "/v1/services?service=apps/ftp"), "apps/ftp"));
    for (const char* text : {"web", "apps/", "/web", "apps/web/", "apps/web/http/x", "apps/%1b"})
        EXPECT_TRUE(contains(bad(400, "GET", std::string("/v1/services?service=") + text), "NAMESPACE/NAME"));
    EXPECT_TRUE(contains(bad(400, "GET", "/v1/flows?service=web"), "NAMESPACE/NAME"));
    EXPECT_TRUE(contains(bad(400, "GET", "/v1/flows?service=apps/ftp"), "does not exist"));
    EXPECT_EQ(good("GET", "/v1/flows/count?service=apps/web")["flows"].asUInt64(), 0U);
}

TEST_F(ApiTest, MetricsNameServicesUntilThereAreTooMany) {
    good("POST", "/v1/transactions", kServices);
    auto text = ask("GET", "/metrics").body;
    for (const char* line : {"viaduct_services 3\n", "viaduct_services_flows_total 0\n",
                             "viaduct_service_flows_total{service=\"apps/web/http\"} 0\n",
                             "viaduct_service_refused_total{service=\"apps/dns/53\"} 0\n"})
        EXPECT_TRUE(contains(text, line)) << line;
    Json::Value many;
    for (int i = 0; i < 998; ++i) {
        Json::Value one;
        one["namespace"] = "many";
        one["name"] = "s" + std::to_string(i);
        one["port"] = "http";
        many["put"]["services"].append(one);
    }
    good("POST", "/v1/transactions", to_json_text(many));
    text = ask("GET", "/metrics").body;
    EXPECT_TRUE(contains(text, "viaduct_services 1001\n"));
    EXPECT_TRUE(contains(text, "viaduct_services_refused_total 0\n"));
    EXPECT_FALSE(contains(text, "service=\""));
}

TEST_F(ApiTest, DryRunChangesNothing) {
    auto text = std::string(kTwoPorts);
    text.insert(1, R"("dry_run": true, )");
    EXPECT_FALSE(good("POST", "/v1/transactions", text)["applied"].asBool());
    EXPECT_EQ(good("GET", "/v1/config")["ports"].size(), 0U);
}

TEST_F(ApiTest, EveryFaultIsToldAndNothingApplied) {
    const auto said = bad(400, "POST", "/v1/transactions",
                          R"({"put": {"bridges": [{"name": "br0"}], "ports": [
                              {"name": "a", "kind": "tap", "ifname": "a0", "mtu": 1},
                              {"name": "b", "kind": "tap", "ifname": "b0", "colour": "red"}]}})");
    EXPECT_TRUE(contains(said, "ports/0/mtu")) << said;
    EXPECT_TRUE(contains(said, "colour")) << said;
    EXPECT_EQ(good("GET", "/v1/config")["bridges"].size(), 0U);
}

TEST_F(ApiTest, TheRevisionFollowsTheConfiguration) {
    const auto revision = [&] { return good("GET", "/v1/info")["revision"].asUInt64(); };
    EXPECT_EQ(revision(), 0U);
    const auto* const bridge = R"({"put": {"bridges": [{"name": "br0"}]}})";
    EXPECT_EQ(good("POST", "/v1/transactions", bridge)["revision"].asUInt64(), 1U);
    EXPECT_EQ(good("POST", "/v1/transactions", bridge)["revision"].asUInt64(), 1U);  // nothing is new
    const auto* const tried = R"({"put": {"bridges": [{"name": "br1"}]}, "dry_run": true})";
    EXPECT_EQ(good("POST", "/v1/transactions", tried)["revision"].asUInt64(), 1U);
    const auto* const gone = R"({"delete": {"bridges": ["br0"]}})";
    EXPECT_EQ(good("POST", "/v1/transactions", gone)["revision"].asUInt64(), 2U);
    EXPECT_EQ(revision(), 2U);
}

TEST(TransactionInWords, TellsOfOtherKindsWhereThereAreSome) {
    model::Change change;
    change.put.ports.emplace("a", model::Port{});
    EXPECT_EQ(in_words(change), "put 0 bridges, 1 ports, 0 fdb; deleted 0 bridges, 0 ports, 0 fdb");
    change.put.services.emplace(model::ServiceKey{"apps", "web", "80"}, model::Service{});
    change.delete_routes.insert({"default", Prefix{}});
    EXPECT_EQ(in_words(change),
              "put 0 bridges, 1 ports, 0 fdb, 1 services; deleted 0 bridges, 0 ports, 0 fdb, 1 routes");
}

TEST_F(ApiTest, InfoTellsWhoServes) {
    const auto info = good("GET", "/v1/info");
    EXPECT_EQ(info["instance"].asString(), identity_.instance);
    EXPECT_EQ(info["version"].asString(), VIADUCT_VERSION);
    EXPECT_EQ(info["pid"].asInt(), ::getpid());
    EXPECT_EQ(info["workers"].size(), 1U);
    EXPECT_EQ(info["packet_buffers"].asUInt(), 8192U);
    EXPECT_GT(info["packet_buffer_bytes"].asUInt64(), 8192U * 2048U);
    EXPECT_EQ(info["limits"]["mtu"].asUInt(), 9216U);
}

TEST_F(ApiTest, FramesShowInPortsStatsMetricsAndFdb) {
    good("POST", "/v1/transactions", kTwoPorts);
    bench_.inject("a", frame({.destination = "ff:ff:ff:ff:ff:ff"}));
    bench_.inject("a", frame({.source = "03:00:00:00:00:01"}));
    bench_.settle();

    const auto ports = good("GET", "/v1/ports?name=a")["ports"];
    ASSERT_EQ(ports.size(), 1U);
    EXPECT_EQ(ports[0]["counters"]["rx_packets"].asUInt(), 2U);
    EXPECT_EQ(ports[0]["counters"]["rx_drops"]["bad_source"].asUInt(), 1U);
    EXPECT_EQ(ports[0]["counters"]["tx_drops"]["full"].asUInt(), 0U);
    EXPECT_EQ(ports[0]["queues"][0]["worker"].asUInt(), 0U);

    const auto stats = good("GET", "/v1/stats");
    EXPECT_TRUE(stats["total"]["balanced"].asBool());
    EXPECT_EQ(stats["total"]["tx_packets"].asUInt(), 1U);
    EXPECT_EQ(stats["total"]["dropped"].asUInt(), 1U);
    EXPECT_EQ(stats["ports"].size(), 2U);
    EXPECT_EQ(stats["workers"].size(), 1U);

    const auto metrics = ask("GET", "/metrics");
    EXPECT_EQ(metrics.status, 200U);
    EXPECT_TRUE(contains(metrics.content_type, "text/plain"));
    EXPECT_TRUE(
        contains(metrics.body, "viaduct_port_rx_packets_total{port=\"a\",bridge=\"br0\",kind=\"tap\"} 2\n"));
    EXPECT_TRUE(contains(metrics.body, "viaduct_drops_total{direction=\"rx\",reason=\"bad_source\"} 1\n"));
    EXPECT_TRUE(contains(metrics.body, "viaduct_drops_total{direction=\"tx\",reason=\"full\"} 0\n"));

    const auto fdb = good("GET", "/v1/fdb")["fdb"];
    ASSERT_EQ(fdb.size(), 1U);
    EXPECT_EQ(fdb[0]["mac"].asString(), "02:00:00:00:00:01");
    EXPECT_EQ(fdb[0]["port"].asString(), "a");
    EXPECT_FALSE(fdb[0]["static"].asBool());
}

TEST_F(ApiTest, CountsOfRemovedPortsStayInTheTotal) {
    good("POST", "/v1/transactions", kTwoPorts);
    bench_.inject("a", frame({.destination = "ff:ff:ff:ff:ff:ff"}));
    bench_.settle();
    bench_.collect("b");
    good("POST", "/v1/transactions", R"({"delete": {"ports": ["a", "b"]}})");
    const auto stats = good("GET", "/v1/stats");
    EXPECT_EQ(stats["ports"].size(), 0U);
    EXPECT_EQ(stats["total"]["rx_packets"].asUInt(), 1U);
    EXPECT_EQ(stats["total"]["tx_packets"].asUInt(), 1U);
    EXPECT_TRUE(stats["total"]["balanced"].asBool());
}

TEST_F(ApiTest, FdbIsFilteredAndFlushed) {
    good("POST", "/v1/transactions", kTwoPorts);
    good("POST", "/v1/transactions",
         R"({"put": {"fdb": [{"bridge": "br0", "mac": "02:00:00:00:00:99", "port": "b"}]}})");
    bench_.inject("a", frame({.destination = "ff:ff:ff:ff:ff:ff"}));
    bench_.settle();
    EXPECT_EQ(good("GET", "/v1/fdb")["fdb"].size(), 2U);
    EXPECT_EQ(good("GET", "/v1/fdb?port=b&bridge=br0")["fdb"][0]["static"].asBool(), true);
    EXPECT_EQ(good("GET", "/v1/fdb?vlan=7")["fdb"].size(), 0U);
    EXPECT_EQ(good("POST", "/v1/fdb/flush", R"({"port": "b"})")["flushed"].asUInt(), 0U);
    EXPECT_EQ(good("POST", "/v1/fdb/flush")["flushed"].asUInt(), 1U);
    EXPECT_EQ(good("GET", "/v1/fdb")["fdb"].size(), 1U);
}

TEST_F(ApiTest, FlowsAreListedCountedAndFlushed) {
    EXPECT_EQ(to_json_text(good("GET", "/v1/flows")), R"({"flows":[],"next":null})");
    const auto count = good("GET", "/v1/flows/count?state=established");
    EXPECT_EQ(count["flows"].asUInt(), 0U);
    EXPECT_GT(count["tables"]["ipv6"]["capacity"].asUInt(), 0U);
    EXPECT_EQ(good("POST", "/v1/flows/flush", R"({"protocol": "udp", "port": 53})")["flushed"].asUInt(), 0U);
    const auto metrics = ask("GET", "/metrics").body;
    EXPECT_TRUE(contains(metrics, "viaduct_flows{family=\"ipv4\"} 0\n"));
    EXPECT_TRUE(contains(metrics, "viaduct_flows_refused_total{family=\"ipv6\"} 0\n"));
}

TEST_F(ApiTest, AHugeFdbIsListedWhileFramesAreForwarded) {
    good("POST", "/v1/transactions", kTwoPorts);
    std::string statics = R"({"put": {"bridges": [{"name": "br0", "fdb_size": 131072}], "fdb": [)";
    constexpr unsigned entries = 60000;
    for (unsigned i = 0; i < entries; ++i) {
        statics += (i == 0 ? "" : ",") + std::string(R"({"bridge": "br0", "port": "b", "mac": ")") +
                   MacAddress::from_u64(0x020000000000U + i).to_string() + "\"}";
    }
    good("POST", "/v1/transactions", statics + "]}}");
    std::size_t listed = 0;
    std::jthread reader([&] {
        http::Client client(path_, std::chrono::seconds(20));
        for (int i = 0; i < 3; ++i)
            listed = parse_json(client.request("GET", "/v1/fdb").body, "answer")["fdb"].size();
    });
    for (int i = 0; i < 100; ++i) {
        bench_.inject("a", frame({.destination = "02:00:00:00:00:07", .source = "02:ff:00:00:00:01"}));
        bench_.settle();
    }
    EXPECT_EQ(bench_.collect("b").size(), 100U);
    reader.join();
    EXPECT_GE(listed, entries);
}

TEST_F(ApiTest, TheLogsLevelChangesWhileItRuns) {
    const auto before = good("GET", "/v1/log")["level"].asString();
    EXPECT_EQ(good("PUT", "/v1/log", R"({"level": "error"})")["level"].asString(), "error");
    EXPECT_EQ(good("GET", "/v1/log")["level"].asString(), "error");
    EXPECT_TRUE(contains(bad(400, "PUT", "/v1/log", R"({"level": "loud"})"), "must be one of"));
    EXPECT_EQ(good("GET", "/v1/log")["level"].asString(), "error");
    log::set_level(before);
}

TEST_F(ApiTest, DropReasonsAreExplained) {
    const auto drops = good("GET", "/v1/drops")["drops"];
    EXPECT_EQ(drops.size(), dataplane::kDropReasons);
    for (const auto& drop : drops)
        EXPECT_FALSE(drop["meaning"].asString().empty());
}

struct Hostile {
    const char* name;
    const char* method;
    const char* target;
    std::string body;
    unsigned status;
    const char* says;  ///< a part of the error
};
std::string nested(unsigned depth) {
    return std::string(depth, '[') + std::string(depth, ']');
}

std::string with_port(const std::string& members) {
    return R"({"put": {"ports": [{"name": "p", "kind": "tap", "ifname": "x")" + members + "}]}}";
}

const std::vector<Hostile>& hostile_requests() {
    static const char* const post = "POST";
    static const char* const there = "/v1/transactions";
    static const std::vector<Hostile> list = {
        {"NothingThere", "GET", "/v2/info", "", 404, "nothing at /v2/info"},
        {"Root", "GET", "/", "", 404, "nothing at"},
        {"PathUpwards", "GET", "/v1/../v1/info", "", 404, "nothing at"},
        {"WrongMethod", "DELETE", "/v1/config", "", 405, "it takes GET"},
        {"WrongMethodOfTwo", "POST", "/v1/log", "", 405, "it takes GET, PUT"},
        {"UnknownQuery", "GET", "/v1/ports?nme=a", "", 400, "query/nme: is not a known key"},
        {"QueryWhereNone", "GET", "/v1/info?x", "", 400, "takes none"},
        {"EmptyQueryKey", "GET", "/v1/info?=1", "", 400, "is not a known key"},
        {"BadEncoding", "GET", "/v1/%zz", "", 400, "percent"},
        {"UnknownPort", "GET", "/v1/ports?name=nobody", "", 404, "no port \"nobody\""},
        {"UnknownBridgeOfFdb", "GET", "/v1/fdb?bridge=none", "", 400, "bridge: \"none\" does not exist"},
        {"VlanNoNumber", "GET", "/v1/fdb?vlan=x", "", 400, "query/vlan"},
        {"VlanTooBig", "GET", "/v1/fdb?vlan=4095", "", 400, "0 to 4094"},
        {"VlanNegative", "GET", "/v1/fdb?vlan=-1", "", 400, "0 to 4094"},
        {"EmptyBody", post, there, "", 400, "is not JSON"},
        {"NotJson", post, there, "hello", 400, "is not JSON"},
        {"HalfJson", post, there, R"({"put": {"ports": [)", 400, "is not JSON"},
        {"TwoValues", post, there, "{} {}", 400, "is not JSON"},
        {"Comment", post, there, "{} // x", 400, "is not JSON"},
        {"BinaryBody", post, there, std::string("\0\xff\xfe{}", 5), 400, "is not JSON"},
        {"Array", post, there, "[]", 400, "must be a JSON object"},
        {"Null", post, there, "null", 400, "must be a JSON object"},
        {"DeepNesting", post, there, nested(100000), 400, "nested 100000 deep"},
        {"UnknownTopKey", post, there, R"({"putt": {}})", 400, "putt"},
        {"DryRunWord", post, there, R"({"dry_run": "yes"})", 400, "dry_run: must be true or false"},
        {"PutArray", post, there, R"({"put": []})", 400, "put: must be an object"},
        {"PortsObject", post, there, R"({"put": {"ports": {}}})", 400, "put/ports: must be an array"},
        {"PortNumber", post, there, R"({"put": {"ports": [7]}})", 400, "must be an object, not a number"},
        {"PortNull", post, there, R"({"put": {"ports": [null]}})", 400, "must be an object"},
        {"PortNameless", post, there, R"({"put": {"ports": [{"kind": "tap", "ifname": "x"}]}})", 400, "name"},
        {"DuplicateKey", post, there, R"({"dry_run": true, "dry_run": false})", 400, "is not JSON"},
        {"DuplicateBridge", post, there, R"({"put": {"bridges": [{"name": "b"}, {"name": "b"}]}})", 400,
         "is the second of bridges/b"},
        {"DeleteTwice", post, there, R"({"delete": {"ports": ["p", "p"]}})", 400, "a second time"},
        {"DeleteNumber", post, there, R"({"delete": {"ports": [1]}})", 400, "must be the name of a port"},
        {"DeleteAbsent", post, there, R"({"delete": {"ports": ["absent"]}})", 400, "absent"},
        {"MtuText", post, there, with_port(R"(, "mtu": "big")"), 400, "mtu"},
        {"MtuHuge", post, there, with_port(R"(, "mtu": 1e300)"), 400, "mtu"},
        {"MtuNegative", post, there, with_port(R"(, "mtu": -1)"), 400, "mtu"},
        {"MtuFraction", post, there, with_port(R"(, "mtu": 1500.5)"), 400, "mtu"},
        {"QueuesMany", post, there, with_port(R"(, "queues": 4294967296)"), 400, "queues"},
        {"KindWire", post, there, R"({"put": {"ports": [{"name": "p", "kind": "wire"}]}})", 400, "kind"},
        {"KeyOfOtherKind", post, there, with_port(R"(, "path": "/x")"), 400, "path"},
        {"NameWithSlash", post, there, R"({"put": {"bridges": [{"name": "../x"}]}})", 400, "name"},
        {"NameWithNul", post, there, R"({"put": {"bridges": [{"name": "a\u0000b"}]}})", 400, "NUL"},
        {"NameTooLong", post, there,
         R"({"put": {"bridges": [{"name": ")" + std::string(5000, 'a') + R"("}]}})", 400, "name"},
        {"UnknownBridge", post, there, with_port(R"(, "bridge": "none")"), 400, "none"},
        {"MacMulticast", post, there, with_port(R"(, "mac": "01:00:00:00:00:01")"), 400, "mac"},
        {"FdbOnAbsentPort", post, there, R"({"put": {"bridges": [{"name": "b"}], "fdb": [
            {"bridge": "b", "mac": "02:00:00:00:00:01", "port": "absent"}]}})",
         400, "absent"},
        {"FlushUnknownKey", post, "/v1/fdb/flush", R"({"mac": "x"})", 400, "mac"},
        {"FlushUnknownBridge", post, "/v1/fdb/flush", R"({"bridge": "none"})", 400, "does not exist"},
        {"FlushVlan", post, "/v1/fdb/flush", R"({"vlan": 5000})", 400, "vlan"},
        {"FlushArray", post, "/v1/fdb/flush", "[]", 400, "must be a JSON object"},
        {"FlowsUnknownKey", "GET", "/v1/flows?colour=red", "", 400, "query/colour"},
        {"FlowsUnknownVrf", "GET", "/v1/flows?vrf=none", "", 400, "vrf: \"none\" does not exist"},
        {"FlowsBadSource", "GET", "/v1/flows/count?source=10.0.0", "", 400, "source: must be an address"},
        {"FlowsBadCursor", "GET", "/v1/flows?cursor=x", "", 400, "cursor: must be"},
        {"FlowsFlushKey", post, "/v1/flows/flush", R"({"limit": 3})", 400, "limit"},
        {"FlowsFlushPort", post, "/v1/flows/flush", R"({"port": "x"})", 400, "port"},
        {"FlowsFlushState", post, "/v1/flows/flush", R"({"state": "open"})", 400,
         "state: must be one of unreplied"},
        {"LogNothing", "PUT", "/v1/log", "{}", 400, "level: is required"},
        {"LogNumber", "PUT", "/v1/log", R"({"level": 3})", 400, "level: must be a string"},
        {"LogUnknownKey", "PUT", "/v1/log", R"({"level": "info", "file": "/etc/passwd"})", 400, "file"},
    };
    return list;
}

/// One server and dataplane for the whole table: each entry must leave it as it was for the next.
TEST_F(ApiTest, HostileRequestsAreRefusedInWords) {
    const auto before = ask("GET", "/v1/config").body;
    for (const auto& hostile : hostile_requests()) {
        SCOPED_TRACE(hostile.name);
        const auto said = bad(hostile.status, hostile.method, hostile.target, hostile.body);
        EXPECT_TRUE(contains(said, hostile.says)) << said;
        EXPECT_LT(said.size(), 2000U);
        EXPECT_EQ(ask("GET", "/v1/config").body, before);
    }
}

TEST_F(ApiTest, ABodyOf64MegabytesIsReadAndRefused) {
    EXPECT_TRUE(contains(bad(400, "POST", "/v1/transactions", std::string(64U << 20U, ' ')), "is not JSON"));
}

/// A client that speaks no HTTP.
class RawClient {
public:
    explicit RawClient(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        connected_ = ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    bool send(const std::string& bytes) {
        return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(bytes.size());
    }
    /// Until the server closes.
    std::string receive_all() {
        std::string all;
        std::array<char, 4096> part{};
        for (ssize_t got = 0; (got = ::recv(socket_.get(), part.data(), part.size(), 0)) > 0;) {
            all.append(part.data(), static_cast<std::size_t>(got));
        }
        return all;
    }
    [[nodiscard]] bool connected() const { return connected_; }

private:
    http::Descriptor socket_;
    bool connected_ = false;
};

TEST_F(ApiTest, GarbageOnTheSocketIsAnsweredAndClosed) {
    for (const auto& garbage :
         {std::string("\x16\x03\x01\x02\x00\x01\x00", 7), std::string("hello\r\n\r\n"),
          std::string(100000, 'A'), std::string("GET /v1/info HTTP/9.9\r\n\r\n"),
          std::string("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"),
          std::string("POST /v1/transactions HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n")}) {
        RawClient client(path_);
        ASSERT_TRUE(client.connected());
        client.send(garbage);
        const auto answer = client.receive_all();
        EXPECT_TRUE(contains(answer, " 400 ") || contains(answer, " 413 ")) << answer;
    }
    good("GET", "/v1/info");
}

TEST_F(ApiTest, ABodyOfMoreThan256MegabytesIsRefusedBeforeItComes) {
    RawClient client(path_);
    ASSERT_TRUE(client.send("POST /v1/transactions HTTP/1.1\r\nContent-Length: 268435457\r\n\r\n"));
    const auto answer = client.receive_all();
    EXPECT_TRUE(contains(answer, " 413 ") && contains(answer, "longer than 268435456 bytes")) << answer;
}

TEST_F(ApiTest, HalfSentRequestsHoldUpNobody) {
    std::vector<RawClient> clients;
    for (int i = 0; i < 50; ++i) {
        auto& client = clients.emplace_back(path_);
        ASSERT_TRUE(client.connected());
        ASSERT_TRUE(client.send("POST /v1/transactions HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{\"put\""));
    }
    good("POST", "/v1/transactions", kTwoPorts);
    EXPECT_EQ(good("GET", "/v1/config")["ports"].size(), 2U);
}

}  // namespace
}  // namespace viaduct::test
