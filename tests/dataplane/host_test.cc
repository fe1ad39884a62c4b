// The host that shares an interface with the router, through the real worker loop: what is its own it gets
// unchanged, what it sends goes where it says, and pods' translated flows beside it are not disturbed.
#include <gtest/gtest.h>

#include "router.h"

namespace viaduct::test {
namespace {

const char* const kNode4 = "192.0.2.1";
const char* const kNode6 = "2001:db8::1";

class HostTest : public RouterTest {
protected:
    HostTest() {
        auto& port = change.put.ports["host"];
        port.name = "host";
        port.kind = model::PortKind::wire;
        port.bridge = "outside";
        port.host = "outside";
        masquerade("pods", "10.0.0.0/24").except = {Prefix::parse("10.0.0.0/24").value()};
        forward("web", model::Transport::tcp, kNode4, 8080, 8080, "10.0.0.2", 80);
        apply();
        bench.settle();
        for (const char* port_name : {"pod", "peer", "up", "host"})
            bench.collect(port_name);
    }

    /// From the host, addressed to the router (as its routes to pods say) or to somebody on the link.
    std::vector<std::string> host_sends(const PacketSpec& spec, const char* to_mac, const std::string& out) {
        bench.inject("host", routed(spec, to_mac, kOut));
        return collect(out);
    }
    static PacketSpec tcp(const char* from, std::uint16_t from_port, const char* to, std::uint16_t to_port,
                          std::uint8_t flags = 2) {
        return {.source = from,
                .destination = to,
                .protocol = kTcp,
                .source_port = from_port,
                .destination_port = to_port,
                .tcp_flags = flags};
    }
};

TEST_F(HostTest, GetsWhatIsForItsAddressesAsItIs) {
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(pass("up", tcp("198.51.100.7", 4000, kNode4, 22), "host"),
                  one("tcp 198.51.100.7:4000 > 192.0.2.1:22 ttl 64"));
    }
    // With the Ethernet header as it was, whoever had it first.
    bench.inject("up", routed(tcp("198.51.100.7", 4000, kNode4, 22, 0x10), kOut, kWorld));
    EXPECT_EQ(macs(bench.collect("host").at(0)), std::string(kWorld) + " > " + kOut);
    EXPECT_EQ(pass("up", tcp("2001:db8:9::9", 4000, kNode6, 22), "host"),
              one("tcp [2001:db8:9::9]:4000 > [2001:db8::1]:22 ttl 64"));
    // One hop is enough (RFC 5082 and link-local protocols).
    auto near = tcp("192.0.2.254", 179, kNode4, 179);
    near.ttl = 1;
    EXPECT_EQ(pass("up", near, "host"), one("tcp 192.0.2.254:179 > 192.0.2.1:179 ttl 1"));
    EXPECT_EQ(
        pass("up", {.source = "198.51.100.7", .destination = kNode4, .protocol = kIcmp, .source_port = 7},
             "host")
            .size(),
        1U);
    EXPECT_TRUE(frames("up").empty());
}

TEST_F(HostTest, SendsByItsOwnRoutesUnchanged) {
    EXPECT_EQ(host_sends(tcp(kNode4, 40000, "198.51.100.7", 443), kWorld, "up"),
              one("tcp 192.0.2.1:40000 > 198.51.100.7:443 ttl 64"));
    EXPECT_EQ(pass("up", tcp("198.51.100.7", 443, kNode4, 40000, 0x12), "host"),
              one("tcp 198.51.100.7:443 > 192.0.2.1:40000 ttl 64"));
    // Another neighbour from one packet to the next: the frame says to whom.
    bench.inject("host", routed(tcp(kNode4, 40000, "198.51.100.7", 443, 0x10), "02:00:00:00:02:77", kOut));
    const auto sent = frames("up");
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(macs(sent[0]), std::string(kOut) + " > 02:00:00:00:02:77");
    EXPECT_EQ(host_sends(tcp(kNode6, 40000, "2001:db8:9::9", 443), kWorld, "up"),
              one("tcp [2001:db8::1]:40000 > [2001:db8:9::9]:443 ttl 64"));
    auto near = tcp(kNode4, 179, "192.0.2.254", 179);
    near.ttl = 1;
    EXPECT_EQ(host_sends(near, kWorld, "up"), one("tcp 192.0.2.1:179 > 192.0.2.254:179 ttl 1"));
}

TEST_F(HostTest, ReachesPodsAndPodsReachIt) {
    EXPECT_EQ(host_sends(tcp(kNode4, 41000, "10.0.0.2", 80), kOut, "pod"),
              one("tcp 192.0.2.1:41000 > 10.0.0.2:80 ttl 63"));
    EXPECT_EQ(pass("pod", tcp("10.0.0.2", 80, kNode4, 41000, 0x12), "host"),
              one("tcp 10.0.0.2:80 > 192.0.2.1:41000 ttl 64"));
    EXPECT_EQ(host_sends(tcp(kNode6, 41000, "fd00::2", 80), kOut, "pod"),
              one("tcp [2001:db8::1]:41000 > [fd00::2]:80 ttl 63"));
    // A pod's own address is seen: nothing is translated on the way to the node.
    EXPECT_EQ(pass("pod", tcp("10.0.0.2", 5000, kNode4, 22), "host"),
              one("tcp 10.0.0.2:5000 > 192.0.2.1:22 ttl 64"));
    EXPECT_EQ(host_sends(tcp(kNode4, 22, "10.0.0.2", 5000, 0x12), kOut, "pod"),
              one("tcp 192.0.2.1:22 > 10.0.0.2:5000 ttl 63"));
}

TEST_F(HostTest, SharesItsAddressWithPods) {
    // A pod's masqueraded flow, and its answer, which is not the host's.
    EXPECT_EQ(pass("pod", tcp("10.0.0.2", 50000, "198.51.100.7", 443), "up"),
              one("tcp 192.0.2.1:50000 > 198.51.100.7:443 ttl 63"));
    EXPECT_EQ(pass("up", tcp("198.51.100.7", 443, kNode4, 50000, 0x12), "pod"),
              one("tcp 198.51.100.7:443 > 10.0.0.2:50000 ttl 63"));
    EXPECT_TRUE(frames("host").empty());
    // The host takes the very same port to the same server: it gets another on the way, and its answers back.
    const auto sent = host_sends(tcp(kNode4, 50000, "198.51.100.7", 443), kWorld, "up");
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_NE(sent[0], "tcp 192.0.2.1:50000 > 198.51.100.7:443 ttl 64");
    EXPECT_EQ(sent[0].find("bad"), std::string::npos) << sent[0];
    const auto port = std::stoi(sent[0].substr(sent[0].find("192.0.2.1:") + 10));
    EXPECT_EQ(pass("up", tcp("198.51.100.7", 443, kNode4, static_cast<std::uint16_t>(port), 0x12), "host"),
              one("tcp 198.51.100.7:443 > 192.0.2.1:50000 ttl 64"));
    // And the other way round: the pod comes second.
    host_sends(tcp(kNode4, 50001, "198.51.100.7", 443), kWorld, "up");
    const auto second = pass("pod", tcp("10.0.0.2", 50001, "198.51.100.7", 443), "up");
    ASSERT_EQ(second.size(), 1U);
    EXPECT_NE(second[0], "tcp 192.0.2.1:50001 > 198.51.100.7:443 ttl 63");
}

TEST_F(HostTest, ReachesPublishedPortsByEveryNameOfTheNode) {
    for (const char* name : {kNode4, "127.0.0.1", "127.8.8.8"}) {
        const std::uint16_t from = name == kNode4 ? 6000 : name[4] == '0' ? 6001 : 6002;
        const auto at = std::to_string(from);
        for (const auto flags : {std::uint8_t{2}, std::uint8_t{0x10}}) {
            EXPECT_EQ(host_sends(tcp(kNode4, from, name, 8080, flags), kOut, "pod"),
                      one("tcp 192.0.2.1:" + at + " > 10.0.0.2:80 ttl 63"));
            EXPECT_EQ(pass("pod", tcp("10.0.0.2", 80, kNode4, from, 0x12), "host"),
                      one(std::string("tcp ") + name + ":8080 > 192.0.2.1:" + at + " ttl 64"));
        }
    }
    // From outside as ever; and nobody but the host may speak as the node or to its loopback.
    EXPECT_EQ(pass("up", tcp("198.51.100.7", 4000, kNode4, 8080), "pod"),
              one("tcp 198.51.100.7:4000 > 10.0.0.2:80 ttl 63"));
    EXPECT_TRUE(pass("up", tcp(kNode4, 6000, "10.0.0.2", 80, 0x10), "pod").empty());
    EXPECT_TRUE(pass("up", tcp("198.51.100.7", 4001, "127.0.0.1", 8080), "pod").empty());
    EXPECT_EQ(bench.drops("up", Drop::martian), 2U);
    // What nobody publishes is the host's own affair, and never comes here.
    EXPECT_TRUE(host_sends(tcp(kNode4, 6003, "127.0.0.1", 9999), kOut, "pod").empty());
}

TEST_F(HostTest, HearsTheLink) {
    const auto arp = [](const char* to, unsigned operation, const char* target) {
        Bytes b(60);
        const auto mac = MacAddress::parse(to).value().bytes;
        const auto world = MacAddress::parse(kWorld).value().bytes;
        std::copy(mac.begin(), mac.end(), b.begin());
        std::copy(world.begin(), world.end(), b.begin() + 6);
        const Bytes head{8, 6, 0, 1, 8, 0, 6, 4, 0, static_cast<std::uint8_t>(operation)};
        std::copy(head.begin(), head.end(), b.begin() + 12);
        std::copy(world.begin(), world.end(), b.begin() + 22);
        const auto sender = ip("192.0.2.254");
        std::copy(sender.bytes().begin(), sender.bytes().end(), b.begin() + 28);
        const auto asked = ip(target);
        std::copy(asked.bytes().begin(), asked.bytes().end(), b.begin() + 38);
        return b;
    };
    bench.inject("up", arp(kOut, 2, kNode4));  // an answer: the router reads it, the host gets it
    EXPECT_EQ(bench.collect("host").size(), 1U);
    bench.inject("up", arp("ff:ff:ff:ff:ff:ff", 1, kNode4));  // a question: both get it, once
    EXPECT_EQ(bench.collect("host").size(), 1U);
    EXPECT_EQ(bench.collect("up").size(), 1U);  // the router's answer
    // Of no flow, and not even IP: PPPoE, EAPOL to the shared address.
    bench.inject("up", frame({.destination = kOut, .source = kWorld, .ethertype = 0x888e}));
    EXPECT_EQ(bench.collect("host").size(), 1U);
    bench.inject("host", frame({.destination = kWorld, .source = kOut, .ethertype = 0x888e}));
    EXPECT_EQ(bench.collect("up").size(), 1U);
    // An offer to an address that the host does not have yet.
    EXPECT_EQ(
        pass(
            "up",
            {.source = "192.0.2.254", .destination = "192.0.2.99", .source_port = 67, .destination_port = 68},
            "host"),
        one("udp 192.0.2.254:67 > 192.0.2.99:68 ttl 64"));
}

TEST_F(HostTest, SpeaksToTheUplinksOtherEnd) {
    change.put.ports["up"].kind = model::PortKind::uplink;
    change.put.ports["up"].uplink.device = "net_null0";
    apply();
    bench.settle();
    bench.collect("host");
    const auto group = [](const char* last) { return std::string("01:80:c2:00:00:") + last; };
    const auto lldp = frame({.destination = group("0e"), .source = kWorld, .ethertype = 0x88cc});
    bench.inject("up", lldp);
    EXPECT_EQ(bench.collect("host"), (std::vector<Bytes>{lldp}));
    const auto answer = frame({.destination = group("0e"), .source = kOut, .ethertype = 0x88cc});
    bench.inject("host", answer);
    EXPECT_EQ(bench.collect("up"), (std::vector<Bytes>{answer}));
    // PAUSE is for the device, and a pod has no link's other end.
    bench.inject("up", frame({.destination = group("01"), .source = kWorld, .ethertype = 0x8808}));
    bench.inject("pod", frame({.destination = group("0e"), .source = kPod, .ethertype = 0x88cc}));
    bench.settle();
    EXPECT_EQ(bench.drops("up", Drop::reserved_multicast), 1U);
    EXPECT_EQ(bench.drops("pod", Drop::reserved_multicast), 1U);
    EXPECT_TRUE(bench.collect("host").empty());
}

TEST_F(HostTest, IsNotToldOfItsOwnAddressesByTheRouter) {
    // Its probes and announcements would have the host's duplicate address detection fail.
    change.put.interfaces["outside"].addresses.push_back(Prefix::parse("192.0.2.77/24").value());
    change.put.interfaces["outside"].addresses.push_back(Prefix::parse("2001:db8::77/64").value());
    apply();
    bench.advance_clock(5);
    bench.settle();
    EXPECT_FALSE(bench.collect("up").empty());
    EXPECT_TRUE(bench.collect("host").empty());
}

TEST_F(HostTest, GetsFragmentsTogetherAndErrors) {
    const auto big = packet({.source = "198.51.100.7",
                             .destination = kNode4,
                             .source_port = 1,
                             .destination_port = 2,
                             .payload = 3000});
    for (const auto& piece : cut(big, 1500, 7))
        bench.inject("up", framed(piece, kOut, kWorld));
    const auto got = frames("host");
    ASSERT_FALSE(got.empty());
    EXPECT_EQ(ip_of(got[0]).size(), big.size());
    // An error about one of the host's packets.
    const auto sent = tcp(kNode4, 45000, "198.51.100.9", 443);
    host_sends(sent, kWorld, "up");
    PacketSpec error{
        .source = "203.0.113.1", .destination = kNode4, .protocol = kIcmp, .icmp_type = 3, .icmp_code = 1};
    error.inside = packet(sent);
    EXPECT_EQ(pass("up", error, "host").size(), 1U);
    // And one that the host sends about what it got.
    PacketSpec mine{
        .source = kNode4, .destination = "198.51.100.7", .protocol = kIcmp, .icmp_type = 3, .icmp_code = 3};
    mine.inside =
        packet({.source = "198.51.100.7", .destination = kNode4, .source_port = 1, .destination_port = 2});
    EXPECT_EQ(host_sends(mine, kWorld, "up").size(), 1U);
}

TEST_F(HostTest, IsToldThatAPacketIsTooBig) {
    change.put.interfaces["inside"].mtu = 1300;
    apply();
    bench.settle();
    bench.collect("host");
    PacketSpec big{.source = kNode4, .destination = "10.0.0.2", .source_port = 1, .destination_port = 2};
    big.payload = 1400;
    big.dont_fragment = true;
    const auto told = host_sends(big, kOut, "host");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].find("icmp 10.0.0.1 > 192.0.2.1"), 0U) << told[0];
}

