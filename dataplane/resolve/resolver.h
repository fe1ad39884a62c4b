// What is done with what the fast path cannot do by itself, one object a worker: frames are told apart, flows
// are explained by the pipeline, decided (commit.cc), and everything else goes its own way (messages.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "forward/first_packets.h"
#include "forward/forwarder.h"
#include "resolve/announcements.h"
#include "resolve/context.h"
#include "resolve/flow_setup_share.h"
#include "resolve/fragments.h"
#include "resolve/recent_hops.h"
#include "resolve/shared.h"

namespace viaduct::dataplane {

template <typename Key>
struct Entry;  // resolve/commit.h

class Resolver final : public FirstPackets {
public:
    /// `number` of `workers`: whose share of the timers is this one's. What is referred to outlives it.
    /// `clock`: what new flows' share of the time is measured by; asked on the worker's thread.
    Resolver(Forwarder& forwarder, ResolveShared& shared, std::uint16_t number, std::uint16_t workers,
             CycleClock clock = CycleClock::of_processor());
    ~Resolver() override;
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    void resolve(const RoutedFrame* frames, std::uint16_t count) override;
    bool is_answer(const RoutedFrame& bridged) override;
    void send_outer(TunnelIndex tunnel, rte_mbuf* packet) override;
    /// Timers; about once a turn, after the forwarder's begin(). Cheap when nothing is due.
    void housekeeping();
    /// Ends a turn in which the worker took in so many frames.
    void end_turn(std::uint32_t frames) { setup_share_.turn(frames); }
    [[nodiscard]] std::uint64_t held() const override;

    // --- for this folder's other files; worker's thread ---

    [[nodiscard]] Forwarder& forwarder() { return forwarder_; }
    [[nodiscard]] const Topology& topology() const { return forwarder_.topology(); }
    [[nodiscard]] const Tables& tables() const { return *forwarder_.topology().tables; }
    [[nodiscard]] ResolveShared& shared() { return shared_; }
    [[nodiscard]] Fragments& fragments() { return fragments_; }
    /// Used by the first worker only.
    [[nodiscard]] Announcements& announcements() { return announcements_; }
    [[nodiscard]] std::uint32_t now() const { return forwarder_.now(); }
    [[nodiscard]] rte_mempool* pool() const { return forwarder_.pool(); }
    [[nodiscard]] std::uint16_t number() const { return number_; }
    [[nodiscard]] std::uint16_t workers() const { return workers_; }

    /// One frame as if it had just come: for what was held and is whole or reachable now.
    void resolve_one(const RoutedFrame& routed);
    /// Routes a packet that is of no flow of its own (a translated ICMP error) and sends it.
    /// `answers`: it is about a flow that exists, which may bring it where none may begin.
    void route_alone(const Packet& packet, bool answers);

    /// What waited for its neighbour and waits no more: goes on, or ends (a tunnel's packet always as
    /// unresolved).
    void resolve_waiting(const WaitingFrame& waiting);
    void drop_waiting(const WaitingFrame& waiting, Drop why);
    /// The three ends of a frame that came in. Frames that are shared are only let go of.
    void drop(const RoutedFrame& routed, Drop why);
    void consume(const RoutedFrame& routed);
    /// Sends a frame by a router interface as its bridge delivers it. It begins with a whole Ethernet header
    /// without a tag. `send`: the packet came in by `from`; `originate`: the node made it itself.
    void send(PortIndex from, rte_mbuf* frame, InterfaceIndex interface);
    void originate(rte_mbuf* frame, InterfaceIndex interface);

private:
    /// A packet that belongs to a flow, with its key's hash.
    struct Item {
        Packet packet;
        std::uint64_t hash = 0;
    };

    /// While new flows are limited: drops a packet that would begin one. False: it would not.
    bool drop_if_new(const Item& item);
    /// Frames that have a way of their own go it; true for those that belong to flows.
    bool take_apart(const RoutedFrame& routed, Item& item);
    /// Headers in the frame's first segment, and nobody else who reads them there. False: there is no buffer,
    /// and the frame has been dropped for that.
    bool make_writable(Packet& packet);
    Context context_for(const Packet& packet, std::uint64_t hash);
    /// Packets of one family, each passed through the pipeline before the first is entered.
    template <typename Key>
    void resolve_flows(const Item* items, std::uint16_t count);
    /// Passes a packet through the pipeline; false when it has come to its end there.
    bool decide(Context& context);
    /// Enters what was decided and carries it out; false: another worker was first, to be resolved once more.
    template <typename Key>
    bool enter(Context& context, Entry<Key>& entry);
    template <typename Key>
    void resolve_flow(const Item& item);
    void finish(Context& context, Step step);

    Forwarder& forwarder_;
    ResolveShared& shared_;
    const std::uint16_t number_;
    const std::uint16_t workers_;
    Fragments fragments_{Fragments::frames_most(forwarder_.pool()->size)};
    RecentHops recent_hops_;
    CycleClock clock_;
    FlowSetupShare setup_share_;
    std::uint32_t last_second_ = 0;
    Announcements announcements_;
};

}  // namespace viaduct::dataplane
