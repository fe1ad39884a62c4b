// Segments put together as they come in: what may be, what may not, and that cutting gives them back.
#include <cstring>
#include <vector>

#include <gtest/gtest.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include "port/gro_port.h"
#include "port/offload.h"
#include "port_bench.h"

namespace viaduct::dataplane::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Wanted {
    bool v6 = false;
    std::uint32_t sequence = 1000;
    std::uint16_t payload = 1400;
    std::uint8_t flags = RTE_TCP_ACK_FLAG;
    std::uint16_t port = 80;
    std::uint16_t window = 500;
    std::uint16_t number = 7;
    bool may_fragment = false;
    std::uint8_t lifetime = 64;
    std::uint16_t padding = 0;
};

/// TCP with a timestamp option and right sums.
Bytes segment(const Wanted& wanted) {
    const std::size_t ip_length = wanted.v6 ? 40 : 20;
    const std::size_t tcp_length = 32;
    Bytes bytes(14 + ip_length + tcp_length + wanted.payload, 0);
    bytes[0] = 2;
    bytes[6] = 2;
    bytes[11] = 1;
    const auto type = rte_cpu_to_be_16(wanted.v6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
    std::memcpy(&bytes[12], &type, 2);
    auto* tcp = reinterpret_cast<rte_tcp_hdr*>(&bytes[14 + ip_length]);
    tcp->src_port = rte_cpu_to_be_16(wanted.port);
    tcp->dst_port = RTE_BE16(4000);
    tcp->sent_seq = rte_cpu_to_be_32(wanted.sequence);
    tcp->recv_ack = RTE_BE32(77);
    tcp->data_off = 8 << 4;
    tcp->tcp_flags = wanted.flags;
    tcp->rx_win = rte_cpu_to_be_16(wanted.window);
    for (std::size_t i = 14 + ip_length + tcp_length; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::uint8_t>(wanted.sequence + i);
    if (wanted.v6) {
        auto* ip = reinterpret_cast<rte_ipv6_hdr*>(&bytes[14]);
        ip->vtc_flow = RTE_BE32(6U << 28);
        ip->payload_len = rte_cpu_to_be_16(static_cast<std::uint16_t>(tcp_length + wanted.payload));
        ip->proto = IPPROTO_TCP;
        ip->hop_limits = wanted.lifetime;
        ip->src_addr[15] = 1;
        ip->dst_addr[15] = 2;
        tcp->cksum = rte_ipv6_udptcp_cksum(ip, tcp);
    } else {
        auto* ip = reinterpret_cast<rte_ipv4_hdr*>(&bytes[14]);
        ip->version_ihl = 0x45;
        ip->total_length = rte_cpu_to_be_16(static_cast<std::uint16_t>(20 + tcp_length + wanted.payload));
        ip->packet_id = rte_cpu_to_be_16(wanted.number);
        ip->fragment_offset = wanted.may_fragment ? 0 : RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
        ip->time_to_live = wanted.lifetime;
        ip->next_proto_id = IPPROTO_TCP;
        ip->src_addr = RTE_BE32(0x0a000001);
        ip->dst_addr = RTE_BE32(0x0a000002);
        ip->hdr_checksum = rte_ipv4_cksum(ip);
        tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
    }
    bytes.resize(bytes.size() + wanted.padding);
    return bytes;
}

/// `count` in a row, the last as long as is said.
std::vector<Wanted> row(unsigned count, bool v6 = false, std::uint16_t last = 1400) {
    std::vector<Wanted> all;
    for (unsigned i = 0; i < count; ++i) {
        Wanted one{.v6 = v6, .sequence = 1000 + 1400 * i};
        one.number = static_cast<std::uint16_t>(7 + i);
        if (i + 1 == count) one.payload = last;
        all.push_back(one);
    }
    return all;
}

class Gro : public ::testing::Test {
protected:
    void SetUp() override { (void)pool(); }
    void TearDown() override {
        for (std::uint16_t i = 0; i < left; ++i)
            rte_pktmbuf_free(frames[i]);
        EXPECT_TRUE(eventually([] { return buffers_in_use() == 0; }, 2)) << buffers_in_use();
    }
    /// How many are left.
    unsigned merge(const std::vector<Bytes>& all) {
        for (const auto& bytes : all)
            frames[left++] = to_chain(bytes);
        left = put_together(frames.data(), left);
        return left;
    }
    unsigned merge(const std::vector<Wanted>& all) {
        std::vector<Bytes> bytes;
        for (const auto& one : all)
            bytes.push_back(segment(one));
        return merge(bytes);
    }
    /// The frames as a wire would see them.
    std::vector<Bytes> cut() {
        std::vector<Bytes> seen;
        for (std::uint16_t i = 0; i < left; ++i) {
            if (!left_to_cut(frames[i])) {
                seen.push_back(to_bytes(frames[i]));
                continue;
            }
            Cutter cutter(frames[i], pool(), 0);
            while (!cutter.done()) {
                rte_mbuf* piece = nullptr;
                if (cutter.next(&piece, 1) != 1) break;
                seen.push_back(to_bytes(piece));
            }
            rte_pktmbuf_free(frames[i]);
        }
        left = 0;
        return seen;
    }
    std::array<rte_mbuf*, kBurst> frames{};
    std::uint16_t left = 0;
};

TEST_F(Gro, PutsSegmentsTogetherThatCanBeCutAgain) {
    for (const bool v6 : {false, true}) {
        auto wanted = row(20, v6, 300);
        wanted.back().flags |= RTE_TCP_PSH_FLAG;
        std::vector<Bytes> sent;
        for (const auto& one : wanted)
            sent.push_back(segment(one));
        ASSERT_EQ(merge(sent), 1U);
        EXPECT_TRUE(left_to_cut(frames[0]));
        EXPECT_EQ(frames[0]->tso_segsz, 1400);
        EXPECT_EQ(frames[0]->pkt_len, sent[0].size() + 18U * 1400U + 300U);
        EXPECT_EQ(rte_mbuf_check(frames[0], 1, nullptr), 0);
        EXPECT_EQ(cut(), sent);
    }
}

TEST_F(Gro, KeepsConnectionsApartAndInOrder) {
    std::vector<Wanted> mixed;
    for (unsigned i = 0; i < 5; ++i) {
        for (std::uint16_t port = 80; port < 83; ++port) {
            Wanted one{.sequence = 1000 + 1400 * i, .port = port};
            mixed.push_back(one);
        }
    }
    EXPECT_EQ(merge(mixed), 3U);
    for (std::uint16_t i = 0; i < left; ++i)
        EXPECT_EQ(frames[i]->nb_segs, 5);
}

TEST_F(Gro, LeavesAloneWhatMustNotBePutTogether) {
    const auto second = [](auto&& change) {
        auto two = row(2);
        change(two[1]);
        return two;
    };
    const std::vector<std::vector<Wanted>> apart{
        second([](Wanted& w) { w.sequence += 1; }),
        second([](Wanted& w) { w.sequence -= 1400; }),
        second([](Wanted& w) { w.payload = 1401; }),
        second([](Wanted& w) { w.flags |= RTE_TCP_FIN_FLAG; }),
        second([](Wanted& w) { w.flags |= RTE_TCP_CWR_FLAG; }),
        second([](Wanted& w) { w.flags |= RTE_TCP_ECE_FLAG; }),
        second([](Wanted& w) { w.flags |= RTE_TCP_RST_FLAG; }),
        second([](Wanted& w) { w.flags |= RTE_TCP_URG_FLAG; }),
        second([](Wanted& w) { w.flags = 0; }),
        second([](Wanted& w) { w.window = 501; }),
        second([](Wanted& w) { w.lifetime = 63; }),
        second([](Wanted& w) { w.may_fragment = true; }),
        second([](Wanted& w) { w.payload = 0; }),
        second([](Wanted& w) { w.payload = 20; }),
        second([](Wanted& w) { w.padding = 6; }),
        second([](Wanted& w) { w.v6 = true; }),
    };
    for (std::size_t i = 0; i < apart.size(); ++i) {
        std::vector<Bytes> sent;
        for (const auto& one : apart[i])
            sent.push_back(segment(one));
        EXPECT_EQ(merge(sent), 2U) << i;
        EXPECT_EQ(cut(), sent) << i;
    }
    auto pushed = row(2);
    pushed[0].flags |= RTE_TCP_PSH_FLAG;
    EXPECT_EQ(merge(pushed), 2U);
    cut();
    auto numbers = row(2);
    numbers[0].may_fragment = numbers[1].may_fragment = true;
    numbers[1].number = 9;
    EXPECT_EQ(merge(numbers), 2U);
    cut();
    numbers[1].number = 8;
    EXPECT_EQ(merge(numbers), 1U);
}

TEST_F(Gro, LeavesDamagedSegmentsForTheirReceiverToSee) {
    for (const std::size_t at : {std::size_t{24}, std::size_t{200}}) {  // IPv4's checksum; payload
        for (const std::size_t damaged : {0U, 1U}) {
            std::vector<Bytes> sent{segment(row(2)[0]), segment(row(2)[1])};
            sent[damaged][at] ^= 1;
            EXPECT_EQ(merge(sent), 2U);
            EXPECT_EQ(cut(), sent);
        }
    }
}

TEST_F(Gro, NothingOvertakes) {
    // An acknowledgement between two segments: what follows it begins anew.
    auto wanted = row(4);
    Wanted ack{.sequence = wanted[2].sequence, .payload = 0};
    wanted.insert(wanted.begin() + 2, ack);
    EXPECT_EQ(merge(wanted), 3U);
    EXPECT_EQ(frames[1]->nb_segs, 1);
    EXPECT_EQ(frames[1]->pkt_len, 66U);
}

TEST_F(Gro, StaysWithinWhatAnIpPacketCanBe) {
    auto wanted = row(32);
    for (unsigned i = 0; i < wanted.size(); ++i) {
        wanted[i].payload = 8900;
        wanted[i].sequence = 1000 + 8900 * i;
    }
    (void)merge(wanted);
    ASSERT_GT(left, 4U);
    for (std::uint16_t i = 0; i < left; ++i) {
        EXPECT_LE(frames[i]->pkt_len, 65535U + 14U);
        EXPECT_LE(frames[i]->nb_segs, 60);
    }
}

TEST_F(Gro, TakesAnyBytes) {
    std::vector<Bytes> all;
    for (std::size_t size = 0; size < 31; ++size) {
        auto bytes = segment({.payload = 100});
        bytes.resize(14 + size * 3);
        all.push_back(bytes);
    }
    EXPECT_EQ(merge(all), 31U);
}

}  // namespace
}  // namespace viaduct::dataplane::test
