// Address translation through the worker loop: packets in, packets out, in both families.
#include <set>

#include <gtest/gtest.h>

#include "nat_state.h"
#include "router.h"

namespace viaduct::test {
namespace {

using dataplane::Drop;

class Nat : public RouterTest {};

TEST_F(Nat, MasqueradesAndBringsAnswersBack) {
    masquerade("m", "10.0.0.0/24");
    apply();
    for (const auto protocol : {kUdp, kTcp}) {
        const std::string name = protocol == kUdp ? "udp" : "tcp";
        const PacketSpec out{"10.0.0.2", "198.51.100.7", protocol, 5000, 80};
        const PacketSpec back{"198.51.100.7", "192.0.2.1", protocol, 80, 5000};
        // The first packet of each direction is resolved, the second executed: they must not differ.
        for (int i = 0; i < 3; ++i) {
            EXPECT_EQ(pass("pod", out, "up"), one(name + " 192.0.2.1:5000 > 198.51.100.7:80 ttl 63"));
            EXPECT_EQ(pass("up", back, "pod"), one(name + " 198.51.100.7:80 > 10.0.0.2:5000 ttl 63"));
        }
    }
}

TEST_F(Nat, MasqueradesIpv6) {
    masquerade("m", "fd00::/64");
    apply();
    const PacketSpec out{"fd00::2", "2001:db8:1::7", kUdp, 5000, 80};
    const PacketSpec back{"2001:db8:1::7", "2001:db8::1", kUdp, 80, 5000};
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(pass("pod", out, "up"), one("udp [2001:db8::1]:5000 > [2001:db8:1::7]:80 ttl 63"));
        EXPECT_EQ(pass("up", back, "pod"), one("udp [2001:db8:1::7]:80 > [fd00::2]:5000 ttl 63"));
    }
}

TEST_F(Nat, TwoHostsWithOnePortGetTwo) {
    masquerade("m", "10.0.0.0/24");
    apply();
    EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 5000, 80}, "up"),
              one("udp 192.0.2.1:5000 > 198.51.100.7:80 ttl 63"));
    const auto other = pass("peer", {"10.0.0.3", "198.51.100.7", kUdp, 5000, 80}, "up");
    ASSERT_EQ(other.size(), 1U);
    EXPECT_TRUE(other[0].starts_with("udp 192.0.2.1:")) << other[0];
    EXPECT_TRUE(other[0].ends_with(" > 198.51.100.7:80 ttl 63")) << other[0];
    EXPECT_FALSE(other[0].starts_with("udp 192.0.2.1:5000 "));
}

TEST_F(Nat, LeavesExceptionsAlone) {
    masquerade("m", "10.0.0.0/24").except = {Prefix::parse("198.51.100.0/24").value()};
    apply();
    EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 5000, 80}, "up"),
              one("udp 10.0.0.2:5000 > 198.51.100.7:80 ttl 63"));
    EXPECT_EQ(pass("pod", {"10.0.0.2", "203.0.113.7", kUdp, 5000, 80}, "up"),
              one("udp 192.0.2.1:5000 > 203.0.113.7:80 ttl 63"));
}

TEST_F(Nat, UdpWithoutChecksumStaysWithout) {
    masquerade("m", "10.0.0.0/24");
    apply();
    PacketSpec out{"10.0.0.2", "198.51.100.7", kUdp, 5000, 80};
    out.no_checksum = true;
    for (int i = 0; i < 2; ++i)
        EXPECT_EQ(pass("pod", out, "up"), one("udp 192.0.2.1:5000 > 198.51.100.7:80 ttl 63 unchecked"));
}

