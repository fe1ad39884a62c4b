// Theory of operation of the inner look: the frame's addresses, and the IP packet's where there is one, are
// mixed into fourteen bits of UDP source port. Everything read lies in the frame's first segment; what does
// not is left out.
#include "forward/tunnel.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "forward/checksum.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint16_t kEthernet = 14;
constexpr std::uint16_t kTag = 4;
constexpr std::uint8_t kUdpProtocol = 17;
constexpr std::uint16_t kDynamicPorts = 0xc000;  // RFC 7348 5: 49152 to 65535

std::uint64_t mix(std::uint64_t state, std::uint64_t word) {
    __extension__ using Wide = unsigned __int128;
    const auto product = static_cast<Wide>(state ^ word) * 0x9e3779b97f4a7c15U;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

bool has_ports(std::uint8_t protocol) {
    return protocol == 6 || protocol == kUdpProtocol || protocol == 132;
}

struct Inner {
    std::uint64_t hash;
    std::uint8_t dscp_ecn = 0;
};

Inner look(const rte_mbuf* frame) {
    const auto* data = rte_pktmbuf_mtod(frame, const std::uint8_t*);
    const std::uint32_t here = frame->data_len;
    if (here < kEthernet) return {0};
    Inner inner{mix(mix(0x5851f42d4c957f2dU, load64(data)), load32(data + 8))};
    std::uint32_t at = kEthernet;
    if (read_be16(data + 12) == 0x8100 && here >= kEthernet + kTag) at += kTag;
    const auto type = read_be16(data + at - 2);
    const auto* ip = data + at;
    if (type == 0x0800 && here >= at + 20) {
        inner.dscp_ecn = ip[1];
        inner.hash = mix(mix(inner.hash, load64(ip + 12)), ip[9]);
        // Only whole packets show their ports; a flow's fragments all go one way.
        const bool whole = ip[0] == 0x45 && (read_be16(ip + 6) & 0x3fff) == 0;
        if (whole && has_ports(ip[9]) && here >= at + 24) inner.hash = mix(inner.hash, load32(ip + 20));
    } else if (type == 0x86dd && here >= at + 40) {
        inner.dscp_ecn = static_cast<std::uint8_t>(ip[0] << 4 | ip[1] >> 4);
        inner.hash = mix(mix(inner.hash, load64(ip + 8)), load64(ip + 16));
        inner.hash = mix(mix(inner.hash, load64(ip + 24)), load64(ip + 32));
        inner.hash = mix(inner.hash, ip[6]);
        if (has_ports(ip[6]) && here >= at + 44) inner.hash = mix(inner.hash, load32(ip + 40));
    }
    return inner;
}

/// UDP's checksum over IPv4 or IPv6: pseudo header, UDP header and everything behind it.
std::uint16_t udp_checksum(const Tunnel& tunnel, const rte_mbuf* frame, std::uint32_t ip_header) {
    const auto* ip = rte_pktmbuf_mtod(frame, const std::uint8_t*);
    std::uint16_t raw = 0;
    rte_raw_cksum_mbuf(frame, ip_header, frame->pkt_len - ip_header, &raw);
    std::uint32_t sum = raw;
    const auto addresses = tunnel.v4 ? 12U : 8U;
    for (std::uint32_t i = addresses; i < ip_header; i += 2)
        sum += load16(ip + i);
    sum += __builtin_bswap16(static_cast<std::uint16_t>(frame->pkt_len - ip_header));
    sum += __builtin_bswap16(kUdpProtocol);
    const auto checksum = static_cast<std::uint16_t>(~fold(sum));
    return checksum == 0 ? 0xffff : checksum;
}

void put16(std::uint8_t* at, std::uint32_t value) {
    at[0] = static_cast<std::uint8_t>(value >> 8);
    at[1] = static_cast<std::uint8_t>(value);
}

/// Writes the outer headers at `ip`, where there is room for them; what is behind them is `carried` bytes.
template <bool kVersion4>
void write_outer(const Tunnel& tunnel, const Inner& inner, std::uint8_t* ip, std::uint32_t carried) {
    constexpr std::uint32_t ip_header = kVersion4 ? 20 : 40;
    std::memcpy(ip, tunnel.header.data(), ip_header + kUdpAndVxlan);
    auto* udp = ip + ip_header;
    const auto udp_length = kUdpAndVxlan + carried;
    if constexpr (kVersion4) {
        ip[1] = inner.dscp_ecn;
        put16(ip + 2, ip_header + udp_length);
        store16(ip + 10, static_cast<std::uint16_t>(~fold(std::uint32_t{tunnel.sum} +
                                                          (load16(ip) & ~load16(tunnel.header.data())) +
                                                          load16(ip + 2))));
    } else {
        ip[0] = static_cast<std::uint8_t>(0x60 | inner.dscp_ecn >> 4);
        ip[1] = static_cast<std::uint8_t>(inner.dscp_ecn << 4);
        put16(ip + 4, udp_length);
    }
    put16(udp, kDynamicPorts | static_cast<std::uint32_t>(inner.hash >> 50));
    put16(udp + 4, udp_length);
}

template <typename Address>
std::uint64_t end_hash(Zone zone, const Address& local, Be16 udp_port) {
    auto hash = mix(0x2545f4914f6cdd1dU,
                    zone | std::uint64_t{udp_port.raw} << 16 | std::uint64_t{sizeof(Address)} << 32);
    for (std::size_t i = 0; i < sizeof(Address); i += 4)
        hash = mix(hash, load32(&local.bytes[i]));
    return hash | 1;
}

std::uint64_t vni_hash(std::uint64_t end, std::uint32_t vni) {
    return mix(end, std::uint64_t{vni} << 8 | 2) | 1;
}

template <typename Address>
std::uint64_t peer_hash(std::uint64_t with_vni, const Address& remote) {
    auto hash = with_vni;
    for (std::size_t i = 0; i < sizeof(Address); i += 4)
        hash = mix(hash, load32(&remote.bytes[i]));
    return hash | 1;
}

template <typename Address>
Address bytes_of(const IpAddress& address) {
    Address bytes;
    std::copy(address.bytes().begin(), address.bytes().end(), bytes.bytes.begin());
    return bytes;
}

template <typename Address>
bool is_address(const IpAddress& address, const Address& bytes) {
    return address.bytes().size() == sizeof(Address) &&
           std::memcmp(address.bytes().data(), bytes.bytes.data(), sizeof(Address)) == 0;
}

}  // namespace

