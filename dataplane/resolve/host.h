// What passes between the router and the host that shares an interface with it (forward/host.h).
#pragma once

#include <optional>

#include "viaduct/address.h"

#include "resolve/context.h"

namespace viaduct::dataplane {

class Resolver;

bool is_from_host(const Topology& topology, const RoutedFrame& routed);
/// To whom the host itself has addressed a frame on its link; nothing: it is for the router, or not from the
/// host.
std::optional<MacAddress> host_next_hop(const Topology& topology, const RoutedFrame& routed);

/// A packet that is for an own address on `interface`: decides that it goes to the host as it is. False: the
/// router has the interface for itself.
bool leave_to_host(Context& context, InterfaceIndex interface);

/// What no pipeline sees. The frame itself goes where it would without a router: to the host what came in for
/// the interface, and by the bridge what the host sent. False: it is the router's to deal with, and
/// untouched.
bool pass_by_host(Resolver& resolver, const RoutedFrame& routed);
/// A copy for the host of what the router reads, too, and the host has not got by itself (ARP, neighbour
/// discovery).
void show_to_host(Resolver& resolver, const RoutedFrame& routed);

}  // namespace viaduct::dataplane
