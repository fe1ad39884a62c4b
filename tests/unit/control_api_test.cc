// The router and control's API as a client sees it.
#include <gtest/gtest.h>

#include "api/config_routes.h"
#include "api/router.h"
#include "api/state_routes.h"
#include "control_fake_dataplane.h"
#include "reconcile/config_changes.h"
#include "store/config_history.h"

namespace viaduct::api {
namespace {

http::Request request(const std::string& method, const std::string& path, const std::string& body = "") {
    http::Request request;
    request.method = method;
    request.path = path.substr(0, path.find('?'));
    if (const auto mark = path.find('?'); mark != std::string::npos) {
        const auto pair = path.substr(mark + 1);
        request.query[pair.substr(0, pair.find('='))] = pair.substr(pair.find('=') + 1);
    }
    request.body = body;
    return request;
}

TEST(Router, FindsByMethodAndPattern) {
    Router router;
    router.add("GET", "/v1/things", [](auto&, auto&) { return http::Response{200, "list", ""}; });
    router.add("POST", "/v1/things", [](auto&, auto&) { return http::Response{200, "make", ""}; });
    router.add("GET", "/v1/things/{name}/parts/{part}", [](auto&, const auto& values) {
        return http::Response{200, values.at("name") + values.at("part"), ""};
    });
    router.add("GET", "/v1/away",
               [](auto&, auto&) -> http::Response { throw http::Unreachable("it is away", false); });
    const auto ask = [&](const std::string& method, const std::string& path) {
        auto asked = request(method, path);
        return router.route(asked);
    };
    EXPECT_EQ(ask("GET", "/v1/things").body, "list");
    EXPECT_EQ(ask("GET", "/v1/things/").body, "list");
    EXPECT_EQ(ask("POST", "/v1/things").body, "make");
    EXPECT_EQ(ask("GET", "/v1/things/a/parts/b").body, "ab");
    EXPECT_EQ(ask("GET", "/v1/things/a/parts").status, 404U);
    EXPECT_EQ(ask("GET", "").status, 404U);
    EXPECT_EQ(ask("DELETE", "/v1/things").status, 405U);
    EXPECT_NE(ask("DELETE", "/v1/things").body.find("GET, POST"), std::string::npos);
    EXPECT_EQ(ask("GET", "/v1/away").status, 503U);
}

class Api : public testing::Test {
protected:
    Api() {
        add_config_routes(router, database, reconciler, changes);
        add_state_routes(router, socket);
        add_service_routes(router, socket, database, reconciler);
    }
    /// The answer's JSON; `status` gets its status, 400 for what was refused.
    Json::Value ask(const std::string& method, const std::string& path, const std::string& body = "") {
        auto asked = request(method, path, body);
        try {
            const auto response = router.route(asked);
            status = response.status;
            return parse_json(response.body, "answer");
        } catch (const Refused& refused) {
            status = 400;
            return faults_to_json(refused.faults());
        }
    }