TEST_F(Nat, TranslatesEchoByItsIdentifier) {
    masquerade("m", "10.0.0.0/24");
    masquerade("m6", "fd00::/64");
    apply();
    EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kIcmp, 2000}, "up"),
              one("icmp 192.0.2.1 > 198.51.100.7 ttl 63 request 2000"));
    auto other = pass("peer", {"10.0.0.3", "198.51.100.7", kIcmp, 2000}, "up");
    ASSERT_EQ(other.size(), 1U);
    const auto identifier = static_cast<std::uint16_t>(std::stoul(other[0].substr(other[0].rfind(' ') + 1)));
    EXPECT_NE(identifier, 2000);
    for (int i = 0; i < 2; ++i) {
        PacketSpec reply{"198.51.100.7", "192.0.2.1", kIcmp, identifier};
        reply.icmp_type = 0;
        EXPECT_EQ(pass("up", reply, "peer"), one("icmp 198.51.100.7 > 10.0.0.3 ttl 63 reply 2000"));
        reply.source_port = 2000;
        EXPECT_EQ(pass("up", reply, "pod"), one("icmp 198.51.100.7 > 10.0.0.2 ttl 63 reply 2000"));
    }
    PacketSpec six{"fd00::2", "2001:db8:1::7", kIcmp6, 2000};
    six.icmp_type = 128;
    EXPECT_EQ(pass("pod", six, "up"), one("icmp6 2001:db8::1 > 2001:db8:1::7 ttl 63 request 2000"));
    PacketSpec six_back{"2001:db8:1::7", "2001:db8::1", kIcmp6, 2000};
    six_back.icmp_type = 129;
    EXPECT_EQ(pass("up", six_back, "pod"), one("icmp6 2001:db8:1::7 > fd00::2 ttl 63 reply 2000"));
}

TEST_F(Nat, ForwardsPortsAndRanges) {
    forward("web", model::Transport::tcp, "192.0.2.1", 80, 80, "10.0.0.2", 8080);
    forward("range", model::Transport::udp, "192.0.2.1", 5000, 5099, "10.0.0.2", 6000);
    forward("six", model::Transport::udp, "2001:db8::1", 53, 53, "fd00::2", 5353);
    apply();
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(pass("up", {"198.51.100.7", "192.0.2.1", kTcp, 1234, 80}, "pod"),
                  one("tcp 198.51.100.7:1234 > 10.0.0.2:8080 ttl 63"));
        EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kTcp, 8080, 1234}, "up"),
                  one("tcp 192.0.2.1:80 > 198.51.100.7:1234 ttl 63"));
        EXPECT_EQ(pass("up", {"198.51.100.7", "192.0.2.1", kUdp, 1234, 5099}, "pod"),
                  one("udp 198.51.100.7:1234 > 10.0.0.2:6099 ttl 63"));
        EXPECT_EQ(pass("up", {"2001:db8:1::7", "2001:db8::1", kUdp, 1234, 53}, "pod"),
                  one("udp [2001:db8:1::7]:1234 > [fd00::2]:5353 ttl 63"));
        EXPECT_EQ(pass("pod", {"fd00::2", "2001:db8:1::7", kUdp, 5353, 1234}, "up"),
                  one("udp [2001:db8::1]:53 > [2001:db8:1::7]:1234 ttl 63"));
    }
}

TEST_F(Nat, APodReachesItselfByItsOwnForward) {
    forward("web", model::Transport::tcp, "192.0.2.1", 80, 80, "10.0.0.2", 8080);
    apply();
    EXPECT_EQ(pass("pod", {"10.0.0.2", "192.0.2.1", kTcp, 3456, 80}, "pod"),
              one("tcp 10.0.0.1:3456 > 10.0.0.2:8080 ttl 63"));
}

TEST_F(Nat, OneToOneBothWaysForAllProtocols) {
    change.put.static_nats["vm"] = {"vm", "default", ip("192.0.2.77"), ip("10.0.0.2")};
    change.put.static_nats["vm6"] = {"vm6", "default", ip("2001:db8::77"), ip("fd00::2")};
    apply();
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 53, 54}, "up"),
                  one("udp 192.0.2.77:53 > 198.51.100.7:54 ttl 63"));
        EXPECT_EQ(pass("up", {"198.51.100.7", "192.0.2.77", kUdp, 54, 53}, "pod"),
                  one("udp 198.51.100.7:54 > 10.0.0.2:53 ttl 63"));
        EXPECT_EQ(pass("up", {"198.51.100.8", "192.0.2.77", kGre}, "pod"),
                  one("gre 198.51.100.8 > 10.0.0.2 ttl 63"));
        EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.8", kGre}, "up"),
                  one("gre 192.0.2.77 > 198.51.100.8 ttl 63"));
        EXPECT_EQ(pass("up", {"198.51.100.8", "192.0.2.77", kIcmp, 7}, "pod"),
                  one("icmp 198.51.100.8 > 10.0.0.2 ttl 63 request 7"));
        EXPECT_EQ(pass("up", {"2001:db8:1::7", "2001:db8::77", kTcp, 54, 53}, "pod"),
                  one("tcp [2001:db8:1::7]:54 > [fd00::2]:53 ttl 63"));
    }
}

