#include "node/interface_state.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

#include "node/attributes.h"
#include "node/link.h"
#include "node/netlink.h"
#include "node/rules.h"
#include "node/sysctl.h"

namespace viaduct::node {

namespace {

/// To read all of an interface while it stays as it is.
constexpr int kAttempts = 10;

/// What decides how an interface gets addresses and whom it believes.
constexpr std::array<std::array<const char*, 2>, 8> kSwitches{{{"ipv6", "disable_ipv6"},
                                                               {"ipv6", "stable_secret"},
                                                               {"ipv4", "rp_filter"},
                                                               {"ipv4", "forwarding"},
                                                               {"ipv6", "accept_ra"},
                                                               {"ipv6", "autoconf"},
                                                               {"ipv6", "addr_gen_mode"},
                                                               {"ipv6", "use_tempaddr"}}};

void check_alone(Netlink& netlink, const Link& link) {
    const auto links = links_in(netlink);
    const auto name_of = [&](int index) {
        const auto found = std::ranges::find(links, index, &Link::index);
        return found == links.end() ? std::to_string(index) : found->name;
    };
    if (link.master != 0) {
        throw Error("interface " + link.name + " is a port of " + name_of(link.master) +
                    "; take that one, or take it out first (ip link set " + link.name + " nomaster)");
    }
    for (const auto& other : links) {
        if (other.below == link.index && other.index != link.index) {
            throw Error("interface " + other.name + " stands on " + link.name +
                        " and would lose its way; remove it first (ip link del " + other.name + ")");
        }
    }
}

/// What a message has room for, with its header and what is added to it.
constexpr std::size_t kToldMost = sizeof(Message::bytes) - 64;

Told payload_of(const nlmsghdr& told) {
    const auto* bytes = static_cast<const std::uint8_t*>(mnl_nlmsg_get_payload(&told));
    return {bytes, bytes + mnl_nlmsg_get_payload_len(&told)};
}

// Each of these returns what Netlink::dump() did.

int read_addresses(Netlink& netlink, const Link& link, InterfaceState& state) {
    Message question;
    mnl_nlmsg_put_extra_header(question.start(RTM_GETADDR, 0), sizeof(ifaddrmsg));
    return netlink.dump(question, [&](const nlmsghdr& answer) {
        const auto* info = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&answer));
        if (static_cast<int>(info->ifa_index) != link.index || info->ifa_scope == RT_SCOPE_LINK) return;
        std::uint32_t flags = info->ifa_flags;
        std::optional<IpAddress> address;
        for_each_attribute(answer, sizeof(ifaddrmsg), [&](int type, const nlattr* attribute) {
            if (type == IFA_FLAGS) flags = mnl_attr_get_u32(attribute);
            if (type == IFA_LOCAL || (type == IFA_ADDRESS && !address)) address = ip_of(attribute);
        });
        // Not those that come and go by themselves, nor one that is somebody else's or may be.
        constexpr unsigned unfit = IFA_F_TEMPORARY | IFA_F_TENTATIVE | IFA_F_DADFAILED;
        if (!address || (info->ifa_family == AF_INET6 && (flags & unfit) != 0)) return;
        state.addresses.push_back(payload_of(answer));
        state.prefixes.push_back({*address, info->ifa_prefixlen});
    });
}

/// Whether every next hop of a route over several leaves by the interface; `any` whether one does.
bool all_leave_by(const nlattr* hops, int index, bool& any) {
    bool all = true;
    const auto* hop = static_cast<const rtnexthop*>(mnl_attr_get_payload(hops));
    int left = mnl_attr_get_payload_len(hops);
    for (; RTNH_OK(hop, left); left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
        const bool ours = hop->rtnh_ifindex == index;
        any = any || ours;
        all = all && ours;
    }
    return all && any;
}

