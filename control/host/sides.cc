#include "host/sides.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "node/netns.h"
#include "node/sysctl.h"

namespace viaduct::host {

namespace {

const IpAddress& router_address(bool v4) {
    static const auto address4 = *IpAddress::parse(kRouter4);
    static const auto address6 = *IpAddress::parse(kRouter6);
    return v4 ? address4 : address6;
}

/// What the router refuses but for services that lie in it: their range, which it answers for.
bool is_service_range(const model::Config& config, const model::Route& route) {
    if (route.kind != model::RouteKind::unreachable) return false;
    return std::ranges::any_of(config.services, [&](const auto& entry) {
        const auto& service = entry.second;
        return service.vrf == route.vrf &&
               std::ranges::any_of(service.frontends, [&](const model::Frontend& frontend) {
                   return !frontend.external && route.prefix.contains(frontend.address);
               });
    });
}

std::set<std::string> shared_interfaces(const model::Config& config) {
    std::set<std::string> shared;
    for (const auto& [name, port] : config.ports) {
        if (!port.host.empty() && port.up) shared.insert(port.host);
    }
    return shared;
}

/// The networks of a VRF that lie behind other interfaces than those that hosts share.
std::set<Prefix> networks_behind(const model::Config& config, const std::string& vrf, std::size_t& left_out) {
    const auto shared = shared_interfaces(config);
    const auto behind = [&](const std::string& name) {
        const auto interface = config.interfaces.find(name);
        return interface != config.interfaces.end() && interface->second.up && interface->second.vrf == vrf &&
               !shared.contains(name);
    };
    std::set<Prefix> networks;
    for (const auto& [name, interface] : config.interfaces) {
        if (!behind(name)) continue;
        for (const auto& own : interface.addresses)
            networks.insert({own.network(), own.length});
    }
    for (auto it = config.routes.lower_bound({vrf, Prefix{}});
         it != config.routes.end() && it->second.vrf == vrf; ++it) {
        const auto& route = it->second;
        if (is_service_range(config, route)) networks.insert(route.prefix);
        if (route.prefix.length == 0 || route.next_hops.empty() || !behind(route.next_hops[0].interface))
            continue;
        if (networks.size() < kNetworksMost) {
            networks.insert(route.prefix);
        } else {
            ++left_out;
        }
    }
    return networks;
}

attachment::Route route_by_router(const Prefix& destination) {
    attachment::Route route;
    route.destination = destination;
    route.gateway = router_address(destination.address.is_v4());
    return route;
}

Prefix everything(bool v4) {
    return *Prefix::parse(v4 ? "0.0.0.0/0" : "::/0");
}

struct PortRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    friend auto operator<=>(const PortRange&, const PortRange&) = default;
};
using Places = std::map<std::tuple<model::Transport, Prefix>, std::set<PortRange>>;

/// Those that touch are one, and so are those with the smallest gaps until there are few.
std::vector<PortRange> joined(const std::set<PortRange>& ranges) {
    std::vector<PortRange> apart;
    for (const auto& range : ranges) {
        if (!apart.empty() && range.first <= apart.back().last + 1) {
            apart.back().last = std::max(apart.back().last, range.last);
        } else {
            apart.push_back(range);
        }
    }
    if (apart.size() <= kPortRulesMost) return apart;
    // The widest gaps stay, each known by the range behind it.
    std::vector<std::size_t> behind(apart.size() - 1);
    std::iota(behind.begin(), behind.end(), 1U);
    const auto gap = [&](std::size_t i) { return apart[i].first - apart[i - 1].last; };
    const auto kept = behind.begin() + (kPortRulesMost - 1);
    std::ranges::nth_element(behind, kept, std::greater<>(), gap);
    std::sort(behind.begin(), kept);
    std::vector<PortRange> result;
    std::size_t first = 0;
    for (auto it = behind.begin(); it != kept; ++it) {
        result.push_back({apart[first].first, apart[*it - 1].last});
        first = *it;
    }
    result.push_back({apart[first].first, apart.back().last});
    return result;
}

/// Own addresses of a VRF, and by IPv4 the loopback addresses, by which programs know the node, too. (IPv6's
/// loopback address never leaves its interface: RFC 4291 2.5.3, which Linux enforces.) `elsewhere`: addresses
/// of services that no interface here has, each as a network.
std::vector<node::PublishedPlace> published_in(const model::Config& config, const model::Interface& shared,
                                               std::set<Prefix>& elsewhere) {
    static const auto loopback = *Prefix::parse("127.0.0.0/8");
    const auto& vrf = shared.vrf;
    std::set<IpAddress> own;
    for (const auto& [name, interface] : config.interfaces) {
        if (interface.vrf != vrf) continue;
        for (const auto& one : interface.addresses)
            own.insert(one.address);
    }
    Places places;
    const auto publish = [&](model::Transport protocol, const IpAddress& address, PortRange ports,
                             bool loops) {
        places[{protocol, {address, static_cast<std::uint8_t>(address.bits())}}].insert(ports);
        if (loops && address.is_v4()) places[{protocol, loopback}].insert(ports);
    };
    for (const auto& [name, forward] : config.port_forwards) {
        if (forward.vrf == vrf)
            publish(forward.protocol, forward.address, {forward.port, forward.port_last}, true);
    }
    for (const auto& [key, service] : config.services) {
        if (service.vrf != vrf) continue;
        for (const auto& frontend : service.frontends) {
            const auto& address = frontend.address;
            if (!frontend.external) continue;
            const bool is_its =
                std::ranges::find(shared.addresses, address, &Prefix::address) != shared.addresses.end();
            if (own.contains(address)) {
                publish(service.protocol, address, {frontend.port, frontend.port}, is_its);
            } else {
                elsewhere.insert({address, static_cast<std::uint8_t>(address.bits())});
            }
        }
    }
    std::vector<node::PublishedPlace> published;
    for (const auto& [at, ranges] : places) {
        for (const auto& range : joined(ranges))
            published.push_back({std::get<0>(at), std::get<1>(at), range.first, range.last});
    }
    return published;
}

/// By which of its addresses the host speaks to what lies behind the router: one that the router knows.
void choose_sources(node::InterfaceConfig& interface) {
    for (const auto& own : interface.addresses) {
        const auto& address = own.address.address;
        auto& source = address.is_v4() ? interface.source4 : interface.source6;
        if (!source && !address.is_link_local()) source = address;
    }
}

Side side_of(const model::Config& config, const model::Port& port, bool first) {
    const auto& shared = config.interfaces.at(port.host);
    Side side;
    side.port = port.name;
    side.netns = port.tap.netns;
    side.mac = model::mac_of(config, port).value_or(MacAddress{});
    side.interface.ifname = port.tap.ifname;
    side.interface.alias = "viaduct: shares " + shared.name;
    side.interface.mac = side.mac;
    side.interface.mtu = port.mtu;
    side.interface.mark = node::kMark;
    for (const auto& own : shared.addresses)
        side.interface.addresses.push_back({own, std::nullopt});
    choose_sources(side.interface);
    if (!first) return side;
    for (const auto& network : networks_behind(config, shared.vrf, side.left_out))
        side.interface.routes.push_back(route_by_router(network));
    std::set<Prefix> elsewhere;
    side.published = published_in(config, shared, elsewhere);
    std::size_t addresses = 0;
    for (const auto& address : elsewhere) {
        if (++addresses <= kServiceAddressesMost) {
            side.interface.routes.push_back(route_by_router(address));
        } else {
            ++side.left_out;
        }
    }
    for (const bool v4 : {true, false}) {
        const auto of_family = [v4](const auto& place) { return place.at.address.is_v4() == v4; };
        if (std::ranges::none_of(*side.published, of_family)) continue;
        auto route = route_by_router(everything(v4));
        route.table = kPublishedTable;
        side.interface.routes.push_back(route);
    }
    return side;
}

/// Answers from published places come from the node's own addresses, by this interface. Of what the bridge
/// floods nothing is for one host.
void set_switches(const node::Namespace& ns, const Side& side) {
    const auto& ifname = side.interface.ifname;
    const auto is_v4 = [](const node::PublishedPlace& place) { return place.at.address.is_v4(); };
    const bool published = side.published && std::ranges::any_of(*side.published, is_v4);
    node::write_sysctl(ns, "ipv4", ifname, "drop_unicast_in_l2_multicast", "1");
    node::write_sysctl(ns, "ipv6", ifname, "drop_unicast_in_l2_multicast", "1");
    node::write_sysctl(ns, "ipv4", ifname, "accept_local", published ? "1" : "0");
    node::write_sysctl(ns, "ipv4", ifname, "route_localnet", published ? "1" : "0");
    node::write_sysctl(ns, "ipv4", ifname, "rp_filter", "2");
}

}  // namespace

