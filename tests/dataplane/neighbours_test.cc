// The node as a host and router on its links, packets in and packets out through the worker loop: ARP and
// neighbour discovery in both roles, frames that wait for an answer, echo, errors, advertisements, and what
// hostile neighbours send. The frames that are expected are composed by resolve/compose.h, which
// resolve_compose_test.cc holds against scapy.
#include <algorithm>

#include <gtest/gtest.h>

#include "bench.h"
#include "neighbour_state.h"
#include "packets.h"
#include "resolve/compose.h"

namespace viaduct::test {

using namespace dataplane;

namespace {

const auto kLan = MacAddress::from_u64(0x020000000101);  // the node's, on each side
const auto kWan = MacAddress::from_u64(0x020000000102);
const auto kHost = MacAddress::from_u64(0x020000000001);
const auto kPeer = MacAddress::from_u64(0x020000000002);
const auto kOther = MacAddress::from_u64(0x020000000003);
const MacAddress kNobody;

IpAddress ip(const std::string& text) {
    return *IpAddress::parse(text);
}
const auto kLanLocal = ip("fe80::ff:fe00:101");
const auto kWanLocal = ip("fe80::ff:fe00:102");
const auto kHostLocal = ip("fe80::ff:fe00:1");

/// A router between a LAN (ports a and a2, host 10.1.0.2, fd01::2) and a WAN (port b, peer 10.2.0.2,
/// fd02::2).
class Neighbourhood : public testing::Test {
protected:
    void SetUp() override { configure(); }

    void configure(const std::string& lan_more = "", const std::string& more = "") {
        bench.apply_json(R"({"put":{"bridges":[{"name":"lan"},{"name":"wan"}],"ports":[)"
                         R"({"name":"a","kind":"vhost-user","bridge":"lan","path":"/a"},)"
                         R"({"name":"a2","kind":"vhost-user","bridge":"lan","path":"/a2"},)"
                         R"({"name":"b","kind":"vhost-user","bridge":"wan","path":"/b"}],"interfaces":[)"
                         R"({"name":"gw","bridge":"lan","mac":"02:00:00:00:01:01",)"
                         R"("addresses":["10.1.0.1/24","fd01::1/64"])" +
                         lan_more +
                         R"(},{"name":"up","bridge":"wan","mac":"02:00:00:00:01:02",)"
                         R"("addresses":["10.2.0.1/24","fd02::1/64"]}])" +
                         more + "}}");
    }
    /// Lets announcements pass and forgets them.
    void quieten() {
        for (int i = 0; i < 4; ++i)
            bench.advance_clock(1);
        for (const auto* port : {"a", "a2", "b"})
            bench.collect(port);
    }
    void tick(std::uint32_t seconds = 1) { bench.advance_clock(seconds); }
    std::optional<NeighbourEntry> neighbour(const std::string& address) {
        std::optional<NeighbourEntry> found;
        NeighbourFilter filter;
        filter.address = ip(address);
        bench.dataplane().visit_neighbours(filter, [&](const NeighbourEntry& entry) { found = entry; });
        return found;
    }
    /// Host and peer are known, as after a conversation.
    void introduce() {
        bench.inject("a", compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("10.1.0.1")}, kBroadcastMac));
        bench.inject("b", compose_arp({true, kPeer, ip("10.2.0.2"), kNobody, ip("10.2.0.1")}, kBroadcastMac));
        quieten();
    }
    Bytes to_peer(std::uint8_t ttl = 64, std::uint16_t port = 1000) {
        return routed({.source = "10.1.0.2",
                       .destination = "10.2.0.2",
                       .source_port = port,
                       .destination_port = 2000,
                       .ttl = ttl},
                      kLan.to_string(), kHost.to_string());
    }
    std::uint64_t dropped(const std::string& port, Drop why) { return bench.drops(port, why); }

    Bench bench;
};

Bytes vlan_tagged(Bytes frame, std::uint8_t vlan) {
    const Bytes tag{0x81, 0, 0, vlan};
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    return frame;
}

