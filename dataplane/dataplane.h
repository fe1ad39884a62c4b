// The dataplane as its API sees it: a set of objects in force, changed by whole transactions, and the workers
// that carry it out. Everything here is off the fast path.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "viaduct/model.h"

#include "forward/counters.h"
#include "port/port.h"

struct rte_mempool;
struct rte_rcu_qsbr;

namespace viaduct::dataplane {

class Worker;
struct FlowTables;
class FlowMemory;
struct FlowNames;
struct Topology;
struct TraceAnswer;  // trace.h
struct TraceRequest;
struct NatState;
struct ServiceName;  // service_traffic.h
struct ServiceSums;
struct ServiceTraffic;
struct PlacedTunnel;
/// By vxlan port and peer.
using TunnelPlaces = std::map<std::pair<std::string, IpAddress>, std::uint16_t>;
struct NeighbourEntry;
struct NeighbourFilter;
struct NeighbourSums;

/// Seconds that only go forward: the coarse clock of ageing. Tests move it by hand.
using CoarseClock = std::function<std::uint32_t()>;
/// Makes the port behind a model::Port. Throws Refused in words when it cannot (socket path, namespace,
/// limits).
using PortFactory =
    std::function<std::unique_ptr<Port>(const model::Port&, PortIndex, rte_mempool*, PortListener&)>;

enum class PollMode : std::uint8_t { adaptive, busy };

struct DataplaneOptions {
    std::vector<unsigned> worker_lcores;  ///< EAL lcore ids, at least one
    std::uint32_t packet_buffers = 32768;
    PollMode poll = PollMode::adaptive;
    CoarseClock clock;           ///< default: CLOCK_MONOTONIC_COARSE
    PortFactory make_port;       ///< required: the product's in port/factory.h, a test's own
    std::uint64_t fdb_seed = 0;  ///< of the FDB's hash; 0: random
    /// What the flows live in; null: anonymous memory for some thousands.
    std::shared_ptr<FlowMemory> flow_memory;
};

struct QueueState {
    std::uint16_t queue;
    unsigned worker;
};

struct PortState {
    model::Port port;
    PortIndex index = 0;
    bool link_up = false;
    std::string detail;
    std::vector<QueueState> queues;
    PortTotals totals;
    std::uint64_t held = 0;
    std::uint64_t refused = 0;    ///< came in and never reached a worker: see Port::refused
    std::uint64_t cut_short = 0;  ///< see Port::cut_short
    std::uint32_t fdb_entries = 0;
    std::uint32_t packet_buffers = 0;  ///< reserved for this port
    std::vector<MacAddress> filter;    ///< an uplink that is not promiscuous: see model::filter_of
};

struct WorkerState {
    unsigned lcore = 0;
    std::uint64_t turns = 0;       ///< of the poll loop
    std::uint64_t idle_turns = 0;  ///< those that found nothing
    std::uint64_t sleeps = 0;
    std::uint64_t queues = 0;
    std::uint64_t handed_off = 0;  ///< frames passed to other workers
    std::uint32_t swept = 0;       ///< coarse second in which its last whole look through flows began
};

struct Ledger {
    PortTotals total;           ///< over present ports and those removed
    std::uint64_t held = 0;     ///< frames in hand-off rings and resolvers
    std::uint64_t waiting = 0;  ///< of these, those that wait in resolvers: for a neighbour, for fragments
    /// rx + copies + originated = tx + drops + consumed + held; true at rest, and within a burst of it while
    /// traffic flows.
    [[nodiscard]] bool balanced() const {
        return total.rx_packets + total.copies + total.originated ==
               total.tx_packets + total.dropped() + total.consumed + held;
    }
};

struct FdbState {
    model::FdbEntry entry;
    bool is_static = false;
    std::uint32_t age_seconds = 0;
};

struct FdbFilter {
    std::optional<std::string> bridge;
    std::optional<std::string> port;
    std::optional<std::uint16_t> vlan;
};

struct BufferAccount {
    std::uint32_t total = 0;
    std::uint32_t reserved = 0;  ///< by workers and ports
    std::uint64_t bytes = 0;     ///< memory of the pool
};

/// Thread-safe: any number of threads may call; one transaction is applied at a time.
class Dataplane : private PortListener {
public:
    /// EAL must be initialised. Starts the workers. Throws std::runtime_error when memory is short.
    explicit Dataplane(DataplaneOptions options);
    ~Dataplane() override;  ///< stops the workers, lets go of all ports

    /// Checks the whole change and applies it, or throws Refused with every fault and leaves everything as it
    /// was. Returns when it is in force in every worker, with the revision then. With `dry_run` it only
    /// checks.
    std::uint64_t apply(const model::Change& change, bool dry_run = false);

