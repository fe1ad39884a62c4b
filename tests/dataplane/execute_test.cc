// The routed fast path's parts on single packets: what is parsed and what is left to resolve, what executing
// a record makes of a packet, and what TCP's flags leave in a flow's tail.
#include "forward/execute.h"

#include <initializer_list>

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include "ip_frame.h"

namespace viaduct::test {

namespace {

using namespace dataplane;

/// Buffers for single frames.
class Buffers {
public:
    Buffers() {
        start_eal();
        pool_ = rte_pktmbuf_pool_create("execute", 63, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    }
    ~Buffers() { rte_mempool_free(pool_); }
    Buffers(const Buffers&) = delete;
    Buffers& operator=(const Buffers&) = delete;

    rte_mbuf* make(const Bytes& bytes) {
        auto* frame = rte_pktmbuf_alloc(pool_);
        std::copy(bytes.begin(), bytes.end(),
                  reinterpret_cast<std::uint8_t*>(
                      rte_pktmbuf_append(frame, static_cast<std::uint16_t>(bytes.size()))));
        return frame;
    }
    static Bytes bytes_of(const rte_mbuf* frame) {
        const auto* data = rte_pktmbuf_mtod(frame, const std::uint8_t*);
        return {data, data + frame->data_len};
    }

private:
    rte_mempool* pool_;
};

template <typename Key>
bool parses(const Bytes& bytes, std::uint16_t l2_length = 14) {
    Buffers buffers;
    auto* frame = buffers.make(bytes);
    const RoutedFrame routed{frame, 0, 0, l2_length, false};
    Parsed<Key> parsed{};
    const bool good = parse(routed, 5, parsed);
    rte_pktmbuf_free(frame);
    return good;
}

template <typename Key>
Key key_of(const Bytes& bytes) {
    Buffers buffers;
    auto* frame = buffers.make(bytes);
    const RoutedFrame routed{frame, 0, 0, 14, false};
    Parsed<Key> parsed{};
    EXPECT_TRUE(parse(routed, 5, parsed));
    rte_pktmbuf_free(frame);
    return parsed.key;
}

FlowRecord<FlowKey4> record_for(const FlowKey4& key) {
    FlowRecord<FlowKey4> record{};
    record.key = key;
    record.new_source = key.source;
    record.new_destination = key.destination;
    record.new_source_port = key.source_port;
    record.new_destination_port = key.destination_port;
    record.destination_mac = {2, 0, 0, 0, 0, 9};
    record.source_mac = {2, 0, 0, 0, 0, 8};
    record.mtu = 1500;
    return record;
}

std::uint16_t difference(std::span<const std::uint8_t> from, std::span<const std::uint8_t> to) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < from.size(); i += 2)
        sum += checksum_difference(load16(&from[i]), load16(&to[i]));
    return fold(sum);
}

/// As source NAT does.
void translate_source(FlowRecord<FlowKey4>& record, Ipv4Bytes address, std::uint16_t port) {
    record.new_source = address;
    record.new_source_port = Be16::from_host(port);
    record.flags |= kFlowTranslate;
    record.l3_difference = difference(record.key.source.bytes, address.bytes);
    const auto ports = checksum_difference(record.key.source_port.raw, record.new_source_port.raw);
    record.l4_difference =
        record.key.protocol == 1 ? ports : fold(std::uint32_t{record.l3_difference} + ports);
}

/// What is left of a packet whose flow has the record.
Bytes rewritten(const Bytes& bytes, const FlowRecord<FlowKey4>& record, std::uint16_t l2_length = 14) {
    Buffers buffers;
    auto* frame = buffers.make(bytes);
    const RoutedFrame routed{frame, 0, 0, l2_length, false};
    Parsed<FlowKey4> parsed{};
    EXPECT_TRUE(parse(routed, record.key.zone, parsed));
    EXPECT_TRUE(rewrite(parsed, record, transport_of(parsed)));
    auto out = Buffers::bytes_of(frame);
    rte_pktmbuf_free(frame);
    return out;
}

TEST(Parse, MakesKeysOfBothFamiliesAndAllTransports) {
    const auto udp = key_of<FlowKey4>(ip_frame({}));
    EXPECT_EQ(udp.source.bytes, (std::array<std::uint8_t, 4>{10, 1, 0, 2}));
    EXPECT_EQ(udp.destination.bytes, (std::array<std::uint8_t, 4>{10, 2, 0, 2}));
    EXPECT_EQ(udp.source_port.to_host(), 1000);
    EXPECT_EQ(udp.destination_port.to_host(), 2000);
    EXPECT_EQ(udp.protocol, 17);
    EXPECT_EQ(udp.zone, 5);
    const auto tcp =
        key_of<FlowKey6>(ip_frame({.source = "fd00:1::2", .destination = "fd00:2::2", .protocol = 6}));
    EXPECT_EQ(tcp.source.bytes[15], 2);
    EXPECT_EQ(tcp.destination.bytes[3], 2);
    EXPECT_EQ(tcp.destination_port.to_host(), 2000);
    const auto request = key_of<FlowKey4>(ip_frame({.protocol = 1}));
    EXPECT_EQ(request.source_port.to_host(), 1000);
    EXPECT_EQ(request.destination_port, kEchoPort);
    const auto reply = key_of<FlowKey6>(
        ip_frame({.source = "fd00:1::2", .destination = "fd00:2::2", .protocol = 58, .echo_reply = true}));
    EXPECT_EQ(reply.source_port, kEchoPort);
    EXPECT_EQ(reply.destination_port.to_host(), 1000);
    const auto portless = key_of<FlowKey4>(ip_frame({.protocol = 47}));
    EXPECT_EQ(portless.source_port.raw, 0);
    EXPECT_EQ(portless.destination_port.raw, 0);
}

TEST(Parse, LeavesToResolveWhatIsNotPlain) {
    EXPECT_FALSE(parses<FlowKey4>(ip_frame({.ttl = 1})));
    EXPECT_FALSE(parses<FlowKey4>(ip_frame({.ttl = 0})));
    EXPECT_FALSE(parses<FlowKey4>(ip_frame({.fragment = 0x2000})));
    EXPECT_FALSE(parses<FlowKey4>(ip_frame({.fragment = 0x0003})));
    EXPECT_TRUE(parses<FlowKey4>(ip_frame({.fragment = 0x4000}))) << "may not be fragmented, and is not";
    auto options = ip_frame({});
    options[14] = 0x46;
    EXPECT_FALSE(parses<FlowKey4>(options));
    auto unreachable = ip_frame({.protocol = 1});
    unreachable[34] = 3;
    EXPECT_FALSE(parses<FlowKey4>(unreachable));
    for (const std::uint8_t header : std::initializer_list<std::uint8_t>{0, 43, 44, 51, 59, 60}) {
        EXPECT_FALSE(
            parses<FlowKey6>(ip_frame({.source = "fd00::1", .destination = "fd00::2", .protocol = header})));
    }
    EXPECT_FALSE(parses<FlowKey6>(ip_frame({.source = "fd00::1", .destination = "fd00::2", .ttl = 1})));
}

TEST(Parse, RefusesEveryDamagedBitOfAnIpv4Header) {
    const auto good = ip_frame({.protocol = 6});
    for (std::size_t bit = 14 * 8; bit < 34 * 8; ++bit) {
        auto bad = good;
        bad[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
        EXPECT_FALSE(parses<FlowKey4>(bad)) << "bit " << bit;
    }
}

TEST(Parse, RefusesPacketsThatEndBeforeTheirLength) {
    for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{1, 6, 17, 132}) {
        const auto whole4 = ip_frame({.protocol = protocol});
        for (std::size_t size = 14; size < whole4.size(); ++size)
            EXPECT_FALSE(parses<FlowKey4>(Bytes(whole4.begin(), whole4.begin() + std::ptrdiff_t(size))))
                << size;
    }
    for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{6, 17, 58, 132}) {
        const auto whole6 = ip_frame({.source = "fd00::1", .destination = "fd00::2", .protocol = protocol});
        for (std::size_t size = 14; size < whole6.size(); ++size)
            EXPECT_FALSE(parses<FlowKey6>(Bytes(whole6.begin(), whole6.begin() + std::ptrdiff_t(size))))
                << size;
    }
}

