// Keeps the node's kernel as the ports need it by which the host shares router interfaces: after each change
// of what is in force, and from time to time, since others have a hand in the kernel, too.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "viaduct/http.h"

#include "reconcile/reconciler.h"

namespace viaduct::host {

/// Interfaces of control's own namespace of which the host itself says what addresses they have, and those
/// that it was seen to have: what it takes away then is not given again.
using HostsOwn = std::map<std::string, std::vector<Prefix>>;

class Shares {
public:
    /// The reconciler outlives this.
    explicit Shares(reconcile::Reconciler& reconciler);
    /// Called on this object's thread before each round of its own; before start().
    void before_each(std::function<HostsOwn()> work) { before_ = std::move(work); }
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
    void wait() const;
    void withdraw_rules(const std::set<std::string>& present);
    void report(const std::string& place, const std::string& fault);

    reconcile::Reconciler& reconciler_;
    std::function<HostsOwn()> before_;

    std::mutex working_;  ///< one round at a time; guards the next few
    HostsOwn hosts_own_;
    std::set<std::string> with_rules_{""};       ///< namespaces where rules may be; the own one from before
    std::map<std::string, std::string> faults_;  ///< told already

    http::Descriptor bell_;     ///< an eventfd: a round is wanted
    http::Descriptor monitor_;  ///< a netlink socket that hears of interfaces and addresses that come and go
    std::jthread thread_;       ///< last: ends before the rest goes
};

}  // namespace viaduct::host
