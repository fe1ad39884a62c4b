// Says when it is worth connecting to the sockets that client ports wait for: as soon as one appears, and
// ever more seldom while nobody answers on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "port/descriptor.h"

namespace viaduct::dataplane {

/// Any thread may call, also from within `connect`. The thread begins with the first path and ends with the
/// object.
class SocketWatch {
public:
    /// Tries to connect to `path`, in the watch's thread and under no lock of it. True: connected, or no
    /// longer wanted; then it is not called for this path before soon().
    using Connect = std::function<bool(const std::string& path)>;

    explicit SocketWatch(Connect connect) : connect_(std::move(connect)) {}
    ~SocketWatch();
    SocketWatch(const SocketWatch&) = delete;
    SocketWatch& operator=(const SocketWatch&) = delete;

    void add(const std::string& path);
    void remove(const std::string& path);
    /// The connection has ended: try at once if it lasted, after a pause if the peer hung up soon, and go on.
    void soon(const std::string& path);

private:
    using Clock = std::chrono::steady_clock;
    /// Inode and time of change: a socket that was made anew differs.
    using Identity = std::pair<std::uint64_t, std::int64_t>;

    struct Waiting {
        int directory = -1;  ///< inotify's watch; -1: only looked at once a second
        std::string name;    ///< of the socket in it
        unsigned attempts = 0;
        Identity tried{};              ///< the socket of these attempts; none: {}
        Clock::time_point tried_at{};  ///< the last attempt
        Clock::time_point look_at{};   ///< when to look at the file; max: not before soon()
        Clock::time_point try_at{};    ///< when to connect, if it is still the same file
    };

    void start();
    void run();
    void read_events();
    int look_at_due();
    bool worth_trying(const std::string& path, Waiting& waiting, Clock::time_point now) const;
    void failed(Waiting& waiting) const;

    Connect connect_;
    std::mutex mutex_;  ///< guards what follows
    std::map<std::string, Waiting> waiting_;
    std::map<int, int> users_;  ///< of inotify's watches: one a directory
    Descriptor inotify_;
    Descriptor wake_;
    bool ending_ = false;
    std::thread thread_;
};

}  // namespace viaduct::dataplane