TEST(Rewrite, ChangesAddressesTtlAndNothingElse) {
    const IpFrame spec{.payload = 10, .padding = 8};
    const auto in = ip_frame(spec);
    auto changed = spec;
    changed.destination_mac = "02:00:00:00:00:09";
    changed.source_mac = "02:00:00:00:00:08";
    changed.ttl = 63;
    EXPECT_EQ(rewritten(in, record_for(key_of<FlowKey4>(in))), ip_frame(changed));
}

TEST(Rewrite, TranslatesWithChecksumsByDifferenceForEveryTransport) {
    for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{1, 6, 17}) {
        for (std::uint32_t port = 1; port < 65536; port += 4099) {
            const auto in = ip_frame({.protocol = protocol, .source_port = static_cast<std::uint16_t>(port)});
            auto record = record_for(key_of<FlowKey4>(in));
            record.key.zone = 5;
            translate_source(record, {{192, 0, 2, 33}}, static_cast<std::uint16_t>(65535 - port));
            EXPECT_EQ(rewritten(in, record),
                      ip_frame({.destination_mac = "02:00:00:00:00:09",
                                .source_mac = "02:00:00:00:00:08",
                                .source = "192.0.2.33",
                                .protocol = protocol,
                                .source_port = static_cast<std::uint16_t>(65535 - port),
                                .ttl = 63}));
        }
    }
}

