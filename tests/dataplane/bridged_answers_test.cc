// A client and its backend on one bridge: the backend sees the client, and what it answers him directly is
// taken by the router all the same; nothing else on the bridge is.
#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include "service_bench.h"
#include "trace.h"

namespace viaduct::test {
namespace {

class BridgedAnswers : public Services {
protected:
    explicit BridgedAnswers(BenchOptions options = {}) : Services(options) {}

    /// One service of the pod's for each protocol, in both families, on port 80 as its backend is.
    void serve(std::initializer_list<Transport> protocols = {Transport::tcp, Transport::udp,
                                                             Transport::sctp}) {
        for (const auto protocol : protocols) {
            auto& s = service(to_string(protocol).data(), protocol);
            s.frontends = {at(kCluster, 80), at(kCluster6, 80)};
            s.backends = {backend("10.0.0.2", 80), backend("fd00::2", 80)};
        }
        apply();
    }
    void put_outside(const char* name) {
        auto& port = change.put.ports[name];
        port.kind = model::PortKind::uplink;
        port.uplink.device = name;
        port.uplink.promiscuous = true;
    }
    static PacketSpec asked(std::uint16_t port, std::uint8_t protocol = kUdp) {
        return {"10.0.0.3", kCluster, protocol, port, 80};
    }
    static PacketSpec answer(std::uint16_t port, std::uint8_t protocol = kUdp) {
        return {"10.0.0.2", "10.0.0.3", protocol, 80, port};
    }
    std::vector<std::string> ask(const PacketSpec& spec) { return pass("peer", spec, "pod"); }
    /// From the pod to the peer, without the router.
    void send_directly(const Bytes& ip) { bench.inject("pod", framed(ip, kPeer, kPod)); }
    std::vector<std::string> answer_directly(const PacketSpec& spec) {
        send_directly(packet(spec));
        return collect("peer");
    }
    std::uint64_t intercepted() { return bench.state("pod").totals.intercepted; }
};

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
    auto spec = answer(1234);
    spec.payload = 1200;
    for (const auto& piece : cut(packet(spec), 576, 7))
        send_directly(piece);
    EXPECT_EQ(collect("peer"), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
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

/// Another router interface on the VLAN, in a network or a VRF of its own, that comes first.
class BridgedAnswersBesideAnotherRouter : public BridgedAnswers {
protected:
    void beside(const char* vrf, const char* network) {
        change.put.vrfs[vrf].name = vrf;
        interface("another", "02:00:00:00:01:09", {network});
        auto& another = change.put.interfaces["another"];
        another.bridge = "inside";
        another.vrf = vrf;
        for (const char* name : {"another", "inside"})
            change.put.interfaces[name].reverse_path = model::ReversePath::strict;
    }
};

TEST_F(BridgedAnswersBesideAnotherRouter, OfTheSameVrf) {
    beside("default", "10.0.7.1/24");
    serve({Transport::udp});
    ask(asked(1234));
    for (int i = 0; i < 2; ++i)
        EXPECT_EQ(answer_directly(answer(1234)), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
}

TEST_F(BridgedAnswersBesideAnotherRouter, InFragmentsAreOfTheirOwnVrf) {
    beside("blue", "10.0.7.1/24");
    serve({Transport::udp});
    ask(asked(1234));
    auto spec = answer(1234);
    spec.payload = 1200;
    for (const auto& piece : cut(packet(spec), 576, 7))
        send_directly(piece);
    EXPECT_EQ(collect("peer"), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
}

TEST_F(BridgedAnswers, AfterTheRouterInterfaceGotAnotherName) {
    serve();
    ask(asked(1234));
    ask(asked(1234, kTcp));
    answer_directly(answer(1234));
    answer_directly(answer(1234, kTcp));
    model::Change renamed;
    renamed.delete_interfaces = {"inside"};
    renamed.put.interfaces["within"] = change.put.interfaces["inside"];
    renamed.put.interfaces["within"].name = "within";
    for (const auto& [key, entry] : change.put.neighbours) {
        if (entry.interface != "inside") continue;
        renamed.delete_neighbours.insert(key);
        auto moved = entry;
        moved.interface = "within";
        renamed.put.neighbours[moved.key()] = moved;
    }
    bench.apply(renamed);
    bench.dataplane().tick();
    EXPECT_EQ(answer_directly(answer(1234)), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
    EXPECT_EQ(ask(asked(1234, kTcp)), one("tcp 10.0.0.3:1234 > 10.0.0.2:80 ttl 63"));
    EXPECT_EQ(answer_directly(answer(1234, kTcp)), one("tcp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
}

/// A client that makes up its addresses has very many pairs looked after.
TEST_F(BridgedAnswers, OfVeryManyClientsLeaveTheFragmentsOfOthersAlone) {
    serve({Transport::udp});
    auto question = framed(packet({"fd00::3", kCluster6, kUdp, 1234, 80}), kIn, kPeer);
    std::uint32_t made = 0;
    for (int burst = 0; burst < 4000; ++burst) {
        std::vector<Bytes> frames(32, question);
        for (auto& frame : frames) {
            ++made;
            for (std::size_t i = 0; i < 4; ++i)
                frame[14 + 8 + 8 + i] = static_cast<std::uint8_t>(made >> 8 * i);
            frame[14 + 40 + 6] = frame[14 + 40 + 7] = 0;
        }
        ASSERT_TRUE(bench.wire("peer").inject(0, frames));
        bench.settle();
        bench.wire("pod").collect_bytes(0);
    }
    for (int host = 100; host < 200; ++host) {
        PacketSpec spec{"172.16.0.2", "172.16.0." + std::to_string(host), kUdp, 80, 1234};
        spec.payload = 3000;
        for (const auto& piece : cut(packet(spec), 1500, 7))
            send_directly(piece);
        const auto out = frames("peer");
        ASSERT_EQ(out.size(), 3U) << host;
        for (const auto& frame : out) {
            EXPECT_EQ(macs(frame), std::string(kPod) + " > " + kPeer);
            EXPECT_LE(frame.size(), 1514U);
            EXPECT_EQ(frame[14 + 8], 64) << "TTL";
        }
    }
}

TEST_F(BridgedAnswers, OfABackendThatWentAreItsOwn) {
    serve();
    for (const auto protocol : {kTcp, kUdp, kSctp}) {
        ask(asked(1234, protocol));
        answer_directly(answer(1234, protocol));
    }
    const auto before = change;
    for (const auto& [key, s] : before.put.services)
        change.put.services[key].backends.clear();
    apply_services();
    for (const auto protocol : {kTcp, kUdp, kSctp}) {
        const auto frame = framed(packet(answer(1234, protocol)), kPeer, kPod);
        for (int i = 0; i < 2; ++i) {
            bench.inject("pod", frame);
            EXPECT_EQ(frames("peer"), std::vector<Bytes>{frame}) << unsigned{protocol};
        }
    }
    change = before;
    apply_services();
    for (const auto& [protocol, name] :
         std::map<Protocol, std::string>{{kTcp, "tcp"}, {kUdp, "udp"}, {kSctp, "sctp"}}) {
        EXPECT_EQ(ask(asked(1234, protocol)), one(name + " 10.0.0.3:1234 > 10.0.0.2:80 ttl 63"));
        EXPECT_EQ(answer_directly(answer(1234, protocol)),
                  one(name + " 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
    }
}

TEST_F(BridgedAnswers, LongerThanTheRouterCarriesAreRefusedByIt) {
    serve();
    change.put.interfaces["inside"].mtu = 1400;
    apply();
    ask(asked(1234));
    auto spec = answer(1234);
    spec.payload = 1472;
    spec.dont_fragment = true;
    send_directly(packet(spec));
    EXPECT_TRUE(collect("peer").empty());
    EXPECT_EQ(collect("pod"),
              one("icmp 10.0.0.1 > 10.0.0.2 ttl 64 type 3/4 mtu 1400 [udp 10.0.0.2:80 > 10.0.0.3:1234]"));
}

/// Chains of a frame's bytes, the first part of so many bytes and the rest of at most 64.
rte_mbuf* in_parts(const Bytes& frame, std::size_t first) {
    static rte_mempool* pool =
        rte_pktmbuf_pool_create("parts", 1023, 0, 0, RTE_PKTMBUF_HEADROOM + 64, SOCKET_ID_ANY);
    rte_mbuf* chain = nullptr;
    for (std::size_t at = 0; at < frame.size();) {
        const auto length = std::min<std::size_t>(at == 0 ? first : 64, frame.size() - at);
        auto* part = rte_pktmbuf_alloc(pool);
        std::memcpy(rte_pktmbuf_append(part, static_cast<std::uint16_t>(length)), &frame[at], length);
        if (chain == nullptr) {
            chain = part;
        } else if (rte_pktmbuf_chain(chain, part) != 0) {
            ADD_FAILURE() << "too many parts";
        }
        at += length;
    }
    return chain;
}

TEST_F(BridgedAnswers, WhoseHeadersLieInSeveralPartsOfAFrame) {
    serve();
    ask(asked(1234));
    ask(asked(1234, kTcp));
    pass("peer", {"fd00::3", kCluster6, kUdp, 1234, 80}, "pod");
    PacketSpec error{"10.0.0.2", "10.0.0.3", kIcmp};
    error.icmp_type = error.icmp_code = 3;
    error.inside = packet({"10.0.0.3", "10.0.0.2", kUdp, 1234, 80, 63});
    auto foreign = error;
    foreign.inside = packet({"10.0.0.3", "10.0.0.2", kUdp, 4321, 80, 63});
    const std::vector<std::pair<PacketSpec, std::string>> cases{
        {answer(1234), "udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"},
        {answer(1234, kTcp), "tcp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"},
        {{"fd00::2", "fd00::3", kUdp, 80, 1234}, "udp [fd00:96::a]:80 > [fd00::3]:1234 ttl 63"},
        {answer(2000), "udp 10.0.0.2:80 > 10.0.0.3:2000 ttl 64"},
        {error, "icmp 10.96.0.10 > 10.0.0.3 ttl 63 type 3/3 [udp 10.0.0.3:1234 > 10.96.0.10:80]"},
        {foreign, "icmp 10.0.0.2 > 10.0.0.3 ttl 64 type 3/3 [udp 10.0.0.3:4321 > 10.0.0.2:80]"}};
    for (const auto& [spec, line] : cases) {
        for (std::size_t first = 14; first <= 64; ++first) {
            auto* chain = in_parts(framed(packet(spec), kPeer, kPod), first);
            ASSERT_EQ(bench.wire("pod").inject(0, &chain, 1), 1);
            EXPECT_EQ(collect("peer"), one(line)) << "first part of " << first;
        }
    }
}

TEST_F(BridgedAnswers, BetweenMembersWithATagAndWithout) {
    change.put.bridges["inside"].vlan_filtering = true;
    change.put.interfaces["inside"].vlan = 7;
    change.put.ports["pod"].vlan = {0, {{7, 7}}};
    change.put.ports["peer"].vlan = {7, {}};
    for (const auto& [key, before] : std::exchange(change.put.fdb, {})) {
        auto entry = before;
        if (entry.bridge == "inside") entry.vlan = 7;
        change.put.fdb[entry.key()] = entry;
    }
    serve();
    const auto send_tagged = [&](const Bytes& ip) {
        auto frame = framed(ip, kPeer, kPod);
        const Bytes tag{0x81, 0x00, 0x00, 0x07};
        frame.insert(frame.begin() + 12, tag.begin(), tag.end());
        bench.inject("pod", frame);
    };
    bench.inject("peer", routed(asked(1234), kIn, kPeer));
    ASSERT_EQ(frames("pod").size(), 1U);
    send_tagged(packet(answer(1234)));
    EXPECT_EQ(collect("peer"), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
    auto long_answer = answer(1234);
    long_answer.payload = 1200;
    for (const auto& piece : cut(packet(long_answer), 576, 7))
        send_tagged(piece);
    EXPECT_EQ(collect("peer"), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
    auto other = answer(2000);
    other.payload = 1200;
    for (const auto& piece : cut(packet(other), 576, 8))
        send_tagged(piece);
    EXPECT_EQ(collect("peer"), one("udp 10.0.0.2:80 > 10.0.0.3:2000 ttl 64"));
    // And the other way: who is without a tag has the backend's part.
    auto& s = service("tagged", Transport::udp);
    s.frontends = {at("10.96.0.11", 80)};
    s.backends = {backend("10.0.0.3", 80)};
    apply_services();
    auto question = framed(packet({"10.0.0.2", "10.96.0.11", kUdp, 99, 80}), kIn, kPod);
    const Bytes tag{0x81, 0x00, 0x00, 0x07};
    question.insert(question.begin() + 12, tag.begin(), tag.end());
    bench.inject("pod", question);
    EXPECT_EQ(collect("peer"), one("udp 10.0.0.2:99 > 10.0.0.3:80 ttl 63"));
    bench.inject("peer", framed(packet({"10.0.0.3", "10.0.0.2", kUdp, 80, 99}), kPod, kPeer));
    auto out = frames("pod");
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(Bytes(out[0].begin() + 12, out[0].begin() + 16), tag);
    out[0].erase(out[0].begin() + 12, out[0].begin() + 16);
    EXPECT_EQ(describe(out[0]), "udp 10.96.0.11:80 > 10.0.0.2:99 ttl 63");
}

TEST_F(BridgedAnswers, InFragmentsThatFitNobodyAreCounted) {
    serve();
    ask(asked(1234));
    auto spec = answer(1234);
    spec.payload = 1200;
    const auto pieces = cut(packet(spec), 576, 7);
    send_directly(pieces[0]);
    send_directly(cut(packet(spec), 592, 7)[1]);
    send_directly(pieces[1]);
    send_directly(pieces[2]);
    const auto never = cut(packet(spec), 576, 9);
    send_directly(never[0]);
    send_directly(never[0]);
    bench.advance_clock(40);
    bench.settle();
    send_directly(packet(answer(2000)));
    EXPECT_EQ(collect("peer"), one("udp 10.0.0.2:80 > 10.0.0.3:2000 ttl 64"));
    // Of others, to a station that is not known: flooded, but not back.
    auto other = answer(3000);
    other.payload = 3000;
    for (const auto& piece : cut(packet(other), 1500, 10))
        bench.inject("pod", framed(piece, "02:00:00:00:01:77", kPod));
    EXPECT_EQ(frames("peer").size(), 3U);
    EXPECT_EQ(frames("pod").size(), 0U);
}

TEST_F(BridgedAnswers, WaitForTheClientsAddress) {
    change.put.neighbours.erase({"inside", ip("10.0.0.3")});
    serve({Transport::udp});
    bench.inject("peer", routed(asked(1234), kIn, kPeer));
    EXPECT_EQ(collect("pod"), one("udp 10.0.0.3:1234 > 10.0.0.2:80 ttl 63"));
    send_directly(packet(answer(1234)));
    auto out = bench.collect("peer");
    ASSERT_EQ(out.size(), 1U);
    ASSERT_EQ(out[0][13], 0x06) << "ARP";
    auto reply = out[0];
    const auto peer = MacAddress::parse(kPeer).value();
    std::copy_n(out[0].begin() + 6, 6, reply.begin());
    std::ranges::copy(peer.bytes, reply.begin() + 6);
    reply[21] = 2;
    std::ranges::copy(peer.bytes, reply.begin() + 22);
    std::copy_n(out[0].begin() + 38, 4, reply.begin() + 28);
    std::copy_n(out[0].begin() + 22, 10, reply.begin() + 32);
    bench.inject("peer", reply);
    EXPECT_EQ(collect("peer"), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
}

TEST_F(BridgedAnswers, InLongSegmentsThatAreNotCutYet) {
    serve();
    ask(asked(1234, kTcp));
    for (const std::uint16_t to : {std::uint16_t{1234}, std::uint16_t{2000}}) {
        auto spec = answer(to, kTcp);
        spec.payload = 5000;
        auto frame = framed(packet(spec), kPeer, kPod);
        const auto length = static_cast<std::uint32_t>(frame.size() - 34);
        std::uint32_t sum = kTcp + length;
        for (std::size_t i = 26; i < 34; i += 2)
            sum += static_cast<std::uint32_t>(frame[i] << 8 | frame[i + 1]);
        while (sum >> 16 != 0)
            sum = (sum & 0xffff) + (sum >> 16);
        frame[34 + 16] = static_cast<std::uint8_t>(sum >> 8);
        frame[34 + 17] = static_cast<std::uint8_t>(sum);
        bench.wire("peer").set_offloads(0);
        ASSERT_TRUE(bench.wire("pod").inject(0, frame, {1, 1, 0, 1448, 34, 16}));
        const std::string line = to == 1234 ? "tcp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"
                                            : "tcp 10.0.0.2:80 > 10.0.0.3:2000 ttl 64";
        EXPECT_EQ(collect("peer"), std::vector<std::string>(4, line));
    }
}

}  // namespace
}  // namespace viaduct::test
