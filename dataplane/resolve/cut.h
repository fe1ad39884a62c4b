// Cuts packets that are longer than their way out allows: IPv4 ones whose sender lets routers do so (RFC
// 791), and IPv6 ones that came in fragments and still have their fragment header (see fragments.h).
#pragma once

#include <cstdint>
#include <vector>

struct rte_mbuf;
struct rte_mempool;

namespace viaduct::dataplane {

/// Fragments of the packet in `frame`, in order, each an IP packet of at most `mtu` bytes behind a copy of
/// the frame's `l2_length` bytes, from `pool`. The frame itself stays as it is and the caller's; its IP
/// header has been checked. Empty: it may not be cut, or there are no buffers.
std::vector<rte_mbuf*> cut_packet(const rte_mbuf* frame, std::uint16_t l2_length, std::uint32_t mtu,
                                  rte_mempool* pool);

}  // namespace viaduct::dataplane
