// Rings on memory of their own, so that any number of wires can live in a process without names to collide.
#include "port/wire.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

#include <rte_common.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

namespace viaduct::dataplane {
namespace {

struct FreeMemory {
    void operator()(void* memory) const { std::free(memory); }
};

class Ring {
public:
    Ring(std::uint32_t capacity, unsigned flags) {
        const auto slots = rte_align32pow2(capacity + 1);
        const auto size = rte_ring_get_memsize(slots);
        if (size < 0) throw std::runtime_error("a wire cannot hold " + std::to_string(capacity) + " frames");
        const auto bytes = RTE_ALIGN_CEIL(static_cast<std::size_t>(size), std::size_t{RTE_CACHE_LINE_SIZE});
        memory_.reset(std::aligned_alloc(RTE_CACHE_LINE_SIZE, bytes));
        if (!memory_) throw std::bad_alloc();
        ring_ = static_cast<rte_ring*>(memory_.get());
        if (rte_ring_init(ring_, "wire", capacity, flags | RING_F_EXACT_SZ) != 0) {
            throw std::runtime_error("a wire cannot hold " + std::to_string(capacity) + " frames");
        }
    }
    ~Ring() {
        void* frame = nullptr;
        while (rte_ring_dequeue(ring_, &frame) == 0)
            rte_pktmbuf_free(static_cast<rte_mbuf*>(frame));
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    std::uint16_t put(rte_mbuf** frames, std::uint16_t count) {
        return static_cast<std::uint16_t>(
            rte_ring_enqueue_burst(ring_, reinterpret_cast<void**>(frames), count, nullptr));
    }
    std::uint16_t take(rte_mbuf** frames, std::uint16_t most) {
        return static_cast<std::uint16_t>(
            rte_ring_dequeue_burst(ring_, reinterpret_cast<void**>(frames), most, nullptr));
    }
    [[nodiscard]] std::uint32_t count() const { return rte_ring_count(ring_); }

private:
    std::unique_ptr<void, FreeMemory> memory_;
    rte_ring* ring_ = nullptr;
};

/// Copies `bytes` into a chain from `pool`; null when the pool is empty.
rte_mbuf* chain_of(rte_mempool* pool, std::span<const std::uint8_t> bytes) {
    rte_mbuf* head = rte_pktmbuf_alloc(pool);
    if (head == nullptr) return nullptr;
    rte_mbuf* last = head;
    while (true) {
        const auto part =
            static_cast<std::uint16_t>(std::min<std::size_t>(rte_pktmbuf_tailroom(last), bytes.size()));
        std::memcpy(rte_pktmbuf_mtod(last, void*), bytes.data(), part);
        last->data_len = part;
        head->pkt_len += part;
        bytes = bytes.subspan(part);
        if (bytes.empty()) return head;
        rte_mbuf* next = rte_pktmbuf_alloc(pool);
        if (next == nullptr) {
            rte_pktmbuf_free(head);
            return nullptr;
        }
        last->next = next;
        ++head->nb_segs;
        last = next;
    }
}

}  // namespace

struct Wire::Queue {
    explicit Queue(std::uint32_t capacity)
        : in(capacity, 0), out(capacity, 0), wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        if (wake < 0) throw std::runtime_error("a wire gets no eventfd");
    }
    ~Queue() { ::close(wake); }
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;