void read_route(const nlmsghdr& answer, const Link& link, Purpose purpose, InterfaceState& state) {
    const auto* info = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer));
    const bool made = info->rtm_type == RTN_UNICAST && (info->rtm_flags & RTM_F_CLONED) == 0 &&
                      info->rtm_protocol != RTPROT_KERNEL && info->rtm_protocol != kMark;
    if (!made) return;
    std::uint32_t table = info->rtm_table;
    bool ours = false;
    bool object = false;
    std::optional<IpAddress> destination;
    InterfaceState::Gateway gateway;
    bool several = false;
    for_each_attribute(answer, sizeof(rtmsg), [&](int type, const nlattr* attribute) {
        if (type == RTA_TABLE) table = mnl_attr_get_u32(attribute);
        if (type == RTA_OIF) ours = static_cast<int>(mnl_attr_get_u32(attribute)) == link.index;
        if (type == RTA_NH_ID) object = true;
        if (type == RTA_DST) destination = ip_of(attribute);
        if (type == RTA_GATEWAY) gateway.via = ip_of(attribute);
        if (type == RTA_MULTIPATH) {
            several = true;
            bool any = false;
            ours = all_leave_by(attribute, link.index, any);
            if (any && !ours && purpose == Purpose::take)
                throw Error("a route over several interfaces, one of them " + link.name +
                            ", cannot be moved; take that interface out of it first (ip route show)");
        }
    });
    if (!ours) return;
    if (object && purpose == Purpose::look) return;
    if (object)
        throw Error("a route by " + link.name +
                    " uses a next-hop object, which cannot be moved; "
                    "write it with \"via\" and \"dev\" (ip route show)");
    auto told = payload_of(answer);
    if (told.size() > kToldMost && purpose == Purpose::look) return;
    if (told.size() > kToldMost)
        throw Error("a route by " + link.name + " has more next hops than can be moved (ip route show)");
    state.routes.push_back(std::move(told));
    const auto any = *IpAddress::parse(info->rtm_family == AF_INET ? "0.0.0.0" : "::");
    gateway.destination = {destination.value_or(any), info->rtm_dst_len};
    if (!several && table == RT_TABLE_MAIN) state.gateways.push_back(gateway);
}

int read_routes(Netlink& netlink, const Link& link, Purpose purpose, InterfaceState& state) {
    int error = 0;
    for (const auto family : kFamilies) {
        Message question;
        auto* header = question.start(RTM_GETROUTE, 0);
        static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(rtmsg)))->rtm_family = family;
        const int now =
            netlink.dump(question, [&](const nlmsghdr& answer) { read_route(answer, link, purpose, state); });
        if (now != 0) error = now;
    }
    return error;
}

int read_neighbours(Netlink& netlink, const Link& link, InterfaceState& state) {
    Message question;
    mnl_nlmsg_put_extra_header(question.start(RTM_GETNEIGH, 0), sizeof(ndmsg));
    return netlink.dump(question, [&](const nlmsghdr& answer) {
        const auto* info = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(&answer));
        const bool ours = info->ndm_ifindex == link.index && info->ndm_state == NUD_PERMANENT &&
                          (info->ndm_family == AF_INET || info->ndm_family == AF_INET6);
        if (ours) state.neighbours.push_back(payload_of(answer));
    });
}

/// A request made of what was told of another interface. Nothing: it is too short, or longer than any that
/// was taken.
template <typename Fixed>
std::optional<Message> request(const Told& told, unsigned short type) {
    if (told.size() < sizeof(Fixed) || told.size() > kToldMost) return std::nullopt;
    Message message;
    auto* header = message.start(type, NLM_F_CREATE | NLM_F_REPLACE);
    std::memcpy(mnl_nlmsg_put_extra_header(header, told.size()), told.data(), told.size());
    return message;
}

/// A route that was to end (one that a router has advertised) ends as it would have.
void keep_expiry(nlmsghdr* header) {
    std::int32_t ticks = 0;
    change_attributes(header, sizeof(rtmsg), [&](int type, nlattr* attribute) {
        if (type != RTA_CACHEINFO || mnl_attr_get_payload_len(attribute) < sizeof(rta_cacheinfo)) return;
        rta_cacheinfo told{};
        std::memcpy(&told, mnl_attr_get_payload(attribute), sizeof told);
        ticks = static_cast<std::int32_t>(told.rta_expires);
    });
    constexpr std::int32_t user_hz = 100;
    if (ticks > 0) mnl_attr_put_u32(header, RTA_EXPIRES, static_cast<std::uint32_t>(ticks / user_hz + 1));
}

void rewrite_route(nlmsghdr* header, int index) {
    keep_expiry(header);
    // How its interface was doing is no part of a route.
    constexpr unsigned state =
        RTNH_F_DEAD | RTNH_F_LINKDOWN | RTNH_F_UNRESOLVED | RTNH_F_OFFLOAD | RTNH_F_TRAP;
    static_cast<rtmsg*>(mnl_nlmsg_get_payload(header))->rtm_flags &= ~state;
    change_attributes(header, sizeof(rtmsg), [index](int type, nlattr* attribute) {
        if (type == RTA_OIF) std::memcpy(mnl_attr_get_payload(attribute), &index, sizeof index);
        if (type == RTA_CACHEINFO) attribute->nla_type = RTA_UNSPEC;  // the kernel's own account
        if (type != RTA_MULTIPATH) return;
        auto* hop = static_cast<rtnexthop*>(mnl_attr_get_payload(attribute));
        int left = mnl_attr_get_payload_len(attribute);
        for (; RTNH_OK(hop, left); left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
            hop->rtnh_ifindex = index;
            hop->rtnh_flags = static_cast<unsigned char>(hop->rtnh_flags & ~state);
        }
    });
}

