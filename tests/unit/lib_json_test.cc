// JSON from strangers: huge, deep, of wrong types, with duplicates; and the model's form of it.
#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model.h"

namespace viaduct {
namespace {

std::string fault_of(std::string_view text, const JsonLimits& limits = {}) {
    try {
        parse_json(text, "input", limits);
    } catch (const Refused& refused) {
        return refused.what();
    }
    return "";
}

TEST(ParseJson, TakesWhatRfc8259Does) {
    for (const char* text :
         {"{}", "[]", "null", "1", "\"x\"", R"({"a": [1, 2.5, -3e2, true, null, "\u00e9"]})", " {} \n"}) {
        EXPECT_EQ(fault_of(text), "") << text;
    }
}

TEST(ParseJson, RefusesTheRestInOneSentence) {
    const std::vector<std::string> bad = {"",
                                          "{",
                                          R"({"a": 1,})",
                                          R"({"a": 1} x)",
                                          "{} {}",
                                          R"({"a": 1, "a": 2})",
                                          "// c\n{}",
                                          "{'a': 1}",
                                          "NaN",
                                          "Infinity",
                                          "[1,, 2]",
                                          "{\"a\" 1}",
                                          "\"\\q\"",
                                          "\"open",
                                          "[1",
                                          "]",
                                          "tru",
                                          std::string("{}\0x", 4)};
    for (const auto& text : bad) {
        const auto fault = fault_of(text);
        EXPECT_TRUE(fault.starts_with("input: ")) << text << " -> " << fault;
        EXPECT_EQ(fault.find('\n'), std::string::npos) << fault;
    }
}

TEST(ParseJson, BoundsDepthAndLength) {
    const std::string deep(100000, '[');
    EXPECT_NE(fault_of(deep).find("100000 deep"), std::string::npos);
    EXPECT_EQ(fault_of(std::string(32, '[') + std::string(32, ']')), "");
    EXPECT_NE(fault_of(std::string(33, '[') + std::string(33, ']')), "");
    EXPECT_EQ(fault_of("\"" + std::string(1000, '[') + "\""), "");  // brackets in a string nest nothing
    EXPECT_NE(fault_of("[1, 2, 3, 4]", {.bytes = 8}).find("12 bytes long"), std::string::npos);
}

TEST(ObjectReader, NamesEverySurprise) {
    const auto json =
        parse_json(R"({"flag": 1, "number": "x", "big": 70000, "minus": -1, "real": 1.5, "text": 5,
                                     "word": "grey", "list": {}, "strings": ["a", 1], "object": [], "more": 0})",
                   "x");
    Faults faults;
    ObjectReader reader(json, "it", faults);
    EXPECT_FALSE(reader.boolean("flag"));
    EXPECT_FALSE(reader.integer("number", 0, 10));
    EXPECT_FALSE(reader.integer("big", 0, 65535));
    EXPECT_FALSE(reader.integer("minus", 0, 10));
    EXPECT_FALSE(reader.integer("real", 0, 10));
    EXPECT_FALSE(reader.string("text"));
    EXPECT_FALSE(reader.choice("word", {"black", "white"}));
    EXPECT_EQ(reader.array("list"), nullptr);
    EXPECT_FALSE(reader.strings("strings"));
    EXPECT_EQ(reader.object("object"), nullptr);
    EXPECT_FALSE(reader.string("absent"));
    reader.done();
    ASSERT_EQ(faults.size(), 11U);
    EXPECT_EQ(faults[2], (Fault{"it/big", "must be an integer from 0 to 65535, not 70000"}));
    EXPECT_EQ(faults[6].reason, "is \"grey\"; it must be one of black, white");
    EXPECT_NE(to_string(faults).find("more"), std::string::npos);
}

TEST(ObjectReader, ReadsKeysInAnyCaseForCni) {
    const auto json = parse_json(R"({"HostPort": 80, "MTU": null})", "x");
    Faults faults;
    ObjectReader reader(json, "", faults, ObjectReader::Keys::any_case);
    EXPECT_EQ(reader.integer("hostPort", 1, 65535), 80U);
    EXPECT_FALSE(reader.integer("mtu", 1, 10));
    reader.done();
    EXPECT_TRUE(faults.empty()) << to_string(faults);
}

TEST(Faults, GoThereAndBack) {
    const Faults faults = {{"ports/a", "is wrong"}, {"", "and \"so\" is this"}};
    EXPECT_EQ(faults_from_text(to_json_text(faults_to_json(faults))), faults);
    EXPECT_EQ(faults_from_text("not JSON"), (Faults{{"", "not JSON"}}));
    EXPECT_EQ(faults_from_text("[]").size(), 1U);
}

model::Config config_of(const std::string& text, Faults& faults) {
    return model::config_from_json(parse_json(text, "x"), "", faults);
}

constexpr const char* kEverything = R"({
  "bridges": [{"name": "br0", "vlan_filtering": true, "learning": false, "ageing_seconds": 10, "fdb_size": 64}],
  "ports": [
    {"name": "a", "kind": "vhost-user", "path": "/run/a", "mode": "server", "socket_mode": "0660", "socket_owner": 7,
     "socket_group": 8, "bridge": "br0", "up": false, "mtu": 9216, "queues": 16, "fdb_limit": 5,
     "vlan": {"untagged": 1, "tagged": ["20-30", "10"]}},
    {"name": "b", "kind": "tap", "ifname": "eth0", "netns": "/run/netns/b", "netns_inode": 4026532281,
     "mac": "02:00:00:00:00:02", "bridge": "br0"}],
  "fdb": [{"bridge": "br0", "vlan": 10, "mac": "02:00:00:00:00:01", "port": "a"}]})";