Tunnel make_tunnel(const model::Vxlan& vxlan, const IpAddress& remote, PortIndex port, Zone zone) {
    Tunnel tunnel;
    tunnel.present = true;
    tunnel.port = port;
    tunnel.zone = zone;
    tunnel.v4 = remote.is_v4();
    tunnel.udp_checksum = vxlan.udp_checksum || !tunnel.v4;
    tunnel.vni = vxlan.vni;
    tunnel.udp_port = Be16::from_host(vxlan.udp_port);
    tunnel.local = vxlan.local;
    tunnel.remote = remote;
    auto* ip = tunnel.header.data();
    const std::uint8_t ip_header = tunnel.v4 ? 20 : 40;
    tunnel.length = static_cast<std::uint8_t>(ip_header + kUdpAndVxlan);
    const auto& local = vxlan.local.bytes();
    const auto& peer = remote.bytes();
    if (tunnel.v4) {
        ip[0] = 0x45;
        ip[6] =
            0x40;  // DF: a tunnel's end does not fragment (RFC 7348 4.3); so the identification may be zero
        ip[8] = vxlan.ttl;
        ip[9] = kUdpProtocol;
        std::copy(local.begin(), local.end(), ip + 12);
        std::copy(peer.begin(), peer.end(), ip + 16);
        std::uint32_t sum = 0;
        for (unsigned i = 0; i < 20; i += 2)
            sum += load16(ip + i);
        tunnel.sum = fold(sum);
    } else {
        ip[0] = 0x60;
        ip[6] = kUdpProtocol;
        ip[7] = vxlan.ttl;
        std::copy(local.begin(), local.end(), ip + 8);
        std::copy(peer.begin(), peer.end(), ip + 24);
    }
    auto* udp = ip + ip_header;
    put16(udp + 2, vxlan.udp_port);
    udp[8] = 0x08;  // the VNI is there
    udp[12] = static_cast<std::uint8_t>(vxlan.vni >> 16);
    put16(udp + 13, vxlan.vni & 0xffff);
    return tunnel;
}

bool push_outer(const Tunnel& tunnel, rte_mbuf*& frame, rte_mempool* pool) {
    const auto inner = look(frame);
    const std::uint32_t carried = frame->pkt_len;
    if (rte_mbuf_refcnt_read(frame) != 1 || rte_pktmbuf_headroom(frame) < tunnel.length + kEthernet + kTag)
        [[unlikely]] {
        auto* head = rte_pktmbuf_alloc(pool);
        if (head == nullptr) return false;
        head->next = frame;
        head->nb_segs = static_cast<std::uint16_t>(frame->nb_segs + 1);
        head->pkt_len = frame->pkt_len;
        frame = head;
    }
    auto* ip = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_prepend(frame, tunnel.length));
    tunnel.v4 ? write_outer<true>(tunnel, inner, ip, carried)
              : write_outer<false>(tunnel, inner, ip, carried);
    const std::uint32_t ip_header = tunnel.length - std::uint32_t{kUdpAndVxlan};
    if (tunnel.udp_checksum) [[unlikely]]
        store16(ip + ip_header + 6, udp_checksum(tunnel, frame, ip_header));
    return true;
}

