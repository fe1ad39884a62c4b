// Callbacks find their socket's owner in an array by device number, filled when a connection begins: no lock
// is taken there but the short one of the first look-up by path, so librte_vhost may call while it holds its
// own.
#include "port/vhost_driver.h"

#include <climits>

#include <rte_vhost.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"

#include "port/guest_memory.h"
#include "port/socket_file.h"
#include "port/vhost_message.h"

namespace viaduct::dataplane {
namespace {

/// librte_vhost watches 1024 descriptors in all: a connection for each port, a listening socket for each
/// server's, and one of its own. A few are left for connections that are being refused.
constexpr unsigned kWatchedMost = 1024 - 16;

constexpr std::uint64_t bit(unsigned feature) {
    return 1ULL << feature;
}

// Virtio 1.2, 5.1.3; <linux/virtio_net.h> is no C++.
constexpr unsigned kMultiqueue = 22;
/// VHOST_F_LOG_ALL: the log of changed pages that live migration wants is one more file of the guest's, which
/// librte_vhost maps without telling where.
constexpr unsigned kLogAll = 26;
/// Offloads that librte_vhost knows and we do not: those of UDP are fragments, and the ones for ECN it does
/// not tell of. GUEST_ECN, GUEST_UFO, HOST_ECN, HOST_UFO.
constexpr std::uint64_t kOtherOffloads = bit(9) | bit(10) | bit(13) | bit(14);

// Of the vhost-user specification; rte_vhost.h names only some.
constexpr std::uint64_t kUnusedProtocolFeatures =
    bit(15) /* memory added and removed while rings are in use */ | bit(7) /* crypto session */ |
    bit(8) /* page fault: post-copy */ | bit(11) /* host notifier */ |
    bit(12) /* in-flight buffers, which the network device does not use */;

/// Frames that do not fit one packet buffer come in a buffer from the heap instead of a chain. With chains a
/// guest that posts one descriptor of a gigabyte makes librte_vhost take every buffer of the pool and copy
/// for as long as they last; without, it drops what is longer than 64 KiB unread.
constexpr std::uint64_t kFlags =
    RTE_VHOST_USER_LINEARBUF_SUPPORT | RTE_VHOST_USER_EXTBUF_SUPPORT | RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS;

}  // namespace

struct VhostDriver::Entry {
    model::VhostUser socket;
    bool multiqueue;
    VhostDevice& device;
    /// The connection's device number, -1 without one. Written in callbacks.
    std::atomic<int> connection{-1};
    Descriptor connection_socket;  ///< of the connection, a duplicate
    VhostMessages messages;        ///< of the connection; callbacks only
    bool running = false;          ///< callbacks only: started and not stopped
    bool registered = false;       ///< with librte_vhost; guarded by changing_
};

struct VhostDriver::Callbacks {
    static int new_connection(int vid) {
        auto& driver = instance();
        std::array<char, PATH_MAX> path{};
        if (rte_vhost_get_ifname(vid, path.data(), path.size()) != 0) return -1;
        auto* entry = driver.of_path(path.data());
        if (entry == nullptr || vid < 0 || vid >= kVhostDevicesMost) return -1;
        // One peer at a time: a second one would take device numbers and watched descriptors from other
        // ports.
        if (entry->connection.load() != -1) {
            spdlog::warn("vhost-user {}: a second connection was refused", entry->socket.path);
            return -1;
        }
        entry->connection_socket = bound_waits(entry->socket.path);
        if (!entry->connection_socket) {
            spdlog::warn("vhost-user {}: the connection's waits could not be bounded", entry->socket.path);
        }
        guest_memory::opened(vid, entry->connection_socket.get());
        entry->messages.begin();
        rte_vhost_extern_callback_register(vid, &messages(), nullptr);
        entry->connection.store(vid);
        driver.by_device_[static_cast<std::size_t>(vid)].store(entry);
        entry->device.connected(vid);
        return 0;
    }

    static void destroy_connection(int vid) {
        auto& driver = instance();
        auto* entry = driver.of_device(vid);
        // A refused connection ends by this call too on newer versions, and owns nothing.
        if (entry == nullptr || entry->connection.load() != vid) return;
        entry->device.disconnected(vid);
        forget_memory(*entry, vid);
        driver.by_device_[static_cast<std::size_t>(vid)].store(nullptr);
        entry->connection.store(-1);
        if (!entry->socket.server) driver.watch_.soon(entry->socket.path);
    }