/// An ND message after its bytes were tampered with: the checksum is made to fit again.
Bytes with_checksum(Bytes frame) {
    const std::span<const std::uint8_t> bytes(frame);
    const auto source = *IpAddress::from_bytes(bytes.subspan(22, 16));
    const auto destination = *IpAddress::from_bytes(bytes.subspan(38, 16));
    frame[56] = frame[57] = 0;
    const auto length = frame.size() - 54;
    frame[18] = static_cast<std::uint8_t>(length >> 8);
    frame[19] = static_cast<std::uint8_t>(length);
    const auto sum =
        internet_checksum(std::span(frame).subspan(54), pseudo_header_sum(source, destination, 58, length));
    frame[56] = static_cast<std::uint8_t>(sum >> 8);
    frame[57] = static_cast<std::uint8_t>(sum);
    return frame;
}

Bytes solicitation(const std::string& target = "fd01::1") {
    return compose_neighbour_solicitation(
        {MacAddress::from_u64(0x3333ff000001), kHost, ip("ff02::1:ff00:1"), ip("fd01::2")}, ip(target));
}

}  // namespace

TEST_F(Neighbourhood, AnArpRequestForAnOwnAddressIsAnsweredToWhomAsks) {
    quieten();
    bench.inject("a", compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("10.1.0.1")}, kBroadcastMac));
    EXPECT_EQ(bench.collect("a"),
              (std::vector<Bytes>{compose_arp({false, kLan, ip("10.1.0.1"), kHost, ip("10.1.0.2")}, kHost)}));
    EXPECT_EQ(bench.collect("a2").size(), 1U)
        << "the request is flooded, as on any bridge; the answer is not";
    ASSERT_TRUE(neighbour("10.1.0.2"));
    EXPECT_EQ(neighbour("10.1.0.2")->mac, kHost);
    EXPECT_EQ(neighbour("10.1.0.2")->state, NeighbourState::stale);
}

TEST_F(Neighbourhood, ArpForOthersForeignersAndNonsenseIsNotAnswered) {
    quieten();
    bench.inject("a", compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("10.1.0.9")}, kBroadcastMac));
    EXPECT_FALSE(neighbour("10.1.0.2")) << "he does not speak to us";
    for (const auto* sender : {"10.9.0.2", "127.0.0.1", "224.0.0.1", "10.1.0.255", "0.1.2.3"})
        bench.inject("a", compose_arp({true, kHost, ip(sender), kNobody, ip("10.1.0.1")}, kBroadcastMac));
    auto bad = compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("10.1.0.1")}, kBroadcastMac);
    bad[18] = 8;  // hardware addresses of eight bytes
    bench.inject("a", bad);
    bad = compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("10.1.0.1")}, kBroadcastMac);
    for (std::size_t length = 14; length < bad.size(); ++length)
        bench.inject("a", Bytes(bad.begin(), bad.begin() + static_cast<std::ptrdiff_t>(length)));
    EXPECT_TRUE(bench.collect("a").empty());
    EXPECT_EQ(dropped("a", Drop::martian), 5U);
    EXPECT_EQ(dropped("a", Drop::bad_neighbour_message), 1 + 28U);
    EXPECT_FALSE(neighbour("10.9.0.2"));
}

TEST_F(Neighbourhood, FirstPacketsWaitForTheNextHopAndLeaveInOrder) {
    quieten();
    for (std::uint16_t n = 0; n < 3; ++n)
        bench.inject("a", to_peer(64, static_cast<std::uint16_t>(1000 + n)));
    EXPECT_EQ(bench.collect("b"), (std::vector<Bytes>{compose_arp(
                                      {true, kWan, ip("10.2.0.1"), kNobody, ip("10.2.0.2")}, kBroadcastMac)}))
        << "asked once";
    EXPECT_EQ(bench.dataplane().ledger().waiting, 3U);
    EXPECT_TRUE(bench.dataplane().ledger().balanced());
    bench.inject("b", compose_arp({false, kPeer, ip("10.2.0.2"), kWan, ip("10.2.0.1")}, kWan));
    const auto out = bench.collect("b");
    ASSERT_EQ(out.size(), 3U);
    for (std::size_t n = 0; n < 3; ++n) {
        EXPECT_EQ(macs(out[n]), kWan.to_string() + " > " + kPeer.to_string());
        EXPECT_EQ(describe(out[n]), "udp 10.1.0.2:" + std::to_string(1000 + n) + " > 10.2.0.2:2000 ttl 63");
    }
    EXPECT_EQ(neighbour("10.2.0.2")->state, NeighbourState::reachable);
    bench.inject("a", to_peer());
    EXPECT_EQ(bench.collect("b").size(), 1U);
}