TEST_F(HostTest, IsNotReachedUnderATagOrByOthersFragments) {
    const auto plain =
        routed({.source = "127.0.0.1", .destination = "127.0.0.1", .source_port = 1, .destination_port = 53},
               kOut, kWorld);
    Bytes tagged(plain.begin(), plain.begin() + 12);
    tagged.insert(tagged.end(), {0x81, 0, 0, 0});
    tagged.insert(tagged.end(), plain.begin() + 12, plain.end());
    bench.inject("up", tagged);
    EXPECT_TRUE(bench.collect("host").empty());
    EXPECT_EQ(bench.drops("up", Drop::not_ip), 1U);
    // The host's first piece, and others from outside by the node's address.
    PacketSpec big{.source = kNode4, .destination = "10.0.0.2", .source_port = 1, .destination_port = 2};
    big.payload = 3000;
    const auto pieces = cut(packet(big), 1500, 7);
    bench.inject("host", framed(pieces[0], kOut, kOut));
    for (std::size_t i = 1; i < pieces.size(); ++i)
        bench.inject("up", framed(pieces[i], kOut, kWorld));
    bench.settle();
    EXPECT_TRUE(frames("pod").empty());
}

TEST_F(HostTest, WithoutItTheNodeAnswersItself) {
    change.put.ports["host"].up = false;
    apply();
    bench.settle();
    bench.collect("up");
    EXPECT_EQ(
        pass("up", {.source = "192.0.2.254", .destination = kNode4, .protocol = kIcmp, .source_port = 7},
             "up")
            .size(),
        1U);
    pass("up", tcp("198.51.100.7", 4000, kNode4, 22), "up");
    EXPECT_EQ(bench.drops("up", Drop::no_listener), 1U);
}

