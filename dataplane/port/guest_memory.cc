// The handler puts zeroes where the file ended and hangs up; the interrupted instruction is carried out again
// and finds a ring as empty or as wrong as any guest may write one. The connection's end then goes the usual
// way, in librte_vhost's thread. All that the handler calls is async-signal-safe.
//
// A signal handler is given nothing but an address, so its table is the process's. It needs no lock: a
// worker's device has its entry before the worker may touch it and keeps it until no worker does, so an entry
// that matters to a fault cannot change while the fault is handled. One that changes meanwhile is another
// device's, and passed over: half old and half new it might name any address.
//
// Memory is replaced while workers use the rings: librte_vhost unmaps the old and maps the new with the rings
// locked, and new_device is not called again.
#include "port/guest_memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>

#include <rte_vhost.h>

#include "port/vhost_driver.h"

namespace viaduct::dataplane::guest_memory {
namespace {

constexpr std::size_t kRegionsMost = 8;  ///< librte_vhost: VHOST_MEMORY_MAX_NREGIONS
constexpr std::array<std::uintptr_t, 3> kPageSizes{1U << 12U, 1U << 21U, 1U << 30U};

struct Region {
    std::atomic<std::uintptr_t> begin{0};
    std::atomic<std::size_t> size{0};  ///< 0: none
};

struct Device {
    std::array<Region, kRegionsMost> regions;
    std::atomic<unsigned> version{0};  ///< odd: the regions are being changed
    std::atomic<int> socket{-1};
    std::atomic<bool> truncated{false};
};

std::array<Device, kVhostDevicesMost> devices;
/// Of the message being carried out by this thread; -1 in every other thread.
thread_local int served = -1;

Device* device(int vid) {
    return vid < 0 || vid >= kVhostDevicesMost ? nullptr : &devices[static_cast<std::size_t>(vid)];
}

bool put_zeroes(std::uintptr_t begin, std::size_t size) {
    // Nothing is reserved: a guest may have claimed a terabyte.
    return ::mmap(reinterpret_cast<void*>(begin), size, PROT_READ | PROT_WRITE,
                  MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

void cut_off(Device& gone) {
    gone.truncated = true;
    const int socket = gone.socket.load();
    if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
}

/// A worker's fault. All of the region goes at once: a fault for each of its pages would keep the worker from
/// other ports.
bool heal_region(std::uintptr_t address) {
    for (auto& each : devices) {
        const auto version = each.version.load();
        if (version % 2 != 0) continue;
        for (const auto& region : each.regions) {
            const auto begin = region.begin.load();
            const auto size = region.size.load();
            if (size == 0 || address < begin || address - begin >= size) continue;
            if (each.version.load() != version) break;
            if (!put_zeroes(begin, size)) return false;
            cut_off(each);
            return true;
        }
    }
    return false;
}

/// A fault of librte_vhost's thread, which may be in the middle of mapping: the table does not tell what is
/// where. Nothing else that this thread touches can lie behind the end of a file. A page of a huge file
/// system is refused by the kernel unless it is replaced as a whole.
bool heal_page(std::uintptr_t address) {
    auto* each = device(served);
    if (each == nullptr) return false;
    const bool healed = std::any_of(kPageSizes.begin(), kPageSizes.end(), [address](std::uintptr_t size) {
        return put_zeroes(address & ~(size - 1), size);
    });
    if (healed) cut_off(*each);
    return healed;
}

void on_bus_error(int signal, siginfo_t* info, void*) {
    const int saved = errno;
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    const bool healed =
        info->si_code == BUS_ADRERR && (served >= 0 ? heal_page(address) : heal_region(address));
    if (!healed) {
        ::signal(signal, SIG_DFL);
        // One that was sent does not come again by itself.
        if (info->si_code <= 0) ::raise(signal);
    }
    errno = saved;
}

}  // namespace

void install() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action {};
        action.sa_sigaction = on_bus_error;
        action.sa_flags = SA_SIGINFO | SA_RESTART;
        ::sigemptyset(&action.sa_mask);
        ::sigaction(SIGBUS, &action, nullptr);
    });
}

void opened(int vid, int socket) {
    auto* entry = device(vid);
    if (entry == nullptr) return;
    entry->truncated = false;
    entry->socket = socket;
}

void mapped(int vid) {
    auto* entry = device(vid);
    rte_vhost_memory* table = nullptr;
    if (entry == nullptr || rte_vhost_get_mem_table(vid, &table) != 0) return;
    ++entry->version;
    for (std::size_t i = 0; i < kRegionsMost; ++i) {
        const bool there = i < table->nregions;
        entry->regions[i].begin = there ? reinterpret_cast<std::uintptr_t>(table->regions[i].mmap_addr) : 0;
        entry->regions[i].size = there ? table->regions[i].mmap_size : 0;
    }
    ++entry->version;
    std::free(table);
}

void unmapped(int vid) {
    auto* entry = device(vid);
    if (entry == nullptr) return;
    ++entry->version;
    for (auto& region : entry->regions)
        region.size.store(0);
    ++entry->version;
}

void closed(int vid) {
    unmapped(vid);
    auto* entry = device(vid);
    if (entry == nullptr) return;
    entry->socket = -1;
    entry->truncated = false;
}

void serves(int vid) {
    served = vid;
}

bool truncated(int vid) {
    const auto* entry = device(vid);
    return entry != nullptr && entry->truncated.load();
}

}  // namespace viaduct::dataplane::guest_memory
