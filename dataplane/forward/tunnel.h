// VXLAN's outer headers (RFC 7348): what a frame is wrapped in, as bytes prepared for each pair of a tunnel's
// end and a peer of it, and how it is put on and taken off.
//
// A pair is a *tunnel*. What differs from frame to frame is written over the prepared bytes: lengths, the UDP
// source port (from the inner flow, so that the underlay spreads flows over its paths), and the octet of DSCP
// and ECN, which is the inner packet's (RFC 6040, normal mode; RFC 2983, uniform model).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/byte_order.h"
#include "viaduct/model.h"

#include "flow/key.h"
#include "port/port.h"

struct rte_mbuf;
struct rte_mempool;

namespace viaduct::dataplane {

/// A tunnel's place in the topology's array; it keeps it while it exists, for FDB entries name it.
using TunnelIndex = std::uint16_t;
inline constexpr TunnelIndex kTunnelsMost = 8192;  ///< an FDB entry has 14 bits for it and "none"
inline constexpr TunnelIndex kNoTunnel = UINT16_MAX;

inline constexpr std::uint16_t kUdpAndVxlan = 8 + 8;
inline constexpr std::uint16_t kOuterMost = 40 + kUdpAndVxlan;

struct Tunnel {
    bool present = false;  ///< false: nobody has this place
    PortIndex port = 0;    ///< the vxlan port: its end
    Zone zone = 0;         ///< of the VRF whose routes lead to the peer
    bool v4 = true;
    bool udp_checksum = false;  ///< IPv4; with IPv6 it is always sent (RFC 8200 8.1)
    std::uint8_t length = 0;    ///< of `header`: 36 or 56
    std::uint16_t sum = 0;      ///< IPv4: of the header's words as they stand, lengths and DSCP zero
    std::uint32_t vni = 0;
    Be16 udp_port{};
    std::array<std::uint8_t, kOuterMost> header{};  ///< from the IP header on
    IpAddress local;
    IpAddress remote;
};

Tunnel make_tunnel(const model::Vxlan& vxlan, const IpAddress& remote, PortIndex port, Zone zone);

/// Where packets of a tunnel leave, as a worker's resolver found it out; good for one generation of flows.
struct Adjacency {
    std::uint32_t generation = 0;  ///< 0: never found out
    PortIndex port = 0;
    std::uint16_t vlan = 0;  ///< tag to leave with; 0: none
    std::uint32_t mtu = 0;   ///< longest IP packet
    MacAddress destination;
    MacAddress source;
};

/// Puts the outer headers from IP on before a frame, at most UINT16_MAX bytes together. A frame that others
/// hold too, or has no room before it for `tunnel.length` + 18 bytes, gets a buffer of its own for them in
/// front; `frame` is the chain then. False without a buffer: nothing has happened.
bool push_outer(const Tunnel& tunnel, rte_mbuf*& frame, rte_mempool* pool);
/// The Ethernet header before what push_outer made.
void push_ethernet(const Adjacency& adjacency, bool v4, rte_mbuf* frame);

/// The inner packet's ECN after decapsulation (RFC 6040 4.2), by inner and outer; kEcnDrop: to be dropped.
inline constexpr std::uint8_t kEcnDrop = 0xff;
constexpr std::uint8_t decapsulated_ecn(std::uint8_t inner, std::uint8_t outer) {
    constexpr std::uint8_t kNotEct = 0;
    constexpr std::uint8_t kEct1 = 1;
    constexpr std::uint8_t kEct0 = 2;
    constexpr std::uint8_t kCe = 3;
    if (outer == kCe) return inner == kNotEct ? kEcnDrop : kCe;
    return inner == kEct0 && outer == kEct1 ? kEct1 : inner;
}

/// Which tunnel a received packet is of.
class TunnelEnds {
public:
    enum class Answer : std::uint8_t { found, unknown_vni, unknown_peer };
    struct Found {
        Answer answer = Answer::unknown_vni;
        TunnelIndex tunnel = kNoTunnel;
    };

    TunnelEnds() = default;
    explicit TunnelEnds(const std::vector<Tunnel>& tunnels);

    /// Whether a UDP packet may be for one at all: false says no for certain.
    [[nodiscard]] bool may_be(Be16 destination_port) const {
        return (ports_ >> (destination_port.to_host() & 63U) & 1U) != 0;
    }
    /// Names the ends that have this address and port, for `find`; 0 when there are none.
    template <typename Address>
    [[nodiscard]] std::uint64_t end(Zone zone, const Address& local, Be16 udp_port) const;
    /// The tunnel of a packet to `end`, which `local` and `udp_port` have led to.
    template <typename Address>
    [[nodiscard]] Found find(std::uint64_t end, const std::vector<Tunnel>& tunnels, Zone zone,
                             const Address& local, const Address& remote, Be16 udp_port,
                             std::uint32_t vni) const;

private:
    struct Slot {
        std::uint64_t hash = 0;
        TunnelIndex tunnel = kNoTunnel;
    };

    void add(std::uint64_t hash, TunnelIndex tunnel);
    [[nodiscard]] const Slot* slot(std::uint64_t hash) const;

    std::uint64_t ports_ = 0;  ///< a bit for the low six of each port in use
    std::vector<Slot> slots_;  ///< a power of two, at most half full; found by the hash, which is told on
};

}  // namespace viaduct::dataplane