TEST_F(HostTest, IsRefusedWhereItCannotStand) {
    const auto refusal = [&](auto&& make) -> std::string {
        model::Change wrong;
        auto port = change.put.ports.at("host");
        make(port);
        wrong.put.ports[port.name] = port;
        try {
            bench.apply(wrong);
        } catch (const Refused& refused) {
            return refused.faults().at(0).where + " " + refused.faults().at(0).reason;
        }
        return {};
    };
    EXPECT_NE(refusal([](auto& p) { p.host = "nobody"; }).find("does not exist"), std::string::npos);
    EXPECT_NE(refusal([](auto& p) { p.bridge = "inside"; }).find("must be on it"), std::string::npos);
    EXPECT_NE(refusal([](auto& p) { p.name = "second"; }).find("which port \"host\" has"), std::string::npos);
    EXPECT_NE(refusal([](auto& p) { p.mac = MacAddress::parse(kPod); }).find("leave it out"),
              std::string::npos);
    EXPECT_NE(refusal([](auto& p) {
                  p.guard = model::Guard{{MacAddress::parse(kPod).value()}, {}};
              }).find("host's own port"),
              std::string::npos);
}

/// The uplink carries VLAN 20 with a tag; the host knows of none.
TEST(HostOnAVlan, GetsAndSendsFramesWithoutTags) {
    Bench bench;
    bench.apply_json(R"({"put": {
        "bridges": [{"name": "out", "vlan_filtering": true}],
        "ports": [{"name": "up", "kind": "vhost-user", "path": "/up", "bridge": "out",
                   "vlan": {"untagged": 0, "tagged": ["20"]}},
                  {"name": "host", "kind": "tap", "ifname": "h", "bridge": "out", "host": "out",
                   "vlan": {"untagged": 20, "tagged": []}}],
        "fdb": [{"bridge": "out", "vlan": 20, "mac": "02:00:00:00:02:fe", "port": "up"}],
        "interfaces": [{"name": "out", "bridge": "out", "vlan": 20, "mac": "02:00:00:00:02:01",
                        "addresses": ["192.0.2.1/24"]}]}})");
    bench.settle();
    bench.collect("host");
    bench.collect("up");
    const auto tagged = [](Bytes frame) {
        const Bytes tag{0x81, 0, 0, 20};
        frame.insert(frame.begin() + 12, tag.begin(), tag.end());
        return frame;
    };
    const auto in =
        routed({.source = "198.51.100.7", .destination = kNode4, .source_port = 1, .destination_port = 2},
               kOut, kWorld);
    const auto eapol = frame({.destination = kOut, .source = kWorld, .ethertype = 0x888e});
    for (const auto& one : {in, in, eapol}) {
        bench.inject("up", tagged(one));
        EXPECT_EQ(bench.collect("host"), (std::vector<Bytes>{one}));
    }
    const auto out =
        routed({.source = kNode4, .destination = "198.51.100.7", .source_port = 2, .destination_port = 1},
               kWorld, kOut);
    bench.inject("host", out);
    EXPECT_EQ(bench.collect("up"), (std::vector<Bytes>{tagged(out)}));
}

class IsolatedNetworks : public RouterTest {};

TEST_F(IsolatedNetworks, GetNoErrorsFromEachOther) {
    for (const char* name : {"inside", "outside"})
        change.put.interfaces[name].isolated = true;
    apply();
    bench.settle();
    bench.collect("up");
    PacketSpec error{.source = "10.0.0.2",
                     .destination = "192.0.2.254",
                     .protocol = kIcmp,
                     .icmp_type = 3,
                     .icmp_code = 3};
    error.inside =
        packet({.source = "192.0.2.254", .destination = "10.0.0.2", .source_port = 1, .destination_port = 9});
    EXPECT_TRUE(pass("pod", error, "up").empty());
    EXPECT_EQ(bench.drops("pod", Drop::isolated), 1U);
}

}  // namespace
}  // namespace viaduct::test
