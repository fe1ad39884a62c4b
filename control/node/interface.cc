// rtnetlink for pods: links, addresses and routes of one interface (rtnetlink(7); linux/rtnetlink.h).
#include "node/interface.h"

#include <fcntl.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "node/netlink.h"

namespace viaduct::node {

namespace {

using attachment::Address;
using attachment::Route;

struct Link {
    int index = 0;
    unsigned flags = 0;
    std::uint32_t mtu = 0;
    std::string mac;
    std::string alias;
    std::string kind;
};

std::string text_of(const nlattr* attribute) {
    const auto* text = mnl_attr_get_str(attribute);
    return {text, ::strnlen(text, mnl_attr_get_payload_len(attribute))};
}

std::uint8_t family_of(const IpAddress& address) {
    return static_cast<std::uint8_t>(address.is_v4() ? AF_INET : AF_INET6);
}

void put_address(nlmsghdr* header, std::uint16_t type, const IpAddress& address) {
    const auto bytes = address.bytes();
    mnl_attr_put(header, type, bytes.size(), bytes.data());
}

/// The attributes from `at` to `end`, each given to `each(type, attribute)`.
template <typename Each>
void for_each_between(const void* at, const void* end, const Each& each) {
    const auto* attribute = static_cast<const nlattr*>(at);
    const auto left = [&] {
        return static_cast<int>(static_cast<const char*>(end) - reinterpret_cast<const char*>(attribute));
    };
    for (; mnl_attr_ok(attribute, left()); attribute = mnl_attr_next(attribute)) {
        each(mnl_attr_get_type(attribute), attribute);
    }
}

/// The attributes after a fixed structure of `size` bytes.
template <typename Each>
void for_each_attribute(const nlmsghdr& header, std::size_t size, const Each& each) {
    for_each_between(mnl_nlmsg_get_payload_offset(&header, size), mnl_nlmsg_get_payload_tail(&header), each);
}

std::optional<IpAddress> ip_of(const nlattr* attribute) {
    return IpAddress::from_bytes({static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute)),
                                  mnl_attr_get_payload_len(attribute)});
}

std::string kind_of(const nlattr* linkinfo) {
    std::string kind;
    const auto* begin = static_cast<const char*>(mnl_attr_get_payload(linkinfo));
    for_each_between(begin, begin + mnl_attr_get_payload_len(linkinfo),
                     [&](int type, const nlattr* attribute) {
                         if (type == IFLA_INFO_KIND) kind = text_of(attribute);
                     });
    return kind;
}

Link link_from(const nlmsghdr& header) {
    const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&header));
    Link link;
    link.index = info->ifi_index;
    link.flags = info->ifi_flags;
    for_each_attribute(header, sizeof(ifinfomsg), [&](int type, const nlattr* attribute) {
        if (type == IFLA_MTU) link.mtu = mnl_attr_get_u32(attribute);
        if (type == IFLA_IFALIAS) link.alias = text_of(attribute);
        if (type == IFLA_LINKINFO) link.kind = kind_of(attribute);
        if (type == IFLA_ADDRESS && mnl_attr_get_payload_len(attribute) == 6) {
            MacAddress mac;
            std::memcpy(mac.bytes.data(), mnl_attr_get_payload(attribute), 6);
            link.mac = mac.to_string();
        }
    });
    return link;
}

std::optional<Link> find_link(Netlink& netlink, const std::string& ifname) {
    Message message;
    auto* header = message.start(RTM_GETLINK, 0);
    mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg));
    mnl_attr_put_strz(header, IFLA_IFNAME, ifname.c_str());
    mnl_attr_put_u32(header, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    std::optional<Link> link;
    if (netlink.get(message, [&](const nlmsghdr& answer) { link = link_from(answer); }) != 0)
        return std::nullopt;
    return link;
}

[[noreturn]] void refuse(const std::string& what, int error) {
    throw Error("the kernel refused " + what + ": " + std::strerror(error));
}

void set_link(Netlink& netlink, const Link& link, const InterfaceConfig& config) {
    Message message;
    auto* header = message.start(RTM_NEWLINK, 0);
    auto* info = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg)));
    info->ifi_index = link.index;
    info->ifi_change = IFF_UP;
    info->ifi_flags = config.up ? IFF_UP : 0;
    if (link.mac != config.mac.to_string()) mnl_attr_put(header, IFLA_ADDRESS, 6, config.mac.bytes.data());
    if (link.mtu != config.mtu) mnl_attr_put_u32(header, IFLA_MTU, config.mtu);
    if (link.alias != config.alias)
        mnl_attr_put(header, IFLA_IFALIAS, config.alias.size(), config.alias.data());
    if (const int error = netlink.talk(message); error != 0)
        refuse("to bring up interface " + config.ifname, error);
}

