// What travels through the stages of `pipeline.cc`: a packet, the tables it is resolved by, and what has been
// decided so far. A stage reads the first two, adds to the third and says why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "viaduct/address.h"

#include "flow/record.h"
#include "forward/drop.h"
#include "forward/first_packets.h"
#include "forward/topology.h"
#include "tables/fib.h"
#include "tables/tables.h"

namespace viaduct::dataplane {

class Neighbours;     // tables/neighbours.h: shared by all workers, changes as packets come
class NatPorts;       // tables/nat_ports.h: which ports of which pool are taken
class RateLimits;     // tables/rate_limits.h: of ICMP errors
struct ServiceState;  // tables/service_state.h
class RecentHops;     // resolve/recent_hops.h: next hops of the same burst
class Resolver;       // resolve/resolver.h: the worker's own

/// A packet's headers, read once, whatever its family.
struct Packet {
    RoutedFrame routed{};
    bool v4 = true;
    IpAddress source;
    IpAddress destination;
    std::uint8_t protocol = 0;      ///< of the transport: extension headers are passed over
    std::uint16_t source_port = 0;  ///< host order; ICMP echo as flow/key.h says
    std::uint16_t destination_port = 0;
    std::uint8_t ttl = 0;        ///< or hop limit
    std::uint8_t dscp_ecn = 0;   ///< the whole octet
    bool dont_fragment = false;  ///< IPv6: unless it has a fragment header
    bool fragment = false;       ///< more to come or offset not 0
    bool options = false;        ///< IPv4 options or IPv6 extension headers
    std::uint8_t icmp_type = 0;
    std::uint8_t icmp_code = 0;
    std::uint8_t tcp_flags = 0;
    std::uint16_t l3_offset = 0;  ///< of the IP header in the frame
    std::uint16_t l4_offset = 0;  ///< of the transport header in the frame; 0: not in this packet
    std::uint16_t length = 0;     ///< of the IP packet, header included
    std::uint32_t longest =
        0;  ///< the same of what a wire will see: shorter where a segment is yet to be cut
};

/// One line of an explanation: which stage, what it found, what it did.
struct Why {
    std::string_view stage;
    std::string text;
};
using Explanation = std::vector<Why>;

/// What a flow's packets are turned into; equal to the packet where nothing is translated.
struct Translation {
    IpAddress source;
    IpAddress destination;
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    std::uint32_t rule = 0;   ///< hash of the kind and name of what made it; 0: nothing is translated
    bool holds_port = false;  ///< of a pool, to be freed with the flow; without: kFlowStatic
    bool mapping = false;     ///< the port is that of an endpoint-independent mapping: kFlowMapping
    bool counted = false;     ///< among its backend's flows: kFlowCounted
};

/// Where a packet leaves and how.
struct Egress {
    InterfaceIndex interface = 0;
    IpAddress next_hop;
    std::uint32_t mtu = 0;
    MacAddress destination_mac;
    PortIndex port = 0;
    std::uint16_t vlan = 0;               ///< tag to leave with; 0: none
    std::optional<std::uint16_t> tunnel;  ///< index into the topology's tunnels
    bool known = false;                   ///< neighbour and port are; otherwise the packet floods or waits
};

/// What a stage says.
enum class Step : std::uint8_t {
    go_on,
    drop,      ///< for Context::reason
    consumed,  ///< it was for the node itself
    held,      ///< waits for its neighbour
    passed,    ///< intercepted, but answers no flow: goes on by the bridge
};

struct Context {
    const Packet& packet;
    const Topology& topology;
    const Tables& tables;
    FlowTables flows;
    Neighbours& neighbours;
    NatPorts& nat_ports;
    RateLimits& rate_limits;
    ServiceState& services;
    Resolver* resolver = nullptr;  ///< to send by; null in a dry run
    std::uint32_t now = 0;
    bool dry = false;                   ///< a trace: nothing is entered, taken, counted or sent
    Explanation* why = nullptr;         ///< null unless somebody asked
    RecentHops* recent_hops = nullptr;  ///< null in a dry run

    Zone zone = 0;
    const VrfEntry* vrf = nullptr;
    std::uint64_t hash = 0;   ///< of the packet's key; 0: not computed yet
    RouteMatch source_route;  ///< of the packet's source, from the sanity stage on
    RouteMatch route;         ///< of the translated destination, from the route stage on
    /// The flow that the packet belongs to, when there is one already: its translation is kept if it still
    /// may.
    FlowIndex flow = kNoFlow;
    std::optional<Translation> kept;
    bool reply = false;      ///< the packet goes the flow's reply direction
    bool answers = false;    ///< an ICMP error about a flow that exists
    bool from_host = false;  ///< the host sent it, which has addresses of the node's own
    bool as_node = false;    ///< leaves with an address of the node's own: a service's backend elsewhere
    bool bridged = false;    ///< goes to the host or as the host says: the router is no hop of its way
    Translation translation;
    bool took_load = false;    ///< this packet is counted among its backend's flows: likewise
    bool took_port = false;    ///< this packet has taken a port of a pool: a flow must hold it, or give_back
    unsigned nat_attempt = 0;  ///< choose_again's
    Egress egress;
    Drop reason = Drop::count_;

    /// Only when somebody asked is the text made: pass a callable that returns it.
    template <typename Text>
    void say(std::string_view stage, const Text& text) {
        if (why != nullptr) why->push_back({stage, text()});
    }
    Step refuse(Drop drop) {
        reason = drop;
        return Step::drop;
    }
};

/// A stage: a name for people, and what it does.
struct Stage {
    std::string_view name;
    Step (*run)(Context&);
};

}  // namespace viaduct::dataplane
