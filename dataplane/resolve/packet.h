// Reads the headers of a packet that was sent to a router interface. Nothing in it is believed before its
// length is.
#pragma once

#include "resolve/context.h"

namespace viaduct::dataplane {

/// Most IPv6 extension headers that are passed over, and bytes of them: more is nobody's honest packet (RFC
/// 8504 5.3).
inline constexpr unsigned kExtensionHeadersMost = 8;
inline constexpr unsigned kExtensionBytesMost = 512;

/// Fills in `packet` whatever its family, headers in whichever segments. Returns Drop::count_, or why the
/// packet is refused: not_ip, bad_ip_header, bad_checksum, bad_transport_header. Fragments but the first have
/// no transport header (l4_offset 0). The IPv4 header's checksum is checked; transport's are their ends' own.
Drop read_packet(const RoutedFrame& routed, Packet& packet);

/// Whether a frame is ARP, which has its own way (messages.h).
bool is_arp(const RoutedFrame& routed);

/// Copies `length` bytes at `offset` of a frame; false when it has not so many.
bool read_bytes(const rte_mbuf* frame, std::uint32_t offset, std::uint32_t length, void* into);

}  // namespace viaduct::dataplane
