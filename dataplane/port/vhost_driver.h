// librte_vhost as one process-wide thing: which socket belongs to whom, and its callbacks handed to the
// owner.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "viaduct/model.h"

#include "port/socket_watch.h"

namespace viaduct::dataplane {

inline constexpr int kVhostDevicesMost = 1024;  ///< librte_vhost: RTE_MAX_VHOST_DEVICE

/// The owner of a vhost-user socket. Called by librte_vhost's threads and by VhostDriver::add and remove;
/// calls for one socket never overlap. None may call VhostDriver, and only `stopped` may wait for a worker:
/// the others run while librte_vhost holds the rings' locks.
class VhostDevice {
public:
    virtual ~VhostDevice() = default;
    virtual void connected(int vid) = 0;
    virtual void disconnected(int vid) = 0;
    /// The first queue pair is usable: bursts may be exchanged by `vid`.
    virtual void started(int vid) = 0;
    /// `vid` is freed, and perhaps given to another socket, when this returns: no worker may be inside a call
    /// by then.
    virtual void stopped(int vid) = 0;
    /// Ring 2q takes frames to the guest, 2q+1 those from it.
    virtual void ring_changed(int vid, std::uint16_t ring, bool enabled) = 0;
};

/// Process-wide because librte_vhost is: its callbacks carry nothing but a device number, and sockets are
/// named by path for the whole process. This class is the only place that knows it.
class VhostDriver {
public:
    static VhostDriver& instance();

    /// Begins to listen or to connect. A client's socket need not be there yet. Throws Refused in words
    /// (directory missing, socket in use, path already a port's, no room in librte_vhost). Main thread.
    void add(const model::VhostUser& socket, bool multiqueue, VhostDevice& device);
    /// Hangs up, calls `stopped` and `disconnected` where they are due, and removes a server's socket. No
    /// callback comes after it. Main thread; waits for a callback that is running.
    void remove(const std::string& path);

    VhostDriver(const VhostDriver&) = delete;
    VhostDriver& operator=(const VhostDriver&) = delete;

private:
    struct Entry;
    struct Callbacks;

    VhostDriver();
    ~VhostDriver();
    void register_socket(Entry& entry);
    bool start(Entry& entry);
    void unregister(Entry& entry);
    bool connect(const std::string& path);
    Entry* of_path(const std::string& path);
    Entry* of_device(int vid) const;

    /// Serialises add, remove and connect. Held over librte_vhost's calls, so never taken in a callback.
    std::mutex changing_;
    /// Guards `entries_` alone; held for look-ups only.
    std::mutex table_;
    std::map<std::string, std::unique_ptr<Entry>> entries_;
    std::array<std::atomic<Entry*>, kVhostDevicesMost> by_device_{};
    SocketWatch watch_;
};

}  // namespace viaduct::dataplane
