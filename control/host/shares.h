// Keeps the node's kernel as the ports need it by which the host shares router interfaces: after each change
// of what is in force, and from time to time, since others have a hand in the kernel, too.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "reconcile/reconciler.h"

namespace viaduct::host {

class Shares {
public:
    /// The reconciler outlives this.
    explicit Shares(reconcile::Reconciler& reconciler) : reconciler_(reconciler) {}
    /// Called on this object's thread before each round; before start().
    void before_each(std::function<void(const model::Config& in_force)> work) { before_ = std::move(work); }
    void start();
    void stop();
    ~Shares() { stop(); }
    Shares(const Shares&) = delete;
    Shares& operator=(const Shares&) = delete;

    /// A round soon. Any thread; never blocks for long.
    void wake();
    /// A round now. Any thread. What fails is logged and tried again with the next round.
    void sync();

private:
    void run(const std::stop_token& stopping);
    void withdraw_rules(const std::set<std::string>& present);
    void report(const std::string& place, const std::string& fault);

    reconcile::Reconciler& reconciler_;
    std::function<void(const model::Config&)> before_;

    std::mutex working_;                         ///< one round at a time; guards the next three
    std::set<std::string> with_rules_{""};       ///< namespaces where rules may be; the own one from before
    std::map<std::string, std::string> faults_;  ///< told already

    std::mutex mutex_;
    std::condition_variable_any bell_;
    bool wanted_ = true;
    std::jthread thread_;  ///< last: ends before the rest goes
};

}  // namespace viaduct::host
