// Notices at once that a socket has appeared where a port waits for one: librte_vhost itself looks once a
// second.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace viaduct::dataplane {

/// Any thread may call; `appeared` runs in the watch's own thread, which lives while something is watched for
/// the first time until destruction.
class SocketWatch {
public:
    /// Tries to connect to `path`; false when nobody listens there yet, which asks for another call soon: a
    /// socket is visible from bind() on, but answers only after listen().
    using Appeared = std::function<bool(const std::string& path)>;

    explicit SocketWatch(Appeared appeared) : appeared_(std::move(appeared)) {}
    ~SocketWatch();
    SocketWatch(const SocketWatch&) = delete;
    SocketWatch& operator=(const SocketWatch&) = delete;

    /// Where inotify cannot help (no descriptors left, directory not there) this does nothing: the slower
    /// look remains.
    void add(const std::string& path);
    void remove(const std::string& path);

private:
    using Clock = std::chrono::steady_clock;
    struct Waiting {
        int directory = -1;  ///< inotify's watch
        std::string name;    ///< of the socket in it
        int attempts = 0;
        Clock::time_point next{};  ///< when to try; zero: not until it appears
    };

    void start();
    void run();
    void read_events();
    int try_due();

    Appeared appeared_;
    std::mutex mutex_;
    std::map<std::string, Waiting> waiting_;
    std::map<int, int> users_;  ///< of inotify's watches: one a directory
    int inotify_ = -1;
    int wake_ = -1;
    bool ending_ = false;
    std::thread thread_;
};

}  // namespace viaduct::dataplane