TEST(Model, ComesBackAsItWent) {
    Faults faults;
    const auto config = config_of(kEverything, faults);
    ASSERT_TRUE(faults.empty()) << to_string(faults);
    EXPECT_EQ(config.ports.at("a").vlan->tagged[0].first, 10);
    const auto again = config_of(to_json_text(model::to_json(config)), faults);
    EXPECT_EQ(again, config);
    model::check(config, faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
}

TEST(Model, RefusesObjectsThatCannotBe) {
    const std::vector<std::string> bad = {
        R"({"bridges": [{}]})",
        R"({"bridges": [{"name": "-x"}]})",
        R"({"bridges": [{"name": "a/b"}]})",
        R"({"bridges": [{"name": "b", "ageing_seconds": 9}]})",
        R"({"bridges": [{"name": "b"}, {"name": "b"}]})",
        R"({"bridges": {"name": "b"}})",
        R"({"ports": [{"name": "p"}]})",
        R"({"ports": [{"name": "p", "kind": "wire"}]})",
        R"({"ports": [{"name": "p", "kind": "vhost-user"}]})",
        R"({"ports": [{"name": "p", "kind": "vhost-user", "path": "relative"}]})",
        R"({"ports": [{"name": "p", "kind": "vhost-user", "path": "/)" + std::string(107, 'x') + R"("}]})",
        R"({"ports": [{"name": "p", "kind": "vhost-user", "path": "/a", "ifname": "eth0"}]})",
        R"({"ports": [{"name": "p", "kind": "vhost-user", "path": "/a", "socket_mode": "0660"}]})",
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "a b"}]})",
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "sixteen-letters-"}]})",
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "e", "mtu": 9217}]})",
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "e", "queues": 0}]})",
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "e", "mac": "01:00:5e:00:00:01"}]})",
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "e", "vlan": {"tagged": ["10-20", "20"]}}]})",
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "e", "vlan": {"tagged": ["4095"]}}]})",
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "e", "vlan": {"untagged": 0}}]})",
        R"({"fdb": [{"bridge": "b", "mac": "x", "port": "p"}]})",
        R"({"ports": [5]})",
        R"({"prots": []})",
    };
    for (const auto& text : bad) {
        Faults faults;
        config_of(text, faults);
        EXPECT_FALSE(faults.empty()) << text;
    }
}

TEST(Model, ChecksWhatHoldsBetweenObjects) {
    const std::vector<std::string> bad = {
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "e", "bridge": "none"}]})",
        R"({"bridges": [{"name": "b"}], "ports": [{"name": "p", "kind": "tap", "ifname": "e", "bridge": "b", "vlan": {"untagged": 5}}]})",
        R"({"ports": [{"name": "p", "kind": "tap", "ifname": "e"}, {"name": "q", "kind": "tap", "ifname": "e"}]})",
        R"({"ports": [{"name": "p", "kind": "vhost-user", "path": "/a"}, {"name": "q", "kind": "vhost-user", "path": "/a"}]})",
        R"({"bridges": [{"name": "b"}], "fdb": [{"bridge": "b", "mac": "02:00:00:00:00:01", "port": "p"}]})",
    };
    for (const auto& text : bad) {
        Faults faults;
        const auto config = config_of(text, faults);
        ASSERT_TRUE(faults.empty()) << to_string(faults);
        model::check(config, faults);
        EXPECT_FALSE(faults.empty()) << text;
    }
}

TEST(Model, FindsWhatIsWrongBesideASoundConfigurationToo) {
    Faults faults;
    const auto sound = config_of(R"({"bridges": [{"name": "br0"}],
        "interfaces": [{"name": "gw", "bridge": "br0", "addresses": ["10.0.0.1/24"]}],
        "routes": [{"prefix": "10.1.0.0/16", "via": "10.0.0.2", "interface": "gw"},
                   {"prefix": "10.2.0.0/16", "via": "10.0.0.3", "interface": "gw"}]})",
                                 faults);
    model::check(sound, faults);
    ASSERT_TRUE(faults.empty()) << to_string(faults);
    const auto count = [&](const model::Config& config) {
        Faults alone;
        Faults beside;
        model::check(config, alone);
        model::check(config, beside, &sound);
        EXPECT_EQ(to_string(alone), to_string(beside));
        return beside.size();
    };
    EXPECT_EQ(count(sound), 0U);
    auto next = sound;
    auto& route = next.routes[{"default", *Prefix::parse("10.1.0.0/16")}];
    route.next_hops[0].via = *IpAddress::parse("10.7.0.1");
    EXPECT_EQ(count(next), 1U) << "a route that changed";
    next = sound;
    next.interfaces["gw"].addresses[0] = *Prefix::parse("10.9.0.1/24");
    EXPECT_EQ(count(next), 2U) << "what routes go by changed, and they did not";
    next = sound;
    next.routes.erase({"default", *Prefix::parse("10.1.0.0/16")});
    EXPECT_EQ(count(next), 0U);
}

TEST(Model, DifferenceAndApplyAreInverse) {
    Faults faults;
    const auto from = config_of(kEverything, faults);
    auto to = from;
    to.fdb.clear();
    to.ports.erase("b");
    to.ports["a"].mtu = 1500;
    to.bridges.emplace("br1", model::Bridge{.name = "br1"});
    const auto change = model::difference(from, to);
    EXPECT_EQ(model::apply(from, change, faults), to);
    EXPECT_TRUE(faults.empty());
    const auto read = model::change_from_json(model::to_json(change), "", faults);
    EXPECT_EQ(model::apply(from, read, faults), to);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    EXPECT_TRUE(model::difference(to, to).empty());
    model::apply(to, change, faults);
    EXPECT_FALSE(faults.empty());  // "b" is gone already
}

}  // namespace
}  // namespace viaduct
