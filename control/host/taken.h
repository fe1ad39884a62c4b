// Kernel interfaces of the node that the dataplane has taken over, each with its way back.
//
// Theory of operation. A taken interface moves to a namespace of Viaduct's own, where the dataplane opens it
// as an uplink and nobody else hears what it receives. In its place a TAP of the same name, MAC address and
// MTU gets its addresses, routes and neighbours: whatever knew the interface by name goes on. What the kernel
// held is in the store before anything is touched, so that whatever instant control is killed at, the next
// start finishes the way there or the way back. A taking that waits for its confirmation goes back by itself.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "viaduct/model.h"

#include "host/absent.h"
#include "host/shares.h"
#include "node/interface_state.h"
#include "reconcile/config_changes.h"
#include "store/database.h"

namespace viaduct::host {

/// Tables of this room.
const std::vector<store::Migration>& migrations();

struct TakeRequest {
    std::string interface;
    std::string driver = "af_packet";  ///< or "af_xdp"
    std::uint16_t queues = 1;
    std::chrono::seconds confirm_within{0};  ///< 0: need not be confirmed
    bool force = false;                      ///< also the only way out, without a confirmation
};

struct TakenInterface {
    enum class State : std::uint8_t { taking, unconfirmed, taken, leaving };
    std::string name;
    State state = State::taking;
    std::int64_t deadline = 0;    ///< seconds since the epoch; of unconfirmed ones
    std::string boot;             ///< boot id of the kernel that it was taken from
    node::InterfaceState kernel;  ///< as it was last seen; once taken, the TAP's
};
std::string_view to_string(TakenInterface::State state);

/// Any thread; one taking or giving back at a time.
class Taken {
public:
    /// `run_dir`: where the namespace is mounted. What is referred to outlives this.
    Taken(std::string run_dir, store::Database& database, reconcile::Reconciler& reconciler,
          reconcile::ConfigChanges& changes, Shares& shares, Absent& absent);
    ~Taken() { stop(); }
    Taken(const Taken&) = delete;
    Taken& operator=(const Taken&) = delete;

    /// Ends what a crash left half way, and takes again what a reboot gave back. Before the reconciler
    /// starts.
    void recover();
    /// Starts the clock of unconfirmed takings.
    void start();
    void stop();

    /// Returns when the node's traffic goes by the dataplane. Throws Refused and node::Error; then all is as
    /// it was.
    void take(const TakeRequest& request);
    /// Throws Refused when it is not taken, or was given back already.
    void confirm(const std::string& interface);
    /// The interface is the kernel's again, with what the host has of it now. Throws Refused, also when other
    /// objects of the configuration need it (they are named).
    void give_back(const std::string& interface);

    [[nodiscard]] std::vector<TakenInterface> list() const;

    /// For Shares::before_each: has the router know addresses that the host has got or lost since (by DHCP,
    /// say), and gives a TAP that was made anew all that the store has kept.
    HostsOwn follow_kernel();

private:
    enum class Dependents : std::uint8_t { refuse, remove };

    [[nodiscard]] std::string namespace_path() const { return run_dir_ + "/uplinks.netns"; }
    node::Namespace uplink_namespace() const;
    void check_way_out(const TakeRequest& request, const node::InterfaceState& state) const;
    model::Config configured();
    void put_back(TakenInterface row, Dependents dependents);
    void withdraw_objects(const std::string& name, Dependents dependents);
    void withdraw_what_is_left(const std::string& name);
    void return_interface(const TakenInterface& row);
    void take_again(TakenInterface row);
    [[nodiscard]] bool is_at_home(const std::string& name) const;
    void note_absent(const std::string& name, bool absent);
    void follow(TakenInterface row);
    void save(const TakenInterface& row);
    void erase(const std::string& name);
    std::optional<TakenInterface> find(const std::string& name) const;
    void run(const std::stop_token& stopping);
    void expire();

    const std::string run_dir_;
    store::Database& database_;
    reconcile::Reconciler& reconciler_;
    reconcile::ConfigChanges& changes_;
    Shares& shares_;
    Absent& absent_;
    const std::string boot_;

    std::mutex working_;  ///< one taking at a time; guards the next
    std::map<std::string, std::chrono::steady_clock::time_point> again_;  ///< when what failed is tried again
    mutable std::mutex mutex_;                                            ///< guards what follows
    std::map<std::string, TakenInterface> rows_;
    std::condition_variable_any bell_;
    std::jthread thread_;  ///< last
};

}  // namespace viaduct::host