std::vector<Side> sides_of(const model::Config& config) {
    std::vector<Side> sides;
    std::set<std::string> seen;  // namespaces
    for (const auto& [name, port] : config.ports) {
        if (port.host.empty() || !port.up || port.kind != model::PortKind::tap ||
            !config.interfaces.contains(port.host))
            continue;
        sides.push_back(side_of(config, port, seen.insert(port.tap.netns).second));
    }
    return sides;
}

void bring_about(const Side& side) {
    const auto ns = side.netns.empty() ? node::Namespace::own() : node::Namespace::open(side.netns);
    const auto& ifname = side.interface.ifname;
    auto missing = side.interface;
    // Those that are there would be announced anew, to whoever hears of addresses: to Shares, too.
    const auto present = node::addresses_of(ns, ifname);
    std::erase_if(missing.addresses, [&](const attachment::Address& one) {
        const auto has = [&](const std::vector<Prefix>& list) {
            return std::ranges::find(list, one.address) != list.end();
        };
        return has(side.kept) || has(present);
    });
    node::configure(ns, missing);
    set_switches(ns, side);
    for (const bool v4 : {true, false})
        node::set_neighbour(ns, ifname, router_address(v4), side.mac);
    if (side.published) node::set_published(ns, *side.published, kPublishedTable);
    node::withdraw_stale(ns, side.interface);
}

}  // namespace viaduct::host