TEST_F(Neighbourhood, WithoutAnAnswerTheSenderIsTold) {
    quieten();
    bench.inject("a", to_peer());
    std::size_t asked = bench.collect("b").size();
    for (int i = 0; i < 6; ++i) {
        tick();
        asked += bench.collect("b").size();
    }
    EXPECT_EQ(asked, 3U);
    EXPECT_EQ(dropped("a", Drop::neighbour_unknown), 1U);
    const auto back = bench.collect("a");
    ASSERT_EQ(back.size(), 1U);
    const auto whole = to_peer();
    const Ends ends{kHost, kLan, ip("10.1.0.2"), ip("10.1.0.1")};
    EXPECT_EQ(back[0], compose_icmp_error(ends, {3, 1, 0}, ip_of(whole)));
    EXPECT_EQ(neighbour("10.2.0.2")->state, NeighbourState::failed);
}

TEST_F(Neighbourhood, AScanOfANetworkIsBoundedAndOthersGoOn) {
    introduce();
    for (std::uint32_t n = 10; n < 240; ++n) {
        for (int twice = 0; twice < 3; ++twice) {
            bench.inject("a", routed({.source = "10.1.0.2", .destination = "10.2.0." + std::to_string(n)},
                                     kLan.to_string(), kHost.to_string()));
        }
    }
    bench.inject("a", to_peer());
    const auto out = bench.collect("b");
    EXPECT_LE(out.size(), 232U) << "once for each";
    EXPECT_GE(out.size(), 200U);
    EXPECT_EQ(std::count_if(out.begin(), out.end(), [](const Bytes& f) { return f[12] == 8 && f[13] == 0; }),
              1);
    for (int i = 0; i < 6; ++i)
        tick();
    EXPECT_EQ(bench.dataplane().ledger().waiting, 0U);
    EXPECT_TRUE(neighbour("10.2.0.2"));
}

TEST_F(Neighbourhood, APortThatScansSpendsItsOwnQuestions) {
    introduce();
    for (std::uint32_t n = 0; n < 3000; ++n) {
        bench.inject("a", routed({.source = "10.1.0.2",
                                  .destination = "10.2.0." + std::to_string(3 + n % 250),
                                  .source_port = static_cast<std::uint16_t>(n)},
                                 kLan.to_string(), kHost.to_string()));
        if (n % 500 == 499) {
            for (int i = 0; i < 5; ++i)
                tick();
        }
    }
    bench.settle();
    EXPECT_TRUE(bench.dataplane().ledger().balanced());
    EXPECT_LE(bench.dataplane().neighbour_sums().entries, 252U);
}

TEST_F(Neighbourhood, SolicitationsAreAnswered) {
    quieten();
    bench.inject("a", solicitation());
    EXPECT_EQ(bench.collect("a"),
              (std::vector<Bytes>{compose_neighbour_advertisement({kHost, kLan, ip("fd01::2"), ip("fd01::1")},
                                                                  {ip("fd01::1"), true, true})}));
    EXPECT_EQ(neighbour("fd01::2")->mac, kHost);
    bench.inject("a", compose_neighbour_solicitation({kLan, kHost, kLanLocal, kHostLocal}, kLanLocal));
    EXPECT_EQ(bench.collect("a"), (std::vector<Bytes>{compose_neighbour_advertisement(
                                      {kHost, kLan, kHostLocal, kLanLocal}, {kLanLocal, true, true})}));
    bench.inject("a", solicitation("fd01::9"));
    EXPECT_TRUE(bench.collect("a").empty()) << "not ours";
}

