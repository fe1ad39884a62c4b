// rte_gro of DPDK 22.11 does a part of this: IPv4 alone, whatever the checksums are (which would be made
// right on the way and so hide that a segment was damaged), pieces of any size, and headers left to be
// finished by its caller. Both families go by one code here, by the rules of Linux's own.
#include "port/gro_port.h"

#include <array>
#include <cstring>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include "port/offload.h"
#include "port/transport.h"

namespace viaduct::dataplane {
namespace {

constexpr std::uint8_t kAck = RTE_TCP_ACK_FLAG;
constexpr std::uint8_t kPush = RTE_TCP_PSH_FLAG;
/// An IP packet's length has sixteen bits.
constexpr std::uint32_t kPacketMost = UINT16_MAX;
/// Packet buffers in one chain: a TAP writes no more at once.
constexpr std::uint32_t kPartsMost = 60;
/// Shorter pieces are not worth it, and are refused where they would be cut again (port/offload.cc).
constexpr std::uint32_t kPieceLeast = 48;

struct Segment {
    rte_mbuf* frame = nullptr;
    Headers headers;
    std::uint32_t payload = 0;
    std::uint32_t sequence = 0;
    std::uint16_t number = 0;  ///< IPv4's identification
    bool counted = false;      ///< which has to count up: the packet may be fragmented

    template <typename Header>
    [[nodiscard]] Header* at(std::size_t offset) const {
        return rte_pktmbuf_mtod_offset(frame, Header*, offset);
    }
    [[nodiscard]] rte_tcp_hdr* tcp() const { return at<rte_tcp_hdr>(headers.transport()); }
    [[nodiscard]] rte_ipv4_hdr* ip4() const { return at<rte_ipv4_hdr>(headers.l2); }
    [[nodiscard]] rte_ipv6_hdr* ip6() const { return at<rte_ipv6_hdr>(headers.l2); }
};

/// A long segment that grows.
struct Growing {
    Segment first;
    rte_mbuf* last = nullptr;
    std::uint32_t payload = 0;
    std::uint16_t pieces = 1;
    bool open = true;
    bool checked = false;  ///< the first one's checksums

