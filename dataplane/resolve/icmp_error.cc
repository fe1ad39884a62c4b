// Tells senders why their packets were dropped (RFC 792, RFC 1812 4.3, RFC 4443), or, where a TCP segment met
// nobody, resets it (RFC 9293 3.10.7.1).
//
// What is told goes back by the way that the packet came: out by the interface and to the MAC address that it
// came from. So whoever forges a source address has the answer sent to himself, no route is needed, and it
// works while none is known.
#include <algorithm>
#include <array>

#include "forward/parse.h"
#include "resolve/host.h"
#include "resolve/messages.h"
#include "resolve/node.h"
#include "resolve/packet.h"
#include "resolve/resolver.h"

namespace viaduct::dataplane {

namespace {

/// One reason's message in each family.
struct Told {
    Drop why;
    IcmpError v4;
    IcmpError v6;
};

constexpr std::array<Told, 9> kTold{{
    {Drop::ttl_expired, {11, 0}, {3, 0}},  // in transit
    {Drop::no_route, {3, 0}, {1, 0}},      // network unreachable; no route
    {Drop::unreachable, {3, 1}, {1, 3}},   // host unreachable; address unreachable
    {Drop::prohibited, {3, 13}, {1, 1}},   // administratively prohibited
    {Drop::isolated, {3, 13}, {1, 1}},
    {Drop::neighbour_unknown, {3, 1}, {1, 3}},  // host unreachable; address unreachable
    {Drop::packet_too_big, {3, 4}, {2, 0}},     // with the MTU in `rest`
    {Drop::no_listener, {3, 3}, {1, 4}},        // port unreachable
    {Drop::no_endpoint, {3, 3}, {1, 4}},
}};

/// Nobody takes it at the place that it is for.
bool is_refusal(Drop why) {
    return why == Drop::no_listener || why == Drop::no_endpoint;
}

/// The message for a reason, if it has one.
std::optional<IcmpError> message_for(const Packet& packet, Drop why, std::uint32_t mtu) {
    const auto* told = std::find_if(kTold.begin(), kTold.end(), [&](const Told& t) { return t.why == why; });
    if (told == kTold.end()) return std::nullopt;
    auto error = packet.v4 ? told->v4 : told->v6;
    if (why == Drop::packet_too_big) {
        error.rest = packet.v4 ? std::min(mtu, 0xffffU) : std::max(mtu, 1280U);
    } else if (is_refusal(why) && packet.protocol != kUdp) {
        if (packet.protocol == kIcmp || packet.protocol == kIcmp6) return std::nullopt;
        // Protocol unreachable; or "unrecognized next header", which points at the one in the fixed header.
        if (packet.v4) return IcmpError{3, 2};
        return IcmpError{4, 1, 6};
    }
    return error;
}

bool is_first_fragment(const Packet& packet) {
    if (!packet.fragment) return true;
    if (!packet.v4) return packet.l4_offset != 0;
    std::array<std::uint8_t, 2> field{};
    return read_bytes(packet.routed.frame, packet.l3_offset + 6U, 2, field.data()) &&
           ((field[0] & 0x1f) | field[1]) == 0;
}

/// Whether a host sent the packet from an address of its own (RFC 1812 4.3.2.7, RFC 4443 2.4 e).
bool has_one_sender(const Resolver& resolver, const Packet& packet) {
    const auto& source = packet.source;
    if (is_from_host(resolver.topology(), packet.routed)) return !source.is_loopback();
    if (source.is_unspecified() || source.is_multicast() || source.is_loopback()) return false;
    if (source.is_v4() && (source.bytes()[0] == 0 || source.bytes()[0] >= 240)) return false;
    const auto& interface = resolver.tables().interfaces[packet.routed.interface];
    const auto route = interface.vrf->fib->find(source);
    return !route || route.entry->action != RouteAction::local;
}

bool may_tell(const Resolver& resolver, const Packet& packet) {
    if (packet.routed.shared || packet.destination.is_multicast() || is_icmp_error(packet)) return false;
    constexpr std::uint8_t redirect6 = 137;
    if (packet.protocol == kIcmp6 && packet.icmp_type == redirect6) return false;
    return is_first_fragment(packet) && has_one_sender(resolver, packet);
}

/// To the host the router speaks by an address that the host does not have itself.
std::optional<IpAddress> address_for_host(const Resolver& resolver, const Packet& packet) {
    const auto& tables = resolver.tables();
    const auto index = packet.routed.interface;
    for (std::size_t i = 0; i < tables.interfaces.size(); ++i) {
        const auto& other = tables.interfaces[i];
        const bool may = i != index && !other.config.name.empty() &&
                         other.zone == tables.interfaces[index].zone &&
                         resolver.topology().interfaces[i].host_port == kNoPort;
        for (const auto& own : other.config.addresses) {
            if (may && own.address.is_v4() == packet.v4) return own.address;
        }
    }
    return std::nullopt;
}

/// From which address somebody is told; nothing: the node has none.
std::optional<IpAddress> speaker_for(const Resolver& resolver, const Packet& packet, Drop why) {
    // A refusal comes from the address that was meant, everything else from one of the link that it came by.
    if (is_refusal(why)) return packet.destination;
    if (is_from_host(resolver.topology(), packet.routed)) return address_for_host(resolver, packet);
    return own_address_for(resolver.tables(), packet.routed.interface, packet.source);
}

MacAddress frame_source(const Packet& packet) {
    MacAddress mac;
    read_bytes(packet.routed.frame, 6, 6, mac.bytes.data());
    return mac;
}

/// To a segment for a port where nobody listens; never to another reset.
void reset(Resolver& resolver, const Packet& packet, Ends ends) {
    std::array<std::uint8_t, 20> header{};
    if (!read_bytes(packet.routed.frame, packet.l4_offset, header.size(), header.data())) return;
    constexpr std::uint8_t fin = 0x01;
    constexpr std::uint8_t syn = 0x02;
    constexpr std::uint8_t rst = 0x04;
    constexpr std::uint8_t ack = 0x10;
    const auto flags = header[13];
    if ((flags & rst) != 0) return;
    const auto word = [&](std::size_t at) {
        return static_cast<std::uint32_t>(header[at]) << 24 |
               static_cast<std::uint32_t>(header[at + 1]) << 16 |
               static_cast<std::uint32_t>(header[at + 2]) << 8 | header[at + 3];
    };
    const auto start = static_cast<std::uint32_t>(packet.l4_offset - packet.l3_offset);
    const std::uint32_t header_length = (header[12] >> 4) * 4U;
    if (packet.length < start + header_length) return;
    TcpReset answer{packet.destination_port, packet.source_port, 0, std::nullopt};
    if ((flags & ack) != 0) {
        answer.sequence = word(8);
    } else {
        const auto length = packet.length - start - header_length;
        answer.acknowledgement =
            word(4) + length + ((flags & syn) != 0 ? 1 : 0) + ((flags & fin) != 0 ? 1 : 0);
    }
    ends.from = packet.destination;
    send_own(resolver, packet.routed.interface, compose_tcp_reset(ends, answer));
}

}  // namespace

void send_icmp_error(Resolver& resolver, const Packet& packet, Drop why, std::uint32_t mtu) {
    const auto error = message_for(packet, why, mtu);
    if (!error || !may_tell(resolver, packet)) return;
    const auto index = packet.routed.interface;
    const auto from = speaker_for(resolver, packet, why);
    if (!from) return;
    if (!resolver.shared().rate_limits.allow_error(index, packet.source, why == Drop::packet_too_big,
                                                   resolver.now()))
        return;
    const Ends ends{frame_source(packet), resolver.tables().interfaces[index].mac, packet.source, *from};
    if (is_refusal(why) && packet.protocol == kTcp) return reset(resolver, packet, ends);
    std::array<std::uint8_t, quoted_most(false)> quoted;
    const auto length =
        static_cast<std::uint32_t>(std::min<std::size_t>(packet.length, quoted_most(packet.v4)));
    if (!read_bytes(packet.routed.frame, packet.l3_offset, length, quoted.data())) return;
    send_own(resolver, index, compose_icmp_error(ends, *error, std::span(quoted).first(length)));
}

}  // namespace viaduct::dataplane