TEST_F(Neighbourhood, WhoTakesAnOwnAddressIsContradicted) {
    quieten();
    bench.inject("a", compose_neighbour_solicitation(
                          {MacAddress::from_u64(0x3333ff000001), kHost, ip("ff02::1:ff00:1"), ip("::")},
                          ip("fd01::1")));
    const auto defence = compose_neighbour_advertisement(
        {MacAddress::from_u64(0x333300000001), kLan, ip("ff02::1"), ip("fd01::1")},
        {ip("fd01::1"), false, true});
    EXPECT_EQ(bench.collect("a"), std::vector<Bytes>{defence});
    bench.inject("a", compose_arp({true, kHost, ip("0.0.0.0"), kNobody, ip("10.1.0.1")}, kBroadcastMac));
    EXPECT_EQ(bench.collect("a").size(), 1U) << "a probe is answered";
    bench.inject("a", compose_arp({true, kHost, ip("10.1.0.1"), kNobody, ip("10.1.0.1")}, kBroadcastMac));
    EXPECT_EQ(bench.collect("a"),
              (std::vector<Bytes>{
                  compose_arp({true, kLan, ip("10.1.0.1"), kNobody, ip("10.1.0.1")}, kBroadcastMac)}));
    for (int i = 0; i < 100; ++i)
        bench.inject("a", compose_arp({true, kHost, ip("10.1.0.1"), kNobody, ip("10.1.0.1")}, kBroadcastMac));
    EXPECT_TRUE(bench.collect("a").empty()) << "one in ten seconds";
    EXPECT_EQ(bench.dataplane().neighbour_sums().counters.duplicates, 102U);
    EXPECT_FALSE(neighbour("10.1.0.1"));
}

TEST_F(Neighbourhood, HostileDiscoveryIsRefused) {
    quieten();
    std::vector<Bytes> hostile;
    auto frame = solicitation();
    frame[21] = 254;  // from beyond the link
    hostile.push_back(frame);
    frame = solicitation();
    ++frame[57];  // checksum
    hostile.push_back(frame);
    frame = solicitation();
    frame[55] = 1;  // code
    hostile.push_back(with_checksum(frame));
    for (const std::uint8_t length : std::initializer_list<std::uint8_t>{0, 2, 255}) {
        frame = solicitation();
        frame[79] = length;  // of the option, in units of eight bytes
        hostile.push_back(with_checksum(frame));
    }
    frame = solicitation();
    frame[62] = 0xff;  // target: a group
    hostile.push_back(with_checksum(frame));
    frame = solicitation();
    frame[80] = 0x03;  // source link-layer address: a group
    hostile.push_back(with_checksum(frame));
    frame = solicitation();
    frame.resize(frame.size() - 4);  // an option cut short
    hostile.push_back(with_checksum(frame));
    frame = solicitation();
    frame.resize(54 + 20);  // a target cut short
    hostile.push_back(with_checksum(frame));
    frame = solicitation();
    std::fill(frame.begin() + 22, frame.begin() + 38, std::uint8_t{0});  // unspecified source with an option
    hostile.push_back(with_checksum(frame));
    for (const auto& one : hostile)
        bench.inject("a", one);
    EXPECT_TRUE(bench.collect("a").empty());
    EXPECT_EQ(dropped("a", Drop::bad_neighbour_message), hostile.size());
    EXPECT_EQ(bench.dataplane().neighbour_sums().entries, 0U);
}

