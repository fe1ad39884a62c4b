// What TAP ports share: the interfaces that are taken, one thread that hears of link changes, and threads
// that close.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "port/descriptor.h"

struct rte_mempool;

namespace viaduct::dataplane {

/// Thread-safe. Outlives the ports that use it; its end waits for everything that is being closed.
class TapDriver {
public:
    /// A namespace's inode and an interface's name in it.
    using Place = std::pair<std::uint64_t, std::string>;

    TapDriver();
    ~TapDriver();
    TapDriver(const TapDriver&) = delete;
    TapDriver& operator=(const TapDriver&) = delete;

    /// Takes a place for a port. Waits while an interface is being removed there; throws Refused when a port
    /// has it.
    void claim(const Place& place);
    void release(const Place& place);

    /// Buffers for what of a long segment does not fit a common one; made when first asked for, by the main
    /// thread. Throws Refused without memory.
    rte_mempool* large_buffers();

    /// Closes in another thread: the kernel takes some 20 ms for each last descriptor of an interface.
    /// `place` stays taken until `release` and until this has been done, whichever is later.
    void close(const Place& place, std::vector<Descriptor> descriptors);

    /// Calls `changed` in this driver's thread whenever the netlink socket has had something to say. Its
    /// messages are read and thrown away: who is told asks the kernel for what is so now.
    void watch(int control, std::function<void()> changed);
    /// When this returns `changed` is not running and will not be called again.
    void unwatch(int control);
    /// From within `changed`: another socket has taken the number's place.
    void watch_again(int control) const;

private:
    void run_watch();
    void run_closer();
    void drain(int control) const;

    struct Closing {
        Place place;
        std::vector<Descriptor> descriptors;
    };

    rte_mempool* large_buffers_ = nullptr;

    std::mutex mutex_;
    std::condition_variable freed_;
    std::set<Place> taken_;
    std::map<Place, unsigned> closing_;

    std::condition_variable more_;
    std::deque<Closing> queue_;
    std::vector<std::thread> closers_;
    unsigned idle_ = 0;
    bool ending_ = false;

    std::mutex watching_;  ///< held while a watcher is called
    std::map<int, std::function<void()>> watchers_;
    Descriptor epoll_;
    Descriptor wake_;
    std::thread watch_;
};

}  // namespace viaduct::dataplane
