// Golden cases of the stages that say yes or no, as data: one packet, one answer, and the words that explain
// it.
#include <gtest/gtest.h>

#include "../dataplane/packets.h"
#include "resolve/nat.h"
#include "resolve/packet.h"
#include "resolve/pipeline.h"
#include "resolve_world.h"

namespace viaduct::dataplane {

namespace {

using test::PacketSpec;
using Decision = Traced::Decision;

struct Golden {
    const char* name;
    PacketSpec packet;
    InterfaceIndex in = World::kLan;
    Decision decision = Decision::forwarded;
    Drop reason = Drop::count_;
    const char* words = "";  ///< in some stage's text
};

std::string text_of(const Traced& traced) {
    std::string all;
    for (const auto& line : traced.why)
        all += std::string(line.stage) + ": " + line.text + "\n";
    return all;
}

/// The network of the cases: World's, and routes of every kind.
void furnish(World& world) {
    using model::RouteKind;
    world.route("198.51.100.0/24", "", RouteKind::blackhole);
    world.route("198.51.101.0/24", "", RouteKind::unreachable);
    world.route("198.51.102.0/24", "", RouteKind::prohibit);
    world.route("198.51.103.0/24", "192.0.2.254", RouteKind::unicast, 600);
    world.route("198.51.104.0/24", "192.0.2.253");
    world.route("2001:db8:b::/48", "", RouteKind::blackhole);
    world.route("2001:db8:c::/48", "2001:db8:2::fe", RouteKind::unicast, 1280);
    world.config.interfaces["lan"].reverse_path = model::ReversePath::strict;
    world.config.interfaces["wan"].reverse_path = model::ReversePath::loose;
    world.build();
}

PacketSpec udp(const std::string& from, const std::string& to) {
    return {.source = from, .destination = to, .source_port = 1000, .destination_port = 53};
}
PacketSpec with_ttl(PacketSpec spec, std::uint8_t ttl) {
    spec.ttl = ttl;
    return spec;
}
PacketSpec sized(PacketSpec spec, std::size_t payload, bool dont_fragment) {
    spec.payload = payload;
    spec.dont_fragment = dont_fragment;
    return spec;
}

const std::vector<Golden>& cases() {
    constexpr auto lan = World::kLan;
    constexpr auto wan = World::kWan;
    constexpr auto dropped = Decision::dropped;
    static const std::vector<Golden> all = {
        {"routed", udp("10.0.0.2", "203.0.113.9"), lan, Decision::forwarded, Drop::count_,
         "0.0.0.0/0 via 192.0.2.254 dev wan"},
        {"routed6", udp("2001:db8:1::2", "2001:db8:f::9"), lan, Decision::forwarded, Drop::count_,
         "::/0 via 2001:db8:2::fe dev wan"},
        {"connected", udp("203.0.113.9", "10.0.0.2"), wan, Decision::forwarded, Drop::count_,
         "10.0.0.0/24 dev lan"},
        {"multicast_source", udp("224.0.0.5", "203.0.113.9"), lan, dropped, Drop::martian, "group address"},
        {"broadcast_source", udp("255.255.255.255", "203.0.113.9"), lan, dropped, Drop::martian, "group"},
        {"loopback_source", udp("127.0.0.1", "203.0.113.9"), lan, dropped, Drop::martian, "loopback"},
        {"zero_source", udp("0.0.0.0", "203.0.113.9"), lan, dropped, Drop::martian, "0.0.0.0/8"},
        {"class_e_source", udp("240.0.0.1", "203.0.113.9"), lan, dropped, Drop::martian, "class E"},
        {"own_source", udp("10.0.0.1", "203.0.113.9"), lan, dropped, Drop::martian, "the node itself"},
        {"network_broadcast_source", udp("10.0.0.255", "203.0.113.9"), lan, dropped, Drop::martian,
         "a network's broadcast"},
        {"land", udp("10.0.0.2", "10.0.0.2"), lan, dropped, Drop::martian, "land"},
        {"zero_destination", udp("10.0.0.2", "0.1.2.3"), lan, dropped, Drop::martian, "0.0.0.0/8"},
        {"loopback_destination", udp("10.0.0.2", "127.1.2.3"), lan, dropped, Drop::martian, "loopback"},
        {"class_e_destination", udp("10.0.0.2", "250.0.0.1"), lan, dropped, Drop::martian, "class E"},
        {"multicast_destination", udp("10.0.0.2", "239.1.1.1"), lan, dropped, Drop::group_not_routed,
         "group"},
        {"broadcast_destination", udp("10.0.0.2", "255.255.255.255"), lan, dropped, Drop::group_not_routed,
         "group"},
        {"network_broadcast", udp("203.0.113.9", "10.0.0.255"), wan, dropped, Drop::group_not_routed,
         "broadcast"},
        {"unspecified6", udp("::", "2001:db8:f::9"), lan, dropped, Drop::martian, "unspecified"},
        {"loopback6", udp("::1", "2001:db8:f::9"), lan, dropped, Drop::martian, "loopback"},
        {"mapped6", udp("::ffff:10.0.0.2", "2001:db8:f::9"), lan, dropped, Drop::martian, "IPv4-mapped"},
        {"multicast6", udp("2001:db8:1::2", "ff0e::1"), lan, dropped, Drop::group_not_routed, "group"},
        {"multicast6_source", udp("ff02::1", "2001:db8:f::9"), lan, dropped, Drop::martian, "group"},
        {"link_local6_source", udp("fe80::2", "2001:db8:f::9"), lan, dropped, Drop::martian, "link-local"},
        {"link_local6_destination", udp("2001:db8:1::2", "fe80::9"), lan, dropped, Drop::martian,
         "link-local"},
        {"blackhole", udp("10.0.0.2", "198.51.100.1"), lan, dropped, Drop::blackhole, "198.51.100.0/24"},
        {"unreachable", udp("10.0.0.2", "198.51.101.1"), lan, dropped, Drop::unreachable, "unreachable"},
        {"prohibit", udp("10.0.0.2", "198.51.102.1"), lan, dropped, Drop::prohibited, "prohibit"},
        {"blackhole6", udp("2001:db8:1::2", "2001:db8:b::1"), lan, dropped, Drop::blackhole, "2001:db8:b::"},
        {"strict_wrong_side", udp("203.0.113.9", "192.0.2.7"), lan, dropped, Drop::reverse_path,
         "not reached by lan"},
        {"strict_right_side", udp("10.0.0.9", "203.0.113.9"), lan, Decision::forwarded},
        {"loose_unroutable", udp("198.51.100.5", "10.0.0.2"), wan, dropped, Drop::reverse_path, "no route"},
        {"loose_routable", udp("10.0.0.77", "10.0.0.2"), wan, Decision::forwarded},
        {"ttl_one", with_ttl(udp("10.0.0.2", "203.0.113.9"), 1), lan, dropped, Drop::ttl_expired, "run out"},
        {"ttl_zero", with_ttl(udp("10.0.0.2", "203.0.113.9"), 0), lan, dropped, Drop::ttl_expired, "run out"},
        {"ttl_two", with_ttl(udp("10.0.0.2", "203.0.113.9"), 2), lan, Decision::forwarded, Drop::count_,
         "becomes 1"},
        {"hop_limit_one", with_ttl(udp("2001:db8:1::2", "2001:db8:f::9"), 1), lan, dropped, Drop::ttl_expired,
         "hop limit 1"},
        {"fits", sized(udp("10.0.0.2", "198.51.103.1"), 572, true), lan, Decision::forwarded, Drop::count_,
         "600 bytes fit in 600"},
        {"one_too_long", sized(udp("10.0.0.2", "198.51.103.1"), 573, true), lan, dropped,
         Drop::packet_too_big, "longer than 600"},
        {"may_be_cut", sized(udp("10.0.0.2", "198.51.103.1"), 573, false), lan, Decision::forwarded,
         Drop::count_, "fragments of 600"},
        {"too_long6", sized(udp("2001:db8:1::2", "2001:db8:c::1"), 1233, false), lan, dropped,
         Drop::packet_too_big, "longer than 1280"},
        {"fits6", sized(udp("2001:db8:1::2", "2001:db8:c::1"), 1232, false), lan, Decision::forwarded},
        {"unknown_neighbour", udp("10.0.0.2", "198.51.104.1"), lan, Decision::waits, Drop::count_,
         "192.0.2.253"},
        {"nobody_listens", udp("10.0.0.2", "10.0.0.1"), lan, dropped, Drop::no_listener, "own"},
        {"own_address_elsewhere", udp("10.0.0.2", "192.0.2.1"), lan, dropped, Drop::no_listener, "own"},
        {"echo",
         {.source = "10.0.0.2", .destination = "10.0.0.1", .protocol = test::kIcmp, .source_port = 5},
         lan,
         Decision::answered,
         Drop::count_,
         "echo request"},
    };
    return all;
}

class Stages : public testing::TestWithParam<Golden> {};

}  // namespace

TEST_P(Stages, Decide) {
    const auto& golden = GetParam();
    World world;
    furnish(world);
    const auto traced = world.trace(golden.in, test::packet(golden.packet));
    const auto text = text_of(traced);
    EXPECT_EQ(to_string(traced.decision), to_string(golden.decision)) << text;
    EXPECT_EQ(traced.reason, golden.reason) << text;
    EXPECT_NE(text.find(golden.words), std::string::npos) << text;
    EXPECT_EQ(world.v4.entries() + world.v6.entries(), 0U) << "a trace has entered a flow";
}

INSTANTIATE_TEST_SUITE_P(Golden, Stages, testing::ValuesIn(cases()),
                         [](const auto& golden) { return std::string(golden.param.name); });

TEST(Route, ForwardingCanBeOff) {
    World world;
    model::Vrf vrf;
    vrf.name = model::kDefaultVrf;
    vrf.forwarding4 = false;
    world.config.vrfs[vrf.name] = vrf;
    world.build();
    EXPECT_EQ(world.trace(World::kLan, test::packet(udp("10.0.0.2", "203.0.113.9"))).reason,
              Drop::forwarding_off);
    EXPECT_EQ(world.trace(World::kLan, test::packet(udp("2001:db8:1::2", "2001:db8:f::9"))).decision,
              Decision::forwarded);
    const PacketSpec echo{.source = "10.0.0.2", .destination = "10.0.0.1", .protocol = test::kIcmp};
    EXPECT_EQ(world.trace(World::kLan, test::packet(echo)).decision, Decision::answered);
}

TEST(Route, WithoutAnyThereIsNone) {
    World world;
    world.config.routes.clear();
    world.build();
    EXPECT_EQ(world.trace(World::kLan, test::packet(udp("10.0.0.2", "203.0.113.9"))).reason, Drop::no_route);
}

TEST(Packet, IsRefusedWhereverItIsCutShort) {
    World world;
    for (const auto& [spec, least] : {std::pair{udp("10.0.0.2", "203.0.113.9"), 28U},
                                      std::pair{udp("2001:db8:1::2", "2001:db8:f::9"), 48U}}) {
        const auto whole = test::packet(spec);
        for (std::size_t length = 0; length < whole.size(); ++length) {
            world.load(whole);
            world.frame->data_len = static_cast<std::uint16_t>(14 + length);
            world.frame->pkt_len = static_cast<std::uint32_t>(14 + length);
            Packet packet;
            EXPECT_EQ(read_packet({world.frame.get(), 0, 0, 14, false}, packet), Drop::bad_ip_header)
                << length;
        }
        world.load(whole);
        Packet packet;
        EXPECT_EQ(read_packet({world.frame.get(), 0, 0, 14, false}, packet), Drop::count_);
        EXPECT_EQ(packet.source_port, 1000);
        EXPECT_EQ(packet.destination_port, 53);
        EXPECT_EQ(packet.length, whole.size());
        EXPECT_GE(packet.length, least);
    }
}

TEST(Packet, PassesExtensionHeadersOverWithinBounds) {
    World world;
    const auto plain = test::packet(udp("2001:db8:1::2", "2001:db8:f::9"));
    const auto extended = [&](unsigned headers, std::uint8_t kind) {
        auto ip = plain;
        for (unsigned i = 0; i < headers; ++i) {
            const std::array<std::uint8_t, 8> header{ip[6], 0, 1, 4, 0, 0, 0, 0};
            ip.insert(ip.begin() + 40, header.begin(), header.end());
            ip[6] = kind;
        }
        const auto payload = ip.size() - 40;
        ip[4] = static_cast<std::uint8_t>(payload >> 8);
        ip[5] = static_cast<std::uint8_t>(payload);
        return ip;
    };
    Packet packet;
    const auto read = [&](const std::vector<std::uint8_t>& ip) {
        world.load(ip);
        return read_packet({world.frame.get(), 0, 0, 14, false}, packet);
    };
    EXPECT_EQ(read(extended(8, 60)), Drop::count_);
    EXPECT_EQ(packet.destination_port, 53);
    EXPECT_EQ(packet.l4_offset, 14 + 40 + 64);
    EXPECT_TRUE(packet.options);
    EXPECT_EQ(read(extended(9, 60)), Drop::bad_ip_header) << "too many";
    EXPECT_EQ(read(extended(2, 0)), Drop::bad_ip_header) << "hop-by-hop options are not first";
    auto beyond = extended(1, 60);
    beyond[41] = 200;
    EXPECT_EQ(read(beyond), Drop::bad_ip_header) << "a header longer than its packet";
}

TEST(Packet, HasItsChecksumAndLengthsChecked) {
    World world;
    Packet packet;
    const auto changed = [&](std::size_t at, std::uint8_t value) {
        auto ip = test::packet(udp("10.0.0.2", "203.0.113.9"));
        ip[at] = value;
        world.load(ip);
        return read_packet({world.frame.get(), 0, 0, 14, false}, packet);
    };
    EXPECT_EQ(changed(8, 63), Drop::bad_checksum);
    EXPECT_EQ(changed(0, 0x44), Drop::bad_ip_header) << "a header of 16 bytes";
    EXPECT_EQ(changed(3, 19), Drop::bad_ip_header) << "a total length less than the header";
    EXPECT_EQ(changed(2, 0xff), Drop::bad_ip_header) << "a total length beyond the frame";
}

TEST(Connection, IsFoundInBothDirectionsWithItsTranslation) {
    World world;
    model::Masquerade rule;
    rule.name = "out";
    rule.source = Prefix::parse("10.0.0.0/24").value();
    rule.interface = "wan";
    world.config.masquerades[rule.name] = rule;
    world.build();
    const auto ip = test::packet(udp("10.0.0.2", "203.0.113.9"));
    const auto first = world.trace(World::kLan, ip);
    ASSERT_EQ(first.decision, Decision::forwarded) << text_of(first);
    EXPECT_EQ(first.became->source.to_string(), "192.0.2.1");
    EXPECT_FALSE(first.flow);

    world.load(ip);
    Packet packet;
    ASSERT_EQ(read_packet({world.frame.get(), 0, World::kLan, 14, false}, packet), Drop::count_);
    const auto& tables = *world.topology->tables;
    Context context{packet,
                    *world.topology,
                    tables,
                    world.flows(),
                    world.shared->neighbours,
                    world.shared->nat_ports,
                    world.shared->rate_limits,
                    world.shared->services,
                    nullptr,
                    world.now};
    context.zone = tables.interfaces[World::kLan].zone;
    context.vrf = tables.interfaces[World::kLan].vrf;
    ASSERT_EQ(run(pipeline(), context), Step::go_on);
    Entry<FlowKey4> entry;
    prepare_flow<FlowKey4>(context, entry);
    ASSERT_EQ(enter_flow<FlowKey4>(context, entry), Entered::yes);
    const auto& record = entry.record;
    EXPECT_EQ(record.generation, tables.generation);
    EXPECT_TRUE(record.has(kFlowTranslate));
    EXPECT_TRUE(record.has(kFlowInitiator));
    EXPECT_EQ(world.v4.entries(), 2U);

    const auto again = world.trace(World::kLan, ip);
    ASSERT_TRUE(again.flow) << text_of(again);
    EXPECT_FALSE(again.reply);
    EXPECT_EQ(again.became->source_port, context.translation.source_port) << "the translation is kept";
    const auto back = test::packet({.source = "203.0.113.9",
                                    .destination = "192.0.2.1",
                                    .source_port = 53,
                                    .destination_port = context.translation.source_port});
    const auto reply = world.trace(World::kWan, back);
    ASSERT_TRUE(reply.flow) << text_of(reply);
    EXPECT_TRUE(reply.reply);
    EXPECT_EQ(reply.became->destination.to_string(), "10.0.0.2");
    EXPECT_EQ(reply.became->destination_port, 1000);
    EXPECT_EQ(reply.decision, Decision::forwarded) << text_of(reply);

    world.config.masquerades.clear();
    world.build();
    EXPECT_FALSE(world.trace(World::kWan, back).flow) << "the rule is gone, and with it the translation";
}

TEST(TablesBuilder, AFewChangesGiveWhatBuildingAnewDoes) {
    World world;
    furnish(world);
    const InterfacePlaces places{{"lan", 0}, {"wan", 1}};
    const auto zone = [](const std::string&) { return Zone{1}; };
    TablesBuilder builder;
    const auto before = builder.build(world.config, places, zone, 1, std::nullopt);
    const auto same = builder.build(world.config, places, zone, 2, std::vector<RouteKey>{});
    EXPECT_EQ(before->vrfs.at(1).fib, same->vrfs.at(1).fib) << "nothing has changed, and it was built anew";

    // A route goes, one comes, one changes, and an address that hid a route moves away.
    world.route("10.9.0.0/24", "192.0.2.254");
    world.config.interfaces["lan"].addresses.push_back(Prefix::parse("10.9.0.1/24").value());
    (void)builder.build(world.config, places, zone, 3,
                        std::vector<RouteKey>{{"default", Prefix::parse("10.9.0.0/24").value()}});
    world.config.interfaces["lan"].addresses.pop_back();
    world.config.routes.erase({"default", Prefix::parse("198.51.100.0/24").value()});
    world.route("198.51.101.0/24", "192.0.2.254");
    world.route("198.51.110.0/24", "", model::RouteKind::prohibit);
    std::vector<RouteKey> touched;
    for (const auto* text : {"198.51.100.0/24", "198.51.101.0/24", "198.51.110.0/24"})
        touched.emplace_back("default", Prefix::parse(text).value());
    const auto changed = builder.build(world.config, places, zone, 4, touched);
    TablesBuilder other;
    const auto anew = other.build(world.config, places, zone, 4, std::nullopt);
    const auto& one = *changed->vrfs.at(1).fib;
    const auto& two = *anew->vrfs.at(1).fib;
    EXPECT_EQ(one.size(), two.size());
    for (const auto* text : {"198.51.100.1", "198.51.101.1", "198.51.110.1", "10.9.0.1", "10.9.0.7",
                             "10.0.0.1", "10.0.0.255", "192.0.2.9", "2001:db8:b::1", "fe80::1"}) {
        const auto at = IpAddress::parse(text).value();
        const auto a = one.find(at);
        const auto b = two.find(at);
        ASSERT_EQ(static_cast<bool>(a), static_cast<bool>(b)) << text;
        if (!a) continue;
        EXPECT_EQ(a.length, b.length) << text;
        EXPECT_TRUE(a.entry->same_as(*b.entry)) << text;
    }
}

TEST(TablesBuilder, RoutesByInterfacesThatAreDownAreNotThere) {
    World world;
    world.config.interfaces["wan"].up = false;
    world.build();
    const auto& fib = *world.topology->tables->interfaces[World::kLan].vrf->fib;
    EXPECT_FALSE(fib.find(IpAddress::parse("203.0.113.9").value()));
    EXPECT_FALSE(fib.find(IpAddress::parse("192.0.2.1").value()));
    EXPECT_TRUE(fib.find(IpAddress::parse("10.0.0.1").value()));
}

}  // namespace viaduct::dataplane
