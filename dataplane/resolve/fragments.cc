// Reassembly: reading a fragment's place in its datagram, keeping the pieces in order, joining them.
#include "resolve/fragments.h"

#include <algorithm>
#include <cstring>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "resolve/bridged_answer.h"
#include "resolve/host.h"
#include "resolve/messages.h"
#include "resolve/resolver.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kPacketMost = 65535;
/// A link carries 68 bytes of IPv4 (RFC 791) and 1280 of IPv6, and pieces are cut at multiples of eight:
/// non-final fragments are not smaller than these.
constexpr std::uint32_t kSmallest4 = 68 - 7;
constexpr std::uint32_t kSmallest6 = 1280 - 7;
/// One port's fragments may take one part in so many of the memory before its own oldest make room for its
/// newest.
constexpr std::uint32_t kPortShare = 4;
constexpr unsigned kExtensionsMost = 8;

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const auto product = static_cast<Wide>(a ^ 0x9e3779b97f4a7c15U) * (b ^ 0xd1342543de82ef95U);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t hash_of(const IpAddress& address, std::uint64_t seed) {
    std::array<std::uint64_t, 2> words{};
    std::memcpy(words.data(), address.bytes().data(), address.bytes().size());
    return mix(words[0] ^ seed, words[1]);
}

/// The header at `offset` of a frame's first segment, copied; nothing when it is not all there.
template <typename Header>
std::optional<Header> read(const rte_mbuf* frame, std::uint32_t offset) {
    if (offset + sizeof(Header) > frame->data_len) return std::nullopt;
    Header header;
    std::memcpy(&header, rte_pktmbuf_mtod_offset(frame, const void*, offset), sizeof header);
    return header;
}

/// Whether what lies behind byte `end` can be cut off: padding, which a link adds to small frames.
bool can_cut(rte_mbuf* frame, std::uint32_t end) {
    return end <= frame->pkt_len &&
           (end == frame->pkt_len || frame->pkt_len - end < rte_pktmbuf_lastseg(frame)->data_len);
}

}  // namespace

Fragments::~Fragments() {
    for (auto& datagram : datagrams_) {
        for (const auto& piece : datagram.pieces)
            rte_pktmbuf_free(piece.frame);
    }
}

bool Fragments::parse4(const RoutedFrame& routed, Key& key, Piece& piece) {
    const auto header = read<rte_ipv4_hdr>(routed.frame, routed.l2_length);
    if (!header) return false;
    const std::uint32_t header_length = rte_ipv4_hdr_len(&*header);
    const std::uint32_t length = rte_be_to_cpu_16(header->total_length);
    if (header_length < sizeof(rte_ipv4_hdr) || length <= header_length ||
        routed.l2_length + header_length > routed.frame->data_len ||
        !can_cut(routed.frame, routed.l2_length + length)) {
        return false;
    }
    const auto field = rte_be_to_cpu_16(header->fragment_offset);
    piece.offset = (field & RTE_IPV4_HDR_OFFSET_MASK) * 8U;
    piece.length = length - header_length;
    piece.more = (field & RTE_IPV4_HDR_MF_FLAG) != 0;
    piece.payload_at = static_cast<std::uint16_t>(routed.l2_length + header_length);
    key.source = IpAddress::from_bytes({reinterpret_cast<const std::uint8_t*>(&header->src_addr), 4}).value();
    key.destination =
        IpAddress::from_bytes({reinterpret_cast<const std::uint8_t*>(&header->dst_addr), 4}).value();
    key.id = header->packet_id;
    key.protocol = header->next_proto_id;
    if (piece.more && (piece.length % 8 != 0 || length < kSmallest4)) return false;
    return header_length + piece.offset + piece.length <= kPacketMost;
}

bool Fragments::parse6(const RoutedFrame& routed, Key& key, Piece& piece) {
    constexpr std::uint8_t kHopByHop = 0;
    constexpr std::uint8_t kRouting = 43;
    constexpr std::uint8_t kFragment = 44;
    constexpr std::uint8_t kDestinationOptions = 60;
    const auto header = read<rte_ipv6_hdr>(routed.frame, routed.l2_length);
    if (!header) return false;
    const std::uint32_t end =
        routed.l2_length + std::uint32_t{sizeof(rte_ipv6_hdr)} + rte_be_to_cpu_16(header->payload_len);
    if (!can_cut(routed.frame, end)) return false;
    std::uint32_t at = routed.l2_length + std::uint32_t{sizeof(rte_ipv6_hdr)};
    std::uint8_t next = header->proto;
    for (unsigned i = 0; next != kFragment; ++i) {
        if (i == kExtensionsMost || (next != kHopByHop && next != kRouting && next != kDestinationOptions))
            return false;
        const auto extension = read<std::array<std::uint8_t, 8>>(routed.frame, at);
        if (!extension) return false;
        next = (*extension)[0];
        at += ((*extension)[1] + 1U) * 8;
    }
    const auto fragment = read<std::array<std::uint8_t, 8>>(routed.frame, at);
    if (!fragment || at + 8 >= end) return false;
    const auto field = static_cast<std::uint32_t>((*fragment)[2] << 8 | (*fragment)[3]);
    piece.offset = field & 0xfff8U;
    piece.more = (field & 1U) != 0;
    piece.length = end - at - 8;
    piece.payload_at = static_cast<std::uint16_t>(at + 8);
    piece.fragment_at = static_cast<std::uint16_t>(at);
    key.source = IpAddress::from_bytes({&header->src_addr[0], 16}).value();
    key.destination = IpAddress::from_bytes({&header->dst_addr[0], 16}).value();
    std::memcpy(&key.id, &(*fragment)[4], sizeof key.id);
    if (piece.more && (piece.length % 8 != 0 || end - routed.l2_length < kSmallest6)) return false;
    return at + 8 - routed.l2_length + piece.offset + piece.length <= kPacketMost;
}

