// A network interface as rtnetlink tells it, found by its name or among all of a namespace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "viaduct/address.h"

namespace viaduct::node {

class Netlink;

struct Link {
    int index = 0;
    unsigned flags = 0;  ///< IFF_*
    std::uint32_t mtu = 0;
    int master = 0;  ///< of which bridge or bond it is a port; 0: of none
    int below = 0;   ///< on which interface it stands; 0: on none. The ends of a pair stand on nothing.
    MacAddress mac;  ///< zero: it has none of six bytes
    std::string name;
    std::string alias;
    std::string kind;  ///< "tun", "veth"; empty: the driver of a card
};

/// Nothing: there is none of this name. Both throw Error when the socket fails.
std::optional<Link> find_link(Netlink& netlink, const std::string& ifname);
std::vector<Link> links_in(Netlink& netlink);

/// Throws Error ("the kernel refused " + what).
[[noreturn]] void refuse(const std::string& what, int error);

}  // namespace viaduct::node
