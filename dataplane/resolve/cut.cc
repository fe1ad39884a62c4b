// Each fragment is copied whole: this is not the fast path, and a copy has no ties to the packet it is of.
#include "resolve/cut.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

namespace viaduct::dataplane {

namespace {

constexpr std::uint8_t kFragmentHeader = 44;
constexpr std::uint32_t kExtensionsMost = 8;

/// What is repeated in front of each piece, and where the piece's place is written.
struct Head {
    bool v4;
    std::uint32_t bytes;        ///< from the frame's start to the payload
    std::uint32_t end;          ///< of the packet in the frame
    std::uint32_t fragment_at;  ///< IPv6: of the fragment header
};

bool copy_out(const rte_mbuf* frame, std::uint32_t offset, std::uint32_t length, void* into) {
    const auto* bytes = rte_pktmbuf_read(frame, offset, length, into);
    if (bytes == nullptr) return false;
    if (bytes != into) std::memcpy(into, bytes, length);
    return true;
}

std::optional<Head> head4(const rte_mbuf* frame, std::uint32_t l3) {
    rte_ipv4_hdr header;
    if (!copy_out(frame, l3, sizeof header, &header)) return std::nullopt;
    const auto field = rte_be_to_cpu_16(header.fragment_offset);
    if ((field & RTE_IPV4_HDR_DF_FLAG) != 0) return std::nullopt;
    return Head{true, l3 + rte_ipv4_hdr_len(&header), l3 + rte_be_to_cpu_16(header.total_length), 0};
}

std::optional<Head> head6(const rte_mbuf* frame, std::uint32_t l3) {
    rte_ipv6_hdr header;
    if (!copy_out(frame, l3, sizeof header, &header)) return std::nullopt;
    auto next = header.proto;
    std::uint32_t at = l3 + std::uint32_t{sizeof header};
    for (unsigned i = 0; i < kExtensionsMost; ++i) {
        std::array<std::uint8_t, 2> extension;
        if (!copy_out(frame, at, extension.size(), extension.data())) return std::nullopt;
        if (next == kFragmentHeader) {
            const auto end = l3 + std::uint32_t{sizeof header} + rte_be_to_cpu_16(header.payload_len);
            return Head{false, at + 8, end, at};
        }
        if (next != 0 && next != 43 && next != 60) return std::nullopt;
        next = extension[0];
        at += (extension[1] + 1U) * 8;
    }
    return std::nullopt;
}

/// Options that are not to be copied into all fragments (RFC 791 3.1) become no-operations.
void blank_options(std::uint8_t* options, std::uint32_t length) {
    constexpr std::uint8_t kEnd = 0;
    constexpr std::uint8_t kNop = 1;
    constexpr std::uint8_t kCopied = 0x80;
    for (std::uint32_t i = 0; i < length && options[i] != kEnd;) {
        if (options[i] == kNop) {
            ++i;
            continue;
        }
        const std::uint32_t size = i + 1 < length ? options[i + 1] : 0U;
        if (size < 2 || i + size > length) {
            std::memset(options + i, kNop, length - i);
            return;
        }
        if ((options[i] & kCopied) == 0) std::memset(options + i, kNop, size);
        i += size;
    }
}

void write_head4(std::uint8_t* ip, std::uint32_t offset, std::uint32_t length, bool last) {
    auto* header = reinterpret_cast<rte_ipv4_hdr*>(ip);
    const auto header_length = rte_ipv4_hdr_len(header);
    const auto field = rte_be_to_cpu_16(header->fragment_offset);
    const auto first_offset = (field & RTE_IPV4_HDR_OFFSET_MASK) + offset / 8;
    const bool more = !last || (field & RTE_IPV4_HDR_MF_FLAG) != 0;
    if (offset != 0) blank_options(ip + sizeof *header, header_length - std::uint32_t{sizeof *header});
    header->fragment_offset =
        rte_cpu_to_be_16(static_cast<std::uint16_t>(first_offset | (more ? RTE_IPV4_HDR_MF_FLAG : 0)));
    header->total_length = rte_cpu_to_be_16(static_cast<std::uint16_t>(header_length + length));
    header->hdr_checksum = 0;
    header->hdr_checksum = rte_ipv4_cksum(header);
}

void write_head6(std::uint8_t* ip, std::uint32_t fragment_at, std::uint32_t offset, std::uint32_t length,
                 bool last) {
    auto* header = reinterpret_cast<rte_ipv6_hdr*>(ip);
    const auto payload = fragment_at + 8 - sizeof *header + length;
    header->payload_len = rte_cpu_to_be_16(static_cast<std::uint16_t>(payload));
    const auto field = offset | (last ? 0U : 1U);
    ip[fragment_at + 2] = static_cast<std::uint8_t>(field >> 8);
    ip[fragment_at + 3] = static_cast<std::uint8_t>(field);
}

/// A frame of its own: the head, and so many bytes of the payload.
rte_mbuf* copy_piece(const rte_mbuf* frame, const Head& head, std::uint32_t offset, std::uint32_t length,
                     rte_mempool* pool) {
    auto* piece = rte_pktmbuf_copy(frame, pool, 0, head.bytes);
    if (piece == nullptr) return nullptr;
    if (rte_pktmbuf_tailroom(piece) >= length) {
        copy_out(frame, head.bytes + offset, length,
                 rte_pktmbuf_append(piece, static_cast<std::uint16_t>(length)));
        return piece;
    }
    auto* rest = rte_pktmbuf_copy(frame, pool, head.bytes + offset, length);
    if (rest == nullptr || rte_pktmbuf_chain(piece, rest) != 0) {
        rte_pktmbuf_free(rest);
        rte_pktmbuf_free(piece);
        return nullptr;
    }
    return piece;
}

}  // namespace

std::vector<rte_mbuf*> cut_packet(const rte_mbuf* frame, std::uint16_t l2_length, std::uint32_t mtu,
                                  rte_mempool* pool) {
    std::vector<rte_mbuf*> pieces;
    std::uint8_t version = 0;
    if (!copy_out(frame, l2_length, 1, &version)) return pieces;
    const auto head = version >> 4 == 4 ? head4(frame, l2_length) : head6(frame, l2_length);
    if (!head || head->end <= head->bytes || head->end > frame->pkt_len) return pieces;
    const auto head_length = head->bytes - l2_length;
    if (mtu < head_length + 8 || head->bytes > frame->data_len) return pieces;
    const auto most = (mtu - head_length) & ~7U;
    const auto total = head->end - head->bytes;
    for (std::uint32_t offset = 0; offset < total; offset += most) {
        const auto length = std::min(most, total - offset);
        auto* piece = copy_piece(frame, *head, offset, length, pool);
        if (piece == nullptr) {
            rte_pktmbuf_free_bulk(pieces.data(), static_cast<unsigned>(pieces.size()));
            pieces.clear();
            return pieces;
        }
        auto* ip = rte_pktmbuf_mtod_offset(piece, std::uint8_t*, l2_length);
        const bool last = offset + length == total;
        if (head->v4) {
            write_head4(ip, offset, length, last);
        } else {
            write_head6(ip, head->fragment_at - l2_length, offset, length, last);
        }
        pieces.push_back(piece);
    }
    return pieces;
}

}  // namespace viaduct::dataplane
