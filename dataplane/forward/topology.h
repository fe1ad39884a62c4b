// What forwarding reads of the configuration: one immutable picture of ports, bridges and who owns which
// queue. The main thread builds a new one for every change, publishes it by release and frees the old one
// after a grace period.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "flow/fdb.h"
#include "flow/record.h"
#include "forward/tunnel.h"
#include "port/port.h"

struct rte_mbuf;

namespace viaduct::dataplane {

class Forwarder;
class Guard;
struct PortView;
struct Tables;  // tables/tables.h: what resolve reads, and forwarding does not

using VlanSet = std::bitset<4096>;

inline constexpr InterfaceIndex kNoInterface = UINT16_MAX;

/// One output of a flood: who, and whether its frames carry the VLAN's tag.
struct FloodMember {
    PortIndex port;
    bool tagged;
};

/// How a burst from one port of a bridge is switched; chosen when the topology is built, so that the fast
/// path asks no configuration.
using SwitchBurst = void (*)(Forwarder&, PortIndex, const PortView&, rte_mbuf**, std::uint16_t);

struct BridgeView {
    std::string name;
    std::shared_ptr<Fdb> fdb;
    bool learning = true;
    SwitchBurst switch_burst = nullptr;
    /// Members that are up, by VLAN; index 0 on a bridge that does not filter. VLANs without members share an
    /// empty list.
    std::vector<std::vector<FloodMember>> floods;
    std::array<std::uint16_t, 4096> flood_of_vlan{};  ///< index into floods
    /// Router interfaces that are up on the VLAN of the flood list of the same index: they get what is
    /// addressed to a group.
    std::vector<std::vector<InterfaceIndex>> gateways;

    [[nodiscard]] const std::vector<FloodMember>& flood(std::uint16_t vlan) const {
        return floods[flood_of_vlan[vlan]];
    }
    [[nodiscard]] const std::vector<InterfaceIndex>& gateways_on(std::uint16_t vlan) const {
        return gateways[flood_of_vlan[vlan]];
    }
};

/// A port as forwarding sees it. `port` null: there is none at this index.
struct alignas(64) PortView {
    Port* port = nullptr;
    const BridgeView* bridge = nullptr;  ///< null: on no bridge
    const VlanSet* tagged = nullptr;     ///< VLANs carried with a tag; null: none
    std::uint16_t untagged_vlan = 0;     ///< VLAN carried without a tag; 0: none
    bool admin_up = false;
    bool link_up = false;
    std::uint32_t frame_most = 0;  ///< longest untagged frame in bytes; a tagged one may have 4 more
    std::uint32_t fdb_limit = 0;
    /// On a wire the other port; between an uplink and the host on its bridge the other of these, which gets
    /// what stays on a link (LLDP). kNoPort: there is none.
    PortIndex link_end = kNoPort;
    /// The router interface that the host shares by this port; kNoInterface: it is no host's.
    InterfaceIndex host_of = kNoInterface;
    /// A tunnel's end: its tunnels, by which it sends instead of by queues. Null: any other port.
    const std::vector<TunnelIndex>* tunnels = nullptr;
    const Guard* guard = nullptr;  ///< null: it may send what it likes
    SwitchBurst receive =
        nullptr;  ///< what to do with a burst that came in here; never null where port is set

    [[nodiscard]] bool carries_tagged(std::uint16_t vlan) const {
        return tagged != nullptr && tagged->test(vlan);
    }
};
static_assert(sizeof(PortView) == 64, "one cache line: it is read for every burst");

/// A router interface as forwarding sees it.
struct InterfaceView {
    const BridgeView* bridge = nullptr;  ///< null: no interface has this place
    std::uint16_t vlan = 0;              ///< 0 on a bridge that does not filter
    Zone zone = 0;
    bool up = false;
    MacAddress mac;
    std::uint32_t mtu = 0;
    PortIndex host_port = kNoPort;  ///< by which the host shares it; kNoPort: it is the router's alone
};

/// A route that came, went or changed, or the address of a service that did. Flows to and from other
/// addresses have nothing to do with it.
struct RouteChange {
    std::uint32_t generation = 0;  ///< the first with it
    bool v4 = true;
    std::array<std::uint8_t, 16> network{};  ///< 4 or 16 bytes, without host bits
    std::array<std::uint8_t, 16> mask{};
};
/// So many are remembered; flows that are older than these are resolved again.
inline constexpr std::size_t kRouteChangesMost = 64;

/// A receive queue and where it comes from.
struct RxQueue {
    Port* port;
    PortIndex index;
    std::uint16_t queue;
};

/// How one worker sends by one port: by a queue of its own, or by handing off to the worker that has one.
struct TxRoute {
    /// For a grace period while a queue changes hands it is nobody's.
    static constexpr std::uint16_t kNobody = 0xffff;
    std::uint16_t worker = kNobody;
    std::uint16_t queue = 0;
};

/// One worker's share.
struct WorkerView {
    std::vector<RxQueue> polled;
    std::vector<RxQueue> signalled;
    /// Bit q: queue q of that port is signalled and this worker's. A wake-up names a port and queue, and may
    /// be late.
    std::array<std::uint16_t, kPortsMost> signalled_mask{};
    /// Some polled queue has no way to wake a sleeper: sleep only shortly.
    bool unwakeable = false;
    std::array<TxRoute, kPortsMost> tx{};
};

struct Topology {
    std::array<PortView, kPortsMost> ports{};
    std::vector<std::unique_ptr<BridgeView>> bridges;
    std::vector<std::unique_ptr<VlanSet>> vlan_sets;
    std::vector<std::shared_ptr<const Guard>> guards;
    std::vector<WorkerView> workers;
    std::vector<InterfaceView> interfaces;  ///< by InterfaceIndex, as in `tables`
    std::vector<Tunnel> tunnels;            ///< by TunnelIndex; there may be holes
    std::vector<std::unique_ptr<std::vector<TunnelIndex>>> tunnel_sets;
    TunnelEnds tunnel_ends;                ///< of `tunnels`
    std::shared_ptr<const Tables> tables;  ///< never null once the dataplane has started
    /// What a flow's record must carry to be executed; never 0. Stays as it was in a topology that only gives
    /// queues to other workers.
    std::uint32_t flow_generation = 0;
    /// Since this generation nothing has changed but routes, namely these, oldest first. A flow of a
    /// generation between that has to do with none of them is still what resolve would make of it.
    std::uint32_t flows_since = 0;
    std::vector<RouteChange> route_changes;
    model::FlowTimeouts flow_timeouts;
    /// Rises by one with each topology.
    std::uint64_t generation = 0;
    /// Ports that lead out of the node: uplinks and tunnels. Behind all others are pods, guests or the host.
    /// Last, for only first packets ask for it.
    std::bitset<kPortsMost> outer;
};

}  // namespace viaduct::dataplane
