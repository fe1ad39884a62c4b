#include "node/destinations.h"

#include <linux/rtnetlink.h>

#include "node/attributes.h"
#include "node/netlink.h"

namespace viaduct::node {

std::vector<Prefix> destinations(const Namespace& ns) {
    Netlink netlink(ns);
    std::vector<Prefix> found;
    for (const auto family : kFamilies) {
        Message message;
        auto* header = message.start(RTM_GETROUTE, 0);
        static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(rtmsg)))->rtm_family = family;
        netlink.dump(message, [&](const nlmsghdr& answer) {
            const auto* route = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer));
            std::uint32_t table = route->rtm_table;
            std::optional<IpAddress> destination;
            for_each_attribute(answer, sizeof(rtmsg), [&](int type, const nlattr* attribute) {
                if (type == RTA_TABLE) table = mnl_attr_get_u32(attribute);
                if (type == RTA_DST) destination = ip_of(attribute);
            });
            if (table == RT_TABLE_MAIN && destination && route->rtm_dst_len != 0)
                found.push_back({*destination, route->rtm_dst_len});
        });
    }
    return found;
}

}  // namespace viaduct::node
