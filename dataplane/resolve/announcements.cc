#include "resolve/announcements.h"

#include <algorithm>

#include "resolve/node.h"
#include "resolve/resolver.h"
#include "tables/services.h"

namespace viaduct::dataplane {

namespace {

constexpr unsigned kAnnouncements = 2;           // RFC 5227 1.1: ANNOUNCE_NUM,
constexpr std::uint32_t kAnnounceInterval = 2;   // ANNOUNCE_INTERVAL
constexpr std::uint32_t kInitialInterval = 16;   // RFC 4861 10: MAX_INITIAL_RTR_ADVERT_INTERVAL,
constexpr std::uint32_t kInitialCount = 3;       // MAX_INITIAL_RTR_ADVERTISEMENTS
constexpr std::uint32_t kAdvertiseLeast = 200;   // RFC 4861 6.2.1: MinRtrAdvInterval,
constexpr std::uint32_t kAdvertiseSpread = 400;  // up to MaxRtrAdvInterval, 600

/// Spread, so that routers that start together do not go on speaking together; repeatable.
std::uint32_t interval(InterfaceIndex index, const MacAddress& mac, std::uint32_t sent) {
    if (sent < kInitialCount) return kInitialInterval;
    const auto mixed = (mac.to_u64() + index + sent) * 0x9e3779b97f4a7c15U >> 40;
    return kAdvertiseLeast + static_cast<std::uint32_t>(mixed % kAdvertiseSpread);
}

bool is_up(const Topology& topology, InterfaceIndex index) {
    return index < topology.interfaces.size() && topology.interfaces[index].bridge != nullptr &&
           topology.interfaces[index].up;
}

/// Services' addresses that are announced on the interface's link.
std::vector<IpAddress> announced_on(const Tables& tables, const InterfaceEntry& interface) {
    std::vector<IpAddress> all;
    if (tables.services == nullptr) return all;
    for (const auto& [place, frontends] : tables.services->announced()) {
        if (place.first == interface.zone && is_on_network(interface, place.second))
            all.push_back(place.second);
    }
    return all;
}

}  // namespace

void Announcements::due(Resolver& resolver) {
    if (resolver.tables().generation != generation_) {
        generation_ = resolver.tables().generation;
        notice(resolver);
    }
    announce(resolver);
    advertise(resolver);
}

void Announcements::notice(Resolver& resolver) {
    const auto& tables = resolver.tables();
    std::map<Address, Life> next;
    std::map<InterfaceIndex, Advertised> advertised;
    for (std::size_t i = 0; i < tables.interfaces.size(); ++i) {
        const auto index = static_cast<InterfaceIndex>(i);
        const auto& interface = tables.interfaces[i];
        if (interface.config.name.empty() || !is_up(resolver.topology(), index)) continue;
        const auto add = [&](const IpAddress& address) {
            Life life{interface.mac, interface.config.bridge, interface.config.vlan, resolver.now(),
                      kAnnouncements};
            const auto before = addresses_.find({index, address});
            const bool same = before != addresses_.end() && before->second.identity() == life.identity();
            next.emplace(Address{index, address}, same ? before->second : life);
        };
        for (const auto& own : interface.config.addresses)
            add(own.address);
        add(link_local_address(interface.mac));
        for (const auto& address : announced_on(tables, interface))
            add(address);
        const auto before = advertised_.find(index);
        if (interface.config.router_advertisements) {
            advertised.emplace(index,
                               before != advertised_.end() ? before->second : Advertised{resolver.now(), 0});
        } else if (before != advertised_.end()) {
            // RFC 4861 6.2.5: hosts shall not go on believing in a router that has ceased to be one.
            const auto group = all_nodes_group();
            send_router_advertisement(resolver, index, group_mac(group), group, true);
        }
    }
    addresses_ = std::move(next);
    advertised_ = std::move(advertised);
}

void Announcements::announce(Resolver& resolver) {
    for (auto& [address, life] : addresses_) {
        if (life.left == 0 || resolver.now() < life.next) continue;
        // Before others are told to believe it: whoever has the address already says so to a probe alone.
        if (life.left == kAnnouncements) send_probe(resolver, address.first, address.second);
        --life.left;
        life.next = resolver.now() + kAnnounceInterval;
        send_announcement(resolver, address.first, address.second);
    }
}

void Announcements::advertise(Resolver& resolver) {
    for (auto& [index, state] : advertised_) {
        if (resolver.now() < state.next || !is_up(resolver.topology(), index)) continue;
        ++state.sent;
        state.next = resolver.now() + interval(index, resolver.tables().interfaces[index].mac, state.sent);
        const auto group = all_nodes_group();
        send_router_advertisement(resolver, index, group_mac(group), group);
    }
}

void send_router_advertisement(Resolver& resolver, InterfaceIndex index, const MacAddress& to_mac,
                               const IpAddress& to, bool last) {
    const auto& interface = resolver.tables().interfaces[index];
    RouterAdvertisement advertisement;
    advertisement.mtu = interface.config.mtu;
    const bool router = interface.vrf->forwarding6 && !last;
    if (!router) advertisement.lifetime = 0;
    constexpr std::size_t most = 32;  // what fits into the least MTU
    for (const auto& own : interface.config.addresses) {
        const Prefix network{own.network(), own.length};
        auto& list = advertisement.prefixes;
        if (own.address.is_v4() || own.length == 128 || own.address.is_link_local() || list.size() == most ||
            std::find(list.begin(), list.end(), network) != list.end())
            continue;
        list.push_back(network);
    }
    send_own(resolver, index,
             compose_router_advertisement({to_mac, interface.mac, to, link_local_address(interface.mac)},
                                          advertisement));
}

}  // namespace viaduct::dataplane
