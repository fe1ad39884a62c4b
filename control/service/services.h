// The services of all sources as this node's desired state: compiled when something that they are made of has
// changed, that service alone, and in force some milliseconds later.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "viaduct/model.h"
#include "viaduct/shared_map.h"

#include "reconcile/reconciler.h"
#include "service/allocation.h"
#include "service/compile.h"
#include "service/drains.h"
#include "service/external_places.h"
#include "service/health_check.h"
#include "service/settings.h"
#include "source/source.h"

namespace viaduct::service {

/// What is known of services just now, for people. Immutable.
struct View {
    source::SnapshotPtr snapshot;  ///< null: no source has told anything yet
    SharedMap<model::ServiceKey, model::Service> compiled;
    SharedMap<kubernetes::ObjectName, std::vector<Fault>> faults;
    HealthChecks health_checks;
    std::shared_ptr<const Here> here;  ///< what it was compiled with; null as `snapshot` is
};

class Services : public reconcile::DesiredSource {
public:
    /// Reads what was allocated before. `source` may be null: there are no services then. All must outlive
    /// this.
    Services(Settings settings, store::Database& database, source::Source* source);
    ~Services() override { stop(); }
    /// The reconciler, which knows this source, and who tells of pods. Before start().
    void use(reconcile::Reconciler& reconciler, std::function<AttachedPods()> pods);
    /// Waits at most `patience` for the first picture of the sources to be compiled, so that who starts the
    /// reconciler afterwards takes nothing away that the dataplane still has from before.
    void start(std::chrono::milliseconds patience);
    void stop();
    /// Something of this node has changed that services may be made of. Any thread, any lock held.
    void wake();
    /// Waits at most `patience` until all that was there to know when it was called is in force, and is true
    /// then. Not while a lock is held.
    bool settle(std::chrono::milliseconds patience);
    /// Waits until something has been compiled anew, at most so long. Any thread.
    void wait_for_news(std::chrono::milliseconds most) const;
    /// Whether stop() was called: nothing changes any more.
    [[nodiscard]] bool stopped() const;

    void contribute(store::Transaction& tx, model::Config& desired, Faults& faults) const override;
    [[nodiscard]] const char* origin() const override { return "services"; }

    /// Whether `ranges` are the services' now: nothing else may overlap them, and what no service has of them
    /// is refused. A node without services is as if there were none of this. Any thread.
    [[nodiscard]] bool claims() const;
    /// Interfaces whose networks overlap the ranges. Any thread.
    [[nodiscard]] Faults overlaps(const model::Config& config) const;
    /// Any thread.
    [[nodiscard]] View view() const;
    [[nodiscard]] const Settings& settings() const { return settings_; }
    /// Operators' word on endpoints; who changes it calls settle() afterwards.
    [[nodiscard]] Drains& drains() { return drains_; }
    /// For people: where services come from, and what is wrong with that; empty: nothing.
    [[nodiscard]] std::string source_name() const;
    [[nodiscard]] std::string trouble() const;

private:
    void run(const std::stop_token& stopping);
    void update(const source::SnapshotPtr& snapshot);
    void leave_configured(model::Change& change);
    void bring_into_force(const model::Change& change);
    model::Config configuration() const;
    Here look_around(const kubernetes::Objects& objects) const;
    std::set<kubernetes::ObjectName> touched(const kubernetes::Objects& now, const Here& around) const;
    kubernetes::ObjectName holder_of(const IpAddress& address, model::Transport protocol, std::uint16_t port,
                                     const Here& around) const;
    std::set<kubernetes::ObjectName> disturbed(const Allocated& allocated, const kubernetes::Service& service,
                                               const Surroundings& around) const;
    /// Returns the other services that its ClusterIPs and node ports take an external place from.
    std::set<kubernetes::ObjectName> compile_one(const kubernetes::ObjectName& name,
                                                 const kubernetes::Objects& objects,
                                                 const Surroundings& around, View& next);
    void forget_drains(const Surroundings& around);

    const Settings settings_;
    store::Database& database_;
    source::Source* source_;
    reconcile::Reconciler* reconciler_ = nullptr;
    std::function<AttachedPods()> pods_;
    Drains drains_;

    // The thread's own.
    Allocation allocation_;
    ExternalPlaces external_places_;
    HealthCheckServer health_check_server_;
    kubernetes::Objects objects_;  ///< of the last compilation
    std::shared_ptr<const Here> around_ = std::make_shared<const Here>();

    mutable std::mutex mutex_;  ///< guards what follows
    mutable std::condition_variable_any bell_;
    bool stopped_ = false;
    std::uint64_t wakes_ = 0;    ///< how often something has changed, or may have
    std::uint64_t settled_ = 0;  ///< up to which of these everything is in force
    source::SnapshotPtr arrived_;
    View view_;

    std::jthread thread_;  ///< last: ends before the rest goes
};

}  // namespace viaduct::service