    static int new_device(int vid) {
        auto* entry = instance().of_device(vid);
        if (entry == nullptr) return -1;
        // Off until a worker sleeps: each notification costs the guest a system call.
        for (std::uint16_t ring = 0; ring < rte_vhost_get_vring_num(vid); ++ring) {
            rte_vhost_enable_guest_notification(vid, ring, 0);
        }
        entry->running = true;
        guest_memory::mapped(vid);
        entry->device.started(vid);
        return 0;
    }

    static void destroy_device(int vid) {
        auto* entry = instance().of_device(vid);
        if (entry == nullptr || !entry->running) return;
        entry->running = false;
        entry->device.stopped(vid);
        guest_memory::unmapped(vid);
    }

    static int vring_state_changed(int vid, std::uint16_t ring, int enable) {
        auto* entry = instance().of_device(vid);
        if (entry != nullptr) entry->device.ring_changed(vid, ring, enable != 0);
        return 0;
    }

    static rte_vhost_msg_result before_message(int vid, void* message) {
        guest_memory::serves(vid);
        auto* entry = instance().of_device(vid);
        if (entry == nullptr) return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
        const auto wrong = entry->messages.before(vid, message);
        if (wrong.empty()) return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
        spdlog::error("vhost-user {}: the peer was cut off: {}", entry->socket.path, wrong);
        return RTE_VHOST_MSG_RESULT_ERR;
    }

    static rte_vhost_msg_result after_message(int vid, void* message) {
        auto* entry = instance().of_device(vid);
        // Workers that wait for a ring go on as soon as this returns, and without new_device. Told before:
        // a worker must not find the end of a file of which nobody knows.
        if (entry != nullptr && entry->messages.after(vid, message) && entry->running) {
            guest_memory::mapped(vid);
        }
        return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    }

    static const rte_vhost_user_extern_ops& messages() {
        static const rte_vhost_user_extern_ops ops{before_message, after_message};
        return ops;
    }

    static void forget_memory(Entry& entry, int vid) {
        if (guest_memory::truncated(vid)) {
            spdlog::error("vhost-user {}: the peer was cut off: it truncated memory that it had shared",
                          entry.socket.path);
        }
        guest_memory::closed(vid);
        entry.messages.end();
        entry.connection_socket.close();
    }

