// The fast side of a TAP. Reading goes straight into packet buffers and writing gathers a chain's parts: the
// only copy is the kernel's.
#include "port/tap.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include <rte_mbuf.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"

#include "port/packet_pool.h"

namespace viaduct::dataplane {
namespace {

constexpr std::size_t kPartsMost = 64;  // of a chain to be written
/// Bytes that one look takes in, about: what a core's second-level cache keeps until it has left.
constexpr std::size_t kLookMost = 256 * 1024;
constexpr auto kNameLeaves = std::chrono::seconds(3);

}  // namespace

Tap::Tap(const model::Port& port, PortIndex index, rte_mempool* pool, PortListener& listener,
         std::shared_ptr<TapDriver> driver, std::shared_ptr<void> share)
    : share_(std::move(share)),
      name_(port.tap.ifname),
      where_(port.tap.netns),
      index_(index),
      pool_(pool),
      listener_(listener),
      driver_(std::move(driver)),
      large_pool_(driver_->large_buffers()),
      queues_(port.queues) {
    const auto where = open_namespace(port.tap);
    place_ = {where.inode, name_};
    driver_->claim(place_);
    try {
        device_ = attach_tap(port, where);
        for (std::size_t i = 0; i < queues_.size(); ++i) {
            queues_[i].fd = device_.queues[i].get();
            // Not touched, and so no memory, until it is needed.
            queues_[i].scratch = std::make_unique_for_overwrite<std::uint8_t[]>(kLargePayload);
        }
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
        rte_pktmbuf_free(queue.spare);
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

void Tap::set_mtu(std::uint32_t mtu) {
    const std::scoped_lock lock(moving_);
    if (!set_tap_mtu(device_.control.get(), device_.index, mtu)) {
        spdlog::warn("tap {} in {}: the kernel refuses an MTU of {}: {}", name_, where_, mtu,
                     std::strerror(errno));
    }
}

// --- the queue's worker ---

/// More bytes, in buffers of the common pool. False: there are not so many, and the frame is as it was.
bool Tap::append(rte_mbuf* head, const std::uint8_t* bytes, std::size_t size) {
    for (auto* last = head; size > 0; last = last->next) {
        last->next = rte_pktmbuf_alloc(pool_);
        if (last->next == nullptr) return false;
        const auto part = std::min<std::size_t>(size, rte_pktmbuf_tailroom(last->next));
        std::memcpy(rte_pktmbuf_mtod(last->next, void*), bytes, part);
        last->next->data_len = static_cast<std::uint16_t>(part);
        ++head->nb_segs;
        bytes += part;
        size -= part;
    }
    return true;
}

/// The first `size` bytes that were read; null when there are no buffers for them.
rte_mbuf* Tap::take_frame(Queue& queue, std::size_t size) {
    auto* head = std::exchange(queue.spare, nullptr);
    head->pkt_len = static_cast<std::uint32_t>(size);
    const auto here = std::min<std::size_t>(size, rte_pktmbuf_tailroom(head));
    head->data_len = static_cast<std::uint16_t>(here);
    if (here == size) return head;
    if (queue.large != nullptr) [[likely]] {
        head->next = std::exchange(queue.large, nullptr);
        head->next->data_len = static_cast<std::uint16_t>(size - here);
        head->nb_segs = 2;
        return head;
    }
    if (append(head, queue.scratch.get(), size - here)) return head;
    rte_pktmbuf_free(head);
    return nullptr;
}

Tap::Read Tap::read_frame(Queue& queue, rte_mbuf*& frame) {
    if (queue.spare == nullptr) queue.spare = rte_pktmbuf_alloc(pool_);
    if (queue.large == nullptr) queue.large = rte_pktmbuf_alloc(large_pool_);
    if (queue.spare == nullptr) return Read::none;
    void* rest = queue.large != nullptr ? rte_pktmbuf_mtod(queue.large, void*) : queue.scratch.get();
    VirtioNetHeader header{};
    const std::array<iovec, 3> parts{{
        {&header, sizeof header},
        {rte_pktmbuf_mtod(queue.spare, void*), rte_pktmbuf_tailroom(queue.spare)},
        {rest, kLargePayload},
    }};
    const auto got = ::readv(queue.fd, parts.data(), parts.size());
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) lost(errno);
        return Read::none;
    }
    // There is room for the longest packet of either family with its framing.
    if (static_cast<std::size_t>(got) > sizeof header) [[likely]] {
        frame = take_frame(queue, static_cast<std::size_t>(got) - sizeof header);
        if (frame != nullptr && take_offloads(frame, header)) [[likely]]
            return Read::frame;
        rte_pktmbuf_free(frame);
    }
    refused_.fetch_add(1, std::memory_order_relaxed);
    return Read::refused;
}

std::uint16_t Tap::receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) {
    auto& q = queues_[queue];
    std::uint16_t count = 0;
    std::size_t bytes = 0;
    // What is refused counts, too: a pod that sends nothing else keeps nobody waiting.
    for (std::uint16_t looks = 0; looks < most && bytes < kLookMost; ++looks) {
        const auto found = read_frame(q, frames[count]);
        if (found == Read::none) break;
        if (found == Read::refused) continue;
        bytes += frames[count++]->pkt_len;
    }
    rte_pktmbuf_free(std::exchange(q.large, nullptr));
    return count;
}

std::uint16_t Tap::transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    if (must_finish(device_.offloads, frames, count)) [[unlikely]]
        return finish_and_send(*this, device_.offloads, pool_, queue, frames, count, cut_short_);
    return send(queue, frames, count);
}

std::uint16_t Tap::send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    const int fd = queues_[queue].fd;
    std::array<iovec, kPartsMost + 1> parts;
    std::uint16_t taken = 0;
    for (; taken < count; ++taken) {
        std::size_t used = 1;
        if (frames[taken]->nb_segs > kPartsMost) break;
        auto header = virtio_net_header(frames[taken]);
        parts[0] = {&header, sizeof header};
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
    const auto now = find_state();
    if (state_.exchange(now) != now) listener_.port_changed(index_);
}

TapState Tap::find_state() {
    const std::scoped_lock lock(moving_);
    const int control = device_.control.get();
    const auto now = tap_state(control, device_.index);
    if (now != TapState::gone || !follow_tap(device_)) return now;
    moved_ = true;
    driver_->watch_again(control);
    spdlog::info("tap {} in {} was moved: it is {} in another namespace", name_, where_,
                 tap_name(control, device_.index));
    return tap_state(control, device_.index);
}

bool Tap::is_at(const model::Tap& place) const {
    const auto now = tap_place(device_);
    return now && now->name == place.ifname && now->inode == place.netns_inode;
}

std::string Tap::detail() const {
    const std::scoped_lock lock(moving_);
    const std::string where = moved_ ? " in another namespace" : where_.empty() ? "" : " in " + where_;
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
