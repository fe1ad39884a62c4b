#include "node/link.h"

#include <algorithm>
#include <cstring>

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "node/attributes.h"
#include "node/netlink.h"

namespace viaduct::node {

namespace {

std::string kind_of(const nlattr* linkinfo) {
    std::string kind;
    const auto* begin = static_cast<const char*>(mnl_attr_get_payload(linkinfo));
    for_each_between(begin, begin + mnl_attr_get_payload_len(linkinfo),
                     [&](int type, const nlattr* attribute) {
                         if (type == IFLA_INFO_KIND) kind = text_of(attribute);
                     });
    return kind;
}

int index_in(const nlattr* attribute) {
    return static_cast<int>(mnl_attr_get_u32(attribute));
}

Link link_from(const nlmsghdr& told) {
    const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&told));
    Link link;
    link.index = info->ifi_index;
    link.flags = info->ifi_flags;
    bool elsewhere = false;
    for_each_attribute(told, sizeof(ifinfomsg), [&](int type, const nlattr* attribute) {
        if (type == IFLA_MTU) link.mtu = mnl_attr_get_u32(attribute);
        if (type == IFLA_MASTER) link.master = index_in(attribute);
        if (type == IFLA_LINK) link.below = index_in(attribute);
        if (type == IFLA_LINK_NETNSID) elsewhere = true;
        if (type == IFLA_IFNAME) link.name = text_of(attribute);
        if (type == IFLA_IFALIAS) link.alias = text_of(attribute);
        if (type == IFLA_LINKINFO) link.kind = kind_of(attribute);
        if (type == IFLA_ADDRESS && mnl_attr_get_payload_len(attribute) == link.mac.bytes.size())
            std::memcpy(link.mac.bytes.data(), mnl_attr_get_payload(attribute), link.mac.bytes.size());
    });
    // A pair's other end, or what is in another namespace, whose numbers say nothing here.
    if (elsewhere || link.kind == "veth") link.below = 0;
    return link;
}

}  // namespace

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

std::vector<Link> links_in(Netlink& netlink) {
    Message question;
    auto* header = question.start(RTM_GETLINK, 0);
    mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg));
    mnl_attr_put_u32(header, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    std::vector<Link> links;
    netlink.dump(question, [&](const nlmsghdr& answer) { links.push_back(link_from(answer)); });
    return links;
}

void refuse(const std::string& what, int error) {
    throw Error("the kernel refused " + what + ": " + std::strerror(error));
}

}  // namespace viaduct::node
