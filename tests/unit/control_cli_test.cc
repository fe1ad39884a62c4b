// The command line's words, and its sentences.
#include <gtest/gtest.h>
#include <json/json.h>

#include "cli/publish.h"
#include "cli/session.h"
#include "cli/words.h"

namespace viaduct::cli {
namespace {

TEST(Match, TakesUniqueBeginnings) {
    const std::vector<std::string_view> known = {"show", "set", "socket", "socket_mode"};
    EXPECT_EQ(match("show", known, "command"), 0U);
    EXPECT_EQ(match("sh", known, "command"), 0U);
    EXPECT_EQ(match("socket", known, "command"), 2U);
    EXPECT_EQ(match("socket_", known, "command"), 3U);
    EXPECT_THROW(match("s", known, "command"), Usage);
    EXPECT_THROW(match("", known, "command"), Usage);
    EXPECT_THROW(match("x", known, "command"), Usage);
    try {
        match("so", known, "command");
        FAIL();
    } catch (const Usage& usage) {
        EXPECT_STREQ(usage.what(), "command \"so\" may mean any of: socket, socket_mode; write more of it");
    }
}

TEST(Arguments, OptionsStandAnywhere) {
    const auto parsed = parse_arguments(
        {"-j", "port", "add", "web", "--comment", "for the shop", "--dry-run", "--socket=/x"}, "/d");
    EXPECT_TRUE(parsed.json);
    EXPECT_TRUE(parsed.dry_run);
    EXPECT_EQ(parsed.comment, "for the shop");
    EXPECT_EQ(parsed.socket, "/x");
    EXPECT_EQ(parsed.words, (std::vector<std::string>{"port", "add", "web"}));
    EXPECT_EQ(parse_arguments({}, "/d").socket, "/d");
    EXPECT_THROW(parse_arguments({"--nonsense"}, ""), Usage);
    EXPECT_THROW(parse_arguments({"--comment"}, ""), Usage);
    EXPECT_EQ(parse_arguments({"-f", "-"}, "").file, "-");
}

TEST(Arguments, FlowsKeywordsMayBeWrittenAsOptions) {
    for (const auto& words : {std::vector<std::string>{"flow", "list", "service", "apps/web"},
                              {"flow", "list", "--service", "apps/web"},
                              {"flow", "list", "--service=apps/web"}}) {
        Words read(parse_arguments(words, "").words);
        read.take("an object");
        read.take("a command");
        EXPECT_EQ(read.keyword({"service", "state", "src"}), "service");
        EXPECT_EQ(read.take("a value"), "apps/web");
        EXPECT_TRUE(read.empty());
    }
    EXPECT_THROW(parse_arguments({"service", "--service=x"}, ""), Usage);
}

TEST(Arguments, WaitingMayHaveItsSeconds) {
    EXPECT_EQ(parse_arguments({"apply"}, "").wait_seconds, 0U);
    EXPECT_EQ(parse_arguments({"apply", "--wait", "-f", "x"}, "").wait_seconds, 30U);
    EXPECT_EQ(parse_arguments({"apply", "--wait=5"}, "").wait_seconds, 5U);
    for (const char* bad : {"--wait=", "--wait=0", "--wait=3601", "--wait=1s"})
        EXPECT_THROW(parse_arguments({"apply", bad}, ""), Usage) << bad;
    EXPECT_TRUE(parse_arguments({"pod", "label", "web", "app=x", "--overwrite"}, "").overwrite);
}

TEST(Words, AreTakenInOrder) {
    Words words({"mtu", "1500", "brid", "br0", "x"});
    EXPECT_EQ(words.keyword({"mtu", "bridge"}), "mtu");
    EXPECT_EQ(words.number("mtu", 68, 9216), 1500U);
    EXPECT_EQ(words.keyword({"mtu", "bridge"}), "bridge");
    EXPECT_EQ(words.take("a name"), "br0");
    EXPECT_THROW(words.done(), Usage);
    words.take("x");
    EXPECT_NO_THROW(words.done());
    EXPECT_THROW(words.take("more"), Usage);
    for (const char* bad : {"67", "9217", "-1", "1500x", "", "99999999999999999999"}) {
        Words one({bad});
        EXPECT_THROW(one.number("mtu", 68, 9216), Usage) << bad;
    }
}

TEST(Sentences, NameTheObject) {
    EXPECT_EQ(words_of({{"ports/web/mtu", "must be less"}}), "port web: mtu must be less");
    EXPECT_EQ(words_of({{"bridges/br0", "is in use"}, {"", "plain"}}), "bridge br0 is in use\nplain");
    EXPECT_EQ(words_of({{"fdb/br0/10/02:00:00:00:00:01", "names nothing"}}),
              "fdb entry 02:00:00:00:00:01 vlan 10 on bridge br0 names nothing");
    EXPECT_EQ(words_of({{"put/routes/blue/10.0.0.0/8/next_hops", "are wrong"}}),
              "route 10.0.0.0/8 in VRF blue: next_hops are wrong");
    EXPECT_EQ(words_of({{"neighbours/out/fd00::1", "is far"}}), "neighbour fd00::1 dev out is far");
    EXPECT_EQ(words_of({{"generation 9", "is not in the history"}}), "generation 9 is not in the history");
}

TEST(Sentences, ShowDifferences) {
    Json::Value changes(Json::arrayValue);
    Json::Value one;
    one["object"] = "ports/web";
    one["before"]["mtu"] = 1500;
    one["after"]["mtu"] = 9000;
    one["after"]["vlan"]["untagged"] = 10;
    changes.append(one);
    one = {};
    one["object"] = "bridges/br0";
    one["after"]["name"] = "br0";
    one["after"]["learning"] = true;
    changes.append(one);
    EXPECT_EQ(diff_text(changes),
              "~ port web mtu 1500 -> 9000 vlan none -> 10\n+ bridge br0 learning true\n");
}

TEST(Sentences, ShowWhatWouldChange) {
    Json::Value changes;
    changes["put"]["routes"][0]["prefix"] = "10.0.0.0/8";
    changes["put"]["routes"][0]["kind"] = "blackhole";
    changes["put"]["fdb"][0]["bridge"] = "br0";
    changes["put"]["fdb"][0]["mac"] = "02:00:00:00:00:01";
    changes["put"]["fdb"][0]["port"] = "web";
    changes["put"]["timeouts"]["udp"] = 5;
    changes["delete"]["interfaces"][0] = "gw0";
    EXPECT_EQ(diff_text(by_object(changes)),
              "- interface gw0\n+ fdb entry 02:00:00:00:00:01 on bridge br0 port web\n"
              "+ route 10.0.0.0/8 kind blackhole\n+ timeouts udp 5\n");
}

TEST(Sentences, ShowVlansAsTheyAreWritten) {
    Json::Value vlan;
    vlan["untagged"] = 1;
    vlan["tagged"].append("10");
    vlan["tagged"].append("20-29");
    EXPECT_EQ(vlan_words(vlan), "trunk 10,20-29 native 1");
    vlan["untagged"] = 0;
    EXPECT_EQ(vlan_words(vlan), "trunk 10,20-29");
    EXPECT_EQ(vlan_words(Json::Value()), "-");
}

TEST(Publish, TakesWhatContainerEnginesWrite) {
    const auto shown = [](const std::string& text) { return publish_words(parse_publish(text)); };
    EXPECT_EQ(shown("8080:80"), "8080->80/tcp");
    EXPECT_EQ(shown("8080-8090:80-90/udp"), "8080-8090->80-90/udp");
    EXPECT_EQ(shown("192.0.2.1:65535:1/sctp"), "192.0.2.1:65535->1/sctp");
    EXPECT_EQ(shown("[fd00::1]:8080:80"), "[fd00::1]:8080->80/tcp");
    EXPECT_EQ(shown("0.0.0.0:8080:80"), "8080->80/tcp");
    EXPECT_EQ(shown("[::]:8080:80"), "8080->80/tcp");
    for (const char* bad : {"",
                            ":",
                            "80",
                            "80:",
                            ":80",
                            "0:80",
                            "80:0",
                            "65536:80",
                            "1-3:1-2",
                            "3-1:1-3",
                            "-1:80",
                            "1-:1",
                            "a:b",
                            "80:80/",
                            "80:80/icmp",
                            "80:80/TCP",
                            "1.2.3.4:80",
                            "1.2.3:80:80",
                            "fd00::1:80:80",
                            "[fd00::1:80:80",
                            "[1.2.3.4:80:80",
                            "[]:80:80",
                            "1:2:3:4",
                            "80:80/tcp/udp",
                            " 80:80"})
        EXPECT_THROW(parse_publish(bad), Usage) << bad;
}

TEST(Arguments, OfANetworkLookLikeOptions) {
    const auto parsed =
        parse_arguments({"-j", "net", "create", "shop", "--subnet=10.1.0.0/24", "--internal"}, "");
    EXPECT_EQ(parsed.words,
              (std::vector<std::string>{"net", "create", "shop", "--subnet", "10.1.0.0/24", "--internal"}));
    Words words({"--sub", "x", "driver"});
    EXPECT_EQ(words.keyword({"subnet", "driver"}), "subnet");
    words.take("a subnet");
    EXPECT_EQ(words.keyword({"subnet", "driver"}), "driver");
    EXPECT_THROW(parse_arguments({"bridge", "add", "--wire"}, ""), Usage);
}

TEST(Arguments, FilesAddUp) {
    const auto parsed = parse_arguments({"apply", "-f", "a.yaml", "--file=b.yaml", "-f", "-"}, "");
    EXPECT_EQ(parsed.files, (std::vector<std::string>{"a.yaml", "b.yaml", "-"}));
    const auto get = parse_arguments({"get", "svc", "apps/web", "-o", "yaml"}, "");
    EXPECT_EQ(get.output, "yaml");
    EXPECT_EQ(get.words, (std::vector<std::string>{"get", "svc", "apps/web"}));
    EXPECT_TRUE(parse_arguments({"delete", "--ignore-not-found"}, "").ignore_absent);
}

TEST(Table, AlignsNumbersToTheRight) {
    Table table({"NAME", "COUNT"});
    table.add({"a", "5"});
    table.add({"long-name", "12345"});
    EXPECT_EQ(table.text(), "NAME       COUNT\na              5\nlong-name  12345\n");
}

TEST(Objects, ExplainThemselves) {
    for (const auto& object :
         {link_object(),  bridge_object(), port_object(),   fdb_object(),  pod_object(),
          stats_object(), log_object(),    config_object(), vrf_object(),  interface_object(),
          addr_object(),  route_object(),  neigh_object(),  nat_object(),  timeouts_object(),
          net_object(),   apply_object(),  delete_object(), diff_object(), get_object()}) {
        EXPECT_FALSE(object.summary.empty()) << object.name;
        EXPECT_FALSE(object.examples.empty()) << object.name;
        for (const auto& command : object.commands)
            EXPECT_TRUE(command.run) << object.name << " " << command.name;
    }
}

}  // namespace
}  // namespace viaduct::cli
