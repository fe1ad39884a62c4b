// The fast side of a TAP. Reading goes straight into packet buffers and writing gathers a chain's parts: the
// only copy is the kernel's.
#include "port/tap.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <rte_mbuf.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"

namespace viaduct::dataplane {
namespace {

constexpr std::uint32_t kFraming = 14 + 2 * 4;  // Ethernet header and two VLAN tags
constexpr std::size_t kPartsMost = 64;          // of a chain to be written; a jumbo frame has five
constexpr auto kNameLeaves = std::chrono::seconds(3);

}  // namespace

Tap::Tap(const model::Port& port, PortIndex index, rte_mempool* pool, PortListener& listener,
         std::shared_ptr<TapDriver> driver, std::shared_ptr<void> share)
    : share_(std::move(share)),
      name_(port.tap.ifname),
      where_(port.tap.netns),
      index_(index),
      pool_(pool),
      segment_bytes_(static_cast<std::uint16_t>(rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM)),
      listener_(listener),
      driver_(std::move(driver)),
      queues_(port.queues),
      segments_(segments_for(port.mtu)) {
    const auto where = open_namespace(port.tap);
    place_ = {where.inode, name_};
    driver_->claim(place_);
    try {
        device_ = attach_tap(port, where);
        for (std::size_t i = 0; i < queues_.size(); ++i)
            queues_[i].fd = device_.queues[i].get();
        driver_->watch(device_.control.get(), [this] { look(); });
    } catch (...) {
        driver_->release(place_);
        throw;
    }
    // Changes from here on are told; what was so before is asked once.
    look();
}

Tap::~Tap() {
    if (!stopped_) {
        driver_->unwatch(device_.control.get());
        driver_->close(place_, std::move(device_.queues));
        driver_->release(place_);
    }
    for (auto& queue : queues_) {
        if (queue.spares != 0) rte_pktmbuf_free_bulk(queue.spare.data(), queue.spares);
    }
}

void Tap::stop() {
    if (stopped_) return;
    stopped_ = true;
    driver_->unwatch(device_.control.get());
    state_.store(TapState::gone, std::memory_order_release);
    forget_tap(device_);
    driver_->close(place_, std::move(device_.queues));
    const auto end = std::chrono::steady_clock::now() + kNameLeaves;
    while (tap_state(device_.control.get(), device_.index) != TapState::gone) {
        if (std::chrono::steady_clock::now() > end) {
            spdlog::warn("tap {} in {}: the kernel has not removed it in time", name_, where_);
            break;
        }
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    driver_->release(place_);
}

std::uint16_t Tap::segments_for(std::uint32_t mtu) const {
    const auto segments = (mtu + kFraming) / segment_bytes_ + 1;
    if (segments > kSegmentsMost) {
        throw Refused("mtu", std::to_string(mtu) + " needs more than " + std::to_string(kSegmentsMost) +
                                 " packet buffers a frame; it must be lower");
    }
    return static_cast<std::uint16_t>(segments);
}

void Tap::set_mtu(std::uint32_t mtu) {
    segments_.store(segments_for(mtu), std::memory_order_relaxed);
    if (!set_tap_mtu(device_.control.get(), device_.index, mtu)) {
        spdlog::warn("tap {} in {}: the kernel refuses an MTU of {}: {}", name_, where_, mtu,
                     std::strerror(errno));
    }
}

// --- the queue's worker ---

bool Tap::refill(Queue& queue, std::uint16_t segments) {
    if (queue.spares >= segments) [[likely]]
        return true;
    const auto missing = static_cast<unsigned>(segments - queue.spares);
    if (rte_pktmbuf_alloc_bulk(pool_, queue.spare.data() + queue.spares, missing) != 0) return false;
    queue.spares = segments;
    return true;
}

/// The first `size` bytes of the spare buffers as a chain; the other buffers stay spare.
rte_mbuf* Tap::take_chain(Queue& queue, std::size_t size) {
    auto* head = queue.spare[0];
    head->pkt_len = static_cast<std::uint32_t>(size);
    std::uint16_t used = 0;
    for (rte_mbuf* last = nullptr; size > 0; last = queue.spare[used++]) {
        auto* part = queue.spare[used];
        part->data_len = static_cast<std::uint16_t>(std::min<std::size_t>(size, segment_bytes_));
        size -= part->data_len;
        if (last != nullptr) last->next = part;
    }
    head->nb_segs = used;
    std::copy(queue.spare.begin() + used, queue.spare.begin() + queue.spares, queue.spare.begin());
    queue.spares = static_cast<std::uint16_t>(queue.spares - used);
    return head;
}

/// One frame, or null when there is none.
rte_mbuf* Tap::read_frame(Queue& queue, std::uint16_t segments) {
    std::array<std::uint8_t, kTapHeader> header;
    std::array<iovec, kSegmentsMost + 1> parts;
    while (refill(queue, segments)) {
        parts[0] = {header.data(), header.size()};
        for (std::uint16_t i = 0; i < queue.spares; ++i) {
            parts[i + 1U] = {rte_pktmbuf_mtod(queue.spare[i], void*), segment_bytes_};
        }
        const auto got = ::readv(queue.fd, parts.data(), queue.spares + 1);
        if (got < 0) {
            if (errno != EAGAIN && errno != EINTR) lost(errno);
            return nullptr;
        }
        const auto size = static_cast<std::size_t>(got) - kTapHeader;
        // The kernel cuts what does not fit and does not say so: a frame that fills all the room, which none
        // that the MTU allows does, has lost its end. The pod has raised its MTU above the port's.
        if (static_cast<std::size_t>(got) > kTapHeader && size < std::size_t{queue.spares} * segment_bytes_)
            [[likely]] {
            return take_chain(queue, size);
        }
        refused_.fetch_add(1, std::memory_order_relaxed);
    }
    return nullptr;
}

std::uint16_t Tap::receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) {
    auto& q = queues_[queue];
    const auto segments = segments_.load(std::memory_order_relaxed);
    std::uint16_t count = 0;
    while (count < most) {
        auto* frame = read_frame(q, segments);
        if (frame == nullptr) break;
        frames[count++] = frame;
    }
    return count;
}

std::uint16_t Tap::transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    static constexpr std::array<std::uint8_t, kTapHeader> kPlain{};
    const int fd = queues_[queue].fd;
    std::array<iovec, kPartsMost + 1> parts;
    parts[0] = {const_cast<std::uint8_t*>(kPlain.data()), kPlain.size()};
    std::uint16_t taken = 0;
    for (; taken < count; ++taken) {
        std::size_t used = 1;
        if (frames[taken]->nb_segs > kPartsMost) break;
        for (auto* part = frames[taken]; part != nullptr; part = part->next) {
            parts[used++] = {rte_pktmbuf_mtod(part, void*), part->data_len};
        }
        if (::writev(fd, parts.data(), static_cast<int>(used)) < 0) {
            // EIO: the interface is administratively down, and the watch tells.
            if (errno == EBADFD) lost(errno);
            break;
        }
    }
    rte_pktmbuf_free_bulk(frames, taken);
    return taken;
}

