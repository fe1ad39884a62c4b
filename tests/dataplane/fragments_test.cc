// Fragments through the worker loop: put together, translated, cut again; and what comes of bad ones.
#include "resolve/fragments.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "router.h"

namespace viaduct::test {
namespace {

using dataplane::Drop;
using dataplane::Fragments;

class FragmentsTest : public RouterTest {
protected:
    FragmentsTest() {
        masquerade("m", "10.0.0.0/24");
        masquerade("m6", "fd00::/64");
        apply();
    }

    static Bytes datagram(std::size_t payload, bool v6 = false) {
        PacketSpec spec{"10.0.0.2", "198.51.100.7", kUdp, 5000, 80};
        if (v6) spec = {"fd00::2", "2001:db8:1::7", kUdp, 5000, 80};
        spec.payload = payload;
        return packet(spec);
    }
    void send(const Bytes& ip) { bench.inject("pod", framed(ip, kIn, kPod)); }

    /// Of an IPv4 header that was changed.
    static void write_sum(Bytes& ip) {
        std::uint32_t sum = 0;
        ip[10] = ip[11] = 0;
        for (std::size_t i = 0; i < 20; i += 2)
            sum += static_cast<std::uint32_t>(ip[i] << 8 | ip[i + 1]);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = ~((sum & 0xffff) + (sum >> 16));
        ip[10] = static_cast<std::uint8_t>(sum >> 8);
        ip[11] = static_cast<std::uint8_t>(sum);
    }

    /// The packet that fragments are of, in a frame, if they are all of it.
    static Bytes joined(std::vector<Bytes> frames) {
        const auto offset = [](const Bytes& f) {
            return f[14] >> 4 == 4 ? ((f[20] << 8 | f[21]) & 0x1fff) * 8 : (f[56] << 8 | f[57]) & 0xfff8;
        };
        std::ranges::sort(frames, {}, offset);
        Bytes whole;
        for (const auto& frame : frames) {
            const auto ip = ip_of(frame);
            const std::size_t header = ip[0] >> 4 == 4 ? 20 : 48;
            if (whole.empty()) whole.assign(ip.begin(), ip.begin() + static_cast<std::ptrdiff_t>(header));
            if (static_cast<std::size_t>(offset(frame)) != whole.size() - header) return {};
            whole.insert(whole.end(), ip.begin() + static_cast<std::ptrdiff_t>(header), ip.end());
        }
        if (whole[0] >> 4 == 4) {
            whole[2] = static_cast<std::uint8_t>(whole.size() >> 8);
            whole[3] = static_cast<std::uint8_t>(whole.size());
            whole[6] = whole[7] = 0;
            write_sum(whole);
        } else {
            whole[4] = static_cast<std::uint8_t>((whole.size() - 40) >> 8);
            whole[5] = static_cast<std::uint8_t>(whole.size() - 40);
            whole[42] = whole[43] = 0;
        }
        return framed(whole, kOut, kWorld);
    }

