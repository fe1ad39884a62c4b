// Bursts go straight to librte_vhost; everything else here is about whose device that is at the moment.
//
// librte_vhost protects a ring's addresses from its own message thread with the ring's access lock, which
// dequeue tries and enqueue takes. It does not protect the device itself: after destroy_device returns the
// memory is freed and the device number given to the next connection, perhaps another pod's. So a worker
// publishes that it is inside, and destroy_device waits. Publishing must be ordered before the look at the
// device number, which on x86 would cost a fence of some twenty cycles on every poll of every queue. Instead
// the rare side pays: membarrier() runs the fence on every thread of the process, and the worker's side is
// two plain stores.
#include "port/vhost_user.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include <linux/membarrier.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_vhost.h>

#include "viaduct/fault.h"

#include "port/guest_memory.h"

namespace viaduct::dataplane {
namespace {

// Feature bits of virtio 1.2; <linux/virtio_net.h> is no C++.
constexpr unsigned kGuestChecksum = 1;
constexpr unsigned kGuestTso4 = 7;
constexpr unsigned kGuestTso6 = 8;
constexpr unsigned kMergeableBuffers = 15;
constexpr unsigned kPackedRing = 34;

constexpr std::uint32_t kOff = 0x8000'0000;
constexpr std::uint32_t kFresh = 0x4000'0000;

constexpr std::uint16_t ring_in(std::uint16_t queue) {
    return static_cast<std::uint16_t>(2 * queue + 1);
}
constexpr std::uint16_t ring_out(std::uint16_t queue) {
    return static_cast<std::uint16_t>(2 * queue);
}

long membarrier(int command) {
    return ::syscall(__NR_membarrier, command, 0U, 0);
}

/// Something else (a full pipe, a file on a slow file system) could make a worker wait when it notifies the
/// guest.
bool is_eventfd(int fd) {
    std::array<char, 64> target{};
    const std::string name = "/proc/self/fd/" + std::to_string(fd);
    const auto size = ::readlink(name.c_str(), target.data(), target.size() - 1);
    return size > 0 && std::strcmp(target.data(), "anon_inode:[eventfd]") == 0;
}

/// What a guest takes over: it knows no more of segments without checksums.
Offloads offloads_of(int vid) {
    std::uint64_t features = 0;
    if (rte_vhost_get_negotiated_features(vid, &features) != 0) return 0;
    const auto has = [features](unsigned bit) { return (features >> bit & 1U) != 0; };
    if (!has(kGuestChecksum)) return 0;
    // A segment needs more than one buffer of the guest's, unless all of these are long.
    // librte_vhost writes the pseudo header's sum as it enqueues.
    return kOffloadChecksum | kOffloadWrites | (has(kGuestTso4) ? kOffloadTso4 : 0U) |
           (has(kGuestTso6) ? kOffloadTso6 : 0U);
}

void set_nonblocking(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags >= 0) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

}  // namespace

/// A worker's stay inside librte_vhost.
class VhostUser::Visit {
public:
    explicit Visit(Side& side) : side_(side) {
        side.busy.store(true, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);  // the processor's part is done by quiesce()
        device_ = side.device.load(std::memory_order_acquire);
    }
    ~Visit() { side_.busy.store(false, std::memory_order_release); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

    /// The device, or nothing to do. A ring seen for the first time is asked to be quiet: it may have been
    /// added after new_device, and librte_vhost enables notifications then.
    [[nodiscard]] bool enter(std::uint16_t ring) {
        if (device_ < kFresh) [[likely]]
            return true;
        if ((device_ & kOff) != 0) return false;
        auto expected = device_;
        device_ &= ~kFresh;
        side_.device.compare_exchange_strong(expected, device_);
        rte_vhost_enable_guest_notification(vid(), ring, 0);
        return true;
    }
    [[nodiscard]] int vid() const { return static_cast<int>(device_); }

private:
    Side& side_;
    std::uint32_t device_;
};

VhostUser::VhostUser(const model::Port& port, PortIndex index, rte_mempool* pool, PortListener& listener,
                     std::shared_ptr<void> share)
    : share_(std::move(share)),
      socket_(port.vhost),
      index_(index),
      pool_(pool),
      listener_(listener),
      queues_(port.queues) {
    if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0) {
        throw Refused(
            "", std::string("the kernel refuses membarrier, which this port needs: ") + std::strerror(errno));
    }
    try {
        for (auto& queue : queues_) {
            queue.in.device.store(kOff);
            queue.out.device.store(kOff);
            queue.wait = ::epoll_create1(EPOLL_CLOEXEC);
            if (queue.wait < 0) {
                throw Refused("", std::string("no descriptor left: ") + std::strerror(errno));
            }
        }
        VhostDriver::instance().add(socket_, port.queues > 1, *this);
    } catch (...) {
        for (const auto& queue : queues_) {
            if (queue.wait >= 0) ::close(queue.wait);
        }
        throw;
    }
}

VhostUser::~VhostUser() {
    VhostUser::stop();
    for (const auto& queue : queues_)
        ::close(queue.wait);
}

void VhostUser::stop() {
    if (stopped_) return;
    stopped_ = true;
    VhostDriver::instance().remove(socket_.path);
}

std::uint16_t VhostUser::receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) {
    Visit visit(queues_[queue].in);
    if (!visit.enter(ring_in(queue))) [[unlikely]]
        return 0;
    const auto count = rte_vhost_dequeue_burst(visit.vid(), ring_in(queue), pool_, frames, most);
    std::uint64_t left = 0;
    for (std::uint16_t i = 0; i < count; ++i)
        left |= frames[i]->ol_flags;
    return (left & ~kBufferKind) == 0 ? count : take_in(frames, count);
}