// --- the link ---

std::uint16_t Tap::active_queues() const {
    return link_up() ? static_cast<std::uint16_t>(queues_.size()) : std::uint16_t{0};
}

int Tap::wait_descriptor(std::uint16_t queue) const {
    return queue < queues_.size() ? queues_[queue].fd : -1;
}

/// A queue's descriptor has no interface any more. It would count as readable for ever, so it must not be
/// waited for.
void Tap::lost(int error) {
    if (state_.exchange(TapState::gone) == TapState::gone) return;
    spdlog::warn("tap {} in {}: {}", name_, where_, std::strerror(error));
    listener_.port_changed(index_);
}

/// Asks the kernel for what is so now. The driver's thread, and the constructor's.
void Tap::look() {
    const auto now = tap_state(device_.control.get(), device_.index);
    if (state_.exchange(now) != now) listener_.port_changed(index_);
}

std::string Tap::detail() const {
    const std::string where = where_.empty() ? "" : " in " + where_;
    switch (state_.load(std::memory_order_acquire)) {
        case TapState::gone:
            return "interface " + name_ + where + " was deleted or moved by somebody else";
        case TapState::down:
            return "interface " + name_ + where + " is administratively down";
        case TapState::up:
            break;
    }
    const auto present = tap_name(device_.control.get(), device_.index);
    return "interface " + (present.empty() ? name_ : present) + where;
}

}  // namespace viaduct::dataplane
