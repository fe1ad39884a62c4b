// Checksums and long segments that a pod or guest leaves to whoever sends on: carried whole to who takes
// them, finished and cut for who does not, and never believed when they lie. Through the real worker loop.
#include "port/offload.h"

#include <algorithm>
#include <optional>

#include <gtest/gtest.h>

#include "ip_frame.h"
#include "router.h"

namespace viaduct::test {
namespace {

using dataplane::Offloads;
using dataplane::VirtioNetHeader;

constexpr std::uint8_t kNeedsChecksum = 1;
constexpr std::uint8_t kTcp4 = 1;
constexpr std::uint8_t kTcp6 = 4;
constexpr std::uint8_t kDatagrams = 5;

struct Place {
    std::size_t ip, transport, payload;
    bool v4, tcp;
};

/// Of a frame without options.
Place place_of(const Bytes& frame) {
    Place place{14, 0, 0, false, false};
    if (frame[12] == 0x81) place.ip = 18;
    place.v4 = frame[place.ip] >> 4 == 4;
    place.transport = place.ip + (place.v4 ? 20 : 40);
    place.tcp = frame[place.ip + (place.v4 ? 9 : 6)] == kTcp;
    place.payload = place.transport + (place.tcp ? 20 : 8);
    return place;
}

std::uint32_t be(const Bytes& b, std::size_t at, std::size_t n) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < n; ++i)
        value = value << 8 | b[at + i];
    return value;
}

/// What a kernel hands over: the pseudo header's sum in the checksum's place, and a header that says so.
VirtioNetHeader leave(Bytes& frame, std::uint16_t piece = 0) {
    const auto place = place_of(frame);
    const std::size_t addresses = place.v4 ? 8 : 32;
    const auto length = static_cast<std::uint32_t>(frame.size() - place.transport);
    std::uint32_t sum = (place.tcp ? 6U : 17U) + length;
    for (std::size_t i = 0; i < addresses; i += 2)
        sum += be(frame, place.transport - addresses + i, 2);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    const std::uint16_t offset = place.tcp ? 16 : 6;
    frame[place.transport + offset] = static_cast<std::uint8_t>(sum >> 8);
    frame[place.transport + offset + 1] = static_cast<std::uint8_t>(sum);
    const auto kind = piece == 0 ? 0 : !place.tcp ? kDatagrams : place.v4 ? kTcp4 : kTcp6;
    return {kNeedsChecksum,
            static_cast<std::uint8_t>(kind),
            0,
            piece,
            static_cast<std::uint16_t>(place.transport),
            offset};
}

class Offloading : public RouterTest, public ::testing::WithParamInterface<bool> {
protected:
    static bool v4() { return GetParam(); }
    PacketSpec spec(std::uint8_t protocol, std::size_t payload) const {
        PacketSpec s{.source = v4() ? "10.0.0.2" : "fd00::2",
                     .destination = v4() ? "198.51.100.7" : "2001:db8:7::7"};
        s.protocol = protocol;
        s.source_port = 4000;
        s.destination_port = 80;
        s.payload = payload;
        s.tcp_flags = 0x99;  // CWR, ACK, PSH, FIN
        s.dont_fragment = true;
        return s;
    }
    /// Sends from `pod` into the router; false when the port refuses it.
    bool send(Bytes frame, std::uint16_t piece) {
        const auto header = leave(frame, piece);
        return bench.wire("pod").inject(0, frame, header);
    }
    void takes(const char* port, Offloads offloads) { bench.wire(port).set_offloads(offloads); }

    /// Whether frames are the pieces of one segment with `payload`, each of at most `piece` bytes.
    static void expect_pieces_of(const std::vector<Bytes>& frames, const Bytes& payload, std::size_t piece) {
        Bytes together;
        for (std::size_t i = 0; i < frames.size(); ++i) {
            const auto& frame = frames[i];
            const auto place = place_of(frame);
            EXPECT_TRUE(checksums_hold(frame)) << i;
            EXPECT_LE(frame.size() - place.payload, piece);
            if (place.v4) {
                EXPECT_EQ(be(frame, place.ip + 2, 2), frame.size() - place.ip);
                EXPECT_EQ(be(frame, place.ip + 4, 2), be(frames[0], place.ip + 4, 2) + i);
            } else {
                EXPECT_EQ(be(frame, place.ip + 4, 2), frame.size() - place.transport);
            }
            if (place.tcp) {
                EXPECT_EQ(be(frame, place.transport + 4, 4),
                          be(frames[0], place.transport + 4, 4) + together.size());
                const bool last = i + 1 == frames.size();
                EXPECT_EQ(frame[place.transport + 13], 0x10 | (i == 0 ? 0x80 : 0) | (last ? 0x09 : 0));
            } else {
                EXPECT_EQ(be(frame, place.transport + 4, 2), frame.size() - place.transport);
            }
            together.insert(together.end(), frame.begin() + static_cast<std::ptrdiff_t>(place.payload),
                            frame.end());
        }
        EXPECT_EQ(together, payload);
    }
    static Bytes payload_of(const Bytes& frame) {
        return {frame.begin() + static_cast<std::ptrdiff_t>(place_of(frame).payload), frame.end()};
    }
};

