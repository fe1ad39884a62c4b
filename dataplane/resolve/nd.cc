// Neighbour discovery (RFC 4861) as the node hears it: a router that answers for its addresses and for those
// that it proxies, believes nobody from beyond the link (hop limit 255), and tells hosts that ask what they
// need.
#include <array>
#include <cstring>

#include "resolve/messages.h"
#include "resolve/node.h"
#include "resolve/packet.h"
#include "resolve/resolver.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint8_t kRouterSolicitation = 133;
constexpr std::uint8_t kNeighbourSolicitation = 135;
constexpr std::uint8_t kNeighbourAdvertisement = 136;
constexpr std::uint8_t kSourceLinkLayer = 1;
constexpr std::uint8_t kTargetLinkLayer = 2;
/// Longest message that is read: they fit into the least MTU, but for a host with many options.
constexpr std::size_t kMessageMost = 1500;

/// A message after its checks: the bytes from the ICMPv6 header on.
struct Message {
    std::array<std::uint8_t, kMessageMost> bytes;
    std::size_t length = 0;
    MacAddress frame_source;
    std::optional<MacAddress> source_option;
    std::optional<MacAddress> target_option;

    [[nodiscard]] IpAddress target() const { return *IpAddress::from_bytes(std::span(bytes).subspan(8, 16)); }
};

/// Options from `at` on: each says its length in units of 8 bytes, of which none may be zero or lead out of
/// the message (RFC 4861 4.6). Unknown ones are passed over.
bool read_options(Message& message, std::size_t at) {
    while (at < message.length) {
        if (message.length - at < 8) return false;
        const std::size_t length = message.bytes[at + 1] * std::size_t{8};
        if (length == 0 || length > message.length - at) return false;
        MacAddress mac;
        std::memcpy(mac.bytes.data(), &message.bytes[at + 2], mac.bytes.size());
        auto* option = message.bytes[at] == kSourceLinkLayer   ? &message.source_option
                       : message.bytes[at] == kTargetLinkLayer ? &message.target_option
                                                               : nullptr;
        if (option != nullptr) {
            if (length != 8 || mac.is_multicast() || mac.is_zero()) return false;
            *option = mac;
        }
        at += length;
    }
    return true;
}

/// RFC 4861 6.1.1, 7.1.1, 7.1.2: what every message must be.
bool read_message(const Packet& packet, Message& message) {
    const auto start = static_cast<std::size_t>(packet.l4_offset - packet.l3_offset);
    if (packet.ttl != 255 || packet.icmp_code != 0 || packet.fragment || packet.l4_offset == 0) return false;
    if (packet.length < start + 8 || packet.length - start > kMessageMost) return false;
    message.length = packet.length - start;
    const auto length = static_cast<std::uint32_t>(message.length);
    if (!read_bytes(packet.routed.frame, packet.l4_offset, length, message.bytes.data())) return false;
    const auto sum = pseudo_header_sum(packet.source, packet.destination, 58, message.length);
    if (internet_checksum(std::span(message.bytes).first(message.length), sum) != 0) return false;
    auto& source = message.frame_source.bytes;
    if (!read_bytes(packet.routed.frame, 6, 6, source.data())) return false;
    const bool with_target =
        packet.icmp_type == kNeighbourSolicitation || packet.icmp_type == kNeighbourAdvertisement;
    if (with_target && (message.length < 24 || message.target().is_multicast())) return false;
    return read_options(message, with_target ? 24 : 8);
}