TEST_F(Nat, TellsExhaustionByName) {
    auto& m = masquerade("m", "10.0.0.0/24");
    m.port_low = m.port_high = 6000;
    apply();
    EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 5000, 80}, "up"),
              one("udp 192.0.2.1:6000 > 198.51.100.7:80 ttl 63"));
    // Another destination may share the port, the same one may not.
    EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 5000, 81}, "up"),
              one("udp 192.0.2.1:6000 > 198.51.100.7:81 ttl 63"));
    EXPECT_TRUE(pass("peer", {"10.0.0.3", "198.51.100.7", kUdp, 5000, 80}, "up").empty());
    EXPECT_EQ(bench.drops("peer", Drop::nat_exhausted), 1U);
    EXPECT_EQ(pass("up", {"198.51.100.7", "192.0.2.1", kUdp, 81, 6000}, "pod"),
              one("udp 198.51.100.7:81 > 10.0.0.2:5000 ttl 63"));
}

TEST_F(Nat, CountsFlowsPortsAndExhaustionByRule) {
    auto& m = masquerade("m", "10.0.0.0/24");
    m.port_low = m.port_high = 6000;
    forward("web", model::Transport::udp, "192.0.2.1", 80, 80, "10.0.0.2", 8080);
    apply();
    pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 5000, 80}, "up");
    pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 5000, 81}, "up");
    pass("peer", {"10.0.0.3", "198.51.100.7", kUdp, 5000, 80}, "up");
    pass("up", {"198.51.100.7", "192.0.2.1", kUdp, 1234, 80}, "pod");
    const auto rule = [&](const std::string& name) {
        for (auto& one : bench.dataplane().nat().rules) {
            if (one.name == name) return one;
        }
        return dataplane::NatState::Rule{};
    };
    EXPECT_EQ(rule("m").flows, 2U);
    EXPECT_EQ(rule("m").ports, 2U);
    EXPECT_EQ(rule("m").exhausted, 1U);
    EXPECT_EQ(rule("web").flows, 1U);
    EXPECT_EQ(rule("web").ports, 0U);
    ASSERT_EQ(bench.dataplane().nat().addresses.size(), 1U);
    EXPECT_EQ(bench.dataplane().nat().addresses[0].ports, 1U);
    EXPECT_EQ(bench.dataplane().nat().addresses[0].shared, 1U);
    // Ports come back when flows time out.
    bench.advance_clock(1000);
    bench.advance_clock(1);
    EXPECT_EQ(rule("m").flows, 0U);
    EXPECT_TRUE(bench.dataplane().nat().addresses.empty());
}

TEST_F(Nat, FlowsGoWithTheirRule) {
    masquerade("m", "10.0.0.0/24");
    apply();
    const PacketSpec out{"10.0.0.2", "198.51.100.7", kUdp, 5000, 80};
    const PacketSpec back{"198.51.100.7", "192.0.2.1", kUdp, 80, 5000};
    EXPECT_EQ(pass("pod", out, "up").size(), 1U);
    EXPECT_EQ(pass("up", back, "pod").size(), 1U);
    // Another change leaves it as it is.
    model::Change other;
    other.put.bridges["more"].name = "more";
    bench.apply(other);
    EXPECT_EQ(pass("up", back, "pod"), one("udp 198.51.100.7:80 > 10.0.0.2:5000 ttl 63"));
    EXPECT_EQ(pass("pod", out, "up"), one("udp 192.0.2.1:5000 > 198.51.100.7:80 ttl 63"));
    // The same rule to other ports is another rule.
    model::Change changed;
    changed.put.masquerades["m"] = change.put.masquerades["m"];
    changed.put.masquerades["m"].port_low = 7000;
    changed.put.masquerades["m"].port_high = 7000;
    bench.apply(changed);
    EXPECT_TRUE(pass("up", back, "pod").empty()) << "its flow is gone";
    EXPECT_EQ(collect("up"), one("icmp 192.0.2.1 > 198.51.100.7 ttl 64 type 3/3 "
                                 "[udp 198.51.100.7:80 > 192.0.2.1:5000]"));
    EXPECT_EQ(pass("pod", out, "up"), one("udp 192.0.2.1:7000 > 198.51.100.7:80 ttl 63"));
}