TEST_F(Neighbourhood, SixWaitsAndIsAskedForInItsGroup) {
    quieten();
    bench.inject(
        "a", routed({.source = "fd01::2", .destination = "fd02::2"}, kLan.to_string(), kHost.to_string()));
    EXPECT_EQ(
        bench.collect("b"),
        (std::vector<Bytes>{compose_neighbour_solicitation(
            {MacAddress::from_u64(0x3333ff000002), kWan, ip("ff02::1:ff00:2"), kWanLocal}, ip("fd02::2"))}));
    bench.inject("b", compose_neighbour_advertisement({kWan, kPeer, kWanLocal, ip("fd02::2")},
                                                      {ip("fd02::2"), true, true}));
    const auto out = bench.collect("b");
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(macs(out[0]), kWan.to_string() + " > " + kPeer.to_string());
}

TEST_F(Neighbourhood, AMovedNeighbourIsFollowed) {
    introduce();
    bench.inject("a", to_peer());
    EXPECT_EQ(macs(bench.collect("b").at(0)), kWan.to_string() + " > " + kPeer.to_string());
    tick();
    bench.inject("b", compose_arp({true, kOther, ip("10.2.0.2"), kNobody, ip("10.2.0.2")}, kBroadcastMac));
    bench.settle();
    tick();
    bench.inject("a", to_peer());
    const auto out = bench.collect("b");
    ASSERT_FALSE(out.empty());
    EXPECT_EQ(macs(out.back()), kWan.to_string() + " > " + kOther.to_string());
}

TEST_F(Neighbourhood, AnnouncesItselfTwiceAndWhenItsMacChanges) {
    std::vector<Bytes> heard;
    for (int i = 0; i < 5; ++i) {
        tick();
        for (auto& frame : bench.collect("a2"))
            heard.push_back(std::move(frame));
    }
    const auto gratuitous = compose_arp({true, kLan, ip("10.1.0.1"), kNobody, ip("10.1.0.1")}, kBroadcastMac);
    const auto probe = compose_arp({true, kLan, {}, kNobody, ip("10.1.0.1")}, kBroadcastMac);
    const auto probe6 = compose_neighbour_solicitation(
        {MacAddress::from_u64(0x3333ff000001), kLan, ip("ff02::1:ff00:1"), ip("::")}, ip("fd01::1"));
    EXPECT_EQ(std::count(heard.begin(), heard.end(), gratuitous), 2);
    EXPECT_EQ(std::count(heard.begin(), heard.end(), probe), 1);
    EXPECT_EQ(std::count(heard.begin(), heard.end(), probe6), 1);
    EXPECT_LT(std::find(heard.begin(), heard.end(), probe),
              std::find(heard.begin(), heard.end(), gratuitous));
    EXPECT_EQ(heard.size(), 9U) << "three addresses, one of them link-local";
    bench.apply_json(R"({"put":{"interfaces":[{"name":"gw","bridge":"lan","mac":"02:00:00:00:01:03",)"
                     R"("addresses":["10.1.0.1/24"]}]}})");
    tick();
    const auto again = bench.collect("a2");
    const auto moved = compose_arp(
        {true, MacAddress::from_u64(0x020000000103), ip("10.1.0.1"), kNobody, ip("10.1.0.1")}, kBroadcastMac);
    EXPECT_EQ(std::count(again.begin(), again.end(), moved), 1);
}

TEST_F(Neighbourhood, WhoAnswersItsProbesIsReportedAsADuplicate) {
    tick();
    for (const auto* own : {"10.1.0.1", "fd01::1"}) {
        const auto before = bench.dataplane().neighbour_sums().counters.duplicates;
        const auto answer = ip(own).is_v4()
                                ? compose_arp({false, kHost, ip(own), kLan, ip("0.0.0.0")}, kLan)
                                : compose_neighbour_advertisement(
                                      {MacAddress::from_u64(0x333300000001), kHost, ip("ff02::1"), ip(own)},
                                      {ip(own), false, true});
        bench.inject("a", answer);
        bench.settle();
        EXPECT_EQ(bench.dataplane().neighbour_sums().counters.duplicates, before + 1) << own;
    }
    quieten();
    bench.inject("a", compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("10.1.0.1")}, kBroadcastMac));
    EXPECT_EQ(bench.collect("a").size(), 1U) << "the node goes on using its addresses";
}