void add_address(Netlink& netlink, const Link& link, const InterfaceConfig& config, const Address& address) {
    const auto& prefix = address.address;
    Message message;
    auto* header = message.start(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
    auto* info = static_cast<ifaddrmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ifaddrmsg)));
    info->ifa_family = family_of(prefix.address);
    info->ifa_prefixlen = prefix.length;
    info->ifa_index = static_cast<unsigned>(link.index);
    info->ifa_scope = RT_SCOPE_UNIVERSE;
    put_address(header, IFA_LOCAL, prefix.address);
    put_address(header, IFA_ADDRESS, prefix.address);
    if (prefix.address.is_v4() && prefix.length < 31) put_address(header, IFA_BROADCAST, prefix.last());
    // IPAM has seen to it that nobody else has the address: it is usable at once.
    if (!prefix.address.is_v4() && !config.detect_duplicates)
        mnl_attr_put_u32(header, IFA_FLAGS, IFA_F_NODAD);
    const int error = netlink.talk(message);
    if (error != 0 && error != EEXIST)
        refuse("address " + prefix.to_string() + " on interface " + config.ifname, error);
}

/// The next hop: the route's own, or the gateway of the first address of its family.
std::optional<IpAddress> next_hop(const InterfaceConfig& config, const Route& route) {
    if (route.gateway || route.scope == RT_SCOPE_LINK) return route.gateway;
    for (const auto& address : config.addresses) {
        if (address.gateway && address.gateway->is_v4() == route.destination.address.is_v4())
            return address.gateway;
    }
    return std::nullopt;
}

void put_metrics(nlmsghdr* header, const Route& route) {
    if (!route.mtu && !route.advmss) return;
    auto* nested = mnl_attr_nest_start(header, RTA_METRICS);
    if (route.mtu) mnl_attr_put_u32(header, RTAX_MTU, *route.mtu);
    if (route.advmss) mnl_attr_put_u32(header, RTAX_ADVMSS, *route.advmss);
    mnl_attr_nest_end(header, nested);
}

void add_route(Netlink& netlink, const Link& link, const InterfaceConfig& config, const Route& route) {
    const auto hop = next_hop(config, route);
    const auto table = route.table.value_or(RT_TABLE_MAIN);
    Message message;
    auto* header = message.start(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    auto* info = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(rtmsg)));
    info->rtm_family = family_of(route.destination.address);
    info->rtm_dst_len = route.destination.length;
    info->rtm_table = static_cast<unsigned char>(table < 256 ? table : RT_TABLE_COMPAT);
    info->rtm_protocol = RTPROT_STATIC;
    info->rtm_type = RTN_UNICAST;
    info->rtm_scope =
        static_cast<unsigned char>(route.scope.value_or(hop ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK));
    if (route.destination.length > 0) put_address(header, RTA_DST, route.destination.network());
    mnl_attr_put_u32(header, RTA_TABLE, table);
    mnl_attr_put_u32(header, RTA_OIF, static_cast<std::uint32_t>(link.index));
    if (route.priority) mnl_attr_put_u32(header, RTA_PRIORITY, *route.priority);
    if (hop) {
        put_address(header, RTA_GATEWAY, *hop);
        const bool on_link = std::any_of(config.addresses.begin(), config.addresses.end(),
                                         [&](const Address& a) { return a.address.contains(*hop); });
        // A pod with a /32 has no subnet in which its gateway could be.
        if (!on_link) info->rtm_flags |= RTNH_F_ONLINK;
    }
    put_metrics(header, route);
    const int error = netlink.talk(message);
    if (error != 0 && error != EEXIST) {
        refuse("the route to " + route.destination.to_string() + " through interface " + config.ifname,
               error);
    }
}

/// Some runtimes turn IPv6 off where they expect none; and an address should outlive its link going down.
void prepare_ipv6(const Namespace& ns, const std::string& ifname) {
    const Inside inside(ns);
    for (const auto& [name, value] : {std::pair{"disable_ipv6", "0"}, std::pair{"keep_addr_on_down", "1"}}) {
        const auto path = "/proc/sys/net/ipv6/conf/" + ifname + "/" + name;
        const http::Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        char now = 0;
        if (!file.valid() || ::pread(file.get(), &now, 1, 0) != 1 || now == *value) continue;
        if (::pwrite(file.get(), value, 1, 0) != 1) refuse("to set " + path, errno);
    }
}

struct Found {
    std::vector<Prefix> addresses;
    std::vector<Prefix> tentative;
    std::vector<Prefix> duplicates;
};

Found find_addresses(Netlink& netlink, const Link& link) {
    Message message;
    auto* header = message.start(RTM_GETADDR, 0);
    mnl_nlmsg_put_extra_header(header, sizeof(ifaddrmsg));
    Found found;
    netlink.dump(message, [&](const nlmsghdr& answer) {
        const auto* info = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&answer));
        if (static_cast<int>(info->ifa_index) != link.index) return;
        std::optional<IpAddress> local;
        std::optional<IpAddress> address;
        std::uint32_t flags = info->ifa_flags;
        for_each_attribute(answer, sizeof(ifaddrmsg), [&](int type, const nlattr* attribute) {
            if (type == IFA_LOCAL) local = ip_of(attribute);
            if (type == IFA_ADDRESS) address = ip_of(attribute);
            if (type == IFA_FLAGS) flags = mnl_attr_get_u32(attribute);
        });
        if (!local) local = address;  // IPv6 has no IFA_LOCAL
        if (!local) return;
        const Prefix prefix{*local, info->ifa_prefixlen};
        found.addresses.push_back(prefix);
        if ((flags & IFA_F_TENTATIVE) != 0) found.tentative.push_back(prefix);
        if ((flags & IFA_F_DADFAILED) != 0) found.duplicates.push_back(prefix);
    });
    return found;
}

