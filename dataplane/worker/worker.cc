// The poll loop and how it rests.
#include "worker/worker.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <string>

#include <rte_malloc.h>
#include <rte_pause.h>

namespace viaduct::dataplane {

namespace {

/// Turns without work before a worker arms its queues: some tens of microseconds, of which fewer turns make
/// as much where each asks the kernel. Pods on TAPs want the processor that is given back then.
constexpr std::uint32_t kIdleTurns = 1000;
constexpr std::uint32_t kIdleTurnsAsking = 100;
/// While polled queues are busy, signalled ones are asked for only every so many turns: asking is a system
/// call.
constexpr std::uint64_t kSignalledEvery = 8;
/// Under load, one bucket of flows is looked at for time-outs every so many turns: one or two per cent of a
/// worker, and seconds for a million flows.
constexpr std::uint64_t kSweepEvery = 16;
/// Buckets in a turn that found nothing to do, and in one that ends in a sleep of up to 20 ms.
constexpr std::uint32_t kSweepIdle = 16;
constexpr std::uint32_t kSweepAsleep = 128;
/// Longest sleep; a missed signal costs no more than this.
constexpr timespec kLongSleep{0, 20'000'000};
/// Sleep while some queue cannot wake the worker.
constexpr timespec kShortSleep{0, 50'000};

constexpr std::uint64_t kPointerBits = 48;
constexpr std::uint64_t kPointerMask = (std::uint64_t{1} << kPointerBits) - 1;

/// A frame and its output in one ring slot: user-space addresses have 47 bits. A frame that is shared by
/// several outputs cannot carry its output itself.
void* pack(rte_mbuf* frame, PortIndex port) {
    return reinterpret_cast<void*>(reinterpret_cast<std::uint64_t>(frame) | static_cast<std::uint64_t>(port)
                                                                                << kPointerBits);
}
rte_mbuf* packed_frame(void* slot) {
    return reinterpret_cast<rte_mbuf*>(reinterpret_cast<std::uint64_t>(slot) & kPointerMask);
}
PortIndex packed_port(void* slot) {
    return static_cast<PortIndex>(reinterpret_cast<std::uint64_t>(slot) >> kPointerBits);
}

constexpr std::uint64_t kWakeEvent = UINT64_MAX;

}  // namespace

void QsbrDeleter::operator()(rte_rcu_qsbr* qsbr) const {
    rte_free(qsbr);
}

Crew::Crew(unsigned size, FlowTables flow_tables, ResolveShared& resolve_shared)
    : flows(flow_tables), shared(resolve_shared), size_(size), rings_(std::size_t{size} * size) {
    // Several dataplanes may live in one process, one after another, in tests.
    static std::atomic<unsigned> serial{0};
    const auto crew = serial++;
    for (unsigned from = 0; from < size; ++from) {
        for (unsigned to = 0; to < size; ++to) {
            if (from == to) continue;
            const auto name =
                "handoff" + std::to_string(crew) + "." + std::to_string(from) + "." + std::to_string(to);
            rings_[from * size + to].reset(
                rte_ring_create(name.c_str(), kHandOffRing, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ));
            if (!rings_[from * size + to]) throw std::runtime_error("no memory for the ring " + name);
        }
    }
    qsbr_.reset(
        static_cast<rte_rcu_qsbr*>(rte_zmalloc("qsbr", rte_rcu_qsbr_get_memsize(size), RTE_CACHE_LINE_SIZE)));
    if (!qsbr_ || rte_rcu_qsbr_init(qsbr_.get(), size) != 0) {
        throw std::runtime_error("no memory for the grace-period keeper of " + std::to_string(size) +
                                 " workers");
    }
}

Worker::Worker(Crew& crew, std::uint16_t number, unsigned lcore, bool busy, rte_mempool* pool)
    : crew_(crew),
      number_(number),
      lcore_(lcore),
      busy_(busy),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      counters_(std::make_unique<CounterBlock>()),
      forwarder_(number, pool, *counters_, *this, crew.flows),
      resolver_(forwarder_, crew.shared, number, static_cast<std::uint16_t>(crew.size())),
      sweep_(crew.flows, number, crew.size()) {
    forwarder_.set_first_packets(resolver_);
    // Edge-triggered, here and for a guest's kicks: a descriptor is never read, so one that was closed and
    // given to somebody else meanwhile is not touched.
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = kWakeEvent}};
    if (epoll_ < 0 || wake_ < 0 || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) != 0) {
        throw std::runtime_error("worker " + std::to_string(number) +
                                 " gets no descriptors: " + std::strerror(errno));
    }
}