    std::uint64_t dropped(Drop why) { return bench.drops("pod", why); }
};

TEST_F(FragmentsTest, ArePutTogetherTranslatedAndCutAgain) {
    auto pieces = cut(datagram(4000), 1500, 7);
    ASSERT_EQ(pieces.size(), 3U);
    std::ranges::reverse(pieces);
    for (const auto& piece : pieces)
        send(piece);
    const auto out = frames("up");
    ASSERT_EQ(out.size(), 3U);
    for (const auto& frame : out) {
        EXPECT_LE(frame.size(), 1514U);
        EXPECT_EQ(macs(frame), std::string(kOut) + " > " + kWorld);
    }
    EXPECT_EQ(describe(joined(out)), "udp 192.0.2.1:5000 > 198.51.100.7:80 ttl 63");
    EXPECT_EQ(ip_of(out[0])[5], 7) << "the identification stays";
}

TEST_F(FragmentsTest, OfIpv6KeepTheirIdentification) {
    for (const auto& piece : cut(datagram(4000, true), 1500, 0x12345678))
        send(piece);
    const auto out = frames("up");
    ASSERT_EQ(out.size(), 3U);
    EXPECT_EQ(describe(joined(out)), "udp [2001:db8::1]:5000 > [2001:db8:1::7]:80 ttl 63");
    for (const auto& frame : out) {
        const auto ip = ip_of(frame);
        EXPECT_EQ(Bytes(ip.begin() + 44, ip.begin() + 48), (Bytes{0x12, 0x34, 0x56, 0x78}));
    }
}

TEST_F(FragmentsTest, ThatFitWhenWholeLeaveWhole) {
    // Cut smaller than any need.
    for (const auto& piece : cut(datagram(1200), 576, 7))
        send(piece);
    EXPECT_EQ(collect("up"), one("udp 192.0.2.1:5000 > 198.51.100.7:80 ttl 63"));
}

TEST_F(FragmentsTest, TheLongestDatagramPasses) {
    const auto pieces = cut(datagram(65535 - 28), 1500, 7);
    ASSERT_EQ(pieces.size(), 45U);
    for (const auto& piece : pieces)
        send(piece);
    EXPECT_EQ(frames("up").size(), 45U);
}

TEST_F(FragmentsTest, ThatOverlapTakeTheirDatagramAlong) {
    auto pieces = cut(datagram(3000), 1500, 7);
    ASSERT_EQ(pieces.size(), 3U);
    auto overlapping = cut(datagram(3000), 1000, 7);
    send(pieces[0]);
    send(overlapping[1]);  // begins within the first
    send(pieces[1]);
    send(pieces[2]);
    EXPECT_TRUE(frames("up").empty());
    EXPECT_EQ(dropped(Drop::fragment), 4U);
    // Another datagram of the same ends is none the worse.
    for (const auto& piece : cut(datagram(3000), 1500, 8))
        send(piece);
    EXPECT_EQ(frames("up").size(), 3U);
}

TEST_F(FragmentsTest, CopiesAloneGoAlone) {
    const auto pieces = cut(datagram(3000), 1500, 7);
    send(pieces[0]);
    send(pieces[0]);
    send(pieces[1]);
    send(pieces[2]);
    EXPECT_EQ(frames("up").size(), 3U);
    EXPECT_EQ(dropped(Drop::fragment), 1U);
}

TEST_F(FragmentsTest, TinyOnesAndThosePastTheEndAreRefused) {
    send(cut(datagram(200), 40, 7)[0]);
    bench.settle();
    EXPECT_EQ(dropped(Drop::fragment), 1U);
    // The ping of death: an offset that reaches past 65,535 bytes.
    auto last = cut(datagram(3000), 1500, 8)[1];
    last[6] = 0x1f;
    last[7] = 0xff;
    write_sum(last);
    send(last);
    // Small non-final fragments of IPv6, which no link makes.
    send(cut(datagram(2000, true), 600, 9)[0]);
    bench.settle();
    EXPECT_EQ(dropped(Drop::fragment), 3U);
    EXPECT_TRUE(frames("up").empty());
}

TEST_F(FragmentsTest, ThatStayAloneAreDroppedInTime) {
    send(cut(datagram(3000), 1500, 7)[0]);
    bench.settle();
    EXPECT_EQ(bench.dataplane().ledger().held, 1U);
    bench.advance_clock(Fragments::kTimeout + 1);
    bench.settle();
    EXPECT_EQ(bench.dataplane().ledger().held, 0U);
    EXPECT_EQ(dropped(Drop::fragment), 1U);
}

TEST_F(FragmentsTest, AFloodCostsTheFlooderHisOwn) {
    const auto pieces = cut(datagram(3000), 1500, 7);
    bench.inject("peer", framed(cut(packet({"10.0.0.3", "198.51.100.7", kUdp, 1, 2, 64, 3000}), 1500, 3)[0],
                                kIn, kPeer));
    bench.settle();
    for (std::uint32_t id = 100; id < 2100; ++id) {
        send(cut(datagram(3000), 1500, id)[0]);
        if (id % 64 == 0) bench.settle();
    }
    bench.settle();
    const auto held = bench.dataplane().ledger().held;
    EXPECT_LE(held, Fragments::frames_most(8192));
    EXPECT_EQ(dropped(Drop::fragment_memory) + held, 2001U);
    EXPECT_EQ(bench.drops("peer", Drop::fragment_memory), 0U) << "the other's fragment has stayed";
}

}  // namespace
}  // namespace viaduct::test
