// Which rule a packet meets, what it becomes, and which rules are the same rule.
#include "tables/nat_rules.h"

#include <gtest/gtest.h>

#include "tables/tables.h"

namespace viaduct::dataplane {
namespace {

IpAddress ip(const char* text) {
    return *IpAddress::parse(text);
}

/// Two VRFs (zones 3 and 4), two interfaces.
Tables tables() {
    Tables t;
    t.vrfs[3].name = "default";
    t.vrfs[4].name = "red";
    for (const char* name : {"inside", "outside"}) {
        InterfaceEntry entry;
        entry.config.name = name;
        entry.zone = 3;
        t.interfaces.push_back(entry);
    }
    t.interfaces[0].config.addresses = {*Prefix::parse("10.0.0.1/16")};
    t.interfaces[1].config.addresses = {*Prefix::parse("192.0.2.1/24"), *Prefix::parse("192.0.2.9/24"),
                                        *Prefix::parse("fe80::1/64"), *Prefix::parse("2001:db8::1/64")};
    return t;
}

model::Masquerade masquerade(const char* name, const char* source) {
    model::Masquerade rule;
    rule.name = name;
    rule.source = *Prefix::parse(source);
    return rule;
}

NatRules rules(std::initializer_list<model::Masquerade> masquerades) {
    model::Config config;
    for (const auto& rule : masquerades)
        config.masquerades[rule.name] = rule;
    return {config, tables()};
}

TEST(NatRules, FindsPortForwardsAndTheirRanges) {
    model::Config config;
    config.port_forwards["web"] = {"web", "default", model::Transport::tcp, ip("192.0.2.1"),
                                   80,    80,        ip("10.0.0.5"),        8080};
    config.port_forwards["range"] = {"range", "default", model::Transport::tcp, ip("192.0.2.1"),
                                     5000,    5999,      ip("10.0.0.6"),        6000};
    config.port_forwards["red"] = {"red", "red", model::Transport::udp, ip("192.0.2.1"),
                                   80,    80,    ip("10.9.0.5"),        81};
    const NatRules r(config, tables());
    const auto web = r.destination(3, 6, ip("192.0.2.1"), 80);
    ASSERT_TRUE(web);
    EXPECT_EQ(web->address, ip("10.0.0.5"));
    EXPECT_EQ(web->port, 8080);
    EXPECT_NE(web->rule, 0U);
    EXPECT_EQ(r.destination(3, 6, ip("192.0.2.1"), 5000)->port, 6000);
    EXPECT_EQ(r.destination(3, 6, ip("192.0.2.1"), 5999)->port, 6999);
    EXPECT_FALSE(r.destination(3, 6, ip("192.0.2.1"), 4999));
    EXPECT_FALSE(r.destination(3, 6, ip("192.0.2.1"), 6000));
    EXPECT_FALSE(r.destination(3, 6, ip("192.0.2.1"), 81));
    EXPECT_FALSE(r.destination(3, 17, ip("192.0.2.1"), 80));
    EXPECT_FALSE(r.destination(3, 6, ip("192.0.2.2"), 80));
    EXPECT_EQ(r.destination(4, 17, ip("192.0.2.1"), 80)->port, 81);
}

TEST(NatRules, OneToOneGoesBothWaysAndYieldsToPortForwards) {
    model::Config config;
    config.static_nats["vm"] = {"vm", "default", ip("192.0.2.7"), ip("10.0.0.7")};
    config.port_forwards["web"] = {"web", "default", model::Transport::tcp, ip("192.0.2.7"),
                                   80,    80,        ip("10.0.0.5"),        8080};
    const NatRules r(config, tables());
    EXPECT_EQ(r.destination(3, 6, ip("192.0.2.7"), 80)->address, ip("10.0.0.5"));
    const auto in = r.destination(3, 47, ip("192.0.2.7"), 0);
    ASSERT_TRUE(in);
    EXPECT_EQ(in->address, ip("10.0.0.7"));
    EXPECT_EQ(r.source(3, ip("10.0.0.7"))->address, ip("192.0.2.7"));
    EXPECT_EQ(r.source(3, ip("10.0.0.7"))->rule, in->rule);
    EXPECT_FALSE(r.source(4, ip("10.0.0.7")));
    EXPECT_FALSE(r.source(3, ip("192.0.2.7")));
}

TEST(NatRules, TheLongestSourcePrefixDecides) {
    auto wide = masquerade("wide", "10.0.0.0/8");
    auto narrow = masquerade("narrow", "10.0.0.0/16");
    narrow.except = {*Prefix::parse("10.0.0.0/8")};
    auto elsewhere = masquerade("elsewhere", "10.0.1.0/24");
    elsewhere.interface = "inside";
    auto gone = masquerade("gone", "10.0.2.0/24");
    gone.interface = "nowhere";
    const auto r = rules({wide, narrow, elsewhere, gone});
    const auto id = [&](const char* source, const char* destination, InterfaceIndex egress) -> std::string {
        const auto* found = r.masquerade(3, ip(source), ip(destination), egress);
        if (found == nullptr) return "";
        for (const auto& rule : r.rules()) {
            if (rule.id == found->id) return rule.name;
        }
        return "?";
    };
    EXPECT_EQ(id("10.0.0.1", "8.8.8.8", 1), "narrow");
    EXPECT_EQ(id("10.0.0.1", "10.5.0.1", 1), "")
        << "its exceptions leave it alone; the wider rule is not asked";
    EXPECT_EQ(id("10.1.0.1", "8.8.8.8", 1), "wide");
    EXPECT_EQ(id("10.0.1.1", "8.8.8.8", 0), "elsewhere");
    EXPECT_EQ(id("10.0.1.1", "8.8.8.8", 1), "narrow") << "leaves by another interface";
    EXPECT_EQ(id("10.0.2.1", "8.8.8.8", 1), "narrow") << "its interface is not there";
    EXPECT_EQ(id("11.0.0.1", "8.8.8.8", 1), "");
    EXPECT_EQ(r.masquerade(4, ip("10.0.0.1"), ip("8.8.8.8"), 1), nullptr);
}

TEST(NatRules, AHostKeepsItsOutsideAddress) {
    auto rule = masquerade("pool", "10.0.0.0/16");
    rule.pool = {{ip("192.0.2.16"), ip("192.0.2.17")}, {ip("192.0.2.32"), ip("192.0.2.33")}};
    const auto r = rules({rule});
    const auto* m = r.masquerade(3, ip("10.0.0.1"), ip("8.8.8.8"), 1);
    ASSERT_NE(m, nullptr);
    std::set<IpAddress> first_choices;
    for (unsigned host = 0; host < 64; ++host) {
        std::set<IpAddress> choices;
        const auto inside = *ip("10.0.0.0").plus(host);
        for (unsigned nth = 0; nth < 4; ++nth)
            choices.insert(r.outside(*m, 1, inside, nth)->address);
        EXPECT_EQ(choices.size(), 4U);
        EXPECT_FALSE(r.outside(*m, 1, inside, 4));
        EXPECT_EQ(r.outside(*m, 1, inside, 0)->address, r.outside(*m, 0, inside, 0)->address);
        first_choices.insert(r.outside(*m, 1, inside, 0)->address);
    }
    EXPECT_EQ(first_choices.size(), 4U);
    EXPECT_TRUE(r.translates_to(*m, ip("192.0.2.33")));
    EXPECT_FALSE(r.translates_to(*m, ip("192.0.2.18")));
}

TEST(NatRules, WithoutAPoolTheInterfacesFirstAddressOfTheFamilyIsTaken) {
    const auto r = rules({masquerade("four", "10.0.0.0/16"), masquerade("six", "fd00::/8")});
    const auto* four = r.masquerade(3, ip("10.0.0.1"), ip("8.8.8.8"), 1);
    const auto* six = r.masquerade(3, ip("fd00::1"), ip("2001:db8:1::1"), 1);
    ASSERT_TRUE(four != nullptr && six != nullptr);
    EXPECT_EQ(r.outside(*four, 1, ip("10.0.0.5"), 0)->address, ip("192.0.2.1"));
    EXPECT_EQ(r.outside(*six, 1, ip("fd00::1"), 0)->address, ip("2001:db8::1")) << "not the link-local one";
    EXPECT_FALSE(r.outside(*six, 0, ip("fd00::1"), 0)) << "no IPv6 there";
    EXPECT_TRUE(r.translates_to(*four, ip("192.0.2.9")));
}

TEST(NatRules, BlocksAreArithmetic) {
    auto rule = masquerade("blocks", "10.0.0.0/28");
    rule.pool = {{ip("192.0.2.16"), ip("192.0.2.17")}};
    rule.port_low = 1024;
    rule.port_high = 1024 + 7 * 100 + 50;  // seven blocks and a rest that is nobody's
    rule.block = 100;
    const auto r = rules({rule});
    const auto* m = r.masquerade(3, ip("10.0.0.0"), ip("8.8.8.8"), 1);
    ASSERT_NE(m, nullptr);
    std::set<std::pair<IpAddress, std::uint16_t>> blocks;
    for (unsigned host = 0; host < 14; ++host) {
        const auto o = r.outside(*m, 1, *ip("10.0.0.0").plus(host), 0);
        ASSERT_TRUE(o) << host;
        EXPECT_EQ(o->address, ip(host < 7 ? "192.0.2.16" : "192.0.2.17"));
        EXPECT_EQ(o->low, 1024 + host % 7 * 100);
        EXPECT_EQ(o->high, o->low + 99);
        blocks.emplace(o->address, o->low);
    }
    EXPECT_EQ(blocks.size(), 14U);
    EXPECT_FALSE(r.outside(*m, 1, ip("10.0.0.14"), 0)) << "no block is left";
}

TEST(NatRules, AChangedRuleIsAnotherRule) {
    auto rule = masquerade("m", "10.0.0.0/16");
    const auto id = rules({rule}).rules().front().id;
    EXPECT_NE(id, 0U);
    EXPECT_EQ(rules({rule}).rules().front().id, id);
    // What it covers may change: agreement is asked of the rule itself.
    auto same = rule;
    same.except = {*Prefix::parse("10.0.0.0/8")};
    EXPECT_EQ(rules({same}).rules().front().id, id);
    for (const auto& change : std::initializer_list<void (*)(model::Masquerade&)>{
             [](auto& m) { m.name = "n"; },
             [](auto& m) {
                 m.pool = {{ip("192.0.2.1"), ip("192.0.2.1")}};
             },
             [](auto& m) { m.port_low = 2000; }, [](auto& m) { m.block = 8; }}) {
        auto other = rule;
        change(other);
        EXPECT_NE(rules({other}).rules().front().id, id);
    }
}

}  // namespace
}  // namespace viaduct::dataplane
