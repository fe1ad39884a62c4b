// Answers past the router that come in an unusual way, and what looks like them and is none: in fragments and
// in parts, after interfaces and backends went, beside other routers, and among those of a client that
// floods.
#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include "bridged_answers.h"
#include "trace.h"

namespace viaduct::test {
namespace {

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
    EXPECT_EQ(answer_in_fragments(1234), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
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
        EXPECT_EQ(bench.dataplane().trace({"pod", frame}).decision, "bridged");
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

TEST_F(BridgedAnswers, OfTwoServicesWithOneBackend) {
    serve({Transport::udp});
    auto& s = service("other", Transport::udp);
    s.frontends = {at("10.96.0.11", 80)};
    s.backends = {backend("10.0.0.2", 80)};
    apply_services();
    ask(asked(1234));
    bench.inject("peer", routed({"10.0.0.3", "10.96.0.11", kUdp, 1234, 80}, kIn, kPeer));
    const auto out = frames("pod");
    ASSERT_EQ(out.size(), 1U);
    const auto port = static_cast<std::uint16_t>(out[0][34] << 8 | out[0][35]);
    ASSERT_NE(port, 1234);
    EXPECT_EQ(answer_directly(answer(1234)), one("udp 10.96.0.10:80 > 10.0.0.3:1234 ttl 63"));
    EXPECT_EQ(answer_directly(answer(port)), one("udp 10.96.0.11:80 > 10.0.0.3:1234 ttl 63"));
}

}  // namespace
}  // namespace viaduct::test