    unsigned status = 0;
    test::TemporaryDirectory directory;
    std::string socket = directory.file("dataplane.sock");
    store::Database database{directory.file("v.db"), store::config_migrations()};
    reconcile::ConfigSource configuration;
    reconcile::Reconciler reconciler{{.dataplane_socket = socket}, database, {&configuration}};
    reconcile::ConfigChanges changes{database, reconciler};
    Router router;
};

TEST_F(Api, ChangesAndTellsWhatChanged) {
    const auto made = ask("POST", "/v1/config/changes",
                          R"({"put": {"bridges": [{"name": "br0"}]}, "comment": "first", "dry_run": false})");
    EXPECT_EQ(status, 200U);
    EXPECT_EQ(made["generation"].asInt(), 1);
    EXPECT_FALSE(made["applied"].asBool());
    EXPECT_EQ(ask("GET", "/v1/config")["bridges"][0]["name"].asString(), "br0");
    EXPECT_EQ(ask("GET", "/v1/config/history")["generations"][0]["comment"].asString(), "first");
    EXPECT_EQ(ask("GET", "/v1/config/generations/1")["changes"][0]["object"].asString(), "bridges/br0");
    EXPECT_EQ(ask("GET", "/v1/config/diff?from=0")["changes"].size(), 1U);
    EXPECT_EQ(ask("GET", "/v1/config/desired")["bridges"][0]["from"].asString(), "config");
    EXPECT_EQ(ask("POST", "/v1/config/rollback", R"({"generation": 0})")["generation"].asInt(), 2);
    EXPECT_TRUE(ask("GET", "/v1/config")["bridges"].empty());
    EXPECT_EQ(
        ask("PUT", "/v1/config", R"({"bridges": [{"name": "a"}, {"name": "b"}]})")["generation"].asInt(), 3);
}

TEST_F(Api, ShowsAsMuchAsIsAskedFor) {
    ask("POST", "/v1/config/changes", R"({"put": {
        "bridges": [{"name": "br0"}], "vrfs": [{"name": "blue"}],
        "interfaces": [{"name": "gw", "bridge": "br0", "addresses": ["10.0.0.1/24", "fd00::1/64"]}],
        "routes": [{"prefix": "0.0.0.0/0", "via": "10.0.0.2", "interface": "gw"},
                   {"prefix": "10.8.0.0/13", "kind": "blackhole"},
                   {"prefix": "10.9.0.0/16", "vrf": "blue", "kind": "blackhole"},
                   {"prefix": "10.9.1.2/32", "via": "10.0.0.3", "interface": "gw"},
                   {"prefix": "10.9.1.3/32", "via": "10.0.0.3", "interface": "gw"},
                   {"prefix": "::/0", "via": "fd00::2", "interface": "gw"}]}})");
    ASSERT_EQ(status, 200U);
    for (const std::string path : {"/v1/config", "/v1/config/desired"}) {
        const auto some = ask("GET", path + "?only=bridges,timeouts");
        EXPECT_EQ(some["bridges"].size(), 1U);
        EXPECT_TRUE(some.isMember("timeouts"));
        EXPECT_FALSE(some.isMember("routes"));
        EXPECT_FALSE(ask("GET", path + "?only=routes").isMember("timeouts"));
        std::vector<std::string> prefixes;
        const auto to_one = ask("GET", path + "?routes_to=10.9.1.2");
        for (const auto& route : to_one["routes"])
            prefixes.push_back(route["vrf"].asString() + " " + route["prefix"].asString());
        EXPECT_EQ(prefixes, (std::vector<std::string>{"blue 10.9.0.0/16", "default 0.0.0.0/0",
                                                      "default 10.8.0.0/13", "default 10.9.1.2/32"}));
        EXPECT_EQ(ask("GET", path + "?routes_to=fd01::9")["routes"].size(), 1U);
        ask("GET", path + "?only=bridges,routs");
        EXPECT_EQ(status, 400U);
        ask("GET", path + "?only=");
        EXPECT_EQ(status, 400U);
        ask("GET", path + "?routes_to=10.9.1");
        EXPECT_EQ(status, 400U);
    }
    EXPECT_EQ(ask("GET", "/v1/config/desired?only=routes")["routes"][0]["from"].asString(), "config");
}

TEST_F(Api, RefusesWhatItDoesNotKnow) {
    const std::vector<std::pair<std::string, std::string>> bodies = {
        {"/v1/config/changes", R"({"puts": {}})"},
        {"/v1/config/changes", R"({"put": {"bridges": [{"name": "br0", "mut": 1}]}})"},
        {"/v1/config/changes", R"({"put": {"bridges": [{"name": "br0"}, {"name": "br0"}]}})"},
        {"/v1/config/changes", R"({"dry_run": "yes"})"},
        {"/v1/config/changes", R"([])"},
        {"/v1/config/changes", R"({"delete": {"ports": ["none"]}})"},
        {"/v1/config/changes", R"({"put": )"},
        {"/v1/config/rollback", R"({})"},
        {"/v1/config/rollback", R"({"generation": -1})"},
        {"/v1/config/rollback", R"({"generation": 99})"},
    };
    for (const auto& [path, body] : bodies) {
        const auto answer = ask("POST", path, body);
        EXPECT_EQ(status, 400U) << body;
        EXPECT_FALSE(answer["faults"].empty()) << body;
    }
    ask("PUT", "/v1/config", "{}");
    EXPECT_EQ(status, 400U);
    ask("PUT", "/v1/log", R"({"level": "loud"})");
    EXPECT_EQ(status, 400U);
    ask("GET", "/v1/config/diff?form=1");
    EXPECT_EQ(status, 400U);
    ask("GET", "/v1/config/generations/x");
    EXPECT_EQ(status, 400U);
    EXPECT_EQ(ask("GET", "/v1/config")["generation"].asInt(), 0);
}

TEST_F(Api, SaysThatTheDataplaneIsAway) {
    const auto answer = ask("GET", "/v1/state/ports");
    EXPECT_EQ(status, 503U);
    EXPECT_NE(answer["error"].asString().find("the dataplane is away"), std::string::npos);
    const auto health = ask("GET", "/v1/health");
    EXPECT_EQ(status, 200U);
    EXPECT_TRUE(health["dataplane"].asString().starts_with("away"));
    EXPECT_FALSE(health["in_sync"].asBool());
    EXPECT_TRUE(ask("GET", "/v1/log")["dataplane_level"].isNull());
}

TEST_F(Api, PassesTheDataplanesStateThrough) {
    const test::FakeDataplane dataplane(socket);
    EXPECT_EQ(ask("GET", "/v1/state/info")["instance"].asString(), "start-1");
    EXPECT_EQ(ask("GET", "/v1/log")["dataplane_level"].asString(), "info");
}

}  // namespace
}  // namespace viaduct::api
