// TCP and UDP in a frame: where the headers lie, what they sum to, and how a packet buffer says so.
#pragma once

#include <cstdint>
#include <optional>

#include <rte_mbuf.h>

namespace viaduct::dataplane {

/// Where the headers of a TCP or UDP packet lie that is whole, all of them in the frame's first segment.
struct Headers {
    bool v4 = false;
    bool tcp = false;
    std::uint16_t l2 = 0;  ///< bytes of each
    std::uint16_t l3 = 0;  ///< IPv6: with the extension headers that say nothing of addresses
    std::uint16_t l4 = 0;
    std::uint32_t end = 0;  ///< of the IP packet in the frame

    [[nodiscard]] std::uint16_t transport() const { return static_cast<std::uint16_t>(l2 + l3); }
    [[nodiscard]] std::uint16_t all() const { return static_cast<std::uint16_t>(l2 + l3 + l4); }
    [[nodiscard]] std::uint16_t checksum_offset() const { return tcp ? 16 : 6; }
};

/// Nothing when it is no such packet.
std::optional<Headers> find_headers(const rte_mbuf* frame);

/// The sum of a frame's bytes from `begin` to `end`, complemented, as checksums are written; `end` is within.
std::uint16_t checksum_of(const rte_mbuf* frame, std::uint32_t begin, std::uint32_t end);

/// The pseudo header's sum, for a transport header and payload of so many bytes (RFC 9293 3.1, RFC 8200 8.1).
std::uint16_t pseudo_sum(const std::uint8_t* ip, bool v4, bool tcp, std::uint32_t length);

/// Marks a frame as one of which the checksum is left to do, and with `cut` the cutting into pieces of `size`
/// bytes (see port/offload.h).
void mark(rte_mbuf* frame, const Headers& headers, bool cut, std::uint16_t size);

}  // namespace viaduct::dataplane
