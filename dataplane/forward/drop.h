// Why frames are dropped: one list, from which the counters, their names in the API and their explanations
// come.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace viaduct::dataplane {

/// Receive-side reasons count against the port a frame came from, transmit-side ones against the port it was
/// for.
enum class Drop : std::uint8_t {
    // receive side
    runt,
    oversize,
    bad_vlan,
    bad_source,
    vlan_not_allowed,
    reserved_multicast,
    spoofed_mac,
    spoofed_address,
    spoofed_neighbour,
    rogue_server,
    no_bridge,
    port_down,
    same_port,
    no_output,
    no_buffer,
    // receive side, on the way through a router
    not_ip,
    bad_ip_header,
    bad_checksum,
    bad_transport_header,
    bad_neighbour_message,
    interface_down,
    group_not_routed,
    martian,
    reverse_path,
    forwarding_off,
    no_route,
    blackhole,
    unreachable,
    prohibited,
    isolated,
    ttl_expired,
    packet_too_big,
    no_listener,
    no_endpoint,
    no_local_endpoint,
    service_client,
    fragment,
    fragment_memory,
    nat_exhausted,
    nat_unsupported,
    unrelated_error,
    flow_table_full,
    flow_setup_limit,
    neighbour_unknown,
    neighbour_queue_full,
    // receive side, out of a tunnel
    tunnel_bad_header,
    tunnel_unknown_peer,
    tunnel_unknown_vni,
    tunnel_congestion,
    tunnel_nested,
    // transmit side
    tx_link_down,
    tx_full,
    tx_over_rate,
    tx_too_big,
    tx_vlan_not_allowed,
    tx_no_buffer,
    tx_handoff_full,
    tx_gone,
    tx_moving,
    tx_tunnel_unresolved,
    tx_no_peer,
    count_,
};

inline constexpr std::size_t kDropReasons = static_cast<std::size_t>(Drop::count_);
inline constexpr std::size_t kRxDropReasons = static_cast<std::size_t>(Drop::tx_link_down);

struct DropReason {
    std::string_view name;
    std::string_view meaning;
};

inline constexpr std::array<DropReason, kDropReasons> kDrops{{
    {"runt", "shorter than an Ethernet header"},
    {"oversize", "longer than the port's MTU allows"},
    {"bad_vlan", "a VLAN tag that is cut short or has the reserved id 4095"},
    {"bad_source", "source MAC address is a group address or all zero"},
    {"vlan_not_allowed", "VLAN that the port is no member of"},
    {"reserved_multicast",
     "link-local group address 01-80-c2-00-00-0x, which bridges do not forward (802.1Q 8.6.3)"},
    {"spoofed_mac", "a source MAC address that is not the port's (its guard)"},
    {"spoofed_address", "an IP source address that is not the port's (its guard)"},
    {"spoofed_neighbour",
     "ARP or neighbour discovery that speaks for addresses of others (the port's guard)"},
    {"rogue_server",
     "a router advertisement, a redirect or a DHCP answer from a port that may only ask (its guard)"},
    {"no_bridge", "the port is on no bridge"},
    {"port_down", "the port is administratively down"},
    {"same_port", "the destination is on the port that the frame came from"},
    {"no_output", "nobody to flood to"},
    {"no_buffer", "no packet buffer left to rewrite the frame"},
    {"not_ip", "sent to a router interface, and neither IPv4, IPv6 nor ARP"},
    {"bad_ip_header", "an IP header that is cut short or contradicts itself or the frame's length"},
    {"bad_checksum", "a checksum that does not fit what it covers"},
    {"bad_transport_header", "a transport or ICMP header that is cut short or impossible"},
    {"bad_neighbour_message", "an ARP or neighbour discovery message that breaks its standard"},
    {"interface_down", "the router interface is administratively down"},
    {"group_not_routed", "unicast MAC address, but a multicast or broadcast IP address; none is routed"},
    {"martian", "a source or destination address that cannot be on a wire (RFC 1812 5.3.7)"},
    {"reverse_path", "the source is not reachable by the interface that the packet came from (RFC 3704)"},
    {"forwarding_off", "the VRF does not forward packets of this family"},
    {"no_route", "no route leads to the destination"},
    {"blackhole", "a blackhole route"},
    {"unreachable", "an unreachable route"},
    {"prohibited", "a prohibit route"},
    {"isolated", "from one isolated network to another, and nothing allows it"},
    {"ttl_expired", "TTL or hop limit has run out"},
    {"packet_too_big", "longer than the route's MTU, and it may not be fragmented"},
    {"no_listener", "for an address of the node itself, where nothing listens for it"},
    {"no_endpoint", "for a service that has no endpoint"},
    {"no_local_endpoint",
     "for a service that has no endpoint on this node, by an address that wants one here"},
    {"service_client", "for a service's address that not everybody may use, from somebody else"},
    {"fragment", "a fragment that overlaps, is too small or has lost its others"},
    {"fragment_memory", "no memory left to keep a fragment until its others come"},
    {"nat_exhausted", "no port of the pool is free for another translation"},
    {"nat_unsupported", "a packet that cannot be translated"},
    {"unrelated_error", "an ICMP error that speaks of no flow"},
    {"flow_table_full", "no room for another flow, and none that would give way"},
    {"flow_setup_limit", "a new flow, while established ones need the rest of the worker's time"},
    {"neighbour_unknown", "the next hop does not answer"},
    {"neighbour_queue_full", "too many packets wait for the next hop's answer"},
    {"tunnel_bad_header",
     "for a tunnel's end, with UDP or VXLAN headers that are cut short or without a VNI"},
    {"tunnel_unknown_peer", "for a tunnel's end, from an address that is no peer of it"},
    {"tunnel_unknown_vni", "for a tunnel's end, with a VNI that nobody has there"},
    {"tunnel_congestion", "marked for congestion in a tunnel, and its sender cannot be told (RFC 6040)"},
    {"tunnel_nested", "more tunnels in tunnels than can be opened at once"},
    {"link_down", "the output port's link is down"},
    {"full", "the output queue was full: the other side does not read fast enough"},
    {"over_rate", "beyond the output port's rate, and no room left to wait in"},
    {"too_big", "longer than the output port's MTU allows"},
    {"vlan_not_allowed", "VLAN that the output port is no member of"},
    {"no_buffer", "no packet buffer left for a copy"},
    {"handoff_full", "the ring to the worker that owns the output queue was full"},
    {"gone", "the output port was removed meanwhile"},
    {"moving", "the output queue was being given to another worker"},
    {"tunnel_unresolved", "no route to the tunnel's peer, or its next hop does not answer"},
    {"no_peer", "the tunnel's end has no peer to send to"},
}};

constexpr const DropReason& reason(Drop drop) {
    return kDrops[static_cast<std::size_t>(drop)];
}
constexpr bool is_receive_side(Drop drop) {
    return static_cast<std::size_t>(drop) < kRxDropReasons;
}

}  // namespace viaduct::dataplane