Worker::~Worker() {
    if (epoll_ >= 0) ::close(epoll_);
    if (wake_ >= 0) ::close(wake_);
}

void Worker::run() {
    auto* qsbr = crew_.qsbr();
    rte_rcu_qsbr_thread_register(qsbr, number_);
    rte_rcu_qsbr_thread_online(qsbr, number_);
    while (!crew_.stop.load(std::memory_order_relaxed)) {
        const auto& topology = *crew_.topology.load(std::memory_order_acquire);
        const auto& view = topology.workers[number_];
        forwarder_.begin(topology, crew_.now.load(std::memory_order_relaxed));
        if (rest_ == Rest::woke) arm(view, false);

        std::uint32_t work = take_handed();
        for (const auto& queue : view.polled)
            work += poll(queue);
        if (!view.signalled.empty() &&
            (work == 0 || signalled_lately_ || turns_.get() % kSignalledEvery == 0)) {
            const auto signalled = poll_signalled(topology);
            signalled_lately_ = signalled != 0;
            work += signalled;
        }
        resolver_.housekeeping();
        forwarder_.flush();
        turns_.add(1);
        resolver_.end_turn(work);
        sweep(topology, work == 0);
        if (work != 0) {
            if (rest_ == Rest::armed) arm(view, false);
            idle_streak_ = 0;
        } else {
            idle_turns_.add(1);
            rest(view);
        }
        rte_rcu_qsbr_quiescent(qsbr, number_);
    }
    rte_rcu_qsbr_thread_offline(qsbr, number_);
    rte_rcu_qsbr_thread_unregister(qsbr, number_);
    crew_.ended.fetch_add(1, std::memory_order_release);
}

/// A bucket of flows costs about a microsecond when none of it is in the cache.
void Worker::sweep(const Topology& topology, bool idle) {
    const auto now = forwarder_.now();
    if (!idle) {
        if (turns_.get() % kSweepEvery == 0) sweep_.step(1, now, topology.flow_timeouts);
        return;
    }
    sweep_.step(rest_ == Rest::armed ? kSweepAsleep : kSweepIdle, now, topology.flow_timeouts);
}

std::uint32_t Worker::poll(const RxQueue& queue) {
    std::array<rte_mbuf*, kBurst> frames;
    const auto count = queue.port->receive(queue.queue, frames.data(), kBurst);
    if (count != 0) forwarder_.receive(queue.index, frames.data(), count);
    return count;
}

std::uint32_t Worker::poll_signalled(const Topology& topology) {
    std::array<epoll_event, 64> events;
    const int ready = ::epoll_wait(epoll_, events.data(), events.size(), 0);
    std::uint32_t work = 0;
    for (int i = 0; i < ready; ++i) {
        const auto data = events[static_cast<std::size_t>(i)].data.u64;
        const auto index = static_cast<PortIndex>(data >> 16 & (kPortsMost - 1));
        const auto queue = static_cast<std::uint16_t>(data & 0xf);
        if (data == kWakeEvent || (topology.workers[number_].signalled_mask[index] >> queue & 1) == 0)
            continue;
        work += poll({topology.ports[index].port, index, queue});
    }
    return work;
}

