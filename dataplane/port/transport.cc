#include "port/transport.h"

#include <netinet/in.h>

#include <array>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "port/offload.h"

namespace viaduct::dataplane {
namespace {

constexpr int kExtensionsMost = 4;
constexpr std::uint16_t kNetworkMost = 511;  // a packet buffer's l3_len has nine bits
constexpr std::uint16_t kFragmentMask = RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK;

template <typename Header>
Header* header_at(const rte_mbuf* frame, std::size_t offset) {
    if (offset + sizeof(Header) > frame->data_len) return nullptr;
    return rte_pktmbuf_mtod_offset(frame, Header*, offset);
}

/// False: neither IPv4 nor IPv6, or not whole.
bool find_network(const rte_mbuf* frame, Headers& into, std::uint8_t& protocol) {
    const auto* ethernet = header_at<rte_ether_hdr>(frame, 0);
    if (ethernet == nullptr) return false;
    auto type = ethernet->ether_type;
    into.l2 = sizeof *ethernet;
    for (int tags = 0;
         tags < 2 && (type == RTE_BE16(RTE_ETHER_TYPE_VLAN) || type == RTE_BE16(RTE_ETHER_TYPE_QINQ));
         ++tags) {
        const auto* tag = header_at<rte_vlan_hdr>(frame, into.l2);
        if (tag == nullptr) return false;
        type = tag->eth_proto;
        into.l2 = static_cast<std::uint16_t>(into.l2 + sizeof *tag);
    }
    into.v4 = type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
    if (into.v4) {
        const auto* ip = header_at<rte_ipv4_hdr>(frame, into.l2);
        if (ip == nullptr || ip->version != 4 || ip->ihl < 5) return false;
        if ((rte_be_to_cpu_16(ip->fragment_offset) & kFragmentMask) != 0) return false;
        into.l3 = rte_ipv4_hdr_len(ip);
        into.end = into.l2 + std::uint32_t{rte_be_to_cpu_16(ip->total_length)};
        protocol = ip->next_proto_id;
        return true;
    }
    const auto* ip = header_at<rte_ipv6_hdr>(frame, into.l2);
    if (type != RTE_BE16(RTE_ETHER_TYPE_IPV6) || ip == nullptr) return false;
    if (rte_be_to_cpu_32(ip->vtc_flow) >> 28 != 6) return false;
    into.l3 = sizeof *ip;
    into.end = into.l2 + std::uint32_t{sizeof *ip} + rte_be_to_cpu_16(ip->payload_len);
    protocol = ip->proto;
    for (int i = 0; i < kExtensionsMost && (protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_DSTOPTS);
         ++i) {
        const auto* extension = header_at<std::array<std::uint8_t, 8>>(frame, into.transport());
        if (extension == nullptr) return false;
        protocol = (*extension)[0];
        into.l3 = static_cast<std::uint16_t>(into.l3 + ((*extension)[1] + 1) * 8);
        if (into.l3 > kNetworkMost) return false;
    }
    return true;
}

}  // namespace

std::optional<Headers> find_headers(const rte_mbuf* frame) {
    Headers found;
    std::uint8_t protocol = 0;
    if (!find_network(frame, found, protocol)) return std::nullopt;
    found.tcp = protocol == IPPROTO_TCP;
    if (found.tcp) {
        const auto* tcp = header_at<rte_tcp_hdr>(frame, found.transport());
        if (tcp == nullptr || tcp->data_off >> 4 < 5) return std::nullopt;
        found.l4 = static_cast<std::uint16_t>((tcp->data_off >> 4) * 4);
    } else if (protocol == IPPROTO_UDP) {
        found.l4 = sizeof(rte_udp_hdr);
    } else {
        return std::nullopt;
    }
    if (found.all() > frame->data_len || found.all() > found.end || found.end > frame->pkt_len)
        return std::nullopt;
    return found;
}

std::uint16_t checksum_of(const rte_mbuf* frame, std::uint32_t begin, std::uint32_t end) {
    std::uint16_t sum = 0;
    rte_raw_cksum_mbuf(frame, begin, end - begin, &sum);
    return static_cast<std::uint16_t>(~sum);
}

std::uint16_t pseudo_sum(const std::uint8_t* ip, bool v4, bool tcp, std::uint32_t length) {
    std::uint16_t addresses = 0;
    if (v4) {
        addresses = rte_raw_cksum(ip + 12, 8);
    } else {
        addresses = rte_raw_cksum(ip + 8, 32);
    }
    std::uint32_t sum = addresses;
    sum += rte_cpu_to_be_16(tcp ? IPPROTO_TCP : IPPROTO_UDP);
    sum += rte_cpu_to_be_16(static_cast<std::uint16_t>(length));
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>((sum & 0xffff) + (sum >> 16));
}

void mark(rte_mbuf* frame, const Headers& headers, bool cut, std::uint16_t size) {
    frame->ol_flags &= kBufferKind;
    frame->ol_flags |= headers.v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
    frame->ol_flags |= headers.tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
    if (cut) frame->ol_flags |= headers.tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
    frame->tx_offload = rte_mbuf_tx_offload(headers.l2, headers.l3, headers.l4, cut ? size : 0, 0, 0, 0);
}

}  // namespace viaduct::dataplane