bool holds(const std::vector<Prefix>& list, const Prefix& prefix) {
    return std::find(list.begin(), list.end(), prefix) != list.end();
}

/// Duplicate address detection takes about a second; it is waited for only when it was asked for.
void wait_for_detection(Netlink& netlink, const Link& link, const InterfaceConfig& config) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (const auto& address : config.addresses) {
        if (address.address.address.is_v4()) continue;
        for (;;) {
            const auto found = find_addresses(netlink, link);
            if (holds(found.duplicates, address.address)) {
                throw Error("address " + address.address.to_string() +
                            " is in use by another node of its link");
            }
            if (!holds(found.tentative, address.address)) break;
            if (std::chrono::steady_clock::now() > deadline) {
                throw Error("duplicate address detection of " + address.address.to_string() + " did not end");
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    }
}

bool has_route(Netlink& netlink, const Route& route) {
    const auto table = route.table.value_or(RT_TABLE_MAIN);
    Message message;
    auto* header = message.start(RTM_GETROUTE, 0);
    auto* asked = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(rtmsg)));
    asked->rtm_family = family_of(route.destination.address);
    bool found = false;
    netlink.dump(message, [&](const nlmsghdr& answer) {
        const auto* info = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer));
        if (info->rtm_dst_len != route.destination.length || info->rtm_type != RTN_UNICAST) return;
        std::uint32_t its_table = info->rtm_table;
        std::optional<IpAddress> destination;
        for_each_attribute(answer, sizeof(rtmsg), [&](int type, const nlattr* attribute) {
            if (type == RTA_TABLE) its_table = mnl_attr_get_u32(attribute);
            if (type == RTA_DST) destination = ip_of(attribute);
        });
        const bool same = info->rtm_dst_len == 0 || destination == route.destination.network();
        if (same && its_table == table) found = true;
    });
    return found;
}

}  // namespace

void configure(const Namespace& ns, const InterfaceConfig& config) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, config.ifname);
    if (!link) throw Error("interface " + config.ifname + " is not in the pod's namespace");
    const bool any_v6 = std::any_of(config.addresses.begin(), config.addresses.end(),
                                    [](const Address& a) { return !a.address.address.is_v4(); });
    if (any_v6) prepare_ipv6(ns, config.ifname);
    set_link(netlink, *link, config);
    if (!config.up) return;
    for (const auto& address : config.addresses)
        add_address(netlink, *link, config, address);
    if (config.detect_duplicates) wait_for_detection(netlink, *link, config);
    for (const auto& route : config.routes)
        add_route(netlink, *link, config, route);
}

std::optional<std::string> difference(const Namespace& ns, const InterfaceConfig& config) {
    Netlink netlink(ns);
    const auto name = "interface " + config.ifname;
    const auto link = find_link(netlink, config.ifname);
    if (!link) return name + " is not in the pod's namespace";
    if (link->mac != config.mac.to_string()) {
        return name + " has MAC address " + link->mac + ", and should have " + config.mac.to_string();
    }
    if (link->mtu != config.mtu) {
        return name + " has MTU " + std::to_string(link->mtu) + ", and should have " +
               std::to_string(config.mtu);
    }
    if (!config.up) return std::nullopt;
    if ((link->flags & IFF_UP) == 0) return name + " is down";
    const auto found = find_addresses(netlink, *link);
    for (const auto& address : config.addresses) {
        if (!holds(found.addresses, address.address)) {
            return name + " lacks address " + address.address.to_string();
        }
    }
    for (const auto& route : config.routes) {
        if (!has_route(netlink, route))
            return "the route to " + route.destination.to_string() + " is missing";
    }
    return std::nullopt;
}

std::optional<std::string> find_by_alias(const Namespace& ns, const std::string& alias) {
    Netlink netlink(ns);
    Message message;
    auto* header = message.start(RTM_GETLINK, 0);
    mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg));
    mnl_attr_put_u32(header, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    std::optional<std::string> found;
    netlink.dump(message, [&](const nlmsghdr& answer) {
        std::string name;
        for_each_attribute(answer, sizeof(ifinfomsg), [&](int type, const nlattr* attribute) {
            if (type == IFLA_IFNAME) name = text_of(attribute);
        });
        if (link_from(answer).alias == alias) found = name;
    });
    return found;
}

bool remove(const Namespace& ns, const std::string& ifname, const std::string& alias) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, ifname);
    if (!link || link->kind != "tun" || link->alias != alias) return false;
    Message message;
    auto* header = message.start(RTM_DELLINK, 0);
    auto* info = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg)));
    info->ifi_index = link->index;
    const int error = netlink.talk(message);
    if (error != 0 && error != ENODEV) refuse("to remove interface " + ifname, error);
    return true;
}

}  // namespace viaduct::node
