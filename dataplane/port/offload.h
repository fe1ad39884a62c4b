// What a frame's sender has left to whoever sends it on: a transport checksum to finish, one long segment to
// cut. A frame carries this from port to port in its packet buffer's transmit offload fields, and it is done
// where it leaves, by the other side or, where that cannot, here.
//
// In a packet buffer (rte_mbuf_core.h): RTE_MBUF_F_TX_TCP_CKSUM or _UDP_CKSUM says that the checksum field
// holds the pseudo header's sum, not complemented (virtio 1.2, 5.1.6.2); RTE_MBUF_F_TX_TCP_SEG or _UDP_SEG
// that the payload is to be cut into pieces of tso_segsz bytes; RTE_MBUF_F_TX_IPV4 or _IPV6 which family it
// is; l2_len, l3_len and l4_len where headers begin. All headers lie in the first segment. Nothing else of
// ol_flags is set in a frame that is forwarded.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include <rte_mbuf.h>

#include "port/port.h"

struct rte_mempool;

namespace viaduct::dataplane {

/// What the other side of a port can do by itself.
enum Offload : std::uint32_t {
    kOffloadChecksum = 1,  ///< finish the checksum of TCP and UDP
    kOffloadTso4 = 2,      ///< take TCP segments longer than the MTU over IPv4
    kOffloadTso6 = 4,
    kOffloadUso4 = 8,  ///< take UDP datagrams in one long one
    kOffloadUso6 = 16,
    /// Its driver writes into frames to do so, and those must be nobody else's.
    kOffloadWrites = 32,
};
using Offloads = std::uint32_t;
inline constexpr Offloads kOffloadsAll =
    kOffloadChecksum | kOffloadTso4 | kOffloadTso6 | kOffloadUso4 | kOffloadUso6;

inline constexpr std::uint64_t kLeftToCut = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;
inline constexpr std::uint64_t kLeftToDo = kLeftToCut | RTE_MBUF_F_TX_L4_MASK;

/// Flags that say what a packet buffer is, and nothing of what is in it.
inline constexpr std::uint64_t kBufferKind = RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;

inline bool left_to_cut(const rte_mbuf* frame) {
    return (frame->ol_flags & kLeftToCut) != 0;
}
/// Bytes before the payload of a marked frame.
inline std::uint16_t headers_of(const rte_mbuf* frame) {
    return static_cast<std::uint16_t>(frame->l2_len + frame->l3_len + frame->l4_len);
}
/// Bytes of the longest frame that a wire will see of this one.
inline std::uint32_t longest_frame(const rte_mbuf* frame) {
    if (!left_to_cut(frame)) [[likely]]
        return frame->pkt_len;
    return std::min(frame->pkt_len, std::uint32_t{headers_of(frame)} + frame->tso_segsz);
}

/// The Ethernet header has become longer, or shorter.
inline void change_l2_length(rte_mbuf* frame, int by) {
    if ((frame->ol_flags & kLeftToDo) != 0)
        frame->l2_len = (frame->l2_len + static_cast<unsigned>(by)) & 0x7fU;
}

/// A sender's word on a frame as it comes with it: struct virtio_net_hdr (virtio 1.2, 5.1.6), in the host's
/// byte order.
struct VirtioNetHeader {
    std::uint8_t flags;
    std::uint8_t gso_type;
    std::uint16_t header_length;
    std::uint16_t gso_size;
    std::uint16_t checksum_start;
    std::uint16_t checksum_offset;
};
static_assert(sizeof(VirtioNetHeader) == 10);

/// Believes nothing: marks a received frame as what its header says only if that agrees with the packet. A
/// checksum that is no TCP's or UDP's of this packet (of one in a tunnel) is finished at once. False: the
/// header lies; the frame is the caller's to refuse.
[[nodiscard]] bool take_offloads(rte_mbuf* frame, const VirtioNetHeader& header);
/// The same for what librte_vhost found in such a header (RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS).
[[nodiscard]] bool take_vhost_offloads(rte_mbuf* frame);
/// The header that a marked frame leaves with.
[[nodiscard]] VirtioNetHeader virtio_net_header(const rte_mbuf* frame);

/// Finishes a frame's checksum in place, if one is left. Nobody else may hold the frame.
void finish_checksum(rte_mbuf* frame);

/// Cuts a long segment into frames of its size, copies from `pool`, each with what cannot be left to the
/// other side done. The frame must stay as it is meanwhile, and stays the caller's.
class Cutter {
public:
    Cutter(const rte_mbuf* frame, rte_mempool* pool, Offloads can);
    /// The next frames, at most `most`. Fewer: the end, or no buffer is left (see done()).
    std::uint16_t next(rte_mbuf** pieces, std::uint16_t most);
    [[nodiscard]] bool done() const { return at_ >= payload_; }
    [[nodiscard]] std::uint32_t pieces() const { return (payload_ + size_ - 1) / size_; }

private:
    rte_mbuf* piece(std::uint32_t length);
    void write_headers(rte_mbuf* piece, std::uint32_t length) const;

    const rte_mbuf* frame_;
    rte_mempool* pool_;
    Offloads can_;
    std::uint16_t headers_;  ///< bytes before the payload
    std::uint16_t size_;
    std::uint32_t payload_;
    std::uint32_t at_ = 0;
    std::uint16_t number_ = 0;
};

/// Whether a burst has work left that the other side cannot do.
inline bool must_finish(Offloads can, rte_mbuf* const* frames, std::uint16_t count) {
    std::uint64_t left = 0;
    for (std::uint16_t i = 0; i < count; ++i)
        left |= frames[i]->ol_flags;
    if ((left & kLeftToDo) == 0) [[likely]]
        return false;
    return can != kOffloadsAll;
}

/// A port's own way to its other side: Port::transmit of frames that it can take.
class Sender {
public:
    virtual ~Sender() = default;
    virtual std::uint16_t send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) = 0;
};
/// Port::transmit for a burst that must_finish. A frame of which some pieces found no room counts as taken;
/// those pieces are added to `lost`.
std::uint16_t finish_and_send(Sender& sender, Offloads can, rte_mempool* pool, std::uint16_t queue,
                              rte_mbuf** frames, std::uint16_t count, std::atomic<std::uint64_t>& lost);

}  // namespace viaduct::dataplane