TEST(Rewrite, LeavesAnAbsentUdpChecksumAbsentAndNeverMakesOne) {
    const auto in = ip_frame({.udp_checksum = false});
    auto record = record_for(key_of<FlowKey4>(in));
    translate_source(record, {{192, 0, 2, 33}}, 7777);
    const auto out = rewritten(in, record);
    EXPECT_EQ(load16(&out[40]), 0);
    // Every port: among them those whose checksum comes out as zero, which means "none".
    for (std::uint32_t port = 1; port < 65536; port += 1) {
        record.new_source_port = Be16::from_host(static_cast<std::uint16_t>(port));
        translate_source(record, {{192, 0, 2, 33}}, static_cast<std::uint16_t>(port));
        std::array<std::uint8_t, 2> sum{};
        const auto with = ip_frame({});
        store16(sum.data(), adjusted_checksum(load16(&with[40]), record.l4_difference));
        if (load16(sum.data()) != 0) continue;
        const auto translated = rewritten(with, record);
        EXPECT_EQ(load16(&translated[40]), 0xffff);
        EXPECT_TRUE(checksums_hold(translated));
        return;
    }
    FAIL() << "no port makes the checksum zero";
}

TEST(Rewrite, KeepsAChecksumThatIsLeftToHardwarePartial) {
    auto bytes = ip_frame({.protocol = 6});
    // The pseudo header's sum alone, not complemented.
    std::uint32_t sum = 0;
    for (std::size_t i = 26; i < 34; i += 2)
        sum += load16(&bytes[i]);
    const auto rest = static_cast<std::uint32_t>(__builtin_bswap16(6) + __builtin_bswap16(40));
    store16(&bytes[50], fold(sum + rest));
    auto record = record_for(key_of<FlowKey4>(bytes));
    translate_source(record, {{192, 0, 2, 33}}, 7777);
    Buffers buffers;
    auto* frame = buffers.make(bytes);
    frame->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    const RoutedFrame routed{frame, 0, 0, 14, false};
    Parsed<FlowKey4> parsed{};
    ASSERT_TRUE(parse(routed, 5, parsed));
    ASSERT_TRUE(rewrite(parsed, record, transport_of(parsed)));
    const auto out = Buffers::bytes_of(frame);
    rte_pktmbuf_free(frame);
    sum = 0;
    for (std::size_t i = 26; i < 34; i += 2)
        sum += load16(&out[i]);
    EXPECT_EQ(load16(&out[50]), fold(sum + rest));
}

