// Off the fast path: frames that go between kernel ports and guests pass here only as they come in, and then
// for one look at their headers.
//
// rte_gso would do a part of this, for TCP and UDP over IPv4 alone and without checksums; both families are
// cut here by one code.
#include "port/offload.h"

#include <array>
#include <cstring>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "port/transport.h"

namespace viaduct::dataplane {
namespace {

// Of virtio 1.2, 5.1.6; <linux/virtio_net.h> is no C++.
constexpr std::uint8_t kNeedsChecksum = 1;
constexpr std::uint8_t kGsoNone = 0;
constexpr std::uint8_t kGsoTcp4 = 1;
constexpr std::uint8_t kGsoTcp6 = 4;
constexpr std::uint8_t kGsoUdp = 5;  // UDP_L4: datagrams, not fragments
constexpr std::uint8_t kGsoEcn = 0x80;

/// Shorter pieces of TCP are nobody's honest ones (Linux's tcp_min_snd_mss), and make thousands of one frame.
constexpr std::uint16_t kSmallestPiece = 48;
/// Linux sends at most so many datagrams in one.
constexpr std::uint32_t kDatagramsMost = 128;
constexpr std::uint8_t kTcpCwr = 0x80;
constexpr std::uint8_t kTcpPushFin = 0x09;

/// Whether a frame can be cut into pieces of `size` bytes and is worth the trouble.
bool can_be_cut(const rte_mbuf* frame, const Headers& headers, std::uint16_t size) {
    const auto payload = headers.end - headers.all();
    if (size == 0 || payload == 0 || headers.end != frame->pkt_len) return false;
    if (headers.tcp) return size >= kSmallestPiece;
    const auto* udp = rte_pktmbuf_mtod_offset(frame, const rte_udp_hdr*, headers.transport());
    return rte_be_to_cpu_16(udp->dgram_len) == payload + sizeof *udp &&
           (payload + size - 1) / size <= kDatagramsMost;
}

/// A checksum anywhere in the first segment, of all that follows `start`.
bool finish_at(rte_mbuf* frame, std::uint32_t start, std::uint32_t offset) {
    const auto at = start + offset;
    if (start >= frame->pkt_len || at + 2 > frame->data_len) return false;
    const auto sum = checksum_of(frame, start, frame->pkt_len);
    std::memcpy(rte_pktmbuf_mtod_offset(frame, void*, at), &sum, sizeof sum);
    return true;
}

}  // namespace

bool take_offloads(rte_mbuf* frame, const VirtioNetHeader& header) {
    const auto kind = static_cast<std::uint8_t>(header.gso_type & ~kGsoEcn);
    const bool checksum = (header.flags & kNeedsChecksum) != 0;
    if (kind == kGsoNone && !checksum) return true;
    const auto headers = find_headers(frame);
    const bool ours = checksum && headers && header.checksum_start == headers->transport() &&
                      header.checksum_offset == headers->checksum_offset();
    if (kind == kGsoNone) {
        if (!ours) return finish_at(frame, header.checksum_start, header.checksum_offset);
        mark(frame, *headers, false, 0);
        return true;
    }
    const auto right = !headers ? kGsoNone : !headers->tcp ? kGsoUdp : headers->v4 ? kGsoTcp4 : kGsoTcp6;
    if (!ours || kind != right || !can_be_cut(frame, *headers, header.gso_size)) return false;
    mark(frame, *headers, true, header.gso_size);
    return true;
}

bool take_vhost_offloads(rte_mbuf* frame) {
    const bool checksum = (frame->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE;
    const bool cut = (frame->ol_flags & RTE_MBUF_F_RX_LRO) != 0;
    frame->ol_flags &= kBufferKind;
    if (!checksum && !cut) return true;
    const auto headers = find_headers(frame);
    if (!headers) return false;
    const auto size = static_cast<std::uint16_t>(frame->tso_segsz);
    if (cut && (!headers->tcp || !can_be_cut(frame, *headers, size))) return false;
    mark(frame, *headers, cut, size);
    return true;
}

VirtioNetHeader virtio_net_header(const rte_mbuf* frame) {
    VirtioNetHeader header{};
    const auto kind = frame->ol_flags & RTE_MBUF_F_TX_L4_MASK;
    if (kind == 0) return header;
    header.flags = kNeedsChecksum;
    header.checksum_start = static_cast<std::uint16_t>(frame->l2_len + frame->l3_len);
    header.checksum_offset = kind == RTE_MBUF_F_TX_TCP_CKSUM ? 16 : 6;
    if (!left_to_cut(frame)) return header;
    const bool v4 = (frame->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
    const bool tcp = (frame->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;
    header.gso_type = !tcp ? kGsoUdp : v4 ? kGsoTcp4 : kGsoTcp6;
    header.gso_size = static_cast<std::uint16_t>(frame->tso_segsz);
    header.header_length = headers_of(frame);
    if (tcp && rte_pktmbuf_mtod_offset(frame, const rte_tcp_hdr*, header.checksum_start)->tcp_flags & kTcpCwr)
        header.gso_type |= kGsoEcn;
    return header;
}

void finish_checksum(rte_mbuf* frame) {
    const auto kind = frame->ol_flags & RTE_MBUF_F_TX_L4_MASK;
    if (kind == 0) return;
    // Where the headers are is known, whatever tags have come or gone since.
    const auto* ip = rte_pktmbuf_mtod_offset(frame, const std::uint8_t*, frame->l2_len);
    const bool v4 = (frame->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
    const auto length =
        v4 ? rte_be_to_cpu_16(reinterpret_cast<const rte_ipv4_hdr*>(ip)->total_length)
           : sizeof(rte_ipv6_hdr) + rte_be_to_cpu_16(reinterpret_cast<const rte_ipv6_hdr*>(ip)->payload_len);
    const auto transport = static_cast<std::uint32_t>(frame->l2_len + frame->l3_len);
    const auto end = std::min(static_cast<std::uint32_t>(frame->l2_len + length), frame->pkt_len);
    auto sum = checksum_of(frame, transport, std::max(end, transport));
    const bool tcp = kind == RTE_MBUF_F_TX_TCP_CKSUM;
    if (!tcp && sum == 0) sum = 0xffff;
    std::memcpy(rte_pktmbuf_mtod_offset(frame, void*, transport + (tcp ? 16 : 6)), &sum, sizeof sum);
    frame->ol_flags &= ~kLeftToDo;
}

// --- cutting ---

Cutter::Cutter(const rte_mbuf* frame, rte_mempool* pool, Offloads can)
    : frame_(frame),
      pool_(pool),
      can_(can),
      headers_(headers_of(frame)),
      size_(static_cast<std::uint16_t>(frame->tso_segsz)),
      payload_(frame->pkt_len - headers_) {}

/// Headers as they are, and the next `length` bytes of the payload.
rte_mbuf* Cutter::piece(std::uint32_t length) {
    auto* head = rte_pktmbuf_alloc(pool_);
    if (head == nullptr) return nullptr;
    std::memcpy(rte_pktmbuf_append(head, headers_), rte_pktmbuf_mtod(frame_, const void*), headers_);
    auto from = headers_ + at_;
    auto* last = head;
    while (length > 0) {
        const auto part = std::min<std::uint32_t>(length, rte_pktmbuf_tailroom(last));
        auto* into = rte_pktmbuf_mtod_offset(last, char*, last->data_len);
        const void* bytes = rte_pktmbuf_read(frame_, from, part, into);
        if (bytes != into) std::memcpy(into, bytes, part);
        last->data_len = static_cast<std::uint16_t>(last->data_len + part);
        head->pkt_len += part;
        from += part;
        length -= part;
        if (length == 0) break;
        last->next = rte_pktmbuf_alloc(pool_);
        if (last->next == nullptr) {
            rte_pktmbuf_free(head);
            return nullptr;
        }
        last = last->next;
        ++head->nb_segs;
    }
    return head;
}

void Cutter::write_headers(rte_mbuf* piece, std::uint32_t length) const {
    const bool v4 = (frame_->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
    const bool tcp = (frame_->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;
    const auto transport_length = static_cast<std::uint16_t>(frame_->l4_len + length);
    auto* network = rte_pktmbuf_mtod_offset(piece, std::uint8_t*, frame_->l2_len);
    if (v4) {
        auto* ip = reinterpret_cast<rte_ipv4_hdr*>(network);
        ip->total_length = rte_cpu_to_be_16(static_cast<std::uint16_t>(frame_->l3_len + transport_length));
        ip->packet_id =
            rte_cpu_to_be_16(static_cast<std::uint16_t>(rte_be_to_cpu_16(ip->packet_id) + number_));
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    } else {
        auto* ip = reinterpret_cast<rte_ipv6_hdr*>(network);
        ip->payload_len =
            rte_cpu_to_be_16(static_cast<std::uint16_t>(frame_->l3_len - sizeof *ip + transport_length));
    }
    auto* transport = network + frame_->l3_len;
    const auto sum = pseudo_sum(network, v4, tcp, transport_length);
    if (tcp) {
        auto* header = reinterpret_cast<rte_tcp_hdr*>(transport);
        header->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(header->sent_seq) + at_);
        // The window was reduced once; the end comes last.
        if (number_ != 0) header->tcp_flags &= static_cast<std::uint8_t>(~kTcpCwr);
        if (at_ + length < payload_) header->tcp_flags &= static_cast<std::uint8_t>(~kTcpPushFin);
        header->cksum = sum;
    } else {
        auto* header = reinterpret_cast<rte_udp_hdr*>(transport);
        header->dgram_len = rte_cpu_to_be_16(transport_length);
        header->dgram_cksum = sum;
    }
    const Headers headers{v4,
                          tcp,
                          static_cast<std::uint16_t>(frame_->l2_len),
                          static_cast<std::uint16_t>(frame_->l3_len),
                          static_cast<std::uint16_t>(frame_->l4_len),
                          piece->pkt_len};
    mark(piece, headers, false, 0);
    if ((can_ & kOffloadChecksum) == 0) finish_checksum(piece);
}

std::uint16_t Cutter::next(rte_mbuf** pieces, std::uint16_t most) {
    std::uint16_t count = 0;
    while (count < most && !done()) {
        const auto length = std::min<std::uint32_t>(size_, payload_ - at_);
        auto* one = piece(length);
        if (one == nullptr) break;
        write_headers(one, length);
        at_ += length;
        ++number_;
        pieces[count++] = one;
    }
    return count;
}

// --- sending ---

namespace {

/// Drivers that write sum the pseudo header anew, and look for the transport right behind IPv6's header.
bool driver_errs(Offloads can, const rte_mbuf* frame) {
    return (can & kOffloadWrites) != 0 && (frame->ol_flags & RTE_MBUF_F_TX_IPV6) != 0 &&
           frame->l3_len != sizeof(rte_ipv6_hdr);
}

bool can_take(Offloads can, const rte_mbuf* frame) {
    if ((frame->ol_flags & kLeftToDo) == 0) return true;
    if ((can & kOffloadWrites) != 0 && rte_mbuf_refcnt_read(frame) != 1) return false;
    if (driver_errs(can, frame)) return false;
    const bool v4 = (frame->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
    Offloads wanted = kOffloadChecksum;
    if ((frame->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0) wanted = v4 ? kOffloadTso4 : kOffloadTso6;
    if ((frame->ol_flags & RTE_MBUF_F_TX_UDP_SEG) != 0) wanted = v4 ? kOffloadUso4 : kOffloadUso6;
    return (can & wanted) != 0;
}

/// True when the first pieces went out, or all.
bool cut_and_send(Sender& sender, Offloads can, rte_mempool* pool, std::uint16_t queue, rte_mbuf* frame,
                  std::atomic<std::uint64_t>& lost) {
    Cutter cutter(frame, pool, driver_errs(can, frame) ? 0 : can);
    std::array<rte_mbuf*, kBurst> pieces;
    std::uint32_t sent = 0;
    while (!cutter.done()) {
        const auto count = cutter.next(pieces.data(), kBurst);
        const auto taken = count == 0 ? std::uint16_t{0} : sender.send(queue, pieces.data(), count);
        sent += taken;
        if (taken == count && count != 0) continue;
        rte_pktmbuf_free_bulk(pieces.data() + taken, static_cast<unsigned>(count - taken));
        break;
    }
    if (sent == 0) return false;
    if (sent < cutter.pieces()) lost.fetch_add(cutter.pieces() - sent, std::memory_order_relaxed);
    rte_pktmbuf_free(frame);
    return true;
}

/// Others that hold the frame do not want it changed.
bool finish_copy_and_send(Sender& sender, rte_mempool* pool, std::uint16_t queue, rte_mbuf* frame) {
    auto* copy = rte_pktmbuf_copy(frame, pool, 0, UINT32_MAX);
    if (copy == nullptr) return false;
    finish_checksum(copy);
    if (sender.send(queue, &copy, 1) == 1) {
        rte_pktmbuf_free(frame);
        return true;
    }
    rte_pktmbuf_free(copy);
    return false;
}

}  // namespace

std::uint16_t finish_and_send(Sender& sender, Offloads can, rte_mempool* pool, std::uint16_t queue,
                              rte_mbuf** frames, std::uint16_t count, std::atomic<std::uint64_t>& lost) {
    std::uint16_t taken = 0;
    while (taken < count) {
        // Those that can go as they are, or after a change in place, go together.
        std::uint16_t run = taken;
        for (; run < count; ++run) {
            auto* frame = frames[run];
            if (can_take(can, frame)) continue;
            if (left_to_cut(frame) || rte_mbuf_refcnt_read(frame) != 1) break;
            finish_checksum(frame);
        }
        if (run != taken) {
            const auto sent = sender.send(queue, frames + taken, static_cast<std::uint16_t>(run - taken));
            if (sent == 0) return taken;
            taken = static_cast<std::uint16_t>(taken + sent);
            continue;
        }
        auto* frame = frames[taken];
        const bool sent = left_to_cut(frame) ? cut_and_send(sender, can, pool, queue, frame, lost)
                                             : finish_copy_and_send(sender, pool, queue, frame);
        if (!sent) return taken;
        ++taken;
    }
    return taken;
}

}  // namespace viaduct::dataplane