void push_ethernet(const Adjacency& adjacency, bool v4, rte_mbuf* frame) {
    const std::uint16_t length = adjacency.vlan == 0 ? kEthernet : kEthernet + kTag;
    auto* header = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_prepend(frame, length));
    std::memcpy(header, adjacency.destination.bytes.data(), 6);
    std::memcpy(header + 6, adjacency.source.bytes.data(), 6);
    if (adjacency.vlan != 0) {
        put16(header + 12, 0x8100);
        put16(header + 14, adjacency.vlan);
    }
    put16(header + length - 2, v4 ? 0x0800 : 0x86dd);
}

TunnelEnds::TunnelEnds(const std::vector<Tunnel>& tunnels) {
    // A tunnel adds three keys at most: its end, its end's VNI, itself.
    slots_.resize(std::bit_ceil(std::max<std::size_t>(4, tunnels.size() * 6)));
    for (std::size_t i = 0; i < tunnels.size(); ++i) {
        const auto& tunnel = tunnels[i];
        if (!tunnel.present) continue;
        ports_ |= std::uint64_t{1} << (tunnel.udp_port.to_host() & 63U);
        const auto enter = [&]<typename Address>(const Address& local, const Address& remote) {
            const auto end = end_hash(tunnel.zone, local, tunnel.udp_port);
            const auto with_vni = vni_hash(end, tunnel.vni);
            add(end, kNoTunnel);
            add(with_vni, kNoTunnel);
            add(peer_hash(with_vni, remote), static_cast<TunnelIndex>(i));
        };
        if (tunnel.v4) {
            enter(bytes_of<Ipv4Bytes>(tunnel.local), bytes_of<Ipv4Bytes>(tunnel.remote));
        } else {
            enter(bytes_of<Ipv6Bytes>(tunnel.local), bytes_of<Ipv6Bytes>(tunnel.remote));
        }
    }
}

void TunnelEnds::add(std::uint64_t hash, TunnelIndex tunnel) {
    for (auto at = hash >> 1;; ++at) {
        auto& slot = slots_[at & (slots_.size() - 1)];
        if (slot.hash == hash) return;
        if (slot.hash != 0) continue;
        slot = {hash, tunnel};
        return;
    }
}

const TunnelEnds::Slot* TunnelEnds::slot(std::uint64_t hash) const {
    if (slots_.empty()) return nullptr;
    for (auto at = hash >> 1;; ++at) {
        const auto& slot = slots_[at & (slots_.size() - 1)];
        if (slot.hash == hash) return &slot;
        if (slot.hash == 0) return nullptr;
    }
}

template <typename Address>
std::uint64_t TunnelEnds::end(Zone zone, const Address& local, Be16 udp_port) const {
    const auto hash = end_hash(zone, local, udp_port);
    return slot(hash) == nullptr ? 0 : hash;
}

template <typename Address>
TunnelEnds::Found TunnelEnds::find(std::uint64_t end, const std::vector<Tunnel>& tunnels, Zone zone,
                                   const Address& local, const Address& remote, Be16 udp_port,
                                   std::uint32_t vni) const {
    const auto with_vni = vni_hash(end, vni);
    const auto* found = slot(peer_hash(with_vni, remote));
    if (found != nullptr && found->tunnel != kNoTunnel) [[likely]] {
        const auto& tunnel = tunnels[found->tunnel];
        if (tunnel.zone == zone && tunnel.vni == vni && tunnel.udp_port == udp_port &&
            is_address(tunnel.local, local) && is_address(tunnel.remote, remote)) {
            return {Answer::found, found->tunnel};
        }
    }
    return {slot(with_vni) == nullptr ? Answer::unknown_vni : Answer::unknown_peer};
}

template std::uint64_t TunnelEnds::end(Zone, const Ipv4Bytes&, Be16) const;
template std::uint64_t TunnelEnds::end(Zone, const Ipv6Bytes&, Be16) const;
template TunnelEnds::Found TunnelEnds::find(std::uint64_t, const std::vector<Tunnel>&, Zone, const Ipv4Bytes&,
                                            const Ipv4Bytes&, Be16, std::uint32_t) const;
template TunnelEnds::Found TunnelEnds::find(std::uint64_t, const std::vector<Tunnel>&, Zone, const Ipv6Bytes&,
                                            const Ipv6Bytes&, Be16, std::uint32_t) const;

}  // namespace viaduct::dataplane