TEST(Rewrite, PushesReplacesAndPopsTags) {
    const auto plain = ip_frame({});
    const auto tagged = ip_frame({.vlans = {0x2005}});
    auto record = record_for(key_of<FlowKey4>(plain));
    IpFrame out{.destination_mac = "02:00:00:00:00:09", .source_mac = "02:00:00:00:00:08", .ttl = 63};
    EXPECT_EQ(rewritten(tagged, record, 18), ip_frame(out));
    record.vlan = 7;
    out.vlans = {7};
    EXPECT_EQ(rewritten(plain, record), ip_frame(out));
    EXPECT_EQ(rewritten(tagged, record, 18), ip_frame(out));
}

TEST(Rewrite, CutsOffWhatIsNoPadding) {
    const auto in = ip_frame({.payload = 100, .padding = 900});
    const auto out = rewritten(in, record_for(key_of<FlowKey4>(in)));
    EXPECT_EQ(out.size(), 14U + 28 + 100);
    EXPECT_TRUE(checksums_hold(out));
}

TEST(Rewrite, ClampsTheSegmentSizeOfSyns) {
    // At an even and at an odd place among the options; and one that is small enough.
    const std::vector<std::vector<std::uint8_t>> options{
        {2, 4, 0x05, 0xb4}, {1, 2, 4, 0x05, 0xb4, 1, 1, 0}, {2, 4, 0x02, 0x00}, {2, 40, 1, 1}, {2, 1, 1, 1}};
    const std::vector<int> expected{1000, 1000, 512, -1, -1};
    for (std::size_t i = 0; i < options.size(); ++i) {
        const auto in = ip_frame({.protocol = 6, .tcp_flags = kTcpFlagSyn, .options = options[i]});
        auto record = record_for(key_of<FlowKey4>(in));
        record.flags = kFlowTcp | kFlowClampMss;
        record.mtu = 1040;
        const auto out = rewritten(in, record);
        EXPECT_TRUE(checksums_hold(out));
        const std::size_t at = 54 + (i == 1 ? 3 : 2);
        if (expected[i] < 0) continue;
        EXPECT_EQ(read_be16(&out[at]), expected[i]) << i;
    }
    const auto later = ip_frame({.protocol = 6, .options = options[0]});
    auto record = record_for(key_of<FlowKey4>(later));
    record.flags = kFlowClampMss;
    record.mtu = 1040;
    EXPECT_EQ(read_be16(&rewritten(later, record)[56]), 1460) << "no SYN";
}

/// Both tails of a connection, and segments that pass.
class Connection {
public:
    struct Segment {
        bool reply = false;
        std::uint8_t flags = kTcpFlagAck;
        std::uint32_t sequence = 0;
        std::uint32_t acknowledgement = 0;
        std::uint16_t window = 1000;
        std::vector<std::uint8_t> options;
    };
    void pass(const Segment& segment) {
        const auto bytes = ip_frame({.protocol = 6,
                                     .tcp_flags = segment.flags,
                                     .sequence = segment.sequence,
                                     .acknowledgement = segment.acknowledgement,
                                     .window = segment.window,
                                     .options = segment.options});
        auto& own = segment.reply ? reply : forward;
        const auto& other = segment.reply ? forward : reply;
        const auto* tcp = &bytes[34];
        if ((segment.flags & (kTcpFlagSyn | kTcpFlagFin | kTcpFlagReset)) != 0 ||
            (own.tcp_seen.load() & kTcpReset) != 0) {
            note_tcp_edge(own, other, tcp, static_cast<std::uint32_t>(bytes.size() - 34));
        } else {
            note_tcp_acknowledgement(own, own.tcp_seen.load(), tcp);
        }
    }
    /// Three segments: 1000 and 5000 are the first bytes of data, windows 1000 << 2 and 1000.
    void open() {
        pass({.flags = kTcpFlagSyn, .sequence = 999, .options = {1, 3, 3, 2}});
        pass({.reply = true, .flags = kTcpFlagSyn | kTcpFlagAck, .sequence = 4999, .acknowledgement = 1000});
        pass({.sequence = 1000, .acknowledgement = 5000});
    }
    FlowTail forward{};
    FlowTail reply{};
};

