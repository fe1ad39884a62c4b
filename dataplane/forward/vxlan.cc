#include "forward/vxlan.h"

#include <bit>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "forward/execute.h"
#include "forward/forwarder.h"
#include "port/offload.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kEthernet = 14;
/// Headers that the paths behind a bridge want in a frame's first segment.
constexpr std::uint32_t kInnerHeaders = 128;
constexpr std::uint8_t kVniPresent = 0x08;

/// What is wrong with the outer headers from UDP on; count_ when nothing. The frame ends with the IP packet.
template <typename Key>
Drop check_outer(const Parsed<Key>& packet, const std::uint8_t* udp, std::uint32_t here) {
    const auto udp_length = read_be16(udp + 4);
    // Equal, not at most: what would follow a shorter datagram is nobody's (RFC 7348 says nothing of it).
    if (here < kUdpAndVxlan || udp_length != packet.length - kIpHeader<Key> ||
        udp_length < kUdpAndVxlan + kEthernet || (udp[8] & kVniPresent) == 0) {
        return Drop::tunnel_bad_header;
    }
    const auto sent = load16(udp + 6);
    if (sent == 0) return kIpHeader<Key> == 20 ? Drop::count_ : Drop::bad_checksum;
    const auto* frame = packet.routed->frame;
    // Of a sender on this node, who has left it to us: there is nothing to compare.
    if ((frame->ol_flags & RTE_MBUF_F_TX_L4_MASK) != 0) return Drop::count_;
    std::uint16_t raw = 0;
    rte_raw_cksum_mbuf(frame, packet.routed->l2_length + std::uint32_t{kIpHeader<Key>}, udp_length, &raw);
    std::uint32_t sum = raw + std::uint32_t{load16(udp + 4)} + __builtin_bswap16(kUdp);
    constexpr std::size_t addresses = 2 * sizeof(typename Key::AddressType);
    const auto* source = packet.ip + kIpHeader<Key> - addresses;
    for (std::size_t i = 0; i < addresses; i += 2)
        sum += load16(source + i);
    return fold(sum) == 0xffff ? Drop::count_ : Drop::bad_checksum;
}

/// The ECN field of a packet: two low bits of IPv4's second octet, in the middle of IPv6's.
struct Ecn {
    std::uint8_t* octet;
    unsigned shift;
    [[nodiscard]] std::uint8_t get() const { return *octet >> shift & 3U; }
    void set(std::uint8_t value) const {
        *octet = static_cast<std::uint8_t>((*octet & ~(3U << shift)) | unsigned{value} << shift);
    }
};

/// RFC 6040 4.2. False: congestion was met that the inner sender cannot be told of.
bool merge_ecn(rte_mbuf* frame, std::uint8_t outer) {
    auto* data = rte_pktmbuf_mtod(frame, std::uint8_t*);
    const std::uint32_t here = frame->data_len;
    std::uint32_t at = kEthernet;
    if (here >= at + 4 && read_be16(data + 12) == 0x8100) at += 4;
    const auto type = read_be16(data + at - 2);
    auto* ip = data + at;
    const bool v4 = type == 0x0800 && here >= at + 20;
    if (!v4 && (type != 0x86dd || here < at + 40)) return true;  // nothing of ECN in it
    const Ecn ecn = v4 ? Ecn{ip + 1, 0} : Ecn{ip + 1, 4};
    const auto before = ecn.get();
    const auto after = decapsulated_ecn(before, outer);
    if (after == kEcnDrop) return false;
    if (after == before) return true;
    const auto word = load16(ip);
    ecn.set(after);
    if (v4) store16(ip + 10, adjusted_checksum(load16(ip + 10), checksum_difference(word, load16(ip))));
    return true;
}