/// What is not done, in words.
class Refusals {
public:
    void add(const std::string& what, int error) {
        words_.push_back("the kernel refused " + what + ": " + std::strerror(error));
    }
    void add(const std::exception& error) { words_.emplace_back(error.what()); }
    std::vector<std::string> take() { return std::move(words_); }

private:
    std::vector<std::string> words_;
};

void write_addresses(Netlink& netlink, int index, const std::string& ifname, const InterfaceState& state,
                     Refusals& refusals) {
    for (const auto& told : state.addresses) {
        auto message = request<ifaddrmsg>(told, RTM_NEWADDR);
        if (!message) {
            refusals.add("an address on interface " + ifname, EBADMSG);
            continue;
        }
        auto* info = static_cast<ifaddrmsg*>(mnl_nlmsg_get_payload(message->header()));
        info->ifa_index = static_cast<unsigned>(index);
        bool marked = false;
        change_attributes(message->header(), sizeof(ifaddrmsg), [&](int type, nlattr* attribute) {
            if (type == kAddressProtocol) marked = true;
            if (type != IFA_FLAGS) return;
            // It is nobody else's: it was this node's until now.
            auto* flags = static_cast<std::uint32_t*>(mnl_attr_get_payload(attribute));
            *flags &= ~std::uint32_t{IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_PERMANENT};
            if (info->ifa_family == AF_INET6) *flags |= IFA_F_NODAD;
        });
        if (!marked) mnl_attr_put_u8(message->header(), kAddressProtocol, kMark);
        if (const int error = netlink.talk(*message); error != 0 && error != EEXIST)
            refusals.add("an address on interface " + ifname, error);
    }
}

/// Routes that need another's gateway come after it.
void write_routes(Netlink& netlink, int index, const std::string& ifname, const InterfaceState& state,
                  Refusals& refusals) {
    auto left = state.routes;
    int error = 0;
    while (!left.empty()) {
        std::vector<Told> again;
        for (const auto& told : left) {
            auto message = request<rtmsg>(told, RTM_NEWROUTE);
            if (message) rewrite_route(message->header(), index);
            const int now = message ? netlink.talk(*message) : EBADMSG;
            if (now == 0 || now == EEXIST) continue;
            error = now;
            again.push_back(told);
        }
        if (again.size() == left.size())
            return refusals.add(std::to_string(left.size()) + " routes by interface " + ifname, error);
        left = std::move(again);
    }
}

void write_neighbours(Netlink& netlink, int index, const std::string& ifname, const InterfaceState& state,
                      Refusals& refusals) {
    for (const auto& told : state.neighbours) {
        auto message = request<ndmsg>(told, RTM_NEWNEIGH);
        if (!message) {
            refusals.add("a neighbour on interface " + ifname, EBADMSG);
            continue;
        }
        static_cast<ndmsg*>(mnl_nlmsg_get_payload(message->header()))->ndm_ifindex = index;
        change_attributes(message->header(), sizeof(ndmsg), [](int type, nlattr* attribute) {
            if (type == NDA_CACHEINFO || type == NDA_PROBES) attribute->nla_type = NDA_UNSPEC;
        });
        if (const int error = netlink.talk(*message); error != 0)
            refusals.add("a neighbour on interface " + ifname, error);
    }
}

void bring_up(Netlink& netlink, int index, const std::string& ifname) {
    Message message;
    auto* info =
        static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(message.start(RTM_NEWLINK, 0), sizeof(ifinfomsg)));
    info->ifi_index = index;
    info->ifi_change = info->ifi_flags = IFF_UP;
    if (const int error = netlink.talk(message); error != 0) refuse("to bring up interface " + ifname, error);
}

/// Frames that the kernel has merged (GRO, LRO) are longer than a packet socket's buffers: it shall not. What
/// a device cannot do need not be turned off.
void stop_merging(const Namespace& ns, const std::string& ifname) {
    const Inside inside(ns);
    const http::Descriptor any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (const std::uint32_t command : {std::uint32_t{ETHTOOL_SGRO}, std::uint32_t{ETHTOOL_SFLAGS}}) {
        ethtool_value value{command, 0};
        ifreq request{};
        ifname.copy(request.ifr_name, IFNAMSIZ - 1);
        request.ifr_data = reinterpret_cast<char*>(&value);
        ::ioctl(any.get(), SIOCETHTOOL, &request);
    }
}

}  // namespace