TEST(TcpNote, FollowsAConnectionOpening) {
    Connection c;
    c.open();
    EXPECT_EQ(c.forward.tcp_seen.load(), kTcpSyn | kTcpAck);
    EXPECT_EQ(c.reply.tcp_seen.load(), kTcpSyn | kTcpAck);
    EXPECT_EQ(c.forward.tcp_scale.load(), 2);
    EXPECT_EQ(c.forward.tcp_ack.load(), 5000U);
    EXPECT_EQ(c.forward.tcp_window.load(), 4000U);
    EXPECT_EQ(c.reply.tcp_window.load(), 1000U);
}

TEST(TcpNote, HonoursAResetOnlyInTheWindow) {
    for (const std::uint32_t off : {0U, 1U, 3999U, 4000U, 4001U, 100000U, UINT32_MAX}) {
        Connection c;
        c.open();
        c.pass({.reply = true, .flags = kTcpFlagReset, .sequence = 5000 + off});
        EXPECT_EQ((c.reply.tcp_seen.load() & kTcpReset) != 0, off <= 4000) << off;
    }
}

TEST(TcpNote, BelievesNoAcknowledgementOfWhatCouldNotHaveBeenSent) {
    Connection c;
    c.open();
    // Forged: would let a reset with sequence 900,000 pass.
    c.pass({.acknowledgement = 900000});
    EXPECT_EQ(c.forward.tcp_ack.load(), 5000U);
    c.pass({.reply = true, .flags = kTcpFlagReset, .sequence = 900000});
    EXPECT_EQ(c.reply.tcp_seen.load() & kTcpReset, 0);
    c.pass({.acknowledgement = 6000, .window = 10});
    EXPECT_EQ(c.forward.tcp_ack.load(), 6000U);
    EXPECT_EQ(c.forward.tcp_window.load(), 3000U) << "the right edge does not move back";
    c.pass({.acknowledgement = 5500});
    EXPECT_EQ(c.forward.tcp_ack.load(), 6000U) << "an old one";
}

TEST(TcpNote, AHostThatGoesOnWasNotReset) {
    Connection c;
    c.open();
    c.pass({.reply = true, .flags = kTcpFlagReset, .sequence = 5000});
    EXPECT_NE(c.reply.tcp_seen.load() & kTcpReset, 0);
    c.pass({.reply = true, .sequence = 5000, .acknowledgement = 1000});
    EXPECT_EQ(c.reply.tcp_seen.load() & kTcpReset, 0);
}

TEST(TcpNote, ACloseIsNotedInTheWindowAndAnotherConnectionStartsAnew) {
    Connection c;
    c.open();
    c.pass({.flags = kTcpFlagFin | kTcpFlagAck, .sequence = 77, .acknowledgement = 5000});
    EXPECT_EQ(c.forward.tcp_seen.load() & kTcpFin, 0) << "forged";
    c.pass({.flags = kTcpFlagFin | kTcpFlagAck, .sequence = 1000, .acknowledgement = 5000});
    EXPECT_NE(c.forward.tcp_seen.load() & kTcpFin, 0);
    c.pass({.flags = kTcpFlagSyn, .sequence = 80000});
    EXPECT_EQ(c.forward.tcp_seen.load(), kTcpSyn);
    EXPECT_EQ(c.forward.tcp_scale.load(), 0);
}

}  // namespace

}  // namespace viaduct::test
