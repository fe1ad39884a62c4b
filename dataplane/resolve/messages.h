// What is not of a flow and has its own way. Each takes the frame over: it is dropped, consumed, held or
// sent.
#pragma once

#include "resolve/context.h"

namespace viaduct::dataplane {

class Resolver;

/// A frame of ethertype ARP (RFC 826), nothing of it checked yet. arp.cc.
void answer_arp(Resolver& resolver, const RoutedFrame& routed);
/// ICMPv6 types 133 to 137 (RFC 4861), the IPv6 header checked. nd.cc.
void answer_nd(Resolver& resolver, const Packet& packet);
/// Neighbours' and router advertisements' timers: about once a second. neighbour_timers.cc.
void neighbours_due(Resolver& resolver);
/// A fragment: it waits for its others (fragments.cc); the whole packet is resolved then.
void take_fragment(Resolver& resolver, const Packet& packet);
/// An ICMP error (v4: 3, 4, 5, 11, 12; v6: 1 to 4): translated like the flow that it speaks of and routed
/// (Resolver::route_alone). Its addresses passed stage_sanity. icmp_translate.cc.
void translate_icmp_error(Resolver& resolver, const Packet& packet);
/// Tells a packet's sender why it was dropped, where the reason has a message (icmp_error.cc) and rate limits
/// allow. The packet itself stays the caller's. `mtu`: the next hop's, for what was too big.
void send_icmp_error(Resolver& resolver, const Packet& packet, Drop why, std::uint32_t mtu);

/// Whether an ICMP message is an error rather than a question or an answer.
constexpr bool is_icmp_error(const Packet& packet) {
    const auto type = packet.icmp_type;
    if (packet.protocol == 58) return type < 128;
    return packet.protocol == 1 && (type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

}  // namespace viaduct::dataplane