std::optional<InterfaceState> read_interface(const Namespace& ns, const std::string& ifname,
                                             Purpose purpose) {
    Netlink netlink(ns);
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const auto link = find_link(netlink, ifname);
        if (!link) return std::nullopt;
        if ((link->flags & IFF_LOOPBACK) != 0 || link->mac.is_zero())
            throw Error("interface " + ifname + " is no Ethernet interface");
        if (purpose == Purpose::take) check_alone(netlink, *link);
        InterfaceState state;
        state.index = static_cast<unsigned>(link->index);
        state.mac = link->mac;
        state.mtu = link->mtu;
        state.up = (link->flags & IFF_UP) != 0;
        const auto errors = {read_addresses(netlink, *link, state),
                             read_routes(netlink, *link, purpose, state),
                             read_neighbours(netlink, *link, state)};
        for (const auto& [family, name] : kSwitches) {
            if (const auto value = read_sysctl(ns, family, ifname, name))
                state.switches[std::string(family) + "/" + name] = *value;
        }
        // While an interface goes down or away its routes and addresses go one by one; its neighbours do when
        // its address changes.
        const auto after = find_link(netlink, ifname);
        const bool still =
            after && after->index == link->index && after->flags == link->flags && after->mac == link->mac;
        if (still && std::ranges::max(errors) == 0) return state;
    }
    throw Error("interface " + ifname + " changes faster than it can be read");
}

std::vector<std::string> write_interface(const Namespace& ns, const std::string& ifname,
                                         const InterfaceState& state) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, ifname);
    if (!link) throw Error("interface " + ifname + " is not there to be given its addresses");
    Refusals refusals;
    for (const auto& [family, name] : kSwitches) {
        const auto value = state.switches.find(std::string(family) + "/" + name);
        if (value == state.switches.end()) continue;
        try {
            write_sysctl(ns, family, ifname, name, value->second);
        } catch (const Error& error) {
            refusals.add(error);
        }
    }
    if (!state.up) return refusals.take();
    bring_up(netlink, link->index, ifname);
    write_addresses(netlink, link->index, ifname, state, refusals);
    write_routes(netlink, link->index, ifname, state, refusals);
    write_neighbours(netlink, link->index, ifname, state, refusals);
    return refusals.take();
}

bool is_tap(const Namespace& ns, const std::string& ifname) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, ifname);
    return link && link->kind == "tun";
}

void move_interface(const Namespace& from, const std::string& ifname, const Namespace& to, bool up) {
    Netlink netlink(from);
    const auto link = find_link(netlink, ifname);
    if (!link) throw Error("interface " + ifname + " does not exist");
    Message message;
    auto* header = message.start(RTM_NEWLINK, 0);
    auto* info = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg)));
    info->ifi_index = link->index;
    mnl_attr_put_u32(header, IFLA_NET_NS_FD, static_cast<std::uint32_t>(to.fd()));
    if (const int error = netlink.talk(message); error != 0)
        refuse("to move interface " + ifname +
                   " to another namespace (a wireless or virtual one may be bound "
                   "to its own)",
               error);
    if (!up) return;
    // What it hears there is the dataplane's.
    write_sysctl(to, "ipv6", ifname, "disable_ipv6", "1");
    Netlink there(to);
    if (const auto moved = find_link(there, ifname)) bring_up(there, moved->index, ifname);
    stop_merging(to, ifname);
}

bool has_interface(const Namespace& ns, const std::string& ifname) {
    Netlink netlink(ns);
    return find_link(netlink, ifname).has_value();
}

OtherDefaults other_default_routes(const Namespace& ns, const std::string& ifname) {
    Netlink netlink(ns);
    const auto link = find_link(netlink, ifname);
    OtherDefaults others;
    for (const auto family : kFamilies) {
        Message question;
        auto* header = question.start(RTM_GETROUTE, 0);
        static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(rtmsg)))->rtm_family = family;
        netlink.dump(question, [&](const nlmsghdr& answer) {
            const auto* info = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer));
            if (info->rtm_dst_len != 0 || info->rtm_type != RTN_UNICAST || info->rtm_table != RT_TABLE_MAIN)
                return;
            int out = 0;
            for_each_attribute(answer, sizeof(rtmsg), [&](int type, const nlattr* attribute) {
                if (type == RTA_OIF) out = static_cast<int>(mnl_attr_get_u32(attribute));
            });
            if (!link || out != link->index) (family == AF_INET ? others.v4 : others.v6) = true;
        });
    }
    return others;
}

}  // namespace viaduct::node
