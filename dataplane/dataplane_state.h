// What a Dataplane holds behind its interface. Main thread, under the mutex, unless said otherwise.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "dataplane.h"
#include "flow_engine.h"
#include "tables/interface_places.h"
#include "tables/tables_builder.h"
#include "topology_builder.h"
#include "trace.h"
#include "worker/worker.h"

namespace viaduct::dataplane {

class ShapedPort;

struct Dataplane::PortSlot {
    model::Port config;  ///< as forwarding has it; without a bridge until its transaction takes over
    PortIndex index = 0;
    std::unique_ptr<Port> device;
    ShapedPort* shaper = nullptr;  ///< what `device` is where there is a limit, or was one
    bool was_up = false;
};

struct Dataplane::BridgeSlot {
    model::Bridge config;
    std::shared_ptr<Fdb> fdb;
};

/// Whatever else is wrong with a configuration's tunnels than the model sees.
void check_tunnels(const model::Config& next, Faults& faults);
TunnelPlaces place_tunnels(const model::Config& config, const TunnelPlaces& before);

struct Dataplane::State {
    /// A descriptor in a worker's epoll set.
    struct Watch {
        std::uint16_t worker;
        int descriptor;
        friend bool operator==(const Watch&, const Watch&) = default;
    };

    State(unsigned crew_size, std::shared_ptr<FlowMemory> memory, std::uint64_t seed, std::uint32_t now)
        : flows(std::move(memory), seed, now),
          crew(crew_size, flows.tables(), flows.shared()),
          used(kPortsMost, false) {}

    [[nodiscard]] PortIndex free_index() const;
    /// Publishes a topology and has workers look; the one before is kept until `retired` is cleared after a
    /// grace period.
    void install(std::unique_ptr<Topology> topology, const Ownership& next);
    /// Waits until no worker holds an older topology, and frees those.
    void settle();
    void wake_all();
    /// Builds what resolve reads from the configuration, under a new generation: flows are resolved again.
    void renew_tables();
    void note_route_changes(std::uint32_t now);
    /// Has neighbours know the interfaces and static neighbours that are in force in all workers.
    void configure_neighbours();
    void watch_queues();
    [[nodiscard]] std::shared_ptr<const Services> services() const;  ///< those in force
    [[nodiscard]] std::string port_name(PortIndex index) const;      ///< empty: nobody has it
    /// A frame that the port's bridge takes, `l2_length` bytes before what the frame carries.
    [[nodiscard]] TraceAnswer trace_bridged(TraceRequest request, PortIndex from, std::uint16_t vlan,
                                            std::uint16_t l2_length, TraceAnswer answer);
    /// The router interface that takes the frame as an answer; kNoInterface: none does.
    [[nodiscard]] InterfaceIndex router_of_answer(TraceRequest& request, RoutedFrame bridged,
                                                  std::uint16_t vlan);
    [[nodiscard]] TraceAnswer trace_at_interface(TraceRequest request, RoutedFrame routed,
                                                 TraceAnswer answer);

    mutable std::mutex mutex;
    FlowEngine flows;
    Crew crew;
    std::vector<std::unique_ptr<Worker>> workers;
    model::Config config;
    std::uint64_t revision = 0;  ///< of config: how often it has changed
    std::map<std::string, std::unique_ptr<PortSlot>> ports;
    std::map<std::string, BridgeSlot> bridges;
    std::vector<bool> used;  ///< port indices
    Ownership owners;
    std::map<QueueId, Watch> watched;
    InterfacePlaces interface_places;  ///< of config.interfaces
    TunnelPlaces tunnel_places;        ///< of config.ports' remotes
    TablesBuilder tables_builder;
    std::vector<RouteKey> touched_routes;  ///< that may differ from those of `tables`
    std::set<IpAddress> touched_services;  ///< where those are found that differ likewise
    bool only_destinations = false;        ///< nothing else does
    std::uint32_t flows_since = 0;         ///< of topologies, and the next
    std::vector<RouteChange> route_changes;
    std::shared_ptr<const Tables> tables;
    std::unique_ptr<Topology> topology;
    std::vector<std::unique_ptr<Topology>> retired;
    std::uint64_t generation = 0;
    PortTotals gone;  ///< counters of ports that were removed
    std::uint32_t buffers_reserved = 0;
    std::uint32_t ageing_step = 0;
    std::uint64_t exhausted_told = 0;  ///< packets without a port of NAT's that the log has told of
    std::uint32_t exhausted_told_at = 0;
    std::uint32_t duplicates_told_at = 0;  ///< second
    std::map<std::uint32_t, std::uint64_t> exhausted_by_rule;
    std::atomic<bool> stale{false};    ///< any thread: a port changed, the topology must be built anew
    std::atomic<bool> resolve{false};  ///< any thread: flows must be resolved again
};

}  // namespace viaduct::dataplane
