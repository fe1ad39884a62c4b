// Closing goes on side by side: most of what it takes is a grace period of the kernel, which all can wait for
// at once.
#include "port/tap_driver.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include <rte_mempool.h>

#include "viaduct/fault.h"

#include "port/packet_pool.h"

namespace viaduct::dataplane {
namespace {

constexpr std::size_t kClosersMost = 16;
/// In one turn a worker reads a few from each TAP that has long segments; where none is left it reads on in
/// the next one.
constexpr std::uint32_t kLargeBuffers = 128;
constexpr auto kLongestClose = std::chrono::seconds(5);

}  // namespace

TapDriver::TapDriver()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = wake_.get();
    if (!epoll_ || !wake_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
        throw std::runtime_error(std::string("no descriptors for TAP ports: ") + std::strerror(errno));
    }
    watch_ = std::thread([this] { run_watch(); });
}

TapDriver::~TapDriver() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    more_.notify_all();
    ::eventfd_write(wake_.get(), 1);
    watch_.join();
    for (auto& closer : closers_)
        closer.join();
    rte_mempool_free(large_buffers_);
}

rte_mempool* TapDriver::large_buffers() {
    if (large_buffers_ != nullptr) return large_buffers_;
    try {
        large_buffers_ = make_packet_pool("large", kLargeBuffers, kLargePayload, 0);
    } catch (const std::runtime_error& error) {
        throw Refused("", std::string("long segments find ") + error.what());
    }
    return large_buffers_;
}

void TapDriver::claim(const Place& place) {
    std::unique_lock lock(mutex_);
    if (!freed_.wait_for(lock, kLongestClose,
                         [&] { return !closing_.contains(place) || taken_.contains(place); })) {
        throw Refused("ifname", place.second + " is still being removed; try again");
    }
    if (!taken_.insert(place).second) {
        throw Refused("ifname", place.second + " in that namespace is another port's interface already");
    }
}

void TapDriver::release(const Place& place) {
    const std::lock_guard lock(mutex_);
    taken_.erase(place);
    freed_.notify_all();
}

void TapDriver::close(const Place& place, std::vector<Descriptor> descriptors) {
    const std::lock_guard lock(mutex_);
    ++closing_[place];
    queue_.push_back({place, std::move(descriptors)});
    if (idle_ < queue_.size() && closers_.size() < kClosersMost)
        closers_.emplace_back([this] { run_closer(); });
    more_.notify_one();
}

void TapDriver::run_closer() {
    std::unique_lock lock(mutex_);
    while (true) {
        ++idle_;
        more_.wait(lock, [this] { return ending_ || !queue_.empty(); });
        --idle_;
        if (queue_.empty()) return;
        auto work = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        work.descriptors.clear();
        lock.lock();
        if (--closing_[work.place] == 0) closing_.erase(work.place);
        freed_.notify_all();
    }
}

void TapDriver::watch(int control, std::function<void()> changed) {
    const std::lock_guard lock(watching_);
    watchers_[control] = std::move(changed);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = control;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, control, &event) != 0) {
        watchers_.erase(control);
        throw Refused("", std::string("its links cannot be watched: ") + std::strerror(errno));
    }
}

void TapDriver::unwatch(int control) {
    const std::lock_guard lock(watching_);
    if (watchers_.erase(control) != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, control, nullptr);
}

void TapDriver::watch_again(int control) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = control;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, control, &event);
}

void TapDriver::drain(int control) const {
    std::array<char, 16384> unread;
    // ENOBUFS says that messages were lost, which is as good as having read them.
    while (::recv(control, unread.data(), unread.size(), MSG_DONTWAIT) > 0 || errno == ENOBUFS ||
           errno == EINTR) {
    }
}

void TapDriver::run_watch() {
    while (true) {
        std::array<epoll_event, 64> events{};
        const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
        {
            const std::lock_guard lock(mutex_);
            if (ending_) return;
        }
        const std::lock_guard lock(watching_);
        for (int i = 0; i < ready; ++i) {
            const auto found = watchers_.find(events[static_cast<std::size_t>(i)].data.fd);
            if (found == watchers_.end()) continue;
            drain(found->first);
            found->second();
        }
    }
}

}  // namespace viaduct::dataplane
