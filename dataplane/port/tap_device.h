// A kernel TAP interface: made or found again in its network namespace, asked and changed from outside it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "port/descriptor.h"
#include "port/offload.h"

namespace viaduct::dataplane {

/// Bytes before each frame on a TAP's descriptor, both ways.
inline constexpr std::size_t kTapHeader = sizeof(VirtioNetHeader);

/// An open namespace. The inode tells namespaces apart for as long as one is open.
struct NetworkNamespace {
    Descriptor handle;  ///< none: the process's own
    std::uint64_t inode = 0;
    std::string words;  ///< for people
};

/// Opens the namespace that `tap` names, or the process's own. Throws Refused when it cannot be opened, is no
/// network namespace or has another inode than asked for.
NetworkNamespace open_namespace(const model::Tap& tap);

/// An attached TAP. The descriptors keep the namespace alive even when its path is gone.
struct TapDevice {
    std::vector<Descriptor> queues;
    Descriptor
        control;    ///< netlink socket in the namespace, told of every change of links there; nonblocking
    int index = 0;  ///< of the interface
    Offloads offloads = 0;  ///< what the kernel does
};

/// Makes the interface, or attaches to the one that a dataplane before this one left, with the port's queues,
/// MAC and MTU. It persists when the descriptors are closed. Not set administratively up. Throws Refused in
/// words; then an interface that was made here is gone again.
TapDevice attach_tap(const model::Port& port, const NetworkNamespace& where);

/// The interface will be gone when its last descriptor is closed.
void forget_tap(const TapDevice& device);

enum class TapState : std::uint8_t { gone, down, up };
/// Asks the kernel; `control` is a TapDevice's. Gone: deleted, or moved to another namespace, see
/// follow_tap().
TapState tap_state(int control, int index);
/// The interface's present name; empty when it is gone.
std::string tap_name(int control, int index);
/// Where the interface is, which somebody may have moved and renamed.
struct TapPlace {
    Descriptor handle;        ///< of the namespace
    std::uint64_t inode = 0;  ///< of the namespace
    std::string name;
};
/// Nothing when the interface was deleted.
std::optional<TapPlace> tap_place(const TapDevice& device);
/// Lets `device`'s control be in the namespace in which the interface is now, under the same number, and
/// finds its index there. False when it was deleted; then nothing is changed.
bool follow_tap(TapDevice& device);
/// False when the kernel refuses it or the interface is gone.
bool set_tap_mtu(int control, int index, std::uint32_t mtu);

}  // namespace viaduct::dataplane