INSTANTIATE_TEST_SUITE_P(Families, Offloading, ::testing::Bool(),
                         [](const auto& family) { return family.param ? "IPv4" : "IPv6"; });

TEST_P(Offloading, ALongSegmentTravelsWholeToWhoTakesIt) {
    apply();
    const auto segment = routed(spec(kTcp, 40000), kIn, kPod);
    for (int i = 0; i < 2; ++i) {  // the first is resolved, the second executed
        ASSERT_TRUE(send(segment, 1400));
        const auto out = frames("up");
        ASSERT_EQ(out.size(), 1U);
        EXPECT_EQ(out[0].size(), segment.size());
        EXPECT_EQ(payload_of(out[0]), payload_of(segment));
    }
}

TEST_P(Offloading, ALongSegmentIsCutForWhoDoesNot) {
    apply();
    takes("up", 0);
    for (const std::size_t payload : {1401U, 2800U, 40000U, 65000U}) {
        const auto segment = routed(spec(kTcp, payload), kIn, kPod);
        ASSERT_TRUE(send(segment, 1400));
        const auto out = frames("up");
        EXPECT_EQ(out.size(), (payload + 1399) / 1400);
        expect_pieces_of(out, payload_of(segment), 1400);
    }
}

TEST_P(Offloading, DatagramsInOneAreCut) {
    apply();
    takes("up", dataplane::kOffloadChecksum | dataplane::kOffloadTso4 | dataplane::kOffloadTso6);
    const auto datagrams = routed(spec(kUdp, 10000), kIn, kPod);
    ASSERT_TRUE(send(datagrams, 1200));
    EXPECT_EQ(frames("up").size(), 9U);
    takes("up", 0);
    ASSERT_TRUE(send(datagrams, 1200));
    const auto out = frames("up");
    EXPECT_EQ(out.size(), 9U);
    expect_pieces_of(out, payload_of(datagrams), 1200);
}

TEST_P(Offloading, AChecksumIsFinishedAfterTranslation) {
    masquerade("all", v4() ? "10.0.0.0/24" : "fd00::/64");
    apply();
    takes("up", 0);
    for (const auto protocol : {kTcp, kUdp}) {
        for (int i = 0; i < 2; ++i) {
            ASSERT_TRUE(send(routed(spec(protocol, 300), kIn, kPod), 0));
            auto out = frames("up");
            ASSERT_EQ(out.size(), 1U);
            EXPECT_TRUE(checksums_hold(out[0]));
            ASSERT_TRUE(send(routed(spec(protocol, 3000), kIn, kPod), 1000));
            out = frames("up");
            EXPECT_EQ(out.size(), 3U);
            for (const auto& piece : out)
                EXPECT_TRUE(checksums_hold(piece));
        }
    }
}

TEST_P(Offloading, OneFrameForManyIsFinishedForEachAsItWants) {
    apply();
    // Unknown to the bridge: flooded to `peer` and to a third.
    auto& third = change.put.ports["third"];
    third = change.put.ports["peer"];
    third.name = "third";
    apply();
    takes("peer", 0);
    auto frame = routed(spec(kTcp, 500), "02:00:00:00:77:77", kPod);
    ASSERT_TRUE(send(frame, 0));
    bench.settle();
    const auto finished = frames("peer");
    const auto left = frames("third");
    ASSERT_EQ(finished.size(), 1U);
    ASSERT_EQ(left.size(), 1U);
    EXPECT_TRUE(checksums_hold(finished[0]));
    leave(frame);
    EXPECT_EQ(left[0], frame);
    ASSERT_TRUE(send(routed(spec(kTcp, 5000), "02:00:00:00:77:77", kPod), 1000));
    EXPECT_EQ(frames("peer").size(), 5U);
    EXPECT_EQ(frames("third").size(), 1U);
}

