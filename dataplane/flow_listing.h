// Flows as people and the API see them: found by filters, named by what they belong to, page by page. Reads
// the tables without locks, so that a list of a million flows neither stops nor slows forwarding.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/routing_model.h"

#include "flow/flow_table.h"
#include "forward/first_packets.h"
#include "service_traffic.h"

namespace viaduct::dataplane {

class Services;  // tables/services.h

/// What indices and zones in the tables mean at one moment.
struct FlowNames {
    std::map<Zone, std::string> vrfs;
    std::vector<std::string> interfaces;       ///< by InterfaceIndex; meant by records of `generation`
    std::vector<std::string> ports;            ///< by PortIndex; likewise
    std::shared_ptr<const Services> services;  ///< may be null
    model::FlowTimeouts timeouts;
    std::uint32_t generation = 0;
    std::uint32_t now = 0;  ///< coarse second
};

/// Which flows; all of what is given must hold.
struct FlowFilter {
    std::optional<std::string> vrf;
    std::optional<Prefix> source;       ///< of the initiator, as it sends
    std::optional<Prefix> destination;  ///< as the initiator sends, or as translated
    std::optional<std::uint8_t> protocol;
    std::optional<std::uint16_t> port;  ///< any of the four, or an ICMP identifier; host order
    std::optional<FlowState> state;
    std::optional<ServiceName> service;  ///< to whose backends they go
};

struct ListedEnds {
    IpAddress source;
    IpAddress destination;
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
};

struct ListedFlow {
    std::string_view vrf;  ///< empty: of a VRF that is no more
    std::uint8_t protocol = 0;
    FlowState state{};
    ListedEnds sent;                       ///< by the initiator
    std::optional<ListedEnds> translated;  ///< as it leaves
    std::string_view service;              ///< "apps/web/http", to whose backend it goes; empty: to nobody's
    std::string_view interface;  ///< where the initiator's packets come in; empty: to be resolved again
    std::string_view port;       ///< by which they leave; likewise
    std::uint32_t age = 0;       ///< seconds since the first packet
    std::uint32_t idle = 0;      ///< and the last
    std::uint32_t timeout = 0;   ///< seconds idle after which it is forgotten
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t reply_packets = 0;
    std::uint64_t reply_bytes = 0;
};

/// Where a page begins: a place in the tables, IPv4 first.
struct FlowCursor {
    bool v6 = false;
    FlowIndex index = 0;
    friend bool operator==(const FlowCursor&, const FlowCursor&) = default;
};

struct FlowCount {
    std::uint64_t flows = 0;
    std::array<std::uint64_t, kFlowStates> states{};
};

/// Calls `visit` for at most `most` flows. Returns where the next page begins, if there is one; a page may
/// be short or empty when little matches. A flow that stays is listed once. Throws Refused for a VRF or a
/// service that does not exist, as the two below do.
std::optional<FlowCursor> list_flows(FlowTables tables, const FlowNames& names, const FlowFilter& filter,
                                     FlowCursor from, std::uint32_t most,
                                     const std::function<void(const ListedFlow&)>& visit);
FlowCount count_flows(FlowTables tables, const FlowNames& names, const FlowFilter& filter);
/// Forgets flows; their next packets are first packets. Returns how many.
std::uint64_t flush_flows(FlowTables tables, const FlowNames& names, const FlowFilter& filter);

}  // namespace viaduct::dataplane