    static const rte_vhost_device_ops& table() {
        static const rte_vhost_device_ops ops = [] {
            rte_vhost_device_ops set{};
            set.new_device = new_device;
            set.destroy_device = destroy_device;
            set.vring_state_changed = vring_state_changed;
            set.new_connection = new_connection;
            set.destroy_connection = destroy_connection;
            return set;
        }();
        return ops;
    }
};

VhostDriver& VhostDriver::instance() {
    static VhostDriver driver;
    return driver;
}

VhostDriver::VhostDriver() : watch_([this](const std::string& path) { return connect(path); }) {
    guest_memory::install();
}

VhostDriver::~VhostDriver() = default;

VhostDriver::Entry* VhostDriver::of_path(const std::string& path) {
    const std::lock_guard lock(table_);
    const auto found = entries_.find(path);
    return found == entries_.end() ? nullptr : found->second.get();
}

VhostDriver::Entry* VhostDriver::of_device(int vid) const {
    if (vid < 0 || vid >= kVhostDevicesMost) return nullptr;
    return by_device_[static_cast<std::size_t>(vid)].load();
}

void VhostDriver::add(const model::VhostUser& socket, bool multiqueue, VhostDevice& device) {
    const std::lock_guard changing(changing_);
    if (socket.path.size() > model::kSocketPathMost || socket.path.empty() || socket.path.front() != '/') {
        throw Refused("path", "\"" + socket.path + "\" must be absolute and at most 107 bytes long");
    }
    Entry* entry = nullptr;
    {
        const std::lock_guard table(table_);
        unsigned watched = socket.server ? 2 : 1;
        for (const auto& [path, other] : entries_)
            watched += other->socket.server ? 2U : 1U;
        if (watched > kWatchedMost) {
            throw Refused("", "librte_vhost serves at most " + std::to_string(kWatchedMost) +
                                  " sockets (a listening one counts twice); remove a port first");
        }
        auto [place, fresh] = entries_.try_emplace(socket.path);
        if (!fresh) throw Refused("path", "\"" + socket.path + "\" is another port's socket already");
        place->second.reset(new Entry{socket, multiqueue, device});
        entry = place->second.get();
    }
    try {
        prepare_socket(socket);
        // Watched before the first attempt, so that a socket that appears between the two is not missed.
        if (!socket.server) watch_.add(socket.path);
        if (!start(*entry)) {
            if (socket.server) {
                throw Refused("path",
                              "librte_vhost cannot listen on \"" + socket.path + "\"; its log says why");
            }
            watch_.soon(socket.path);
        }
    } catch (...) {
        watch_.remove(socket.path);
        unregister(*entry);
        const std::lock_guard table(table_);
        entries_.erase(socket.path);
        throw;
    }
}

/// A client's socket is registered for one attempt. librte_vhost could repeat it by itself, but only once a
/// second, and unasked: it might connect at the moment when we unregister to try sooner, and a pod that
/// starts does not survive a connection that ends at once.
void VhostDriver::register_socket(Entry& entry) {
    const auto& socket = entry.socket;
    const char* path = socket.path.c_str();
    const std::uint64_t role = socket.server ? 0 : RTE_VHOST_USER_CLIENT | RTE_VHOST_USER_NO_RECONNECT;
    if (rte_vhost_driver_register(path, kFlags | role) != 0) {
        throw Refused("path", "librte_vhost cannot open a socket for \"" + socket.path +
                                  "\"; its log says why (descriptors may be short)");
    }
    entry.registered = true;
    std::uint64_t protocol = 0;
    const std::uint64_t unwanted = kOtherOffloads | bit(kLogAll) | (entry.multiqueue ? 0 : bit(kMultiqueue));
    if (rte_vhost_driver_disable_features(path, unwanted) != 0 ||
        rte_vhost_driver_get_protocol_features(path, &protocol) != 0 ||
        rte_vhost_driver_set_protocol_features(path, protocol & ~kUnusedProtocolFeatures) != 0 ||
        rte_vhost_driver_callback_register(path, &Callbacks::table()) != 0) {
        throw Refused("path", "librte_vhost cannot set up \"" + socket.path + "\"; its log says why");
    }
}

/// False when nobody listens (client) or listening fails (server).
bool VhostDriver::start(Entry& entry) {
    register_socket(entry);
    const auto begin = [&entry] { return rte_vhost_driver_start(entry.socket.path.c_str()); };
    if ((entry.socket.server ? bind_socket(entry.socket, begin) : begin()) != 0) {
        unregister(entry);
        return false;
    }
    // librte_vhost reports success also when it has no device number left for the connection.
    return entry.socket.server || entry.connection.load() != -1;
}

/// librte_vhost calls destroy_device where it is due, but not destroy_connection.
void VhostDriver::unregister(Entry& entry) {
    if (!entry.registered) return;
    entry.registered = false;
    rte_vhost_driver_unregister(entry.socket.path.c_str());
    const int vid = entry.connection.load();
    if (vid < 0) return;
    entry.device.disconnected(vid);
    Callbacks::forget_memory(entry, vid);
    // The number may be another socket's by now.
    Entry* mine = &entry;
    by_device_[static_cast<std::size_t>(vid)].compare_exchange_strong(mine, nullptr);
    entry.connection.store(-1);
}

void VhostDriver::remove(const std::string& path) {
    const std::lock_guard changing(changing_);
    auto* entry = of_path(path);
    if (entry == nullptr) return;
    watch_.remove(path);
    unregister(*entry);
    const std::lock_guard table(table_);
    entries_.erase(path);
}

/// Only this and add() connect, one at a time, so a socket without a connection cannot get one meanwhile.
bool VhostDriver::connect(const std::string& path) {
    const std::lock_guard changing(changing_);
    auto* entry = of_path(path);
    if (entry == nullptr || entry->connection.load() != -1) return true;
    unregister(*entry);
    try {
        return start(*entry);
    } catch (const Refused& refused) {
        spdlog::error("vhost-user {}: {}", path, refused.what());
        unregister(*entry);
        return false;
    }
}

}  // namespace viaduct::dataplane