TEST_F(Nat, AForwardThatIsGoneIsGoneForItsFlows) {
    forward("web", model::Transport::udp, "192.0.2.1", 80, 80, "10.0.0.2", 8080);
    apply();
    const PacketSpec in{"198.51.100.7", "192.0.2.1", kUdp, 1234, 80};
    EXPECT_EQ(pass("up", in, "pod").size(), 1U);
    model::Change moved;
    moved.put.port_forwards["web"] = change.put.port_forwards["web"];
    moved.put.port_forwards["web"].to = ip("10.0.0.3");
    bench.apply(moved);
    EXPECT_EQ(pass("up", in, "peer"), one("udp 198.51.100.7:1234 > 10.0.0.3:8080 ttl 63"));
    EXPECT_TRUE(bench.collect("pod").empty());
}

TEST_F(Nat, AMappingIsTheSameForAllDestinations) {
    masquerade("m", "10.0.0.0/24").endpoint_independent = true;
    apply();
    // The preserved port is somebody else's already.
    EXPECT_EQ(pass("peer", {"10.0.0.3", "198.51.100.9", kUdp, 5000, 80}, "up").size(), 1U);
    std::set<std::string> sources;
    for (std::uint16_t port = 80; port < 90; ++port) {
        const auto lines = pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 5000, port}, "up");
        ASSERT_EQ(lines.size(), 1U);
        sources.insert(lines[0].substr(0, lines[0].find(" > ")));
    }
    EXPECT_EQ(sources.size(), 1U);
    EXPECT_FALSE(sources.contains("udp 192.0.2.1:5000"));
}

TEST_F(Nat, ABlockIsAHostsOwn) {
    auto& m = masquerade("m", "10.0.0.0/24");
    m.port_low = 10000;
    m.port_high = 10000 + 256 * 64 - 1;
    m.block = 64;
    apply();
    const auto line = pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 5000, 80}, "up").at(0);
    const auto port = std::stoul(line.substr(line.find(':') + 1));
    EXPECT_GE(port, 10000U + 2 * 64);
    EXPECT_LT(port, 10000U + 3 * 64);
}

TEST_F(Nat, SctpKeepsItsSourcePort) {
    masquerade("m", "10.0.0.0/24");
    apply();
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kSctp, 500, 80}, "up"),
                  one("sctp 192.0.2.1:500 > 198.51.100.7:80 ttl 63"));
        EXPECT_EQ(pass("up", {"198.51.100.7", "192.0.2.1", kSctp, 80, 500}, "pod"),
                  one("sctp 198.51.100.7:80 > 10.0.0.2:500 ttl 63"));
    }
    EXPECT_TRUE(pass("peer", {"10.0.0.3", "198.51.100.7", kSctp, 500, 80}, "up").empty());
    EXPECT_EQ(bench.drops("peer", Drop::nat_exhausted), 1U);
}

TEST_F(Nat, SctpForwardsChangePortsWithTheirChecksum) {
    forward("s", model::Transport::sctp, "192.0.2.1", 36412, 36412, "10.0.0.2", 38412);
    apply();
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(pass("up", {"198.51.100.7", "192.0.2.1", kSctp, 80, 36412}, "pod"),
                  one("sctp 198.51.100.7:80 > 10.0.0.2:38412 ttl 63"));
        EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kSctp, 38412, 80}, "up"),
                  one("sctp 192.0.2.1:36412 > 198.51.100.7:80 ttl 63"));
    }
}

// --- ICMP errors ---

/// An error from `from` about the packet of `about`.
PacketSpec error(const char* from, const PacketSpec& about, std::uint8_t type, std::uint8_t code) {
    PacketSpec spec{from, about.source};
    spec.protocol = IpAddress::parse(from)->is_v4() ? kIcmp : kIcmp6;
    spec.icmp_type = type;
    spec.icmp_code = code;
    spec.inside = packet(about);
    return spec;
}

