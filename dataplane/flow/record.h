// One direction of a flow, as `resolve` decides it and `forward` executes it.
//
// An entry is a *record* and a *tail*. The record is the key and what to do with a packet: written whole
// under the bucket's lock, read whole without one (a sequence number tells a torn read). With IPv4 it is one
// cache line, with IPv6 two. The tail is one more line, which the direction's own worker writes with each
// packet: counters, the second last seen, what TCP has shown. Nothing in the tail is needed to forward a
// packet.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "flow/key.h"
#include "port/port.h"

namespace viaduct::dataplane {

/// Names an entry: bucket and place in it. Stable while the entry lives; the place is given to another flow
/// afterwards, so whoever keeps one compares keys again.
using FlowIndex = std::uint32_t;
inline constexpr FlowIndex kNoFlow = UINT32_MAX;

/// A router interface's place in the topology's array.
using InterfaceIndex = std::uint16_t;

/// What execution does besides Ethernet rewrite, TTL and output.
enum FlowFlags : std::uint16_t {
    kFlowTranslate = 1 << 0,  ///< addresses and ports become new_*; checksums change by the differences
    kFlowTcp = 1 << 1,        ///< flags, acknowledgement and window are noted in the tail
    kFlowTunnel = 1 << 2,     ///< the outer header of `tunnel` is pushed
    kFlowClampMss = 1 << 3,   ///< TCP SYNs have their MSS lowered to what `mtu` carries
    kFlowSlow = 1 << 4,  ///< every packet goes to resolve: what the fast path cannot execute (SCTP's CRC32c
                         ///< under translation, neighbour not known yet)
    kFlowInitiator = 1 << 5,  ///< the direction of the flow's first packet
    kFlowStatic = 1 << 6,     ///< translation by a one-to-one rule: holds no port of a pool
    kFlowMapping = 1 << 7,    ///< shares its port with the inside port's other flows (NatMappings)
    kFlowCounted = 1 << 9,    ///< the initiator's direction is one of its backend's flows (BackendLoads)
    kFlowBridged = 1 << 8,    ///< no router's hop: to the host or from it, the TTL stays
};

template <typename KeyType>
struct alignas(64) FlowRecord {
    using Key = KeyType;
    using Address = typename Key::AddressType;

    Key key;
    Address new_source;  ///< equal to the key's where nothing is translated, and likewise below
    Address new_destination;
    Be16 new_source_port;
    Be16 new_destination_port;
    /// RFC 1624: to be added to the complement of the packet's sum, in one's complement arithmetic, as the
    /// 16-bit words stand in memory. IPv4 header without TTL; and the transport's, pseudo header and ports
    /// together (ICMP: identifier only).
    std::uint16_t l3_difference;
    std::uint16_t l4_difference;
    std::array<std::uint8_t, 6> destination_mac;
    PortIndex port;  ///< by which it leaves
    std::array<std::uint8_t, 6> source_mac;
    std::uint16_t vlan;        ///< tag to leave with; 0: none
    std::uint32_t generation;  ///< of the topology that it was resolved by; any other: resolve again
    InterfaceIndex ingress;    ///< on which packets are expected; from elsewhere: resolve again
    std::uint16_t mtu;         ///< longest IP packet that may leave so
    std::uint16_t flags;       ///< FlowFlags
    std::uint16_t tunnel;      ///< with kFlowTunnel: index into the topology's tunnels
    std::uint32_t sequence;    ///< the table's own: odd while it is written

    [[nodiscard]] bool has(FlowFlags flag) const { return (flags & flag) != 0; }
};
static_assert(sizeof(FlowRecord<FlowKey4>) == 64 && sizeof(FlowRecord<FlowKey6>) == 128);
static_assert(std::is_trivially_copyable_v<FlowRecord<FlowKey6>>);

/// What TCP segments of one direction have shown so far.
enum TcpSeen : std::uint8_t {
    kTcpSyn = 1 << 0,
    kTcpAck = 1 << 1,  ///< a segment that acknowledges
    kTcpFin = 1 << 2,
    kTcpReset = 1 << 3,  ///< in the window of what the other side accepts
};

/// One writer at a time, the worker that receives the direction; read relaxed by anybody.
struct alignas(64) FlowTail {
    std::atomic<std::uint64_t> packets;
    std::atomic<std::uint64_t> bytes;  ///< of IP packets as received
    std::atomic<std::uint32_t> peer;   ///< FlowIndex of the other direction
    std::atomic<std::uint32_t> seen;   ///< coarse second of the last packet
    std::atomic<std::uint32_t> created;
    std::atomic<std::uint32_t> tcp_ack;     ///< highest acknowledgement number sent this way
    std::atomic<std::uint32_t> tcp_window;  ///< bytes beyond it that this side accepts, scaled
    std::atomic<std::uint32_t> rule;      ///< what made the translation: a hash of its kind and name; 0: none
    std::atomic<std::uint8_t> tcp_seen;   ///< TcpSeen
    std::atomic<std::uint8_t> tcp_scale;  ///< window scale from the SYN (RFC 7323), 0..14
};
static_assert(sizeof(FlowTail) == 64 && std::is_trivially_destructible_v<FlowTail>);

}  // namespace viaduct::dataplane