/// Frames of which the guest said something. Returns how many are left.
std::uint16_t VhostUser::take_in(rte_mbuf** frames, std::uint16_t count) {
    std::uint16_t kept = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        if (take_vhost_offloads(frames[i])) {
            frames[kept++] = frames[i];
        } else {
            rte_pktmbuf_free(frames[i]);
            refused_.fetch_add(1, std::memory_order_relaxed);
        }
    }
    return kept;
}

std::uint16_t VhostUser::transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    const auto can = offloads_.load(std::memory_order_relaxed);
    if (must_finish(can, frames, count)) [[unlikely]]
        return finish_and_send(*this, can, pool_, queue, frames, count, cut_short_);
    return send(queue, frames, count);
}

std::uint16_t VhostUser::send(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) {
    std::uint16_t taken = 0;
    {
        Visit visit(queues_[queue].out);
        if (!visit.enter(ring_out(queue))) [[unlikely]]
            return 0;
        taken = rte_vhost_enqueue_burst(visit.vid(), ring_out(queue), frames, count);
    }
    rte_pktmbuf_free_bulk(frames, taken);
    return taken;
}

void VhostUser::arm(std::uint16_t queue) {
    Visit visit(queues_[queue].in);
    if (visit.enter(ring_in(queue))) rte_vhost_enable_guest_notification(visit.vid(), ring_in(queue), 1);
}

void VhostUser::disarm(std::uint16_t queue) {
    {
        Visit visit(queues_[queue].in);
        if (visit.enter(ring_in(queue))) rte_vhost_enable_guest_notification(visit.vid(), ring_in(queue), 0);
    }
    // Takes the edge. The eventfd itself is never read: the guest shares it and could make that wait.
    epoll_event event{};
    ::epoll_wait(queues_[queue].wait, &event, 1, 0);
}

int VhostUser::wait_descriptor(std::uint16_t queue) const {
    return queue < queues_.size() ? queues_[queue].wait : -1;
}

// --- librte_vhost's threads ---

void VhostUser::connected(int vid) {
    const std::lock_guard lock(mutex_);
    vid_ = vid;
    in_enabled_ = 0;
    out_enabled_ = 0;
    rings_unserved_ = 0;
    fault_.clear();
}

void VhostUser::disconnected(int vid) {
    {
        const std::lock_guard lock(mutex_);
        if (guest_memory::truncated(vid)) {
            last_end_ = "; the last peer was cut off: it truncated memory that it had shared";
        }
        vid_ = -1;
        in_enabled_ = 0;
        out_enabled_ = 0;
        for (auto& queue : queues_)
            drop_kick(queue);
        publish();
    }
    listener_.port_changed(index_);
}

void VhostUser::started(int vid) {
    {
        const std::lock_guard lock(mutex_);
        vid_ = vid;
        running_ = true;
        last_end_.clear();
        offloads_.store(offloads_of(vid), std::memory_order_relaxed);
        publish();
    }
    listener_.port_changed(index_);
}

void VhostUser::stopped(int vid) {
    {
        const std::lock_guard lock(mutex_);
        (void)vid;
        running_ = false;
        publish();
    }
    quiesce();
    listener_.port_changed(index_);
}

