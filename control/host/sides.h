// What the node's kernel has to have beside a port by which the host shares a router interface: addresses,
// the way to the networks behind the router, and the way to ports that are published at the node's own
// addresses.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "node/interface.h"
#include "node/rules.h"

namespace viaduct::host {

/// The router as the host sees it on the shared link: addresses of nobody else's (RFC 3927, RFC 4291 2.5.6),
/// known for good to have the shared MAC address.
inline constexpr const char* kRouter4 = "169.254.42.1";
inline constexpr const char* kRouter6 = "fe80::5654:2a01";
/// Its routing table of published places.
inline constexpr std::uint32_t kPublishedTable = 9300;
/// The host needs no more routes than these to others' networks; a router that carries a million shows them
/// as one: the host's own default route.
inline constexpr std::size_t kNetworksMost = 1000;

/// Nor routes of its own to more addresses of services that are nobody's on this node.
inline constexpr std::size_t kServiceAddressesMost = 16384;
/// The kernel asks its rules one by one. Of more ports than these, of one address and protocol, those that
/// are closest together become one rule with what is between them: of a thousand node ports, most of their
/// range.
inline constexpr std::size_t kPortRulesMost = 32;

struct Side {
    std::string port;
    std::string netns;  ///< empty: control's own
    MacAddress mac;     ///< of the interface, which is the router's too
    node::InterfaceConfig interface;
    std::vector<Prefix> kept;  ///< addresses that the host keeps or loses by itself
    /// Nothing: another port of the namespace, the first, sees to its rules.
    std::optional<std::vector<node::PublishedPlace>> published;
    std::size_t left_out = 0;  ///< networks and addresses beyond kNetworksMost and kServiceAddressesMost
};

/// Of each port with a host that is up, in the order of their names.
std::vector<Side> sides_of(const model::Config& config);

/// Brings the kernel to it. May be called again. Throws node::Error.
void bring_about(const Side& side);

}  // namespace viaduct::host
