// One inotify instance for all directories. Attempts follow the socket's appearance at growing distances and
// end after about a second, when librte_vhost's own look has its turn.
#include "port/socket_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <vector>

namespace viaduct::dataplane {
namespace {

constexpr int kAttempts = 9;  // 2, 4, ... 512 ms after each other

}  // namespace

SocketWatch::~SocketWatch() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    if (wake_ >= 0) ::eventfd_write(wake_, 1);
    if (thread_.joinable()) thread_.join();
    if (inotify_ >= 0) ::close(inotify_);
    if (wake_ >= 0) ::close(wake_);
}

void SocketWatch::add(const std::string& path) {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) start();
    if (inotify_ < 0) return;
    const std::filesystem::path file(path);
    Waiting waiting;
    waiting.name = file.filename().string();
    waiting.directory = ::inotify_add_watch(inotify_, file.parent_path().c_str(), IN_CREATE | IN_MOVED_TO);
    if (waiting.directory < 0) return;
    ++users_[waiting.directory];
    waiting_[path] = std::move(waiting);
}

void SocketWatch::remove(const std::string& path) {
    const std::lock_guard lock(mutex_);
    const auto found = waiting_.find(path);
    if (found == waiting_.end()) return;
    const auto user = users_.find(found->second.directory);
    if (user != users_.end() && --user->second == 0) {
        ::inotify_rm_watch(inotify_, user->first);
        users_.erase(user);
    }
    waiting_.erase(found);
}

void SocketWatch::start() {
    inotify_ = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    wake_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (inotify_ < 0 || wake_ < 0) return;
    thread_ = std::thread([this] { run(); });
}

void SocketWatch::run() {
    int timeout = -1;
    while (true) {
        std::array<pollfd, 2> ready{{{inotify_, POLLIN, 0}, {wake_, POLLIN, 0}}};
        ::poll(ready.data(), ready.size(), timeout);
        {
            const std::lock_guard lock(mutex_);
            if (ending_) return;
        }
        if ((ready[0].revents & POLLIN) != 0) read_events();
        timeout = try_due();
    }
}

void SocketWatch::read_events() {
    alignas(inotify_event) std::array<char, 16384> buffer{};
    const std::lock_guard lock(mutex_);
    while (true) {
        const auto got = ::read(inotify_, buffer.data(), buffer.size());
        if (got <= 0) return;
        const auto size = static_cast<std::size_t>(got);
        for (std::size_t at = 0; at + sizeof(inotify_event) <= size;) {
            inotify_event event{};
            std::memcpy(&event, buffer.data() + at, sizeof event);
            const std::string name(event.len == 0 ? "" : buffer.data() + at + sizeof event);
            at += sizeof event + event.len;
            if ((event.mask & IN_IGNORED) != 0) users_.erase(event.wd);  // the directory is gone
            for (auto& [path, waiting] : waiting_) {
                if (waiting.directory != event.wd || waiting.name != name) continue;
                waiting.attempts = 0;
                waiting.next = Clock::now();
            }
        }
    }
}

/// Tries what is due and returns the milliseconds until the next attempt; -1 when none is planned.
int SocketWatch::try_due() {
    std::vector<std::string> due;
    const auto now = Clock::now();
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [path, waiting] : waiting_) {
            if (waiting.next != Clock::time_point{} && waiting.next <= now) due.push_back(path);
        }
    }
    for (const auto& path : due) {
        const bool done = appeared_(path);
        const std::lock_guard lock(mutex_);
        const auto found = waiting_.find(path);
        if (found == waiting_.end()) continue;
        auto& waiting = found->second;
        const bool last = done || ++waiting.attempts > kAttempts;
        waiting.next =
            last ? Clock::time_point{} : Clock::now() + std::chrono::milliseconds(1 << waiting.attempts);
    }
    auto next = Clock::time_point::max();
    const std::lock_guard lock(mutex_);
    for (const auto& [path, waiting] : waiting_) {
        if (waiting.next != Clock::time_point{}) next = std::min(next, waiting.next);
    }
    if (next == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1000));
}

}  // namespace viaduct::dataplane