void VhostUser::ring_changed(int vid, std::uint16_t ring, bool enabled) {
    {
        const std::lock_guard lock(mutex_);
        const std::size_t number = ring / 2U;
        if (number >= queues_.size()) {
            rings_unserved_ = static_cast<std::uint16_t>(rings_unserved_ + (enabled ? 1 : -1));
            return;
        }
        const bool is_in = ring % 2 == 1;
        auto& mask = is_in ? in_enabled_ : out_enabled_;
        if (is_in) drop_kick(queues_[number]);
        if (enabled) {
            auto fault = adopt_descriptors(vid, ring);
            enabled = fault.empty();
            if (!enabled) fault_ = std::move(fault);
        }
        mask = enabled ? mask | 1U << number : mask & ~(1U << number);
        publish();
    }
    listener_.port_changed(index_);
}

/// Shows workers the device on the rings that are usable now. Called with mutex_ held.
void VhostUser::publish() {
    std::uint16_t pairs = 0;
    const auto show = [this](Side& side, bool on) {
        const auto vid = static_cast<std::uint32_t>(vid_);
        const auto now = side.device.load(std::memory_order_relaxed);
        if (!on) {
            side.device.store(kOff);
        } else if ((now & ~kFresh) != vid) {
            side.device.store(vid | kFresh, std::memory_order_release);
        }
    };
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        const bool in = running_ && (in_enabled_ >> i & 1U) != 0;
        const bool out = running_ && (out_enabled_ >> i & 1U) != 0;
        show(queues_[i].in, in);
        show(queues_[i].out, out);
        // Guests enable pairs from the first up; a gap ends what can be used.
        if (in && out && pairs == i) ++pairs;
    }
    active_.store(pairs, std::memory_order_release);
}

/// Returns when no worker is inside librte_vhost with what publish() has just taken away.
void VhostUser::quiesce() {
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    for (auto& queue : queues_) {
        for (auto* side : {&queue.in, &queue.out}) {
            // A burst takes microseconds, unless its thread has lost the processor.
            for (int turn = 0; side->busy.load(std::memory_order_acquire); ++turn) {
                if (turn < 1000) {
                    rte_pause();
                } else {
                    std::this_thread::yield();
                }
            }
        }
    }
}

/// Checks the ring's notification descriptors and follows its kick. Returns what is wrong. Called with mutex_
/// held.
std::string VhostUser::adopt_descriptors(int vid, std::uint16_t ring) {
    rte_vhost_vring vring{};
    if (rte_vhost_get_vhost_vring(vid, ring, &vring) != 0)
        return "ring " + std::to_string(ring) + " cannot be read";
    if (vring.callfd >= 0) {
        if (!is_eventfd(vring.callfd)) {
            return "ring " + std::to_string(ring) + " is not served: its call descriptor is no eventfd";
        }
        set_nonblocking(vring.callfd);
    }
    if (ring % 2 == 0 || vring.kickfd < 0 || !is_eventfd(vring.kickfd)) return {};
    auto& queue = queues_[ring / 2U];
    queue.kick = ::fcntl(vring.kickfd, F_DUPFD_CLOEXEC, 0);
    // Edges, so that nobody has to read the guest's eventfd.
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    if (queue.kick >= 0) ::epoll_ctl(queue.wait, EPOLL_CTL_ADD, queue.kick, &event);
    return {};
}

void VhostUser::drop_kick(Queue& queue) {
    if (queue.kick < 0) return;
    // Closing alone would leave it registered: the guest holds the same open file.
    ::epoll_ctl(queue.wait, EPOLL_CTL_DEL, queue.kick, nullptr);
    ::close(queue.kick);
    queue.kick = -1;
}

// --- words ---

std::string VhostUser::detail() const {
    const std::lock_guard lock(mutex_);
    if (vid_ >= 0) return peer_words();
    if (socket_.server) return "listening on " + socket_.path + ", nobody has connected" + last_end_;
    const bool there = ::access(socket_.path.c_str(), F_OK) == 0;
    return "waiting for " + socket_.path + ": " +
           (there ? "nobody listens there yet" : std::strerror(errno)) + last_end_;
}

std::string VhostUser::peer_words() const {
    std::string words = "connected";
    if (!running_) words += ", waiting for the peer's driver";
    std::uint64_t features = 0;
    if (running_ && rte_vhost_get_negotiated_features(vid_, &features) == 0) {
        const auto has = [features](unsigned feature) { return (features >> feature & 1U) != 0; };
        words += has(kPackedRing) ? ", packed rings" : ", split rings";
        if (has(kMergeableBuffers)) words += ", mergeable buffers";
        words +=
            ", " + std::to_string(active_queues()) + " of " + std::to_string(queues_.size()) + " queue pairs";
    }
    if (rings_unserved_ != 0)
        words += "; the peer enables more queues than the port has: those are not served";
    if (!fault_.empty()) words += "; " + fault_;
    return words;
}

}  // namespace viaduct::dataplane
