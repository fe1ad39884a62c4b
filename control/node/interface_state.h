// All that the kernel holds of an interface's third layer (addresses, routes, permanent neighbours, a few
// switches), as it tells it, so that another interface can be given the very same: ip-address(8)'s save and
// restore.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "viaduct/address.h"

#include "node/netns.h"

namespace viaduct::node {

/// One object as an rtnetlink message tells it: what follows the message's header.
using Told = std::vector<std::uint8_t>;

struct InterfaceState {
    unsigned index = 0;  ///< the kernel's number of it, which no other gets before a reboot
    MacAddress mac;
    std::uint32_t mtu = 0;
    bool up = false;
    std::vector<Told> addresses;                  ///< ifaddrmsg; without IPv6's link-local and temporary ones
    std::vector<Told> routes;                     ///< rtmsg; those that somebody made, whatever their table
    std::vector<Told> neighbours;                 ///< ndmsg; the permanent ones
    std::map<std::string, std::string> switches;  ///< "ipv6/accept_ra"

    // The same for people and for a router.
    struct Gateway {
        Prefix destination;
        std::optional<IpAddress> via;
        friend bool operator==(const Gateway&, const Gateway&) = default;
    };
    std::vector<Prefix> prefixes;   ///< addresses, each with its network's length
    std::vector<Gateway> gateways;  ///< routes of the main table with one next hop
};

/// What is to become of the interface.
enum class Purpose : std::uint8_t {
    take,  ///< what cannot be moved is an Error: a port of a bridge or bond, an interface on which others
           ///< stand (they are named), routes by next-hop objects or over several interfaces
    look,  ///< such routes are passed over
};
/// All of it at one instant. Nothing: there is no such interface. Throws Error.
std::optional<InterfaceState> read_interface(const Namespace& ns, const std::string& ifname, Purpose purpose);
/// Gives the interface all of it: brings it up, and what it has already stays. May be called again. Returns
/// what the kernel refused, in words; all else has been done. Throws Error when the interface is not there.
std::vector<std::string> write_interface(const Namespace& ns, const std::string& ifname,
                                         const InterfaceState& state);
/// Moves the interface to another namespace under the same name; all of its state is lost, and with
/// `up` it is brought up there, without addresses of its own making. Throws Error.
void move_interface(const Namespace& from, const std::string& ifname, const Namespace& to, bool up);
bool has_interface(const Namespace& ns, const std::string& ifname);
/// Whether it is a TAP.
bool is_tap(const Namespace& ns, const std::string& ifname);
/// Whether default routes of the main tables lead out by others than `ifname`; by family.
struct OtherDefaults {
    bool v4 = false;
    bool v6 = false;
};
OtherDefaults other_default_routes(const Namespace& ns, const std::string& ifname);

}  // namespace viaduct::node