TEST_F(Neighbourhood, AnswersEchoOfBothFamilies) {
    introduce();
    bench.inject("a", routed({.source = "10.1.0.2",
                              .destination = "10.1.0.1",
                              .protocol = kIcmp,
                              .source_port = 7,
                              .ttl = 3,
                              .payload = 500},
                             kLan.to_string(), kHost.to_string()));
    auto out = bench.collect("a");
    ASSERT_EQ(out.size(), 1U);
    const auto expected = packet({.source = "10.1.0.1",
                                  .destination = "10.1.0.2",
                                  .protocol = kIcmp,
                                  .source_port = 7,
                                  .ttl = 64,
                                  .payload = 500,
                                  .icmp_type = 0});
    EXPECT_EQ(ip_of(out[0]), expected);
    EXPECT_EQ(macs(out[0]), kLan.to_string() + " > " + kHost.to_string());
    bench.inject(
        "a", routed({.source = "10.1.0.2", .destination = "10.2.0.1", .protocol = kIcmp, .source_port = 7},
                    kLan.to_string(), kHost.to_string()));
    EXPECT_EQ(bench.collect("a").size(), 1U) << "the other interface's address is ours, too";
    for (const auto& [from, to] :
         {std::pair{"fd01::2", "fd01::1"}, {"fe80::ff:fe00:1", "fe80::ff:fe00:101"}}) {
        bench.inject(
            "a",
            routed(
                {.source = from, .destination = to, .protocol = kIcmp6, .source_port = 9, .icmp_type = 128},
                kLan.to_string(), kHost.to_string()));
        out = bench.collect("a");
        ASSERT_EQ(out.size(), 1U) << to;
        EXPECT_EQ(
            ip_of(out[0]),
            packet(
                {.source = to, .destination = from, .protocol = kIcmp6, .source_port = 9, .icmp_type = 129}));
    }
}

TEST_F(Neighbourhood, RefusesWhatNobodyListensFor) {
    introduce();
    const PacketSpec udp{
        .source = "10.1.0.2", .destination = "10.1.0.1", .source_port = 5, .destination_port = 6};
    bench.inject("a", routed(udp, kLan.to_string(), kHost.to_string()));
    const Ends ends{kHost, kLan, ip("10.1.0.2"), ip("10.1.0.1")};
    EXPECT_EQ(bench.collect("a"), (std::vector<Bytes>{compose_icmp_error(ends, {3, 3, 0}, packet(udp))}));
    const PacketSpec gre{.source = "10.1.0.2", .destination = "10.1.0.1", .protocol = kGre};
    bench.inject("a", routed(gre, kLan.to_string(), kHost.to_string()));
    EXPECT_EQ(bench.collect("a"), (std::vector<Bytes>{compose_icmp_error(ends, {3, 2, 0}, packet(gre))}));
    PacketSpec tcp{.source = "10.1.0.2",
                   .destination = "10.1.0.1",
                   .protocol = kTcp,
                   .source_port = 5,
                   .destination_port = 6,
                   .payload = 0,
                   .tcp_flags = 0x02};
    bench.inject("a", routed(tcp, kLan.to_string(), kHost.to_string()));
    auto out = bench.collect("a");
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0][14 + 20 + 13], 0x14) << "RST and ACK";
    tcp.tcp_flags = 0x04;
    bench.inject("a", routed(tcp, kLan.to_string(), kHost.to_string()));
    EXPECT_TRUE(bench.collect("a").empty()) << "never a reset for a reset";
    EXPECT_EQ(dropped("a", Drop::no_listener), 4U);
}