/// A packet in a tunnel says nothing of what is left to do: pieces are wrapped, each whole.
TEST_P(Offloading, IsFinishedBeforeATunnel) {
    const char* const far = "02:00:00:00:01:99";
    auto& end = change.put.ports["vx"];
    end.name = "vx";
    end.kind = model::PortKind::vxlan;
    end.bridge = "inside";
    end.vxlan.vni = 100;
    end.vxlan.local = ip(v4() ? "192.0.2.1" : "2001:db8::1");
    end.vxlan.remotes = {ip(v4() ? "192.0.2.254" : "2001:db8::fe")};
    const model::FdbEntry entry{"inside", 0, MacAddress::parse(far).value(), "vx", end.vxlan.remotes[0]};
    change.put.fdb[entry.key()] = entry;
    apply();
    // Without the outer headers: Ethernet, IP, UDP and VXLAN.
    const auto inner = [&](const Bytes& frame) {
        return Bytes(frame.begin() + (v4() ? 50 : 70), frame.end());
    };
    for (int round = 0; round < 2; ++round) {
        const auto segment = routed(spec(kTcp, 4000), far, kPod);
        ASSERT_TRUE(send(segment, 1200));
        std::vector<Bytes> out;
        for (const auto& frame : frames("up")) {
            EXPECT_TRUE(checksums_hold(frame));
            out.push_back(inner(frame));
        }
        EXPECT_EQ(out.size(), 4U);
        expect_pieces_of(out, payload_of(segment), 1200);
        const auto datagram = routed(spec(kUdp, 300), far, kPod);
        ASSERT_TRUE(send(datagram, 0));
        const auto one = frames("up");
        ASSERT_EQ(one.size(), 1U);
        EXPECT_TRUE(checksums_hold(inner(one[0])));
    }
    EXPECT_EQ(bench.state("vx").totals.tx_packets, 10U);
}

/// Options between IPv6's header and TCP's belong to each piece.
TEST_F(RouterTest, OptionsAreRepeatedInEveryPiece) {
    apply();
    bench.wire("up").set_offloads(0);
    PacketSpec spec{.source = "fd00::2", .destination = "2001:db8:7::7", .protocol = kTcp};
    spec.payload = 3000;
    auto segment = routed(spec, kIn, kPod);
    auto header = leave(segment, 1000);
    const Bytes options{6, 0, 1, 4, 0, 0, 0, 0};  // TCP follows; padding
    segment.insert(segment.begin() + 54, options.begin(), options.end());
    segment[20] = 60;
    const auto length = segment.size() - 54;
    segment[18] = static_cast<std::uint8_t>(length >> 8);
    segment[19] = static_cast<std::uint8_t>(length);
    header.checksum_start = static_cast<std::uint16_t>(header.checksum_start + options.size());
    ASSERT_TRUE(bench.wire("pod").inject(0, segment, header));
    auto out = frames("up");
    ASSERT_EQ(out.size(), 3U);
    for (auto& piece : out) {
        EXPECT_EQ(be(piece, 18, 2), piece.size() - 54);
        EXPECT_EQ(Bytes(piece.begin() + 54, piece.begin() + 62), options);
        // As if there were none, for a second opinion on the checksum.
        piece.erase(piece.begin() + 54, piece.begin() + 62);
        piece[20] = 6;
        piece[18] = static_cast<std::uint8_t>((piece.size() - 54) >> 8);
        piece[19] = static_cast<std::uint8_t>(piece.size() - 54);
        EXPECT_TRUE(checksums_hold(piece));
    }
}

TEST_P(Offloading, PiecesThatDoNotFitTheWayAreTold) {
    change.put.interfaces["outside"].mtu = 1300;
    apply();
    ASSERT_TRUE(send(routed(spec(kTcp, 5000), kIn, kPod), 1400));
    EXPECT_EQ(frames("up").size(), 0U);
    const auto told = collect("pod");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_NE(told[0].find(v4() ? "type 3/4 mtu 1300" : "type 2/0 mtu 1300"), std::string::npos) << told[0];
    EXPECT_EQ(bench.drops("pod", Drop::packet_too_big), 1U);
}

TEST_F(RouterTest, PiecesThatMayBeAreFragmented) {
    change.put.interfaces["outside"].mtu = 1300;
    apply();
    PacketSpec spec{.source = "10.0.0.2", .destination = "198.51.100.7"};
    spec.payload = 4000;
    auto datagrams = routed(spec, kIn, kPod);
    const auto header = leave(datagrams, 1400);
    ASSERT_TRUE(bench.wire("pod").inject(0, datagrams, header));
    const auto out = frames("up");
    EXPECT_EQ(out.size(), 5U);  // 1400, 1400 and 1200 bytes: the first two in two fragments each
    for (const auto& fragment : out)
        EXPECT_LE(fragment.size(), 1314U);
}

