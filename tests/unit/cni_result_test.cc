// The shape of results in each version of the specification.
#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"

#include "error.h"
#include "result.h"

namespace viaduct::cni {
namespace {

attachment::Request asked() {
    attachment::Request request;
    request.key = {"pods", "c1", "eth0"};
    request.netns = "/run/netns/c1";
    request.routes = {
        {.destination = *Prefix::parse("0.0.0.0/0"), .gateway = IpAddress::parse("10.0.0.1"), .mtu = 1400}};
    request.dns.nameservers = {"10.0.0.53"};
    return request;
}

attachment::Attached made() {
    attachment::Attached attached;
    attached.port = "p";
    attached.mac = *MacAddress::parse("02:00:00:00:00:05");
    attached.addresses = {{*Prefix::parse("10.0.0.5/24"), IpAddress::parse("10.0.0.1")},
                          {*Prefix::parse("fd00::5/64"), {}}};
    attached.socket_path = "/s";
    return attached;
}

Json::Value json(const char* text) {
    return parse_json(text, "test");
}

TEST(CniResult, HasTheShapeOfItsVersion) {
    for (const auto& version : versions()) {
        const auto result = make_result(version, asked(), made(), nullptr);
        EXPECT_EQ(result["cniVersion"].asString(), version);
        EXPECT_EQ(result["interfaces"][0]["name"].asString(), "eth0");
        EXPECT_EQ(result["interfaces"][0]["sandbox"].asString(), "/run/netns/c1");
        EXPECT_EQ(result["ips"][0]["interface"].asInt(), 0);
        EXPECT_EQ(result["ips"][0]["gateway"].asString(), "10.0.0.1");
        EXPECT_FALSE(result["ips"][1].isMember("gateway"));
        EXPECT_EQ(result["routes"][0]["gw"].asString(), "10.0.0.1");
        EXPECT_EQ(result["dns"]["nameservers"][0].asString(), "10.0.0.53");
        const bool numbered = version[0] == '0';
        EXPECT_EQ(result["ips"][0].isMember("version"), numbered) << version;
        EXPECT_EQ(result["ips"][1].get("version", "").asString(), numbered ? "6" : "");
        const bool newest = version == "1.1.0";
        EXPECT_EQ(result["interfaces"][0].isMember("socketPath"), newest) << version;
        EXPECT_EQ(result["interfaces"][0].isMember("mtu"), newest) << version;
        EXPECT_EQ(result["routes"][0].isMember("mtu"), newest) << version;
    }
}

TEST(CniResult, IsAddedToThePreviousOne) {
    const auto previous =
        json(R"({"cniVersion":"1.0.0","Interfaces":[{"name":"lo","sandbox":"/x"},{"name":"br"}],
        "ips":[{"address":"127.0.0.1/8","interface":0}],"routes":null,"dns":{"domain":"a"}})");
    auto request = asked();
    request.dns = {};
    const auto result = make_result("1.0.0", request, made(), &previous);
    EXPECT_EQ(result["interfaces"].size(), 3U);
    EXPECT_EQ(result["ips"].size(), 3U);
    EXPECT_EQ(result["ips"][1]["interface"].asInt(), 2);
    EXPECT_EQ(result["dns"]["domain"].asString(), "a");
    const auto bad = json(R"({"interfaces":"x"})");
    EXPECT_THROW(make_result("1.0.0", request, made(), &bad), Error);
}

TEST(CniResult, TellsCheckWhatToExpect) {
    const attachment::Key key{"pods", "c1", "eth0"};
    const auto result = make_result("0.4.0", asked(), made(), nullptr);
    const auto expected = expected_from(result, key);
    EXPECT_EQ(expected.mac, made().mac);
    EXPECT_EQ(expected.addresses.size(), 2U);
    EXPECT_THROW(expected_from(json("{}"), key), Error);
    EXPECT_THROW(expected_from(json(R"({"interfaces":[{"name":"eth0"}]})"), key), Error);
    EXPECT_THROW(expected_from(
                     json(R"({"interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"x"}]})"), key),
                 Error);
}

TEST(CniResult, TakesWhatAnIpamPluginPrinted) {
    attachment::Request request;
    take_ipam_result(
        R"({"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24","gateway":"10.0.0.1"}],
        "routes":[{"dst":"0.0.0.0/0"}],"dns":{}})",
        "host-local", request);
    ASSERT_EQ(request.addresses.size(), 1U);
    EXPECT_EQ(request.addresses[0].gateway->to_string(), "10.0.0.1");
    EXPECT_EQ(request.routes.size(), 1U);
    for (const char* bad : {"", "x", "[]", R"({"ips":[{}]})", R"({"ips":5})",
                            R"({"ips":[{"address":"10.0.0.2/24","gateway":"x"}]})"}) {
        EXPECT_THROW(take_ipam_result(bad, "host-local", request), Error) << bad;
    }
}

TEST(CniResult, SaysErrorsAsObjects) {
    const auto error = json(error_text(Error(7, "a \"b\"\n", "more"), "1.0.0").c_str());
    EXPECT_EQ(error["code"].asInt(), 7);
    EXPECT_EQ(error["msg"].asString(), "a \"b\"\n");
    EXPECT_EQ(error["details"].asString(), "more");
    EXPECT_EQ(error["cniVersion"].asString(), "1.0.0");
    EXPECT_EQ(json(version_text("0.4.0").c_str())["supportedVersions"].size(), 5U);
}

}  // namespace
}  // namespace viaduct::cni