    Ring in;
    Ring out;
    int wake;
    std::atomic<bool> armed{false};
};

Wire::Wire(PortIndex index, rte_mempool* pool, PortListener& listener, WireOptions options)
    : index_(index), pool_(pool), listener_(listener), up_(options.link_up), active_(options.queues) {
    for (std::uint16_t i = 0; i < options.queues; ++i)
        queues_.push_back(std::make_unique<Queue>(options.capacity));
}

Wire::~Wire() = default;

bool Wire::inject(std::uint16_t queue, std::span<const std::uint8_t> frame) {
    rte_mbuf* chain = chain_of(pool_, frame);
    if (chain == nullptr) return false;
    if (inject(queue, &chain, 1) == 1) return true;
    rte_pktmbuf_free(chain);
    return false;
}

bool Wire::inject(std::uint16_t queue, std::span<const std::uint8_t> frame, const VirtioNetHeader& header) {
    rte_mbuf* chain = chain_of(pool_, frame);
    if (chain == nullptr) return false;
    if (take_offloads(chain, header) && inject(queue, &chain, 1) == 1) return true;
    rte_pktmbuf_free(chain);
    return false;
}

bool Wire::inject(std::uint16_t queue, const std::vector<std::vector<std::uint8_t>>& frames) {
    std::vector<rte_mbuf*> chains;
    for (const auto& frame : frames) {
        if (auto* chain = chain_of(pool_, frame); chain != nullptr) chains.push_back(chain);
    }
    const auto count = static_cast<std::uint16_t>(chains.size());
    if (count == frames.size() && inject(queue, chains.data(), count) == count) return true;
    rte_pktmbuf_free_bulk(chains.data(), count);
    return false;
}

std::uint16_t Wire::inject(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    auto& q = *queues_.at(queue);
    const auto put = q.in.put(frames, count);
    // The frames must be seen by a worker that looks once more after arm(): order against armed.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (put != 0 && q.armed.load(std::memory_order_relaxed)) ::eventfd_write(q.wake, 1);
    return put;
}

std::vector<rte_mbuf*> Wire::collect(std::uint16_t queue) {
    std::vector<rte_mbuf*> all;
    std::array<rte_mbuf*, kBurst> burst{};
    while (const auto n = queues_.at(queue)->out.take(burst.data(), kBurst)) {
        all.insert(all.end(), burst.begin(), burst.begin() + n);
    }
    return all;
}

std::vector<std::vector<std::uint8_t>> Wire::collect_bytes(std::uint16_t queue) {
    std::vector<std::vector<std::uint8_t>> all;
    for (rte_mbuf* frame : collect(queue)) {
        std::vector<std::uint8_t> bytes;
        for (const rte_mbuf* part = frame; part != nullptr; part = part->next) {
            const auto* data = rte_pktmbuf_mtod(part, const std::uint8_t*);
            bytes.insert(bytes.end(), data, data + part->data_len);
        }
        rte_pktmbuf_free(frame);
        all.push_back(std::move(bytes));
    }
    return all;
}

std::uint32_t Wire::waiting_in(std::uint16_t queue) const {
    return queues_.at(queue)->in.count();
}

std::uint32_t Wire::waiting_out(std::uint16_t queue) const {
    return queues_.at(queue)->out.count();
}

void Wire::set_link(bool up) {
    up_.store(up, std::memory_order_release);
    listener_.port_changed(index_);
}

void Wire::set_active_queues(std::uint16_t count) {
    active_.store(std::min(count, static_cast<std::uint16_t>(queues_.size())), std::memory_order_release);
    listener_.port_changed(index_);
}

std::uint16_t Wire::receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) {
    return link_up() ? queues_[queue]->in.take(frames, most) : std::uint16_t{0};
}

std::uint16_t Wire::transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    if (!link_up()) return 0;
    const auto can = offloads_.load(std::memory_order_relaxed);
    if (must_finish(can, frames, count))
        return finish_and_send(*this, can, pool_, queue, frames, count, cut_short_);
    return send(queue, frames, count);
}

std::uint16_t Wire::send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    return queues_[queue]->out.put(frames, count);
}

void Wire::arm(std::uint16_t queue) {
    queues_[queue]->armed.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Wire::disarm(std::uint16_t queue) {
    queues_[queue]->armed.store(false, std::memory_order_relaxed);
}

std::uint16_t Wire::active_queues() const {
    return link_up() ? active_.load(std::memory_order_acquire) : std::uint16_t{0};
}

int Wire::wait_descriptor(std::uint16_t queue) const {
    return queue < queues_.size() ? queues_[queue]->wake : -1;
}

std::string Wire::detail() const {
    return link_up() ? "in-process wire" : "the wire's link was set down";
}

void Wire::stop() {
    up_.store(false, std::memory_order_release);
    stopped_.store(true, std::memory_order_release);
}

}  // namespace viaduct::dataplane