std::uint32_t Worker::take_handed() {
    std::uint32_t work = 0;
    for (unsigned from = 0; from < crew_.size(); ++from) {
        if (from == number_) continue;
        auto* ring = crew_.ring(from, number_);
        // All that is there now is taken, however much: after one turn nothing older than the turn is in the
        // ring.
        for (unsigned waiting = rte_ring_count(ring); waiting > 0;) {
            std::array<void*, kBurst> slots;
            const auto count =
                rte_ring_sc_dequeue_burst(ring, slots.data(), std::min<unsigned>(waiting, kBurst), nullptr);
            if (count == 0) break;
            waiting -= count;
            work += count;
            for (unsigned begin = 0; begin < count;) {
                // A run for one output goes on as one burst.
                std::array<rte_mbuf*, kBurst> frames;
                const auto port = packed_port(slots[begin]);
                std::uint16_t run = 0;
                while (begin < count && packed_port(slots[begin]) == port)
                    frames[run++] = packed_frame(slots[begin++]);
                forwarder_.send_handed(port, frames.data(), run);
            }
        }
    }
    return work;
}

std::uint16_t Worker::hand_off(std::uint16_t worker, PortIndex port, rte_mbuf** frames, std::uint16_t count) {
    std::array<void*, kBurst> slots;
    for (std::uint16_t i = 0; i < count; ++i)
        slots[i] = pack(frames[i], port);
    const auto taken = rte_ring_sp_enqueue_burst(crew_.ring(number_, worker), slots.data(), count, nullptr);
    handed_off_.add(taken);
    // The other side says that it sleeps, then looks at its rings once more; we fill the ring, then ask
    // whether it sleeps. One of the two sees the other.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    auto& other = *crew_.workers[worker];
    if (other.sleeping_.load(std::memory_order_relaxed)) other.wake();
    return static_cast<std::uint16_t>(taken);
}

void Worker::rest(const WorkerView& view) {
    rte_pause();
    if (busy_ || ++idle_streak_ < (view.polled.empty() ? kIdleTurnsAsking : kIdleTurns)) return;
    if (rest_ == Rest::none) {
        // The next turn looks at every queue once more, armed; only when that finds nothing the worker
        // sleeps.
        arm(view, true);
        sleeping_.store(true, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        return;
    }
    // Nobody signals that time has passed.
    const bool waits = std::any_of(view.polled.begin(), view.polled.end(),
                                   [](const RxQueue& queue) { return queue.port->waits(); });
    sleep(view.unwakeable || waits);
    rest_ = Rest::woke;
}

void Worker::arm(const WorkerView& view, bool on) {
    for (const auto& queue : view.polled) {
        if (on) {
            queue.port->arm(queue.queue);
        } else {
            queue.port->disarm(queue.queue);
        }
    }
    rest_ = on ? Rest::armed : Rest::none;
    if (!on) sleeping_.store(false, std::memory_order_relaxed);
}

/// A sleeper holds no topology, so nobody waits for it; it must not touch the old one after this.
void Worker::sleep(bool shortly) {
    std::array<epoll_event, 1> event;
    sleeps_.add(1);
    rte_rcu_qsbr_thread_offline(crew_.qsbr(), number_);
    ::epoll_pwait2(epoll_, event.data(), event.size(), shortly ? &kShortSleep : &kLongSleep, nullptr);
    rte_rcu_qsbr_thread_online(crew_.qsbr(), number_);
}

void Worker::discard(rte_ring* ring) {
    void* slot = nullptr;
    while (rte_ring_sc_dequeue(ring, &slot) == 0)
        rte_pktmbuf_free(packed_frame(slot));
}

void Worker::wake() {
    const std::uint64_t one = 1;
    // It can fail only when the counter is full, and then it has been signalled.
    [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
}

void Worker::watch(const Port& port, PortIndex index, std::uint16_t queue) {
    const int descriptor = port.wait_descriptor(queue);
    if (descriptor < 0) return;
    const std::uint32_t trigger = port.readiness() == Readiness::polled ? EPOLLET : 0U;
    epoll_event event{.events = EPOLLIN | trigger,
                      .data = {.u64 = static_cast<std::uint64_t>(index) << 16 | queue}};
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) != 0 && errno == EEXIST) {
        ::epoll_ctl(epoll_, EPOLL_CTL_MOD, descriptor, &event);
    }
}

void Worker::unwatch(int descriptor) {
    // Already gone when the descriptor was closed.
    if (descriptor >= 0) ::epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, nullptr);
}

}  // namespace viaduct::dataplane