bool hear_solicitation(Resolver& resolver, const Packet& packet, const Message& message) {
    const auto index = packet.routed.interface;
    const auto& interface = resolver.tables().interfaces[index];
    const auto target = message.target();
    const bool own = is_own_address(interface, target);
    if (packet.source.is_unspecified()) {
        // Somebody is about to take the address (RFC 4862 5.4.3): if it is ours, all are told that it is.
        if (packet.destination != solicited_node_group(target) || message.source_option) return false;
        if (own && message.frame_source != interface.mac) {
            resolver.shared().neighbours.note_duplicate({{index, target}, message.frame_source});
            send_announcement(resolver, index, target);
        }
        return true;
    }
    if (!own && !is_proxied(resolver.tables(), index, target)) return true;
    const auto mac = message.source_option.value_or(message.frame_source);
    if (message.source_option) learn_neighbour(resolver, {index, packet.source}, mac, {.create = true});
    send_own(resolver, index,
             compose_neighbour_advertisement(
                 {mac, interface.mac, packet.source, own ? target : link_local_address(interface.mac)},
                 {target, true, own}));
    return true;
}

bool hear_advertisement(Resolver& resolver, const Packet& packet, const Message& message) {
    const auto index = packet.routed.interface;
    const auto& interface = resolver.tables().interfaces[index];
    const auto target = message.target();
    const auto flags = message.bytes[4];
    const bool solicited = (flags & 0x40) != 0;
    if (solicited && packet.destination.is_multicast()) return false;
    if (is_own_address(interface, target)) {
        const auto claimer = message.target_option.value_or(message.frame_source);
        if (claimer != interface.mac) defend(resolver, index, target, claimer);
        return true;
    }
    if (!is_on_link(resolver.tables(), index, target)) return true;
    const NeighbourKey key{index, target};
    auto mac = message.target_option;
    if (!mac) {
        // Allowed in an answer to a unicast question, where the address is known already.
        const auto seen = resolver.shared().neighbours.peek(key);
        if (!seen || seen->mac.is_zero()) return true;
        mac = seen->mac;
    }
    learn_neighbour(resolver, key, *mac, {.solicited = solicited, .override = (flags & 0x20) != 0});
    return true;
}

bool hear_router_solicitation(Resolver& resolver, const Packet& packet, const Message& message) {
    const bool unspecified = packet.source.is_unspecified();
    if (unspecified && message.source_option) return false;
    const auto index = packet.routed.interface;
    if (!resolver.tables().interfaces[index].config.router_advertisements) return true;
    if (message.source_option)
        learn_neighbour(resolver, {index, packet.source}, *message.source_option, {.create = true});
    // To whoever has no address yet the group's packet goes in a frame of his own (RFC 6085): nobody else
    // need be woken by it.
    send_router_advertisement(resolver, index, message.frame_source,
                              unspecified ? all_nodes_group() : packet.source);
    return true;
}

}  // namespace

void answer_nd(Resolver& resolver, const Packet& packet) {
    const auto& routed = packet.routed;
    const auto& interface = resolver.tables().interfaces[routed.interface];
    if (!interface.config.up) return resolver.drop(routed, Drop::interface_down);
    Message message;
    if (!read_message(packet, message)) return resolver.drop(routed, Drop::bad_neighbour_message);
    if (!packet.source.is_unspecified() &&
        (packet.source.is_multicast() || !is_on_link(resolver.tables(), routed.interface, packet.source) ||
         packet.source.is_loopback()))
        return resolver.drop(routed, Drop::martian);
    if (is_own_address(interface, packet.source)) {
        if (message.frame_source != interface.mac)
            defend(resolver, routed.interface, packet.source, message.frame_source);
        return resolver.consume(routed);
    }
    bool sound = true;
    switch (packet.icmp_type) {
        case kNeighbourSolicitation:
            sound = hear_solicitation(resolver, packet, message);
            break;
        case kNeighbourAdvertisement:
            sound = hear_advertisement(resolver, packet, message);
            break;
        case kRouterSolicitation:
            sound = hear_router_solicitation(resolver, packet, message);
            break;
        default:
            break;  // other routers' advertisements and redirects are for hosts
    }
    if (!sound) return resolver.drop(routed, Drop::bad_neighbour_message);
    resolver.consume(routed);
}

}  // namespace viaduct::dataplane
