// Desired state becomes the dataplane's state. The store is the truth and the dataplane a cache of it:
// whatever happened to either, the difference between the two is worked out and sent as one transaction.
//
// Theory of operation. Each source (the configuration, the attachments) contributes its objects to the
// desired state. A change of desired state is first made durable by its owner, in the store, and then applied
// here. So desired state is always at least as new as what the dataplane was told, and a full comparison may
// run at any time between the two: it only does early what the owner is about to do, and apply() then finds
// nothing left to do.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "viaduct/fault.h"
#include "viaduct/model.h"

namespace viaduct::store {
class Database;
class Transaction;
}  // namespace viaduct::store

namespace viaduct::reconcile {

/// Somebody who wants objects to be in the dataplane.
class DesiredSource {
public:
    DesiredSource() = default;
    DesiredSource(const DesiredSource&) = delete;
    DesiredSource& operator=(const DesiredSource&) = delete;
    virtual ~DesiredSource() = default;
    /// Adds this source's objects to `desired`, which holds those of the sources before it. Leaves alone what
    /// is there already: a bridge that exists is used, a port or entry whose name another source has is a
    /// fault
    /// ("ports/NAME"). Any thread; `tx` is the one open transaction, only read.
    virtual void contribute(store::Transaction& tx, model::Config& desired, Faults& faults) const = 0;
    /// Whose objects they are, for people: "config", "networks", "pods".
    [[nodiscard]] virtual const char* origin() const { return "pods"; }
    /// Called when a comparison has brought ports into force that were not, after a restart of the dataplane
    /// say: what a port needs beyond the dataplane, such as the addresses of a pod's interface, is done again
    /// here. On the comparing thread, with nothing but the reconciler's lock held: call nothing of the
    /// reconciler.
    virtual void restored(const model::Named<model::Port>& ports) const { static_cast<void>(ports); }
};

struct Options {
    std::string dataplane_socket = "/run/viaduct/dataplane.sock";
    std::chrono::seconds every{30};  ///< full comparison at least so often
    std::chrono::milliseconds timeout{
        60000};  ///< for one answer of the dataplane; a million routes take a while
    std::chrono::milliseconds retry_first{20};  ///< between attempts to connect, in the first five seconds
    std::chrono::milliseconds retry_most{500};
};

/// How the dataplane stands to the desired state, for /v1/health.
struct Status {
    bool connected = false;
    std::string reason;    ///< why not, in words; empty when connected
    std::string instance;  ///< of the dataplane last seen
    bool in_sync = false;  ///< everything desired is in force
    std::map<std::string, std::string>
        left_out;                   ///< object ("ports/web-1") to why the dataplane cannot have it
    std::uint64_t comparisons = 0;  ///< full ones since the start
    std::uint64_t restores = 0;     ///< of these, after a connection was made
};

class Reconciler {
public:
    /// `sources` in the order in which they contribute: the configuration first. All must outlive this
    /// object.
    Reconciler(Options options, store::Database& database, std::vector<const DesiredSource*> sources);
    ~Reconciler();
    Reconciler(const Reconciler&) = delete;
    Reconciler& operator=(const Reconciler&) = delete;

    /// Starts the thread that connects, compares and repairs. Without it nothing is connected.
    void start();
    /// Ends it; also done by the destructor.
    void stop();

    /// Brings `change` into force now: returns when packets are carried accordingly. The change must be
    /// durable in the store already, as a part of what the sources contribute. Objects that are in force
    /// already (or gone already, for deletions) are left alone, so that it may be called again. Any thread;
    /// calls queue. `patience`: how long to wait for a dataplane that is away. Throws Refused with the
    /// dataplane's faults (nothing of `change` was applied; the caller takes it out of the store again),
    /// http::Unreachable when the dataplane is away or broke off: the change will be applied by the next
    /// comparison, which follows as soon as it is back.
    void apply(const model::Change& change, std::chrono::milliseconds patience = {});
    /// Whether the dataplane would accept `change`; applies nothing. Throws as apply().
    void check(const model::Change& change);

    /// What all sources want together, with what is wrong between them (model::check included) as faults.
    model::Config desired(store::Transaction& tx, Faults& faults) const;

    /// The objects after each source's contribution, with its origin: the first that has one is whose it is.
    std::vector<std::pair<std::string, model::Config>> contributions(store::Transaction& tx) const;
    /// What the dataplane has been told, as far as is known. Any thread; waits for a transaction under way.
    model::Config in_force() const;
    /// Called whenever that has changed, on whatever thread did it, with the reconciler's lock held: call
    /// nothing of it there. Before start().
    void on_change(std::function<void()> changed);

    /// A full comparison soon, on the reconciler's thread. Any thread.
    void wake();
    [[nodiscard]] Status status() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace viaduct::reconcile
