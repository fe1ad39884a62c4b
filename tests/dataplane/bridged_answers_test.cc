// A client and its backend on one bridge: the backend sees the client, and what it answers him directly is
// taken by the router all the same; nothing else on the bridge is.
#include "bridged_answers.h"

#include <algorithm>
#include <map>
#include <utility>

#include <gtest/gtest.h>

#include "trace.h"

namespace viaduct::test {
namespace {

TEST_F(BridgedAnswers, OfAllProtocolsInBothFamilies) {
    serve();
    for (const auto& [protocol, name] :
         std::map<Protocol, std::string>{{kTcp, "tcp"}, {kUdp, "udp"}, {kSctp, "sctp"}}) {
        for (int i = 0; i < 3; ++i) {
            EXPECT_EQ(ask(asked(1234, protocol)), one(name + " 10.0.0.3:1234 > 10.0.0.2:80 ttl 63"));
            EXPECT_EQ(answer_directly(answer(1234, protocol)),
                      one(name + " 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
            EXPECT_EQ(pass("peer", {"fd00::3", kCluster6, protocol, 1234, 80}, "pod"),
                      one(name + " [fd00::3]:1234 > [fd00::2]:80 ttl 63"));
            EXPECT_EQ(answer_directly({"fd00::2", "fd00::3", protocol, 80, 1234}),
                      one(name + " [fd00:96::a]:80 > [fd00::3]:1234 ttl 63"));
        }
    }
    EXPECT_EQ(intercepted(), 18U);
    EXPECT_EQ(bench.state("peer").totals.intercepted, 0U);
}

TEST_F(BridgedAnswers, ComeFromTheRouter) {
    serve();
    ask(asked(1234));
    send_directly(packet(answer(1234)));
    const auto out = frames("peer");
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(macs(out[0]), std::string(kIn) + " > " + kPeer);
}

TEST_F(BridgedAnswers, WhatIsNoneIsBridgedAsItIs) {
    serve();
    ask(asked(1234));
    const auto untouched = [&](const PacketSpec& spec, const char* from, const char* to) {
        const bool from_pod = std::string_view(from) == "pod";
        const auto frame = framed(packet(spec), from_pod ? kPeer : kPod, from_pod ? kPod : kPeer);
        bench.inject(from, frame);
        const auto out = frames(to);
        return out.size() == 1 && out[0] == frame;
    };
    EXPECT_TRUE(untouched(answer(1235), "pod", "peer")) << "another port";
    EXPECT_TRUE(untouched(answer(1234, kTcp), "pod", "peer")) << "another protocol";
    EXPECT_TRUE(untouched({"10.0.0.3", "10.0.0.2", kUdp, 1234, 80}, "peer", "pod")) << "the client's own";
    auto strange = answer(1235);
    strange.ttl = 1;
    EXPECT_TRUE(untouched(strange, "pod", "peer")) << "what a router would not pass on";
    EXPECT_EQ(intercepted(), 0U);
}

TEST_F(BridgedAnswers, OfTheSameBurstAsOthersKeepTheirOrder) {
    serve();
    ask(asked(1234));
    std::vector<Bytes> burst;
    for (std::uint16_t i = 0; i < 20; ++i) {
        auto spec = answer(i % 2 == 0 ? 1234 : 2000);
        spec.id = i;
        burst.push_back(framed(packet(spec), kPeer, kPod));
    }
    ASSERT_TRUE(bench.wire("pod").inject(0, burst));
    std::map<std::string, std::vector<unsigned>> ids;
    for (const auto& frame : frames("peer"))
        ids[describe(frame)].push_back(ip_of(frame)[5]);
    ASSERT_EQ(ids.size(), 2U);
    const auto& translated = ids.at("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63");
    const auto& bridged = ids.at("udp 10.0.0.2:80 > 10.0.0.3:2000 ttl 64");
    EXPECT_EQ(translated.size(), 10U);
    EXPECT_EQ(bridged.size(), 10U);
    EXPECT_TRUE(std::ranges::is_sorted(translated) && std::ranges::is_sorted(bridged));
}

TEST_F(BridgedAnswers, AfterAChangeOfTheConfiguration) {
    serve();
    ask(asked(1234));
    route("203.0.113.0/24", "192.0.2.254");
    change.put.interfaces["inside"].mtu = 1400;  // makes every flow one to be resolved again
    apply();
    EXPECT_EQ(answer_directly(answer(1234)), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
}

TEST_F(BridgedAnswers, InFragments) {
    serve();
    ask(asked(1234));
    EXPECT_EQ(answer_in_fragments(1234), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
    ask({"10.0.0.3", kCluster, kUdp, 4321, 80});
    ASSERT_EQ(pass("peer", {"fd00::3", kCluster6, kUdp, 1234, 80}, "pod").size(), 1U);
    PacketSpec six{"fd00::2", "fd00::3", kUdp, 80, 1234};
    six.payload = 2000;
    for (const auto& piece : cut(packet(six), 1280, 8))
        send_directly(piece);
    EXPECT_EQ(frames("peer").size(), 2U) << "translated, and cut again";
}

TEST_F(BridgedAnswers, InFragmentsOfSomeWhoHaveNoFlowAreBridged) {
    serve();
    auto spec = answer(1234);
    spec.payload = 1200;
    for (const auto& piece : cut(packet(spec), 576, 7)) {
        send_directly(piece);
        const auto out = frames("peer");
        ASSERT_EQ(out.size(), 1U);
        EXPECT_EQ(out[0], framed(piece, kPeer, kPod));
    }
}

TEST_F(BridgedAnswers, ErrorsAboutWhatTheyAnswer) {
    serve();
    ask(asked(1234));
    const auto refusal = [](std::uint16_t client_port) {
        PacketSpec spec{"10.0.0.2", "10.0.0.3", kIcmp};
        spec.icmp_type = 3;
        spec.icmp_code = 3;
        spec.inside = packet({"10.0.0.3", "10.0.0.2", kUdp, client_port, 80, 63});
        return packet(spec);
    };
    send_directly(refusal(1234));
    EXPECT_EQ(collect("peer"), one("icmp 10.96.0.10 > 10.0.0.3 ttl 63 type 3/3 "
                                   "[udp 10.0.0.3:1234 > 10.96.0.10:80]"));
    send_directly(refusal(4321));
    EXPECT_EQ(collect("peer"), one("icmp 10.0.0.2 > 10.0.0.3 ttl 64 type 3/3 "
                                   "[udp 10.0.0.3:4321 > 10.0.0.2:80]"));
}

TEST_F(BridgedAnswers, ToAStationThatTheBridgeDoesNotKnow) {
    serve();
    ask(asked(1234));
    const char* const unknown = "02:00:00:00:01:77";
    bench.inject("pod", framed(packet(answer(1234)), unknown, kPod));
    EXPECT_EQ(collect("peer"), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
    bench.inject("pod", framed(packet(answer(2000)), unknown, kPod));
    EXPECT_EQ(collect("peer"), one("udp 10.0.0.2:80 > 10.0.0.3:2000 ttl 64")) << "flooded";
}

/// The client closes, and then uses the port of that connection for one to the backend itself.
TEST_F(BridgedAnswers, PortsOfAConnectionThatIsOverMayBeUsedWithoutTheRouter) {
    serve();
    const auto with = [](PacketSpec spec, std::uint8_t flags) {
        spec.tcp_flags = flags;
        return spec;
    };
    const auto there = asked(1234, kTcp);
    const auto back = answer(1234, kTcp);
    ask(with(there, 0x02));
    EXPECT_EQ(answer_directly(with(back, 0x12)), one("tcp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
    ask(with(there, 0x10));
    ask(with(there, 0x11));
    EXPECT_EQ(answer_directly(with(back, 0x11)), one("tcp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
    ask(with(there, 0x10));
    EXPECT_EQ(answer_directly(with(back, 0x11)), one("tcp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"))
        << "sent once more";
    EXPECT_EQ(answer_directly(with(back, 0x12)), one("tcp 10.0.0.2:80 > 10.0.0.3:1234 ttl 64"));
    EXPECT_EQ(answer_directly(with(back, 0x18)), one("tcp 10.0.0.2:80 > 10.0.0.3:1234 ttl 64"));
    // And again by the service.
    ask(with(there, 0x02));
    EXPECT_EQ(answer_directly(with(back, 0x12)), one("tcp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
}

TEST_F(BridgedAnswers, ThatPassNoPortOfTheNodeComeByTheRouter) {
    for (const char* port : {"pod", "peer"})
        put_outside(port);
    serve({Transport::udp});
    EXPECT_EQ(ask(asked(1234)), one("udp 10.0.0.1:1234 > 10.0.0.2:80 ttl 63")) << "both are outside";
    EXPECT_EQ(pass("pod", {"10.0.0.2", "10.0.0.1", kUdp, 80, 1234}, "peer"),
              one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
}

TEST_F(BridgedAnswers, OfOneOutsideToAPodPassTheBridge) {
    put_outside("pod");
    serve({Transport::udp});
    EXPECT_EQ(ask(asked(1234)), one("udp 10.0.0.3:1234 > 10.0.0.2:80 ttl 63"));
    EXPECT_EQ(answer_directly(answer(1234)), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
}

TEST_F(BridgedAnswers, OnAVlanWithTags) {
    change.put.bridges["inside"].vlan_filtering = true;
    change.put.interfaces["inside"].vlan = 7;
    for (const char* port : {"pod", "peer"})
        change.put.ports[port].vlan = {0, {{7, 7}}};
    for (const auto& [key, before] : std::exchange(change.put.fdb, {})) {
        auto entry = before;
        if (entry.bridge == "inside") entry.vlan = 7;
        change.put.fdb[entry.key()] = entry;
    }
    serve({Transport::udp});
    const auto tagged = [](const PacketSpec& spec, const char* to, const char* from) {
        auto frame = framed(packet(spec), to, from);
        const Bytes tag{0x81, 0x00, 0x00, 0x07};
        frame.insert(frame.begin() + 12, tag.begin(), tag.end());
        return frame;
    };
    bench.inject("peer", tagged(asked(1234), kIn, kPeer));
    ASSERT_EQ(frames("pod").size(), 1U);
    bench.inject("pod", tagged(answer(1234), kPeer, kPod));
    auto out = frames("peer");
    ASSERT_EQ(out.size(), 1U);
    ASSERT_EQ(Bytes(out[0].begin() + 12, out[0].begin() + 16), (Bytes{0x81, 0x00, 0x00, 0x07}));
    out[0].erase(out[0].begin() + 12, out[0].begin() + 16);
    EXPECT_EQ(describe(out[0]), "udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63");
}

TEST_F(BridgedAnswers, OfAPublishedPort) {
    forward("web", Transport::tcp, "192.0.2.1", 80, 80, "10.0.0.2", 8080);
    apply();
    EXPECT_EQ(ask({"10.0.0.3", "192.0.2.1", kTcp, 1234, 80}),
              one("tcp 10.0.0.3:1234 > 10.0.0.2:8080 ttl 63"));
    EXPECT_EQ(answer_directly({"10.0.0.2", "10.0.0.3", kTcp, 8080, 1234}),
              one("tcp 192.0.2.1:80 > 10.0.0.3:1234 ttl 63"));
}

TEST_F(BridgedAnswers, AreTold) {
    serve();
    const auto told = [&](const PacketSpec& spec, const char* from, const char* to, const char* mac) {
        std::string text;
        const auto answer = bench.dataplane().trace({from, framed(packet(spec), to, mac)});
        for (const auto& why : answer.why)
            text += why.text + "\n";
        return text + answer.decision;
    };
    EXPECT_NE(told(asked(1234), "peer", kIn, kPeer).find("the bridge hands the answers to the router"),
              std::string::npos);
    EXPECT_TRUE(told(answer(1234), "pod", kPeer, kPod).ends_with("behind port peer\nbridged"));
    ask(asked(1234));
    const auto after = told(answer(1234), "pod", kPeer, kPod);
    EXPECT_NE(after.find("taken by the router, for it answers a flow that it translates"), std::string::npos);
    EXPECT_TRUE(after.ends_with("forwarded")) << after;
    EXPECT_EQ(intercepted(), 0U);
}

class BridgedAnswersOfTwoWorkers : public BridgedAnswers {
protected:
    BridgedAnswersOfTwoWorkers() : BridgedAnswers({.workers = 2}) {}
};

TEST_F(BridgedAnswersOfTwoWorkers, WhicheverTakesThemIn) {
    serve({Transport::udp});
    for (std::uint16_t port = 2000; port < 2064; ++port) {
        ASSERT_EQ(ask(asked(port)), one("udp 10.0.0.3:" + std::to_string(port) + " > 10.0.0.2:80 ttl 63"));
        ASSERT_EQ(answer_directly(answer(port)),
                  one("udp 10.96.0.10:80 > 10.0.0.3:" + std::to_string(port) + " ttl 63"));
    }
    EXPECT_EQ(intercepted(), 64U);
}

}  // namespace
}  // namespace viaduct::test