TEST_F(Neighbourhood, TellsSendersWithinLimits) {
    introduce();
    const Ends ends{kHost, kLan, ip("10.1.0.2"), ip("10.1.0.1")};
    bench.inject("a", to_peer(1));
    EXPECT_EQ(bench.collect("a"),
              (std::vector<Bytes>{compose_icmp_error(ends, {11, 0, 0}, ip_of(to_peer(1)))}));
    const PacketSpec nowhere{.source = "10.1.0.2", .destination = "192.0.2.1"};
    bench.inject("a", routed(nowhere, kLan.to_string(), kHost.to_string()));
    EXPECT_EQ(bench.collect("a"), (std::vector<Bytes>{compose_icmp_error(ends, {3, 0, 0}, packet(nowhere))}));
    const PacketSpec error{.source = "10.1.0.2",
                           .destination = "192.0.2.1",
                           .protocol = kIcmp,
                           .icmp_type = 11,
                           .inside = packet(nowhere)};
    bench.inject("a", routed(error, kLan.to_string(), kHost.to_string()));
    bench.inject("a", routed(nowhere, "ff:ff:ff:ff:ff:ff", kHost.to_string()));
    EXPECT_TRUE(bench.collect("a").empty()) << "not because of an error, nor of what was sent to all";
    bench.collect("a2");
    for (std::uint16_t i = 0; i < 500; ++i)
        bench.inject("a", to_peer(1, i));
    EXPECT_LE(bench.collect("a").size(), 20U);
    EXPECT_EQ(dropped("a", Drop::ttl_expired), 501U);
}

TEST_F(Neighbourhood, ProxiesWhatAnotherInterfaceLeadsTo) {
    configure(R"(,"proxy_arp":true)",
              R"(,"routes":[{"prefix":"10.9.0.0/16","next_hops":[{"interface":"up","via":"10.2.0.2"}]}])");
    quieten();
    bench.inject("a", compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("10.9.1.1")}, kBroadcastMac));
    EXPECT_EQ(bench.collect("a"),
              (std::vector<Bytes>{compose_arp({false, kLan, ip("10.9.1.1"), kHost, ip("10.1.0.2")}, kHost)}));
    bench.inject("a", compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("10.1.0.9")}, kBroadcastMac));
    bench.inject("a", compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("192.0.2.1")}, kBroadcastMac));
    EXPECT_TRUE(bench.collect("a").empty()) << "on its own link, or nowhere";
    bench.inject("a", solicitation("fd02::77"));
    EXPECT_EQ(bench.collect("a"),
              (std::vector<Bytes>{compose_neighbour_advertisement({kHost, kLan, ip("fd01::2"), kLanLocal},
                                                                  {ip("fd02::77"), true, false})}));
}

TEST_F(Neighbourhood, AdvertisesItselfToWhomAsksAndFromTimeToTime) {
    quieten();
    configure(R"(,"router_advertisements":true,"mtu":1400)");
    const Ends to_all{MacAddress::from_u64(0x333300000001), kLan, ip("ff02::1"), kLanLocal};
    const RouterAdvertisement advertisement{1800, 1400, {*Prefix::parse("fd01::/64")}};
    const auto expected = compose_router_advertisement(to_all, advertisement);
    std::ptrdiff_t sent = 0;
    for (std::uint32_t i = 0; i < 40; ++i) {
        tick();
        const auto out = bench.collect("a");
        sent += std::count(out.begin(), out.end(), expected);
    }
    EXPECT_EQ(sent, 3) << "at once and after 16 and 32 seconds";
    // A router solicitation is a neighbour solicitation without a target.
    auto frame = compose_neighbour_solicitation(
        {MacAddress::from_u64(0x333300000002), kHost, ip("ff02::2"), kHostLocal}, ip("::"));
    frame.erase(frame.begin() + 62, frame.begin() + 78);
    frame[54] = 133;
    bench.inject("a", with_checksum(frame));
    EXPECT_EQ(bench.collect("a"), (std::vector<Bytes>{compose_router_advertisement(
                                      {kHost, kLan, kHostLocal, kLanLocal}, advertisement)}));
    configure();
    tick();
    const auto out = bench.collect("a");
    const auto last = compose_router_advertisement(to_all, {0, 1500, {*Prefix::parse("fd01::/64")}});
    EXPECT_EQ(std::count(out.begin(), out.end(), last), 1) << "and says when it is no longer one";
}

