// A pod's kernel interface: given its addresses and routes, compared with what it should be, and taken away.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "viaduct/attachment.h"

#include "node/netns.h"

namespace viaduct::node {

/// What the interface should be. The dataplane makes it, with MAC and MTU; the rest is done here.
struct InterfaceConfig {
    std::string ifname;
    std::string alias;  ///< IFLA_IFALIAS: names the attachment, so that a stray interface is known to be ours
    MacAddress mac;
    std::uint32_t mtu = 1500;
    bool up = true;
    bool detect_duplicates = false;
    std::vector<attachment::Address> addresses;
    std::vector<attachment::Route> routes;  ///< a destination that has a route already is left to it
    /// Who says that routes and addresses are ours (rtnetlink(7), rtm_protocol; IFA_PROTO where the kernel
    /// knows it); 0: they are marked as anybody's static ones.
    std::uint8_t mark = 0;
    /// The source address of what goes by `routes`, where the sender names none; absent: the kernel's choice.
    std::optional<IpAddress> source4;
    std::optional<IpAddress> source6;
};

/// Brings the interface to `config`; may be called again. Throws Error, which says what the kernel refused.
void configure(const Namespace& ns, const InterfaceConfig& config);
/// What addresses the interface has; none: also when it is not there.
std::vector<Prefix> addresses_of(const Namespace& ns, const std::string& ifname);
/// Takes away addresses and routes of the interface that have `config.mark` and are not in `config`.
void withdraw_stale(const Namespace& ns, const InterfaceConfig& config);
/// The MAC address by which the interface reaches an address on its link, for good.
void set_neighbour(const Namespace& ns, const std::string& ifname, const IpAddress& address,
                   const MacAddress& mac);
/// The first difference from `config`, as a sentence; nothing when all is as it should be. Throws Error.
std::optional<std::string> difference(const Namespace& ns, const InterfaceConfig& config);
/// The name of the interface with that alias; nothing when there is none. Throws Error.
std::optional<std::string> find_by_alias(const Namespace& ns, const std::string& alias);
/// Removes the TAP `ifname` when its alias is `alias`. True when there was one.
bool remove(const Namespace& ns, const std::string& ifname, const std::string& alias);
/// The same of one that has no alias yet: it is known by its MAC address.
bool remove(const Namespace& ns, const std::string& ifname, const MacAddress& mac);

}  // namespace viaduct::node
