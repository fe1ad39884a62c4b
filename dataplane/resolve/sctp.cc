// CRC32c over a packet that may lie in several segments.
#include "resolve/sctp.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <rte_hash_crc.h>
#include <rte_mbuf.h>

namespace viaduct::dataplane {

namespace {

constexpr std::uint8_t kSctp = 132;
constexpr std::uint32_t kHeader = 12;
constexpr std::uint32_t kChecksumAt = 8;

/// Continues a CRC32c. Not rte_hash_crc(), which wants its words aligned: packets' are not.
std::uint32_t crc32c(const std::uint8_t* bytes, std::uint32_t length, std::uint32_t crc) {
    constexpr std::uint32_t kWord = sizeof(std::uint64_t);
    for (; length >= kWord; bytes += kWord, length -= kWord) {
        std::uint64_t word;
        std::memcpy(&word, bytes, sizeof word);
        crc = rte_hash_crc_8byte(word, crc);
    }
    for (; length > 0; ++bytes, --length)
        crc = rte_hash_crc_1byte(*bytes, crc);
    return crc;
}

/// Of the transport's bytes with the checksum's own taken for zero, as it is written (little endian).
std::uint32_t checksum(const rte_mbuf* frame, std::uint32_t from, std::uint32_t to) {
    std::array<std::uint8_t, kHeader> header;
    std::memcpy(header.data(), rte_pktmbuf_mtod_offset(frame, const void*, from), header.size());
    std::memset(header.data() + kChecksumAt, 0, sizeof(std::uint32_t));
    auto crc = crc32c(header.data(), kHeader, UINT32_MAX);
    std::uint32_t at = 0;  // of the segment in the frame
    for (const auto* segment = frame; segment != nullptr && at < to; segment = segment->next) {
        const auto begin = std::max(at, from + kHeader);
        const auto end = std::min(at + segment->data_len, to);
        if (begin < end) {
            crc = crc32c(rte_pktmbuf_mtod_offset(segment, const std::uint8_t*, begin - at), end - begin, crc);
        }
        at += segment->data_len;
    }
    return ~crc;
}

bool is_readable(const Packet& packet) {
    const auto* frame = packet.routed.frame;
    return packet.l4_offset != 0 && packet.l4_offset + kHeader <= frame->data_len &&
           packet.l4_offset + kHeader <= std::uint32_t{packet.l3_offset} + packet.length;
}

}  // namespace

bool changes_sctp(const Packet& packet, const Translation& translation) {
    return packet.protocol == kSctp && (translation.source_port != packet.source_port ||
                                        translation.destination_port != packet.destination_port);
}

bool sctp_checksum_holds(const Packet& packet) {
    if (!is_readable(packet)) return false;
    const auto* frame = packet.routed.frame;
    std::uint32_t stored = 0;
    std::memcpy(&stored,
                rte_pktmbuf_mtod_offset(frame, const void*, std::uint32_t{packet.l4_offset} + kChecksumAt),
                sizeof stored);
    const auto end = std::uint32_t{packet.l3_offset} + packet.length;
    return rte_le_to_cpu_32(stored) == checksum(frame, packet.l4_offset, end);
}

bool write_sctp_checksum(const Packet& packet) {
    if (!is_readable(packet)) return false;
    auto* frame = packet.routed.frame;
    const auto end = std::uint32_t{packet.l3_offset} + packet.length;
    const auto value = rte_cpu_to_le_32(checksum(frame, packet.l4_offset, end));
    std::memcpy(rte_pktmbuf_mtod_offset(frame, void*, std::uint32_t{packet.l4_offset} + kChecksumAt), &value,
                sizeof value);
    return true;
}

}  // namespace viaduct::dataplane