    [[nodiscard]] std::uint32_t next() const { return first.sequence + payload; }
};

/// What of the frame may be merged at all: plain TCP with payload and nothing after it.
bool read(rte_mbuf* frame, Segment& into) {
    const auto headers = find_headers(frame);
    if (!headers || !headers->tcp) return false;
    into.frame = frame;
    into.headers = *headers;
    into.payload = headers->end - headers->all();
    into.sequence = rte_be_to_cpu_32(into.tcp()->sent_seq);
    if (headers->v4) {
        into.number = rte_be_to_cpu_16(into.ip4()->packet_id);
        into.counted = (into.ip4()->fragment_offset & RTE_BE16(RTE_IPV4_HDR_DF_FLAG)) == 0;
    }
    return true;
}

bool may_grow(const Segment& segment) {
    const auto plain = segment.headers.v4 ? sizeof(rte_ipv4_hdr) : sizeof(rte_ipv6_hdr);
    return segment.headers.l3 == plain && segment.payload >= kPieceLeast &&
           segment.headers.end == segment.frame->pkt_len && (segment.tcp()->tcp_flags & ~kPush) == kAck &&
           rte_mbuf_refcnt_read(segment.frame) == 1;
}

bool same(const Segment& a, const Segment& b, std::size_t from, std::size_t length) {
    return std::memcmp(a.at<char>(from), b.at<char>(from), length) == 0;
}

/// Of one connection and direction.
bool same_flow(const Segment& a, const Segment& b) {
    if (a.headers.v4 != b.headers.v4 || a.headers.l2 != b.headers.l2 || a.headers.l3 != b.headers.l3)
        return false;
    const std::size_t addresses = a.headers.v4 ? 12 : 8;
    const std::size_t bytes = a.headers.v4 ? 8 : 32;
    return same(a, b, a.headers.l2 + addresses, bytes) && same(a, b, a.headers.transport(), 4);
}

/// Whether what both headers say beside length, order and checksum is the same.
bool same_words(const Segment& a, const Segment& b) {
    if (a.headers.l4 != b.headers.l4 || !same(a, b, 0, a.headers.l2)) return false;
    const std::size_t ip = a.headers.l2;
    const std::size_t tcp = a.headers.transport();
    if (a.headers.v4) {
        // Version and type of service; fragment bits; lifetime and protocol.
        if (!same(a, b, ip, 2) || !same(a, b, ip + 6, 4)) return false;
    } else if (!same(a, b, ip, 4) || !same(a, b, ip + 6, 2)) {
        return false;
    }
    // Acknowledgement and data offset; window; options.
    return same(a, b, tcp + 8, 5) && same(a, b, tcp + 14, 2) &&
           same(a, b, tcp + sizeof(rte_tcp_hdr), a.headers.l4 - sizeof(rte_tcp_hdr));
}

bool sums_right(const Segment& segment) {
    const auto& headers = segment.headers;
    if (headers.v4 && rte_raw_cksum(segment.ip4(), headers.l3) != 0xffff) return false;
    const auto length = headers.end - headers.transport();
    const std::uint32_t pseudo = pseudo_sum(segment.at<std::uint8_t>(headers.l2), headers.v4, true, length);
    const std::uint32_t bytes =
        static_cast<std::uint16_t>(~checksum_of(segment.frame, headers.transport(), headers.end));
    const auto sum = pseudo + bytes;
    return ((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

bool fits(Growing& long_one, const Segment& piece) {
    const auto& first = long_one.first;
    if (!long_one.open || piece.sequence != long_one.next() || piece.payload > first.payload) return false;
    const auto length = first.headers.end - first.headers.l2 - first.payload + long_one.payload;
    if (length + piece.payload > kPacketMost) return false;
    if (std::uint32_t{first.frame->nb_segs} + piece.frame->nb_segs > kPartsMost) return false;
    if (first.counted && piece.number != static_cast<std::uint16_t>(first.number + long_one.pieces))
        return false;
    if (!same_words(first, piece)) return false;
    if (!long_one.checked) {
        long_one.checked = true;
        long_one.open = sums_right(first);
    }
    return long_one.open && sums_right(piece);
}

void append(Growing& long_one, const Segment& piece) {
    auto* head = long_one.first.frame;
    const bool push = (piece.tcp()->tcp_flags & kPush) != 0;
    rte_pktmbuf_adj(piece.frame, piece.headers.all());
    long_one.last->next = piece.frame;
    long_one.last = rte_pktmbuf_lastseg(piece.frame);
    head->nb_segs = static_cast<std::uint16_t>(head->nb_segs + piece.frame->nb_segs);
    head->pkt_len += piece.payload;
    long_one.payload += piece.payload;
    ++long_one.pieces;
    // A short piece and one that is to be handed up are the last of theirs, as they are when cut.
    if (push) long_one.first.tcp()->tcp_flags |= kPush;
    if (push || piece.payload < long_one.first.payload) long_one.open = false;
}

/// The headers of what it has become.
void finish(const Growing& long_one) {
    const auto& first = long_one.first;
    const auto& headers = first.headers;
    const auto transport = headers.l4 + long_one.payload;
    if (headers.v4) {
        auto* ip = first.ip4();
        ip->total_length = rte_cpu_to_be_16(static_cast<std::uint16_t>(headers.l3 + transport));
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    } else {
        first.ip6()->payload_len = rte_cpu_to_be_16(static_cast<std::uint16_t>(transport));
    }
    first.tcp()->cksum = pseudo_sum(first.at<std::uint8_t>(headers.l2), headers.v4, true, transport);
    mark(first.frame, headers, true, static_cast<std::uint16_t>(first.payload));
}

}  // namespace

std::uint16_t put_together(rte_mbuf** frames, std::uint16_t count) {
    std::array<Growing, kBurst> growing;
    std::uint16_t many = 0;
    std::uint16_t kept = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        Segment segment;
        if (!read(frames[i], segment)) {
            frames[kept++] = frames[i];
            continue;
        }
        auto* found = growing.data() + many;
        while (found != growing.data() && !same_flow(found[-1].first, segment))
            --found;
        const bool grows = may_grow(segment);
        if (found != growing.data()) {
            auto& latest = found[-1];
            if (grows && fits(latest, segment)) {
                append(latest, segment);
                continue;
            }
            // What comes later must not overtake this one.
            latest.open = false;
        }
        frames[kept++] = frames[i];
        if (!grows) continue;
        auto& next = growing[many++];
        next.first = segment;
        next.last = rte_pktmbuf_lastseg(segment.frame);
        next.payload = segment.payload;
        next.open = (segment.tcp()->tcp_flags & kPush) == 0;
    }
    for (std::uint16_t i = 0; i < many; ++i) {
        if (growing[i].pieces > 1) finish(growing[i]);
    }
    return kept;
}

}  // namespace viaduct::dataplane