bool Fragments::parse(const RoutedFrame& routed, Key& key, Piece& piece) {
    const auto first = read<std::uint8_t>(routed.frame, routed.l2_length);
    if (!first) return false;
    switch (*first >> 4) {
        case 4:
            return parse4(routed, key, piece);
        case 6:
            return parse6(routed, key, piece);
        default:
            return false;
    }
}

void Fragments::hold(PortIndex from, int change) {
    held_of_port_[from] = static_cast<std::uint16_t>(held_of_port_[from] + change);
    held_.store(held_.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(change),
                std::memory_order_relaxed);
}

void Fragments::drop_pieces(Datagram& datagram, Drop why, const Told& told) {
    for (const auto& piece : datagram.pieces) {
        hold(piece.routed.from, -1);
        told.dropped(piece.routed.from, why, piece.frame);
    }
    datagram.pieces.clear();
    datagram.bytes = 0;
}

Fragments::Datagram* Fragments::oldest(std::optional<PortIndex> from) {
    Datagram* found = nullptr;
    for (auto& datagram : datagrams_) {
        if (!datagram.used || (found != nullptr && found->order < datagram.order)) continue;
        if (from && (datagram.pieces.empty() || datagram.pieces.front().routed.from != *from)) continue;
        found = &datagram;
    }
    return found;
}

Fragments::Datagram& Fragments::find_or_begin(const Key& key, PortIndex from, std::uint32_t now,
                                              const Told& told) {
    const auto hash = hash_of(
        key.source,
        hash_of(key.destination, std::uint64_t{key.id} << 24 | std::uint64_t{key.protocol} << 16 | key.zone));
    Datagram* place = nullptr;
    for (auto& datagram : datagrams_) {
        if (!datagram.used) {
            if (place == nullptr) place = &datagram;
        } else if (datagram.hash == hash && datagram.key == key) {
            return datagram;
        }
    }
    if (place == nullptr) {
        place = held_of_port_[from] >= frames_most_ / kPortShare ? oldest(from) : nullptr;
        if (place == nullptr) place = oldest(std::nullopt);
        drop_pieces(*place, Drop::fragment_memory, told);
    }
    place->used = true;
    place->spoiled = false;
    place->key = key;
    place->hash = hash;
    place->order = order_++;
    place->since = now;
    place->total = 0;
    place->bytes = 0;
    return *place;
}

/// For one frame more, at the cost of any datagram but `except`.
bool Fragments::make_room(PortIndex from, const Datagram& except, const Told& told) {
    while (held() >= frames_most_) {
        auto* victim = held_of_port_[from] >= frames_most_ / kPortShare ? oldest(from) : nullptr;
        if (victim == nullptr || victim == &except) {
            victim = nullptr;
            for (auto& datagram : datagrams_) {
                if (!datagram.used || datagram.pieces.empty() || &datagram == &except) continue;
                if (victim == nullptr || datagram.order < victim->order) victim = &datagram;
            }
        }
        if (victim == nullptr) return false;
        drop_pieces(*victim, Drop::fragment_memory, told);
        victim->used = false;
    }
    return true;
}

bool Fragments::is_copy(const Datagram& datagram, const Piece& piece) {
    return std::ranges::any_of(datagram.pieces, [&](const Piece& other) {
        return other.offset == piece.offset && other.length == piece.length && other.more == piece.more;
    });
}

bool Fragments::fits(const Datagram& datagram, const Piece& piece) {
    const auto end = piece.offset + piece.length;
    if (datagram.pieces.size() >= kPiecesMost) return false;
    if (datagram.total != 0 && (end > datagram.total || (!piece.more && end != datagram.total))) return false;
    return std::ranges::none_of(datagram.pieces, [&](const Piece& other) {
        const auto other_end = other.offset + other.length;
        // Also one that reaches past what is said to be the last.
        return (piece.offset < other_end && other.offset < end) || (!piece.more && other_end > end);
    });
}

