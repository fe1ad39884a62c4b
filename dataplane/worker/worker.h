// A worker: one core that polls the queues it owns, forwards what they bring and sends by the queues it owns.
// To send by another worker's queue it hands frames over on a ring. With nothing to do it pauses, then arms
// its queues and sleeps until one of them has something, unless it was told to stay busy.
#pragma once

#include <atomic>
#include <cstdint>

#include "forward/forwarder.h"
#include "resolve/resolver.h"
#include "worker/crew.h"
#include "worker/flow_sweep.h"

namespace viaduct::dataplane {

class Worker final : private HandOff {
public:
    /// `number`: 0-based among the crew. Throws std::runtime_error when the kernel refuses descriptors.
    Worker(Crew& crew, std::uint16_t number, unsigned lcore, bool busy, rte_mempool* pool);
    ~Worker() override;
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    /// The poll loop; returns after crew.stop was set. Runs on the worker's own lcore.
    void run();

    // --- any thread ---

    /// Ends a sleep, if the worker sleeps.
    void wake();
    [[nodiscard]] const CounterBlock& counters() const { return *counters_; }
    [[nodiscard]] CounterBlock& counters() { return *counters_; }
    [[nodiscard]] unsigned lcore() const { return lcore_; }
    [[nodiscard]] std::uint64_t turns() const { return turns_.get(); }
    [[nodiscard]] std::uint64_t idle_turns() const { return idle_turns_.get(); }
    [[nodiscard]] std::uint64_t sleeps() const { return sleeps_.get(); }
    [[nodiscard]] std::uint64_t handed_off() const { return handed_off_.get(); }
    /// The coarse second in which it last began to look through all of its share of the flows, and ended.
    [[nodiscard]] std::uint32_t swept() const { return sweep_.swept(); }
    /// Frames that wait in its resolver.
    [[nodiscard]] std::uint64_t held() const { return resolver_.held(); }

    /// Frees the frames in a hand-off ring. Only when no worker runs.
    static void discard(rte_ring* ring);

    // --- main thread: what may end a sleep ---

    void watch(const Port& port, PortIndex index, std::uint16_t queue);
    void unwatch(int descriptor);

private:
    /// none: polling; armed: the other sides were asked to signal; woke: slept, and they have not been told
    /// yet.
    enum class Rest : std::uint8_t { none, armed, woke };

    std::uint16_t hand_off(std::uint16_t worker, PortIndex port, rte_mbuf** frames,
                           std::uint16_t count) override;
    std::uint32_t take_handed();
    std::uint32_t poll(const RxQueue& queue);
    std::uint32_t poll_signalled(const Topology& topology);
    void sweep(const Topology& topology, bool idle);
    void rest(const WorkerView& view);
    void arm(const WorkerView& view, bool on);
    void sleep(bool shortly);

    Crew& crew_;
    const std::uint16_t number_;
    const unsigned lcore_;
    const bool busy_;
    int epoll_ = -1;
    int wake_ = -1;
    std::atomic<bool> sleeping_{false};
    Rest rest_ = Rest::none;
    std::uint32_t idle_streak_ = 0;
    bool signalled_lately_ = false;
    std::unique_ptr<CounterBlock> counters_;
    Forwarder forwarder_;
    Resolver resolver_;
    FlowSweep sweep_;
    Counter turns_;
    Counter idle_turns_;
    Counter sleeps_;
    Counter handed_off_;
};

}  // namespace viaduct::dataplane
