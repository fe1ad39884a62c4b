#include "loop_port.h"

#include <array>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "../generator/frame.h"

namespace viaduct::inprocess {

/// A ring of DPDK's on memory of its own, so that two dataplanes in turn need no names.
struct Lane::Ring {
    explicit Ring(std::uint32_t capacity) {
        const auto slots = rte_align32pow2(capacity + 1);
        const auto bytes = RTE_ALIGN_CEIL(static_cast<std::size_t>(rte_ring_get_memsize(slots)),
                                          std::size_t{RTE_CACHE_LINE_SIZE});
        memory = std::aligned_alloc(RTE_CACHE_LINE_SIZE, bytes);
        if (memory == nullptr) throw std::bad_alloc();
        ring = static_cast<rte_ring*>(memory);
        if (rte_ring_init(ring, "lane", slots, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0)
            throw std::runtime_error("a lane cannot hold " + std::to_string(capacity) + " frames");
    }
    ~Ring() {
        void* frame = nullptr;
        while (rte_ring_dequeue(ring, &frame) == 0)
            rte_pktmbuf_free(static_cast<rte_mbuf*>(frame));
        std::free(memory);
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    void* memory;
    rte_ring* ring;
};

Lane::Lane(std::uint32_t capacity) : ring_(std::make_unique<Ring>(capacity)) {}

Lane::~Lane() = default;

bool Lane::put(rte_mbuf** frames, std::uint16_t count) {
    return rte_ring_sp_enqueue_bulk(ring_->ring, reinterpret_cast<void**>(frames), count, nullptr) == count;
}

std::uint16_t Lane::take(rte_mbuf** frames, std::uint16_t most) {
    return static_cast<std::uint16_t>(
        rte_ring_sc_dequeue_burst(ring_->ring, reinterpret_cast<void**>(frames), most, nullptr));
}

/// Takes out and frees what the node says by itself, such as gratuitous ARP: nobody answers. Returns how many
/// are left.
std::uint16_t LoopPort::only_ours(rte_mbuf** frames, std::uint16_t count) {
    std::uint16_t ours = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        if (pktgen::is_ours(*rte_pktmbuf_mtod(frames[i], pktgen::Frame*), frames[i]->data_len)) [[likely]] {
            frames[ours++] = frames[i];
        } else {
            rte_pktmbuf_free(frames[i]);
        }
    }
    return ours;
}

LoopPort::LoopPort(std::uint16_t queues, std::uint32_t capacity) {
    for (std::uint16_t i = 0; i < queues; ++i)
        lanes_.push_back(std::make_unique<Lane>(capacity));
}

/// A lane has room for all frames that there are.
void LoopPort::go_on(std::size_t lane, rte_mbuf** frames, std::uint16_t count) {
    if (!lanes_[lane]->put(frames, count)) [[unlikely]]
        rte_pktmbuf_free_bulk(frames, count);
}

NearPort::NearPort(std::vector<pktgen::Flows> flows, std::uint32_t capacity, std::uint16_t frame_bytes)
    : LoopPort(static_cast<std::uint16_t>(flows.size()), capacity), frame_bytes_(frame_bytes) {
    for (auto& each : flows)
        sources_.push_back({std::move(each)});
}

void NearPort::write(Source& source, rte_mbuf* frame) const {
    rte_pktmbuf_reset(frame);
    frame->data_len = frame_bytes_;
    frame->pkt_len = frame_bytes_;
    auto& headers = *rte_pktmbuf_mtod(frame, pktgen::Frame*);
    const auto flow = source.flows.write_next(headers);
    headers.mark = {pktgen::Mark::kMagic, flow, 0, 0};
}

bool NearPort::fill(std::uint16_t queue, rte_mempool* pool, std::uint32_t frames) {
    for (std::uint32_t i = 0; i < frames; ++i) {
        auto* frame = rte_pktmbuf_alloc(pool);
        if (frame == nullptr) return false;
        write(sources_[queue], frame);
        if (!lanes_[queue]->put(&frame, 1)) {
            rte_pktmbuf_free(frame);
            return false;
        }
    }
    return true;
}

std::uint16_t NearPort::transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    const auto ours = only_ours(frames, count);
    for (std::uint16_t i = 0; i < ours; ++i)
        write(sources_[queue], frames[i]);
    go_on(queue, frames, ours);
    lanes_[queue]->count_sent(ours);
    return count;
}

std::uint16_t FarPort::transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    const auto ours = only_ours(frames, count);
    for (std::uint16_t i = 0; i < ours; ++i)
        pktgen::reflect(*rte_pktmbuf_mtod(frames[i], pktgen::Frame*));
    go_on(crossing_ ? (queue + 1U) % lanes_.size() : queue, frames, ours);
    lanes_[queue]->count_sent(ours);
    return count;
}

}  // namespace viaduct::inprocess