/// The frame's headers in its first segment, and nobody else who reads them there.
rte_mbuf* make_own(Forwarder& forwarder, rte_mbuf* frame) {
    const auto wanted = std::min(frame->pkt_len, kInnerHeaders);
    if (frame->data_len >= wanted && rte_mbuf_refcnt_read(frame) == 1) [[likely]]
        return frame;
    auto* copy = rte_pktmbuf_copy(frame, forwarder.pool(), 0, UINT32_MAX);
    rte_pktmbuf_free(frame);
    return copy;
}

/// Whether two packets are from one tunnel's end to another: all but the source port, which is the inner
/// flow's.
template <typename Key>
bool has_same_ends(const Key& a, const Key& b) {
    static_assert(offsetof(Key, source_port) == (Key::kWords - 1) * 8 &&
                  std::endian::native == std::endian::little);
    const auto one = a.words();
    const auto other = b.words();
    std::uint64_t differs = (one.back() ^ other.back()) >> 16;
    for (std::size_t i = 0; i + 1 < Key::kWords; ++i)
        differs |= one[i] ^ other[i];
    return differs == 0;
}

template <typename Key>
std::uint8_t outer_ecn(const std::uint8_t* ip) {
    return kIpHeader<Key> == 20 ? ip[1] & 3U : ip[1] >> 4 & 3U;
}

}  // namespace

template <typename Key>
bool open_tunnel(Forwarder& forwarder, const Parsed<Key>& packet, LastOpened<Key>& last) {
    const auto& topology = forwarder.topology();
    const auto& routed = *packet.routed;
    const auto& key = packet.key;
    const bool again = last.tunnel != kNoTunnel && has_same_ends(key, last.key);
    const auto end =
        again ? last.end : topology.tunnel_ends.end(key.zone, key.destination, key.destination_port);
    if (end == 0) return false;
    auto* frame = routed.frame;
    const auto headers = routed.l2_length + std::uint32_t{kIpHeader<Key>};
    const auto length = routed.l2_length + std::uint32_t{packet.length};
    if (frame->pkt_len > length) detail::trim(frame, length);
    const auto* udp = packet.ip + kIpHeader<Key>;
    // Several tunnel packets in one long datagram: who wraps frames does not send such.
    auto refused =
        left_to_cut(frame) ? Drop::tunnel_bad_header : check_outer(packet, udp, frame->data_len - headers);
    if (refused == Drop::count_) {
        const auto vni = read_be32(udp + 12) >> 8;
        if (!again || vni != last.vni) {
            const auto found = topology.tunnel_ends.find(end, topology.tunnels, key.zone, key.destination,
                                                         key.source, key.destination_port, vni);
            if (found.answer == TunnelEnds::Answer::unknown_vni) refused = Drop::tunnel_unknown_vni;
            if (found.answer == TunnelEnds::Answer::unknown_peer) refused = Drop::tunnel_unknown_peer;
            last = {key, end, vni, found.tunnel};
        }
    }
    const auto ecn = outer_ecn<Key>(packet.ip);
    if (refused == Drop::count_) {
        rte_pktmbuf_adj(frame, static_cast<std::uint16_t>(headers + kUdpAndVxlan));
        frame->ol_flags &= ~kLeftToDo;  // it was of the outer headers
        frame = make_own(forwarder, frame);
        if (frame == nullptr) {
            forwarder.count_drop(routed.from, Drop::no_buffer);
            return true;
        }
        if (ecn != 0 && !merge_ecn(frame, ecn)) refused = Drop::tunnel_congestion;
    }
    if (refused != Drop::count_) {
        forwarder.drop(routed.from, refused, frame);
    } else {
        forwarder.come_out(routed.from, last.tunnel, frame);
    }
    return true;
}

template bool open_tunnel(Forwarder&, const Parsed<FlowKey4>&, LastOpened<FlowKey4>&);
template bool open_tunnel(Forwarder&, const Parsed<FlowKey6>&, LastOpened<FlowKey6>&);

}  // namespace viaduct::dataplane
