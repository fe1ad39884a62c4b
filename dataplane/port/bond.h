// Several devices that make one port, by DPDK's net_bonding: which of them are there, have a link and carry.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "port/ethdev.h"
#include "port/port.h"

struct rte_mempool;

namespace viaduct::dataplane {

/// Drivers of kernel interfaces call their link up whatever happens, and net_bonding believes them: so the
/// links are followed here, and net_bonding is told which member is to carry. A member that disappears leaves
/// the bond and joins it again when it is back; one that was not there to begin with joins when it comes.
class Bond {
public:
    /// Plugs in the members that are there. Throws Refused, also when none is. The pool outlives it.
    Bond(const model::Port& port, PortIndex index, rte_mempool* pool);
    ~Bond() { close(); }
    Bond(const Bond&) = delete;
    Bond& operator=(const Bond&) = delete;

    /// The device that the members make, for the caller to start, and to close before this is. Once.
    std::unique_ptr<Ethdev> make();

    /// Has every member filter, those that come later too; see Ethdev::filter_by. For a port that is not
    /// promiscuous, after make(); main thread, in the namespace of the interfaces. Throws Refused.
    void filter_by(const std::vector<MacAddress>& addresses);

    /// Looks at the members' links, and in mode active-backup changes over. Up when one member's is. Any
    /// thread.
    Ethdev::Link look();
    /// After look(): whether a member is to join or to leave. Any thread.
    [[nodiscard]] bool needs_tending() const { return needs_tending_.load(std::memory_order_acquire); }
    /// Main thread; see Port::tend.
    void tend(const std::function<void()>& wait);
    /// Mode, and each member with its link and its part. Any thread.
    [[nodiscard]] std::string words() const;
    void close();

private:
    using Clock = std::chrono::steady_clock;

    struct Member {
        EthdevName name;
        std::unique_ptr<Ethdev> device;  ///< none while it is not there
        Ethdev::Link link = Ethdev::Link::gone;
        bool joined = false;
        Clock::time_point try_at;  ///< when to try to plug it in again
        std::string trouble;       ///< why that failed
    };

    void plug_in(Member& member);
    void join(Member& member);
    void leave(Member& member);
    void take_or_filter(Ethdev& device) const;
    void filter_again() const;
    void bring_back(Member& member);
    [[nodiscard]] bool carries_by_link() const { return mode_ != model::Bonding::active_backup; }
    [[nodiscard]] bool wants_change(const Member& member, bool others_up) const;
    [[nodiscard]] bool others_up(const Member& member) const;
    void change_over();
    void discard_waiting(const Member& member) const;
    [[nodiscard]] std::string words_of(const Member& member) const;

    const model::Port port_;
    const model::Bonding mode_;
    const PortIndex index_;
    rte_mempool* const pool_;
    std::uint16_t id_ = UINT16_MAX;  ///< of the device that they make
    mutable std::mutex mutex_;       ///< of the members, and of the order of calls to net_bonding
    std::vector<Member> members_;
    std::vector<MacAddress> addresses_;  ///< of filter_by()
    std::atomic<Ethdev::Link> link_{Ethdev::Link::down};
    std::atomic<bool> needs_tending_{false};
};

}  // namespace viaduct::dataplane
