// ARP (RFC 826) as the node hears it: who asks for its addresses is answered, who answers or speaks is
// learned (within RFC 826's bounds: only whoever speaks to the node makes an entry), and who claims an own
// address is contradicted (RFC 5227).
#include <array>
#include <cstring>

#include "resolve/messages.h"
#include "resolve/node.h"
#include "resolve/packet.h"
#include "resolve/resolver.h"

namespace viaduct::dataplane {

namespace {

struct Heard {
    bool request = false;
    MacAddress sender_mac;
    IpAddress sender;
    MacAddress target_mac;
    IpAddress target;
};

MacAddress mac_at(const std::uint8_t* at) {
    MacAddress mac;
    std::memcpy(mac.bytes.data(), at, mac.bytes.size());
    return mac;
}

std::optional<Heard> read_arp(const RoutedFrame& routed) {
    std::array<std::uint8_t, 28> m;
    if (!read_bytes(routed.frame, routed.l2_length, m.size(), m.data())) return std::nullopt;
    // Ethernet, IPv4, their lengths.
    constexpr std::array<std::uint8_t, 6> head{0, 1, 8, 0, 6, 4};
    if (std::memcmp(m.data(), head.data(), head.size()) != 0) return std::nullopt;
    if (m[6] != 0 || (m[7] != 1 && m[7] != 2)) return std::nullopt;
    Heard heard;
    heard.request = m[7] == 1;
    heard.sender_mac = mac_at(&m[8]);
    heard.sender = *IpAddress::from_bytes(std::span(m).subspan(14, 4));
    heard.target_mac = mac_at(&m[18]);
    heard.target = *IpAddress::from_bytes(std::span(m).subspan(24, 4));
    if (heard.sender_mac.is_multicast() || heard.sender_mac.is_zero()) return std::nullopt;
    return heard;
}

/// An address that no host has: whoever says that he has it is not believed.
bool is_martian(const IpAddress& address) {
    const auto first = address.bytes()[0];
    return first == 0 || first >= 224 || address.is_loopback();
}

bool is_network_broadcast(const InterfaceEntry& interface, const IpAddress& address) {
    for (const auto& own : interface.config.addresses) {
        if (own.address.is_v4() && own.length < 31 && own.last() == address) return true;
    }
    return false;
}

void answer(Resolver& resolver, InterfaceIndex index, const Heard& heard) {
    const auto& mac = resolver.tables().interfaces[index].mac;
    send_own(resolver, index,
             compose_arp({false, mac, heard.target, heard.sender_mac, heard.sender}, heard.sender_mac));
}

/// A message from a sender whose address may be believed.
void hear(Resolver& resolver, InterfaceIndex index, const Heard& heard) {
    const auto& interface = resolver.tables().interfaces[index];
    const bool for_us = is_own_address(interface, heard.target);
    const bool gratuitous = heard.sender == heard.target;
    const bool proxied =
        heard.request && !for_us && !gratuitous && is_proxied(resolver.tables(), index, heard.target);
    Neighbours::Evidence evidence;
    evidence.create = heard.request && (for_us || proxied);
    // An answer to a probe without an address has none for a target.
    evidence.solicited =
        !heard.request && heard.target_mac == interface.mac && (for_us || heard.target.is_unspecified());
    learn_neighbour(resolver, {index, heard.sender}, heard.sender_mac, evidence);
    if (heard.request && (for_us || proxied)) answer(resolver, index, heard);
}

}  // namespace

void answer_arp(Resolver& resolver, const RoutedFrame& routed) {
    const auto heard = read_arp(routed);
    if (!heard) return resolver.drop(routed, Drop::bad_neighbour_message);
    const auto index = routed.interface;
    const auto& interface = resolver.tables().interfaces[index];
    if (!interface.config.up) return resolver.drop(routed, Drop::interface_down);
    if (heard->sender_mac == interface.mac) return resolver.consume(routed);  // our own, gone round
    if (is_own_address(interface, heard->sender)) {
        defend(resolver, index, heard->sender, heard->sender_mac);
    } else if (heard->sender.is_unspecified()) {
        // Somebody is about to take an address and asks whether it is free (RFC 5227 2.1.1).
        if (heard->request && is_own_address(interface, heard->target)) answer(resolver, index, *heard);
    } else if (is_martian(heard->sender) || is_network_broadcast(interface, heard->sender) ||
               !is_on_link(resolver.tables(), index, heard->sender)) {
        return resolver.drop(routed, Drop::martian);
    } else {
        hear(resolver, index, *heard);
    }
    resolver.consume(routed);
}

}  // namespace viaduct::dataplane
