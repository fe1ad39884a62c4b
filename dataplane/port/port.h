// What the dataplane plugs in: one small interface for every kind of port. Calls move bursts, never single
// packets, so the virtual call is paid once for up to kBurst frames.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "viaduct/address.h"

struct rte_mbuf;

namespace viaduct::model {
struct Tap;
}

namespace viaduct::dataplane {

/// A port's place in the dataplane's arrays. An index is given again only after no worker and no hand-off
/// ring can hold it any more.
using PortIndex = std::uint16_t;

inline constexpr std::uint16_t kPortsMost = 1024;  ///< librte_vhost's own limit on devices
/// Indices from here on name router interfaces (kGatewayFirst + InterfaceIndex) where an FDB entry or a flood
/// list names an output: such frames are routed, not sent.
inline constexpr PortIndex kGatewayFirst = 0x8000;
inline constexpr PortIndex kNoPort = 0xffff;
inline constexpr std::uint16_t kBurst = 32;  ///< frames moved in one call

/// How the worker that owns a receive queue learns that frames are there.
enum class Readiness : std::uint8_t {
    polled,     ///< looking is cheap: the worker looks on every turn
    signalled,  ///< looking is a system call: the worker looks when `wait_descriptor` is readable
};

/// Told when something that forwarding depends on has changed: link, queues in use, descriptors to wait on.
/// Any thread; must not block on the caller's locks.
class PortListener {
public:
    virtual ~PortListener() = default;
    virtual void port_changed(PortIndex index) = 0;
};

class Port {
public:
    Port() = default;
    /// Main thread, after every worker has let go of it. Without stop() before, what can outlive the process
    /// does: a TAP stays in its namespace for the next dataplane.
    virtual ~Port() = default;
    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;

    // --- the queue's owner only: one worker at a time ---

    /// Takes up to `most` (at most kBurst) frames, each an mbuf chain that starts at the Ethernet header and
    /// belongs to the caller, marked as port/offload.h says. Frames that the port itself must refuse are
    /// counted by it (see `refused`).
    virtual std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) = 0;
    /// Gives `count` frames away in order. Returns how many were taken; those are the port's (copied and
    /// freed, or kept), the rest stay the caller's. Frames may be shared (reference count above 1): they are
    /// read only.
    virtual std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) = 0;
    /// Before sleeping: asks the other side to make `wait_descriptor` readable when frames come. The caller
    /// looks once more after this. Signalled queues need do nothing.
    virtual void arm(std::uint16_t queue) { (void)queue; }
    /// After sleeping: the other side need not signal any more, and `wait_descriptor` is quiet. The worker
    /// itself never reads that descriptor.
    virtual void disarm(std::uint16_t queue) { (void)queue; }

    // --- any thread ---

    [[nodiscard]] virtual bool link_up() const = 0;
    /// Queue pairs in use now: 0 while the link is down, at most what was configured.
    [[nodiscard]] virtual std::uint16_t active_queues() const = 0;
    [[nodiscard]] virtual Readiness readiness() const = 0;
    /// Becomes readable when frames wait in `queue` (for polled queues: after arm()); -1 when there is none.
    /// The descriptor stays valid until a `port_changed` has been answered by a new topology.
    [[nodiscard]] virtual int wait_descriptor(std::uint16_t queue) const = 0;
    /// Whether frames that transmit() does not take are beyond a rate that was set for the port.
    [[nodiscard]] virtual bool limited() const { return false; }
    /// Frames that transmit() took and that have not left yet: they wait in the port itself, and count as
    /// sent.
    [[nodiscard]] virtual std::uint64_t held() const { return 0; }
    /// Frames that came in and were refused by the port itself, before they could be counted as received.
    [[nodiscard]] virtual std::uint64_t refused() const { return 0; }
    /// Pieces of long segments, cut for this port, that found no room after others of the same segment: the
    /// frame counts as sent.
    [[nodiscard]] virtual std::uint64_t cut_short() const { return 0; }
    /// Whether there will be something to do without anybody saying so: a rate holds frames back.
    [[nodiscard]] virtual bool waits() const { return false; }
    /// Why the link is down, or the peer's features, for people ("waiting for /run/x/vh0: No such file or
    /// directory").
    [[nodiscard]] virtual std::string detail() const { return {}; }

    /// Whether there is something for tend() to do. Tells its listener when that begins.
    [[nodiscard]] virtual bool needs_tending() const { return false; }

    // --- main thread ---

    /// Whether its interface is there by now, because somebody has moved or renamed it.
    [[nodiscard]] virtual bool is_at(const model::Tap& place) const {
        (void)place;
        return false;
    }

    /// Follows a device that has gone or come back. Called after a topology has been made, with what the port
    /// said of its queues when needs_tending() was true or later; `wait` returns when no worker is in a call
    /// of the port any more that began before, and no ring holds frames for it that were sent before.
    virtual void tend(const std::function<void()>& wait) { (void)wait; }
    /// An uplink that is not promiscuous: of what is for single stations it takes that for these addresses
    /// alone, from now on. Throws Refused; what was in force stays so.
    virtual void filter_by(const std::vector<MacAddress>& addresses) { (void)addresses; }
    /// The MTU has changed.
    virtual void set_mtu(std::uint32_t mtu) = 0;
    /// Removes the port: nothing more will be received or sent, and what it had outside the process (socket,
    /// interface) is gone when this returns. Called once, before destruction, when no worker has it any more.
    virtual void stop() = 0;
};

}  // namespace viaduct::dataplane
