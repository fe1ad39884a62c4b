// A socket is visible from bind() on but answers only after listen(), so one attempt on its appearance is not
// enough. Attempts follow at 1, 2, 4, ... milliseconds, up to half a minute. Looking at the file is cheap and
// goes on once a second where inotify cannot help: no descriptors left, or the directory itself is not there
// yet.
#include "port/socket_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <vector>

namespace viaduct::dataplane {
namespace {

using namespace std::chrono_literals;

constexpr auto kLook = 1s;
constexpr auto kLongest = 30s;
constexpr auto kLasting = 1s;

std::pair<std::uint64_t, std::int64_t> identity_of(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return {};
    return {status.st_ino, status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec};
}

}  // namespace

SocketWatch::~SocketWatch() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    if (!thread_.joinable()) return;
    ::eventfd_write(wake_.get(), 1);
    thread_.join();
}

void SocketWatch::add(const std::string& path) {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) start();
    const std::filesystem::path file(path);
    Waiting waiting;
    waiting.name = file.filename().string();
    waiting.directory =
        ::inotify_add_watch(inotify_.get(), file.parent_path().c_str(), IN_CREATE | IN_MOVED_TO);
    if (waiting.directory >= 0) ++users_[waiting.directory];
    waiting.look_at = Clock::now() + kLook;
    waiting_[path] = std::move(waiting);
    ::eventfd_write(wake_.get(), 1);
}

void SocketWatch::remove(const std::string& path) {
    const std::lock_guard lock(mutex_);
    const auto found = waiting_.find(path);
    if (found == waiting_.end()) return;
    const auto user = users_.find(found->second.directory);
    if (user != users_.end() && --user->second == 0) {
        ::inotify_rm_watch(inotify_.get(), user->first);
        users_.erase(user);
    }
    waiting_.erase(found);
}

void SocketWatch::soon(const std::string& path) {
    const std::lock_guard lock(mutex_);
    const auto found = waiting_.find(path);
    if (found == waiting_.end()) return;
    auto& waiting = found->second;
    // A peer that accepts and hangs up, over and over, is not worth a core of ours.
    if (Clock::now() - waiting.tried_at < kLasting) {
        failed(waiting);
    } else {
        waiting.attempts = 0;
        waiting.look_at = waiting.try_at = Clock::now();
    }
    ::eventfd_write(wake_.get(), 1);
}

void SocketWatch::start() {
    inotify_ = Descriptor(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    wake_ = Descriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    thread_ = std::thread([this] { run(); });
}

void SocketWatch::run() {
    int timeout = 1000;
    while (true) {
        std::array<pollfd, 2> ready{{{inotify_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
        ::poll(ready.data(), ready.size(), timeout);
        {
            const std::lock_guard lock(mutex_);
            if (ending_) return;
        }
        eventfd_t ignored = 0;
        if ((ready[1].revents & POLLIN) != 0) ::eventfd_read(wake_.get(), &ignored);
        if ((ready[0].revents & POLLIN) != 0) read_events();
        timeout = look_at_due();
    }
}

void SocketWatch::read_events() {
    alignas(inotify_event) std::array<char, 16384> buffer{};
    const std::lock_guard lock(mutex_);
    while (true) {
        const auto got = ::read(inotify_.get(), buffer.data(), buffer.size());
        if (got <= 0) return;
        const auto size = static_cast<std::size_t>(got);
        for (std::size_t at = 0; at + sizeof(inotify_event) <= size;) {
            inotify_event event{};
            std::memcpy(&event, buffer.data() + at, sizeof event);
            const std::string name(event.len == 0 ? "" : buffer.data() + at + sizeof event);
            at += sizeof event + event.len;
            if ((event.mask & IN_IGNORED) != 0) users_.erase(event.wd);  // the directory is gone
            for (auto& [path, waiting] : waiting_) {
                const bool connected = waiting.look_at == Clock::time_point::max();
                if (connected || waiting.directory != event.wd || waiting.name != name) continue;
                waiting.attempts = 0;
                waiting.look_at = waiting.try_at = Clock::now();
            }
        }
    }
}

/// Looks at the file and plans the next look. Called with mutex_ held.
bool SocketWatch::worth_trying(const std::string& path, Waiting& waiting, Clock::time_point now) const {
    const auto identity = identity_of(path);
    waiting.look_at = now + kLook;
    if (identity != waiting.tried) {
        waiting.tried = identity;
        waiting.attempts = 0;
        waiting.try_at = now;
    }
    return identity != Identity{} && waiting.try_at <= now;
}

/// Plans the next attempt. Called with mutex_ held.
void SocketWatch::failed(Waiting& waiting) const {
    const auto pause =
        std::min<std::chrono::milliseconds>(1ms * (1U << std::min(waiting.attempts, 15U)), kLongest);
    ++waiting.attempts;
    waiting.try_at = Clock::now() + pause;
    waiting.look_at = std::min<Clock::time_point>(waiting.try_at, Clock::now() + kLook);
}

/// Tries what is due and returns the milliseconds until the next look; -1 when nothing waits.
int SocketWatch::look_at_due() {
    std::vector<std::string> due;
    {
        const auto now = Clock::now();
        const std::lock_guard lock(mutex_);
        for (auto& [path, waiting] : waiting_) {
            if (waiting.look_at <= now && worth_trying(path, waiting, now)) {
                // Until soon() says otherwise, perhaps while the attempt is still running.
                waiting.look_at = Clock::time_point::max();
                waiting.tried_at = now;
                due.push_back(path);
            }
        }
    }
    for (const auto& path : due) {
        if (connect_(path)) continue;
        const std::lock_guard lock(mutex_);
        const auto found = waiting_.find(path);
        if (found != waiting_.end()) failed(found->second);
    }
    auto next = Clock::time_point::max();
    const std::lock_guard lock(mutex_);
    for (const auto& [path, waiting] : waiting_)
        next = std::min(next, waiting.look_at);
    if (next == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1000));
}

}  // namespace viaduct::dataplane