TEST_F(Neighbourhood, StaticNeighboursAreNotAskedForAndFlushedOnesAre) {
    configure("", R"(,"neighbours":[{"interface":"up","address":"10.2.0.2","mac":"02:00:00:00:00:02"}])");
    quieten();
    EXPECT_EQ(neighbour("10.2.0.2")->state, NeighbourState::permanent);
    bench.inject("b",
                 compose_arp({false, kPeer, ip("10.2.0.9"), kOther, ip("10.2.0.8")}, kOther));  // its port
    bench.collect("b");
    bench.inject("a", to_peer());
    EXPECT_EQ(macs(bench.collect("b").at(0)), kWan.to_string() + " > " + kPeer.to_string());
    introduce();
    EXPECT_EQ(bench.dataplane().flush_neighbours({}), 1U) << "the host; the static one stays";
    EXPECT_FALSE(neighbour("10.1.0.2"));
    NeighbourFilter unknown;
    unknown.interface = "nowhere";
    EXPECT_THROW(bench.dataplane().flush_neighbours(unknown), Refused);
    bench.apply_json(R"({"delete":{"neighbours":[{"interface":"up","address":"10.2.0.2"}]}})");
    tick();
    EXPECT_FALSE(neighbour("10.2.0.2"));
}

TEST(NeighbourVlans, AnswersCarryTheTagThatThePortWants) {
    Bench bench;
    bench.apply_json(
        R"({"put":{"bridges":[{"name":"br","vlan_filtering":true}],"ports":[)"
        R"({"name":"access","kind":"vhost-user","bridge":"br","path":"/x","vlan":{"untagged":10}},)"
        R"({"name":"trunk","kind":"vhost-user","bridge":"br","path":"/y","vlan":{"untagged":0,"tagged":["10","20"]}}],)"
        R"("interfaces":[{"name":"gw10","bridge":"br","vlan":10,"mac":"02:00:00:00:01:01","addresses":["10.1.0.1/24"]},)"
        R"({"name":"gw20","bridge":"br","vlan":20,"mac":"02:00:00:00:01:01","addresses":["10.2.0.1/24"]}]}})");
    for (int i = 0; i < 4; ++i)
        bench.advance_clock(1);
    bench.collect("access");
    bench.collect("trunk");
    const auto ask = compose_arp({true, kHost, ip("10.1.0.2"), kNobody, ip("10.1.0.1")}, kBroadcastMac);
    const auto answer = compose_arp({false, kLan, ip("10.1.0.1"), kHost, ip("10.1.0.2")}, kHost);
    bench.inject("access", ask);
    EXPECT_EQ(bench.collect("access"), std::vector<Bytes>{answer});
    EXPECT_EQ(bench.collect("trunk"), std::vector<Bytes>{vlan_tagged(ask, 10)});
    bench.inject("trunk",
                 vlan_tagged(compose_arp({true, kPeer, ip("10.1.0.3"), kNobody, ip("10.1.0.1")}, kLan), 10));
    EXPECT_EQ(bench.collect("trunk"),
              std::vector<Bytes>{
                  vlan_tagged(compose_arp({false, kLan, ip("10.1.0.1"), kPeer, ip("10.1.0.3")}, kPeer), 10)});
    // From one VLAN to the other: the question goes out tagged, to the trunk alone.
    bench.inject("access", routed({.source = "10.1.0.2", .destination = "10.2.0.2"}, kLan.to_string(),
                                  kHost.to_string()));
    EXPECT_EQ(bench.collect("trunk"),
              std::vector<Bytes>{vlan_tagged(
                  compose_arp({true, kLan, ip("10.2.0.1"), kNobody, ip("10.2.0.2")}, kBroadcastMac), 20)});
    EXPECT_TRUE(bench.collect("access").empty());
    bench.inject("trunk",
                 vlan_tagged(compose_arp({false, kPeer, ip("10.2.0.2"), kLan, ip("10.2.0.1")}, kLan), 20));
    const auto out = bench.collect("trunk");
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].size(), 18U + packet({.source = "10.1.0.2", .destination = "10.2.0.2"}).size());
    EXPECT_EQ(out[0][15], 20);
}

}  // namespace viaduct::test
