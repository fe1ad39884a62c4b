// rtnetlink for pods: links, addresses and routes of one interface (rtnetlink(7); linux/rtnetlink.h).
#include "node/interface.h"

#include <fcntl.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>
#include <thread>
#include <tuple>

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "node/attributes.h"
#include "node/link.h"
#include "node/netlink.h"

namespace viaduct::node {

namespace {

using attachment::Address;
using attachment::Route;

void set_link(Netlink& netlink, const Link& link, const InterfaceConfig& config) {
    Message message;
    auto* header = message.start(RTM_NEWLINK, 0);
    auto* info = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg)));
    info->ifi_index = link.index;
    info->ifi_change = IFF_UP;
    info->ifi_flags = config.up ? IFF_UP : 0;
    if (link.mac != config.mac) mnl_attr_put(header, IFLA_ADDRESS, 6, config.mac.bytes.data());
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
    if (config.mark != 0) mnl_attr_put_u8(header, kAddressProtocol, config.mark);
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
    info->rtm_protocol = config.mark != 0 ? config.mark : static_cast<unsigned char>(RTPROT_STATIC);
    info->rtm_type = RTN_UNICAST;
    info->rtm_scope =
        static_cast<unsigned char>(route.scope.value_or(hop ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK));
    if (route.destination.length > 0) put_address(header, RTA_DST, route.destination.network());
    mnl_attr_put_u32(header, RTA_TABLE, table);
    mnl_attr_put_u32(header, RTA_OIF, static_cast<std::uint32_t>(link.index));
    if (route.priority) mnl_attr_put_u32(header, RTA_PRIORITY, *route.priority);
    const auto& source = route.destination.address.is_v4() ? config.source4 : config.source6;
    if (source) put_address(header, RTA_PREFSRC, *source);
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

/// What the kernel told of an object, as a request to delete it.
Message deletion_of(const nlmsghdr& told, unsigned short type) {
    Message message;
    std::memcpy(message.bytes.data(), &told, std::min<std::size_t>(told.nlmsg_len, message.bytes.size()));
    message.header()->nlmsg_type = type;
    message.header()->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    message.header()->nlmsg_pid = 0;
    return message;
}

std::vector<Message> stale_addresses(Netlink& netlink, const Link& link, const InterfaceConfig& config) {
    Message question;
    mnl_nlmsg_put_extra_header(question.start(RTM_GETADDR, 0), sizeof(ifaddrmsg));
    std::vector<Message> stale;
    netlink.dump(question, [&](const nlmsghdr& answer) {
        const auto* info = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&answer));
        if (static_cast<int>(info->ifa_index) != link.index) return;
        std::uint8_t mark = 0;
        std::optional<IpAddress> address;
        for_each_attribute(answer, sizeof(ifaddrmsg), [&](int type, const nlattr* attribute) {
            if (type == kAddressProtocol) mark = mnl_attr_get_u8(attribute);
            if (type == IFA_LOCAL || (type == IFA_ADDRESS && !address)) address = ip_of(attribute);
        });
        const auto same = [&](const Address& wanted) {
            return wanted.address == Prefix{*address, info->ifa_prefixlen};
        };
        if (mark != config.mark || !address || std::ranges::any_of(config.addresses, same)) return;
        stale.push_back(deletion_of(answer, RTM_DELADDR));
    });
    return stale;
}

std::vector<Message> stale_routes(Netlink& netlink, const Link& link, const InterfaceConfig& config) {
    std::vector<Message> stale;
    std::set<std::tuple<std::uint32_t, Prefix>> wanted;
    for (const auto& route : config.routes) {
        const auto& to = route.destination;
        wanted.emplace(route.table.value_or(RT_TABLE_MAIN), Prefix{to.network(), to.length});
    }
    for (const auto family : kFamilies) {
        Message question;
        auto* header = question.start(RTM_GETROUTE, 0);
        static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(rtmsg)))->rtm_family = family;
        netlink.dump(question, [&](const nlmsghdr& answer) {
            const auto* info = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer));
            if (info->rtm_protocol != config.mark) return;
            std::uint32_t table = info->rtm_table;
            std::uint32_t out = 0;
            std::optional<IpAddress> destination;
            for_each_attribute(answer, sizeof(rtmsg), [&](int type, const nlattr* attribute) {
                if (type == RTA_TABLE) table = mnl_attr_get_u32(attribute);
                if (type == RTA_OIF) out = mnl_attr_get_u32(attribute);
                if (type == RTA_DST) destination = ip_of(attribute);
            });
            if (out != static_cast<std::uint32_t>(link.index)) return;
            // A default route is told without a destination.
            const auto to = destination.value_or(*IpAddress::parse(family == AF_INET ? "0.0.0.0" : "::"));
            if (!wanted.contains({table, Prefix{to, info->rtm_dst_len}}))
                stale.push_back(deletion_of(answer, RTM_DELROUTE));
        });
    }
    return stale;
}

void remove_link(Netlink& netlink, const Link& link, const std::string& ifname) {
    Message message;
    auto* header = message.start(RTM_DELLINK, 0);
    auto* info = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg)));
    info->ifi_index = link.index;
    const int error = netlink.talk(message);
    if (error != 0 && error != ENODEV) refuse("to remove interface " + ifname, error);
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

void set_neighbour(const Namespace& ns, const std::string& ifname, const IpAddress& address,
                   const MacAddress& mac) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, ifname);
    if (!link) throw Error("interface " + ifname + " does not exist");
    Message message;
    auto* header = message.start(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
    auto* info = static_cast<ndmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ndmsg)));
    info->ndm_family = family_of(address);
    info->ndm_ifindex = link->index;
    info->ndm_state = NUD_PERMANENT;
    put_address(header, NDA_DST, address);
    mnl_attr_put(header, NDA_LLADDR, mac.bytes.size(), mac.bytes.data());
    if (const int error = netlink.talk(message); error != 0)
        refuse("neighbour " + address.to_string() + " on interface " + ifname, error);
}

std::vector<Prefix> addresses_of(const Namespace& ns, const std::string& ifname) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, ifname);
    return link ? find_addresses(netlink, *link).addresses : std::vector<Prefix>();
}

void withdraw_stale(const Namespace& ns, const InterfaceConfig& config) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, config.ifname);
    if (!link) return;
    std::vector<Message> stale = stale_addresses(netlink, *link, config);
    for (auto& route : stale_routes(netlink, *link, config))
        stale.push_back(route);
    // Another may have been quicker, or one may have gone with another.
    for (auto& message : stale)
        netlink.talk(message);
}

std::optional<std::string> difference(const Namespace& ns, const InterfaceConfig& config) {
    Netlink netlink(ns);
    const auto name = "interface " + config.ifname;
    const auto link = find_link(netlink, config.ifname);
    if (!link) return name + " is not in the pod's namespace";
    if (link->mac != config.mac) {
        return name + " has MAC address " + link->mac.to_string() + ", and should have " +
               config.mac.to_string();
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
    const auto links = links_in(netlink);
    const auto found = std::ranges::find(links, alias, &Link::alias);
    return found == links.end() ? std::nullopt : std::optional(found->name);
}

bool remove(const Namespace& ns, const std::string& ifname, const std::string& alias) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, ifname);
    if (!link || link->kind != "tun" || link->alias != alias) return false;
    remove_link(netlink, *link, ifname);
    return true;
}

bool remove(const Namespace& ns, const std::string& ifname, const MacAddress& mac) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, ifname);
    if (!link || link->kind != "tun" || link->mac != mac) return false;
    remove_link(netlink, *link, ifname);
    return true;
}

}  // namespace viaduct::node