std::optional<RoutedFrame> Fragments::add(const RoutedFrame& routed, Zone zone, bool from_host,
                                          std::uint32_t now, const Told& told) {
    Key key;
    Piece piece{};
    key.zone = zone;
    key.from_host = from_host;
    piece.frame = routed.frame;
    piece.routed = routed;
    if (!parse(routed, key, piece)) {
        told.dropped(routed.from, Drop::fragment, routed.frame);
        return std::nullopt;
    }
    // An atomic fragment (RFC 6946) is a whole packet, whatever else has its identification.
    if (piece.offset == 0 && !piece.more) return routed;
    auto& datagram = find_or_begin(key, routed.from, now, told);
    if (!datagram.spoiled && is_copy(datagram, piece)) {
        told.dropped(routed.from, Drop::fragment, routed.frame);
        return std::nullopt;
    }
    if (datagram.spoiled || !fits(datagram, piece)) {
        drop_pieces(datagram, Drop::fragment, told);
        datagram.spoiled = true;
        told.dropped(routed.from, Drop::fragment, routed.frame);
        return std::nullopt;
    }
    if (!make_room(routed.from, datagram, told)) {
        told.dropped(routed.from, Drop::fragment_memory, routed.frame);
        return std::nullopt;
    }
    hold(routed.from, 1);
    const auto place = std::ranges::lower_bound(datagram.pieces, piece.offset, {}, &Piece::offset);
    datagram.pieces.insert(place, piece);
    datagram.bytes += piece.length;
    if (!piece.more) datagram.total = piece.offset + piece.length;
    // Nothing overlaps and nothing lies beyond the end: as many bytes as there must be are all of them.
    if (datagram.total == 0 || datagram.bytes != datagram.total) return std::nullopt;
    datagram.used = false;
    return assemble(datagram, told);
}

std::optional<RoutedFrame> Fragments::assemble(Datagram& datagram, const Told& told) {
    const auto first = datagram.pieces.front();
    const auto l2 = first.routed.l2_length;
    const bool v4 = first.fragment_at == 0;
    const std::uint32_t headers = std::uint32_t{first.payload_at} - l2;
    // The first fragment's header may be longer than those that were measured.
    if (headers + datagram.total > kPacketMost) {
        drop_pieces(datagram, Drop::fragment, told);
        return std::nullopt;
    }
    rte_mbuf* whole = first.frame;
    hold(first.routed.from, -1);
    const auto cut = [](rte_mbuf* frame, std::uint32_t length) {
        // Less what the link added to make a small frame long enough.
        if (frame->pkt_len > length)
            rte_pktmbuf_trim(frame, static_cast<std::uint16_t>(frame->pkt_len - length));
    };
    cut(whole, first.payload_at + first.length);
    for (std::size_t i = 1; i < datagram.pieces.size(); ++i) {
        const auto& piece = datagram.pieces[i];
        cut(piece.frame, piece.payload_at + piece.length);
        rte_pktmbuf_adj(piece.frame, piece.payload_at);
        rte_pktmbuf_chain(whole, piece.frame);
        hold(piece.routed.from, -1);
        told.merged(piece.routed.from);
    }
    datagram.pieces.clear();
    if (v4) {
        auto* header = rte_pktmbuf_mtod_offset(whole, rte_ipv4_hdr*, l2);
        header->total_length = rte_cpu_to_be_16(static_cast<std::uint16_t>(headers + datagram.total));
        // Whoever sent fragments lets them be made again.
        header->fragment_offset = 0;
        header->hdr_checksum = 0;
        header->hdr_checksum = rte_ipv4_cksum(header);
    } else {
        auto* header = rte_pktmbuf_mtod_offset(whole, rte_ipv6_hdr*, l2);
        const auto payload = headers - sizeof(rte_ipv6_hdr) + datagram.total;
        header->payload_len = rte_cpu_to_be_16(static_cast<std::uint16_t>(payload));
        auto* fragment = rte_pktmbuf_mtod_offset(whole, std::uint8_t*, first.fragment_at);
        fragment[2] = fragment[3] = 0;
    }
    auto result = first.routed;
    result.frame = whole;
    return result;
}

void Fragments::expire(std::uint32_t now, const Told& told) {
    for (auto& datagram : datagrams_) {
        if (!datagram.used || now - datagram.since < kTimeout) continue;
        drop_pieces(datagram, Drop::fragment, told);
        datagram.used = false;
    }
}

namespace {

Fragments::Told told(Resolver& resolver) {
    auto& forwarder = resolver.forwarder();
    return {[&](PortIndex from, Drop why, rte_mbuf* frame) { forwarder.drop(from, why, frame); },
            [&](PortIndex from) { forwarder.counters(from).consumed.add(1); }};
}

}  // namespace

void take_fragment(Resolver& resolver, const Packet& packet) {
    // Those of groups are not routed, and the frame is not ours to keep.
    if (packet.routed.shared) return resolver.drop(packet.routed, Drop::group_not_routed);
    const auto zone = resolver.tables().interfaces[packet.routed.interface].zone;
    const auto whole =
        resolver.fragments().add(packet.routed, zone, is_from_host(resolver.topology(), packet.routed),
                                 resolver.now(), told(resolver));
    if (!whole) return;
    if (whole->intercepted) return resolve_intercepted(resolver, *whole);
    resolver.resolve_one(*whole);
}

void expire_fragments(Resolver& resolver) {
    if (resolver.fragments().held() != 0) resolver.fragments().expire(resolver.now(), told(resolver));
}

}  // namespace viaduct::dataplane