TEST_P(Offloading, AnOversizedPieceIsRefusedByTheBridge) {
    change.put.ports["pod"].mtu = 1300;
    apply();
    ASSERT_TRUE(send(routed(spec(kTcp, 5000), kIn, kPod), 1400));
    bench.settle();
    EXPECT_EQ(bench.drops("pod", Drop::oversize), 1U);
}

/// Each says something that the packet does not bear out.
TEST_P(Offloading, LiesAreRefused) {
    apply();
    const auto tcp = routed(spec(kTcp, 5000), kIn, kPod);
    const auto udp = routed(spec(kUdp, 5000), kIn, kPod);
    const auto refused = [&](Bytes frame, std::uint16_t piece, const auto& lie) {
        auto header = leave(frame, piece);
        lie(frame, header);
        return !bench.wire("pod").inject(0, frame, header);
    };
    using H = VirtioNetHeader;
    EXPECT_TRUE(refused(tcp, 1000, [](auto&, H& h) { h.gso_size = 0; }));
    EXPECT_TRUE(refused(tcp, 1000, [](auto&, H& h) { h.gso_size = 8; }));
    EXPECT_TRUE(refused(tcp, 1000, [](auto&, H& h) { h.gso_type = 3; })) << "UDP fragments";
    EXPECT_TRUE(refused(tcp, 1000, [](auto&, H& h) { h.gso_type = kDatagrams; }));
    EXPECT_TRUE(refused(tcp, 1000, [](auto&, H& h) { h.gso_type = h.gso_type == kTcp4 ? kTcp6 : kTcp4; }));
    EXPECT_TRUE(refused(tcp, 1000, [](auto&, H& h) { h.flags = 0; }));
    EXPECT_TRUE(refused(tcp, 1000, [](auto&, H& h) { h.checksum_start = 15; }));
    EXPECT_TRUE(refused(tcp, 1000, [](auto&, H& h) { h.checksum_offset = 6; }));
    EXPECT_TRUE(refused(tcp, 1000, [](Bytes& b, H&) { b.resize(b.size() - 100); })) << "shorter than it says";
    EXPECT_TRUE(refused(tcp, 1000, [](Bytes& b, H&) { b.resize(b.size() + 100); })) << "longer than it says";
    EXPECT_TRUE(refused(tcp, 1000, [](Bytes& b, H&) { b[place_of(b).transport + 12] = 0x40; }))
        << "header of 16";
    EXPECT_TRUE(refused(tcp, 1000, [](Bytes& b, H&) { b[place_of(b).ip] = 0; })) << "no IP";
    EXPECT_TRUE(refused(tcp, 1000, [](Bytes& b, H&) { b.resize(40); }));
    EXPECT_TRUE(refused(udp, 1000, [](auto&, H& h) { h.gso_type = kTcp4; }));
    EXPECT_TRUE(refused(udp, 30, [](auto&, H&) {})) << "more datagrams than anybody sends";
    EXPECT_TRUE(refused(tcp, 0, [](auto&, H& h) { h.checksum_start = 60000; }));
    EXPECT_TRUE(refused(tcp, 0, [](auto&, H& h) { h.checksum_offset = 60000; }));
    EXPECT_EQ(frames("up").size(), 0U);
}

/// A packet that a pod has wrapped itself: the checksum is of what is inside.
TEST_P(Offloading, AChecksumElsewhereIsFinishedAtOnce) {
    apply();
    takes("up", 0);
    Bytes outer = routed(spec(kUdp, 400), kIn, kPod);
    const auto place = place_of(outer);
    const auto inner = static_cast<std::uint16_t>(place.payload + 50);
    const VirtioNetHeader header{kNeedsChecksum, 0, 0, 0, inner, 16};
    ASSERT_TRUE(bench.wire("pod").inject(0, outer, header));
    const auto out = frames("up");
    ASSERT_EQ(out.size(), 1U);
    std::uint32_t sum = 0;
    for (std::size_t i = inner; i + 1 < out[0].size(); i += 2)
        sum += be(out[0], i, 2);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    // The sum with the checksum in place is that of the bytes which stood there before, complemented.
    EXPECT_EQ(sum % 0xffffU, (0xffffU - be(outer, inner + 16U, 2)) % 0xffffU);
}

}  // namespace
}  // namespace viaduct::test
