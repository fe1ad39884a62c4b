// The objects of a node's third layer: VRFs, router interfaces, routes, neighbours, address translation and
// how long flows live. Part of viaduct/model.h, which says how sets of them are read, checked and changed.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "viaduct/address.h"

namespace viaduct::model {

/// The VRF of objects that name none. It is always there; an object of this name changes its settings.
inline constexpr std::string_view kDefaultVrf = "default";

/// A router of its own: addresses and routes of two VRFs never meet.
struct Vrf {
    std::string name;
    bool forwarding4 =
        true;  ///< off: packets for others are dropped ("forwarding_off"); own addresses answer
    bool forwarding6 = true;
    friend bool operator==(const Vrf&, const Vrf&) = default;
};

/// Which source addresses an interface believes (RFC 3704).
enum class ReversePath : std::uint8_t {
    off,
    loose,   ///< some route leads to the source
    strict,  ///< the route to the source leads out by this interface
};

/// A router's leg on a bridge: the gateway of what is attached there. It has a MAC address of its own, to
/// which hosts send what is to be routed.
struct Interface {
    std::string name;
    std::string bridge;
    std::uint16_t vlan = 0;  ///< on a VLAN-filtering bridge: which VLAN, 1..4094; 0 elsewhere
    std::string vrf = std::string(kDefaultVrf);
    bool up = true;
    std::optional<MacAddress> mac;  ///< absent: derived_mac(name)
    std::vector<Prefix> addresses;  ///< own addresses with their networks' lengths; sorted, none twice
    std::uint32_t mtu = 1500;       ///< longest IP packet, 68..9216; IPv6 needs 1280
    ReversePath reverse_path = ReversePath::loose;
    bool proxy_arp = false;  ///< answers ARP and ND for whatever a route leads to by another interface
    bool router_advertisements = false;  ///< sends them (RFC 4861 6.2) for its IPv6 networks
    bool clamp_mss = false;              ///< lowers the MSS of TCP SYNs to what the route's MTU carries
    /// Nobody on it begins to speak with anybody on another isolated interface, but by a route that somebody
    /// configured, by a port forward, or where `allow_from` says so.
    bool isolated = false;
    std::vector<Prefix> allow_from;  ///< who on other isolated interfaces may; sorted, none twice
    friend bool operator==(const Interface&, const Interface&) = default;
};

inline constexpr std::size_t kAllowedMost = 256;  ///< prefixes of an interface's allow_from

/// Stable for a name: locally administered, unicast.
MacAddress derived_mac(std::string_view name);

struct NextHop {
    std::optional<IpAddress> via;  ///< absent: the destination is a neighbour itself
    std::string interface;
    std::uint16_t weight = 1;  ///< share among equal-cost next hops, 1..256
    friend auto operator<=>(const NextHop&, const NextHop&) = default;
};

enum class RouteKind : std::uint8_t {
    unicast,
    blackhole,    ///< dropped in silence
    unreachable,  ///< ICMP host unreachable
    prohibit,     ///< ICMP administratively prohibited
};

/// A static route. Those to interfaces' own networks need no object.
struct Route {
    std::string vrf = std::string(kDefaultVrf);
    Prefix prefix;  ///< without host bits
    RouteKind kind = RouteKind::unicast;
    std::vector<NextHop> next_hops;  ///< unicast: 1..64, equal in cost; others: none
    std::uint32_t mtu = 0;           ///< 0: the interface's
    [[nodiscard]] auto key() const { return std::tie(vrf, prefix); }
    friend bool operator==(const Route&, const Route&) = default;
};

/// A static neighbour: never asked for, never forgotten.
struct Neighbour {
    std::string interface;
    IpAddress address;
    MacAddress mac;
    [[nodiscard]] auto key() const { return std::tie(interface, address); }
    friend bool operator==(const Neighbour&, const Neighbour&) = default;
};

/// An inclusive range of addresses of one family.
struct AddressRange {
    IpAddress first;
    IpAddress last;
    friend auto operator<=>(const AddressRange&, const AddressRange&) = default;
};

/// Source NAT of whole networks behind few addresses.
struct Masquerade {
    std::string name;
    std::string vrf = std::string(kDefaultVrf);
    Prefix source;                   ///< whose packets
    std::vector<Prefix> except;      ///< destinations that are left alone, such as other pods' networks
    std::string interface;           ///< only packets that leave by it; empty: any
    std::vector<AddressRange> pool;  ///< empty: the first address of the interface by which the packet leaves
    std::uint16_t port_low = 1024;   ///< ports (and ICMP identifiers) to choose from; 1..65535
    std::uint16_t port_high = 65535;
    std::uint16_t block = 0;  ///< not 0: each inside address has its own so many ports, found by arithmetic
    bool endpoint_independent = false;  ///< RFC 4787 4.1: one outside port for an inside port, whoever it
                                        ///< talks to
    friend bool operator==(const Masquerade&, const Masquerade&) = default;
};

/// IANA protocol numbers that have ports.
enum class Transport : std::uint8_t { tcp = 6, udp = 17, sctp = 132 };

/// Destination NAT from an address and ports of the node to an inside address. Works from inside too
/// (hairpin).
struct PortForward {
    std::string name;
    std::string vrf = std::string(kDefaultVrf);
    Transport protocol = Transport::tcp;
    IpAddress address;
    std::uint16_t port = 0;       ///< first port, 1..65535
    std::uint16_t port_last = 0;  ///< last port
    IpAddress to;
    std::uint16_t to_port = 0;  ///< of `port`; the others follow one to one
    friend bool operator==(const PortForward&, const PortForward&) = default;
};

/// One outside address for one inside address, both ways, all protocols.
struct StaticNat {
    std::string name;
    std::string vrf = std::string(kDefaultVrf);
    IpAddress outside;
    IpAddress inside;
    friend bool operator==(const StaticNat&, const StaticNat&) = default;
};

/// Seconds after its last packet until a flow is forgotten; the defaults are Linux's. 1..4294967.
struct FlowTimeouts {
    std::uint32_t tcp_syn_sent = 120;
    std::uint32_t tcp_syn_received = 60;
    std::uint32_t tcp_established = 432000;
    std::uint32_t tcp_fin_wait = 120;   ///< one side has closed
    std::uint32_t tcp_time_wait = 120;  ///< both have
    std::uint32_t tcp_close = 10;       ///< after a reset
    std::uint32_t udp = 30;
    std::uint32_t udp_replied = 120;
    std::uint32_t icmp = 30;
    std::uint32_t sctp = 210;
    std::uint32_t other = 600;
    friend bool operator==(const FlowTimeouts&, const FlowTimeouts&) = default;
};

}  // namespace viaduct::model