TEST_F(Nat, ErrorsFromOutsideReachWhoSentThePacket) {
    masquerade("m", "10.0.0.0/24");
    masquerade("m6", "fd00::/64");
    apply();
    for (const auto protocol : {kUdp, kTcp, kIcmp}) {
        EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", protocol, 5000, 80}, "up").size(), 1U);
    }
    const PacketSpec udp{"192.0.2.1", "198.51.100.7", kUdp, 5000, 80};
    // From a router on the way, and from the host itself.
    EXPECT_EQ(pass("up", error("203.0.113.1", udp, 11, 0), "pod"),
              one("icmp 203.0.113.1 > 10.0.0.2 ttl 63 type 11/0 [udp 10.0.0.2:5000 > 198.51.100.7:80]"));
    EXPECT_EQ(pass("up", error("198.51.100.7", udp, 3, 3), "pod"),
              one("icmp 198.51.100.7 > 10.0.0.2 ttl 63 type 3/3 [udp 10.0.0.2:5000 > 198.51.100.7:80]"));
    EXPECT_EQ(pass("up", error("203.0.113.1", {"192.0.2.1", "198.51.100.7", kTcp, 5000, 80}, 3, 4), "pod"),
              one("icmp 203.0.113.1 > 10.0.0.2 ttl 63 type 3/4 mtu 0 [tcp 10.0.0.2:5000 > 198.51.100.7:80]"));
    EXPECT_EQ(
        pass("up", error("203.0.113.1", {"192.0.2.1", "198.51.100.7", kIcmp, 5000}, 11, 0), "pod"),
        one("icmp 203.0.113.1 > 10.0.0.2 ttl 63 type 11/0 [icmp 10.0.0.2 > 198.51.100.7 request 5000]"));
    EXPECT_EQ(pass("pod", {"fd00::2", "2001:db8:1::7", kUdp, 5000, 80}, "up").size(), 1U);
    const PacketSpec six{"2001:db8::1", "2001:db8:1::7", kUdp, 5000, 80};
    EXPECT_EQ(pass("up", error("2001:db8:2::1", six, 2, 0), "pod"),
              one("icmp6 2001:db8:2::1 > fd00::2 ttl 63 type 2/0 mtu 0 [udp [fd00::2]:5000 > "
                  "[2001:db8:1::7]:80]"));
    // The connections go on.
    EXPECT_EQ(pass("up", {"198.51.100.7", "192.0.2.1", kTcp, 80, 5000}, "pod"),
              one("tcp 198.51.100.7:80 > 10.0.0.2:5000 ttl 63"));
}

TEST_F(Nat, ErrorsFromInsideSpeakOfWhatTheClientKnows) {
    forward("web", model::Transport::udp, "192.0.2.1", 80, 80, "10.0.0.2", 8080);
    apply();
    EXPECT_EQ(pass("up", {"198.51.100.7", "192.0.2.1", kUdp, 1234, 80}, "pod").size(), 1U);
    EXPECT_EQ(pass("pod", error("10.0.0.2", {"198.51.100.7", "10.0.0.2", kUdp, 1234, 8080}, 3, 3), "up"),
              one("icmp 192.0.2.1 > 198.51.100.7 ttl 63 type 3/3 [udp 198.51.100.7:1234 > 192.0.2.1:80]"));
}

TEST_F(Nat, ErrorsAboutNothingAreDroppedByName) {
    masquerade("m", "10.0.0.0/24");
    apply();
    ASSERT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 5000, 80}, "up").size(), 1U);
    // Of a flow that nobody has.
    EXPECT_TRUE(
        pass("up", error("203.0.113.1", {"192.0.2.1", "198.51.100.7", kUdp, 5001, 80}, 3, 3), "pod").empty());
    EXPECT_EQ(bench.drops("up", Drop::unrelated_error), 1U);
    // Sent to somebody else than the packet inside came from.
    auto forged = error("203.0.113.1", {"192.0.2.1", "198.51.100.7", kUdp, 5000, 80}, 3, 3);
    forged.destination = "10.0.0.2";
    EXPECT_TRUE(pass("up", forged, "pod").empty());
    // Cut at each byte of the packet inside: nothing crashes, nothing comes through that has no ports.
    const auto whole = packet({"192.0.2.1", "198.51.100.7", kUdp, 5000, 80});
    for (std::size_t size = 0; size < 28; ++size) {
        PacketSpec cut = error("203.0.113.1", {"192.0.2.1", "198.51.100.7", kUdp, 5000, 80}, 3, 3);
        cut.inside.assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        if (size == 0) cut.payload = 0;
        EXPECT_TRUE(pass("up", cut, "pod").empty()) << size;
    }
}

TEST_F(Nat, ErrorsThatNobodyTranslatesAreRouted) {
    apply();
    EXPECT_EQ(pass("up", error("203.0.113.1", {"10.0.0.2", "198.51.100.7", kUdp, 5000, 80}, 11, 0), "pod"),
              one("icmp 203.0.113.1 > 10.0.0.2 ttl 63 type 11/0 [udp 10.0.0.2:5000 > 198.51.100.7:80]"));
}

}  // namespace
}  // namespace viaduct::test