    [[nodiscard]] model::Config config() const;
    /// How often config() has changed since the start. Who knows what it was at the same revision knows it.
    [[nodiscard]] std::uint64_t revision() const;
    [[nodiscard]] std::vector<PortState> ports() const;
    [[nodiscard]] Ledger ledger() const;
    [[nodiscard]] std::vector<WorkerState> workers() const;
    /// Calls `visit` for each entry; takes no lock that a worker waits for.
    void visit_fdb(const FdbFilter& filter, const std::function<void(const FdbState&)>& visit) const;
    std::uint64_t flush_fdb(
        const FdbFilter& filter);  ///< learned entries only; throws Refused for unknown names
    [[nodiscard]] BufferAccount buffers() const;
    [[nodiscard]] rte_mempool* pool() const { return pool_; }
    [[nodiscard]] FlowTables flows() const;
    /// What zones, interfaces and ports in the flow tables are called now; see flow_listing.h.
    [[nodiscard]] FlowNames flow_names() const;
    /// Counts by walking all flows, some tenths of a second for a million; stops nobody.
    [[nodiscard]] NatState nat() const;
    /// Calls `visit` for each service, or those of one name, in the order of their names; one walk over all
    /// flows likewise, however many there are.
    void visit_services(const std::optional<ServiceName>& only,
                        const std::function<void(const ServiceTraffic&)>& visit) const;
    /// What needs no walk. Each service by itself only where there are no more than `most`.
    [[nodiscard]] ServiceSums service_sums(std::size_t most) const;
    /// What records must carry to be executed now.
    [[nodiscard]] std::uint32_t flow_generation() const;

    /// Calls `visit` for each neighbour that is known, asked for, or did not answer (neighbour_state.h).
    /// Throws Refused for unknown names.
    void visit_neighbours(const NeighbourFilter& filter,
                          const std::function<void(const NeighbourEntry&)>& visit) const;
    /// Forgets learned ones, which are asked for again when they are needed; throws Refused for unknown
    /// names.
    std::uint64_t flush_neighbours(const NeighbourFilter& filter);
    [[nodiscard]] NeighbourSums neighbour_sums() const;

    /// What would become of a frame. Disturbs no worker; throws Refused.
    [[nodiscard]] TraceAnswer trace(TraceRequest request) const;

    /// Has every flow resolved again on its next packet, from the next tick on: something that resolve read
    /// and that is no configuration has changed, such as a neighbour's address. Never waits.
    void request_resolve();

    /// Has every worker look at its queues and at the clock now, and not at the end of a sleep: for whoever
    /// waits for that. Never waits.
    void wake_workers();

    /// Slow work, to be called about ten times a second by one thread: ageing, link changes, spreading of
    /// queues.
    void tick();
    /// Becomes readable when a port changed and tick() should be called at once.
    [[nodiscard]] int change_descriptor() const { return changed_; }

private:
    struct PortSlot;
    struct BridgeSlot;
    struct State;

    using FdbConfig = decltype(model::Config::fdb);

    void port_changed(PortIndex index) override;
    [[nodiscard]] std::uint32_t worker_buffers() const;
    [[nodiscard]] std::uint32_t port_buffers(const model::Port& port) const;
    void check_buffers(const model::Config& next, Faults& faults) const;
    void replace_devices(const model::Config& next, const std::vector<std::string>& removed,
                         const std::vector<std::string>& made);
    void make_device(const model::Config& config, const model::Port& port);
    void restore_device(const std::string& name);
    void filter_devices(const model::Config& config);
    void remove_devices(const std::vector<std::string>& names);
    static void limit(PortSlot& slot, const model::Port& port);
    void take_over(model::Config next, const std::vector<std::string>& removed,
                   std::vector<std::tuple<std::string, Prefix>> touched);
    bool take_resolve();
    /// Ports of which what they stand on has gone, or come back.
    [[nodiscard]] std::vector<Port*> ports_to_tend() const;
    void place_bridges(const model::Config& next);
    void place_statics(const FdbConfig& before);
    void forget_gateways(const model::Config& next);
    void place_gateways();
    /// What a new topology means for flows: nothing, when only queues go to other workers.
    enum class Flows : std::uint8_t { stay, resolve_again };
    [[nodiscard]] std::vector<PlacedTunnel> placed_tunnels() const;
    void forget_tunnels(const TunnelPlaces& before);
    /// Of a static entry, as the FDB has it: the place and one more, or 0.
    [[nodiscard]] std::uint16_t tunnel_of(const model::FdbEntry& entry) const;
    void publish(Flows flows = Flows::resolve_again);
    [[nodiscard]] bool links_changed() const;
    void drain_rings();
    void forget_behind_down_links();
    void tell_exhaustion();
    void tell_duplicates();

    DataplaneOptions options_;
    rte_mempool* pool_ = nullptr;
    int changed_ = -1;
    std::unique_ptr<State> state_;
};

}  // namespace viaduct::dataplane
