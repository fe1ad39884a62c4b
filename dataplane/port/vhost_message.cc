// The messages are those of QEMU's docs/interop/vhost-user.rst, the rings those of virtio 1.2, 2.7 and 2.8,
// and what librte_vhost does with them was read in 22.11's vhost_user.c.
#include "port/vhost_message.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include <rte_vhost.h>

namespace viaduct::dataplane {
namespace {

constexpr std::uint32_t kSetFeatures = 2;
constexpr std::uint32_t kResetOwner = 4;
constexpr std::uint32_t kSetMemTable = 5;
constexpr std::uint32_t kSetVringNum = 8;
constexpr std::uint32_t kSetVringAddr = 9;
constexpr std::uint32_t kSetVringBase = 10;
constexpr std::uint32_t kGetVringBase = 11;
constexpr std::uint32_t kSetVringKick = 12;

constexpr std::uint32_t kNeedReply = 1U << 3U;
constexpr std::uint64_t kEventIndex = 1ULL << 29U;
constexpr std::uint64_t kPackedRing = 1ULL << 34U;

constexpr std::uint32_t kRingMost = 32768;  ///< entries
constexpr std::uint16_t kRingsMost = 256;   ///< librte_vhost: VHOST_MAX_VRING
constexpr std::size_t kRegionsMost = 8;     ///< librte_vhost: VHOST_MEMORY_MAX_NREGIONS
/// The largest payload that librte_vhost has room for: a crypto session. Its headers keep the layout for
/// those who handle messages themselves.
constexpr std::size_t kPayload = 632;

struct State {
    std::uint32_t index;
    std::uint32_t number;
};
struct Address {
    std::uint32_t index;
    std::uint32_t flags;
    std::uint64_t descriptors;
    std::uint64_t used;
    std::uint64_t available;
    std::uint64_t log;
};
struct MemoryRegion {
    std::uint64_t guest;
    std::uint64_t size;
    std::uint64_t user;
    std::uint64_t offset;
};
struct MemoryTable {
    std::uint32_t count;
    std::uint32_t padding;
    std::array<MemoryRegion, kRegionsMost> regions;
};

/// librte_vhost: struct vhu_msg_context.
struct [[gnu::packed]] Message {
    std::uint32_t request;
    std::uint32_t flags;
    std::uint32_t size;
    std::array<std::byte, kPayload> payload;
    std::array<int, kRegionsMost> files;
    int file_count;
};

Message read(const void* message) {
    Message copy;
    std::memcpy(&copy, message, sizeof copy);
    return copy;
}

template <typename Payload>
Payload payload(const void* message) {
    Payload part;
    std::memcpy(&part, static_cast<const std::byte*>(message) + offsetof(Message, payload), sizeof part);
    return part;
}

std::uint16_t kicked(const void* message) {
    return static_cast<std::uint16_t>(payload<std::uint64_t>(message) & 0xffU);
}

bool changes_something(std::uint32_t request) {
    return request == kSetFeatures || request == kSetMemTable || request == kSetVringNum ||
           request == kSetVringAddr || request == kSetVringBase || request == kSetVringKick;
}

std::uint64_t features_of(int vid) {
    std::uint64_t features = 0;
    rte_vhost_get_negotiated_features(vid, &features);
    return features;
}

/// Zeroes when librte_vhost has no such ring.
rte_vhost_vring vring_of(int vid, std::uint16_t number) {
    rte_vhost_vring vring{};
    if (rte_vhost_get_vhost_vring(vid, number, &vring) != 0) return {};
    return vring;
}

/// Whether librte_vhost has found its place. The pointers of packed rings share theirs with these.
bool laid_out(const rte_vhost_vring& vring) {
    return vring.desc != nullptr || vring.avail != nullptr || vring.used != nullptr;
}

std::string ring_words(std::uint16_t number) {
    return "ring " + std::to_string(number);
}

/// So that the sender hears of it by the connection's end, and by nothing else.
void refuse(void* message) {
    auto copy = read(message);
    copy.flags &= ~kNeedReply;
    for (int i = 0; i < std::min<int>(copy.file_count, kRegionsMost); ++i) {
        if (copy.files[static_cast<std::size_t>(i)] >= 0) ::close(copy.files[static_cast<std::size_t>(i)]);
    }
    copy.files.fill(-1);
    copy.file_count = 0;
    std::memcpy(message, &copy, sizeof copy);
}

}  // namespace

VhostMessages::~VhostMessages() {
    release();
}

void VhostMessages::begin() {
    end();
}

void VhostMessages::end() {
    release();
    rings_.clear();
    memory_.clear();
    under_way_ = false;
    other_form_ = false;
}

std::string VhostMessages::before(int vid, void* message) {
    release();
    auto wrong = check(vid, message);
    if (wrong.empty()) {
        under_way_ = changes_something(read(message).request);
    } else {
        refuse(message);
    }
    return wrong;
}

std::string VhostMessages::check(int vid, const void* message) {
    // It asked to be told of a failure instead of being cut off. What a failure leaves behind is not looked
    // after in librte_vhost.
    if (under_way_) return "a message of it had failed";
    switch (read(message).request) {
        case kSetFeatures:
            return check_features(vid, message);
        case kSetMemTable:
            return check_memory(vid, message);
        case kSetVringNum:
            return check_size(vid, message);
        case kSetVringBase:
            return check_base(vid, message);
        case kSetVringAddr: {
            const auto to = payload<Address>(message);
            const auto number = static_cast<std::uint16_t>(to.index);
            return check_ring(vid, number, {to.descriptors, to.available, to.used, ring(number).sized},
                              memory_);
        }
        case kSetVringKick:
            return check_ring(vid, kicked(message), ring(kicked(message)), memory_);
        case kGetVringBase:
            // librte_vhost frees what it had made for the size, and forgets the place.
            ring(static_cast<std::uint16_t>(payload<State>(message).index)) = {};
            return {};
        case kResetOwner:
            rings_.clear();
            return {};
        default:
            return {};
    }
}

bool VhostMessages::after(int vid, void* message) {
    under_way_ = false;
    release();
    switch (read(message).request) {
        case kSetFeatures:
            for (std::uint16_t number = 0; number < rings_.size(); ++number) {
                rte_vhost_vring unused{};
                // Without multiqueue it removes all but the first two.
                const bool gone = rte_vhost_get_vhost_vring(vid, number, &unused) != 0;
                if (!gone && !other_form_) continue;
                rings_[number] = {};
                // A packed ring's is an index and a bit of which turn it is.
                const std::uint16_t start = (features_of(vid) & kPackedRing) != 0 ? 0x8000 : 0;
                if (!gone) rte_vhost_set_vring_base(vid, number, start, start);
            }
            return false;
        case kSetMemTable: {
            const auto table = payload<MemoryTable>(message);
            memory_.clear();
            for (std::size_t i = 0; i < std::min<std::size_t>(table.count, kRegionsMost); ++i)
                memory_.push_back({table.regions[i].user, table.regions[i].size});
            return true;
        }
        case kSetVringNum:
            ring(static_cast<std::uint16_t>(payload<State>(message).index)).sized = true;
            return false;
        case kSetVringAddr: {
            const auto to = payload<Address>(message);
            auto& there = ring(static_cast<std::uint16_t>(to.index));
            there.descriptors = to.descriptors;
            there.available = to.available;
            there.used = to.used;
            return false;
        }
        default:
            return false;
    }
}

/// librte_vhost unmaps the old memory first, and leaves the rings pointing there if it cannot map the new. So
/// it is mapped here before and held: no seal of the file and no want of huge pages can come between.
std::string VhostMessages::check_memory(int vid, const void* message) {
    const auto table = payload<MemoryTable>(message);
    const auto whole = read(message);
    if (table.count > kRegionsMost || whole.file_count != static_cast<int>(table.count)) {
        return "it shares " + std::to_string(table.count) + " regions of memory with " +
               std::to_string(whole.file_count) + " files: at most 8 are possible, each with its own";
    }
    std::vector<Region> memory;
    for (std::size_t i = 0; i < table.count; ++i) {
        const auto& region = table.regions[i];
        const auto end = region.size + region.offset;
        const bool wraps = end < region.size || region.guest + region.size < region.guest ||
                           region.user + region.size < region.user;
        if (region.size == 0 || wraps) {
            return "memory region " + std::to_string(i) + " is empty, or ends beyond the last address";
        }
        if (auto wrong = hold(whole.files[i], end); !wrong.empty()) {
            return "memory region " + std::to_string(i) + " cannot be mapped: " + wrong;
        }
        memory.push_back({region.user, region.size});
    }
    for (std::uint16_t number = 0; number < rings_.size(); ++number) {
        if (!laid_out(vring_of(vid, number))) continue;
        if (auto wrong = check_ring(vid, number, rings_[number], memory); !wrong.empty()) return wrong;
    }
    return {};
}

/// As librte_vhost will: as much of the file as is asked for, to the end of its last block.
std::string VhostMessages::hold(int file, std::uint64_t size) {
    struct stat status {};
    if (::fstat(file, &status) != 0) return std::strerror(errno);
    const auto block = static_cast<std::uint64_t>(status.st_blksize);
    if (!std::has_single_bit(block)) return "its file has no size of block";
    const auto length = (size + block - 1) & ~(block - 1);
    if (length < size) return std::strerror(ENOMEM);
    void* begin = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (begin == MAP_FAILED) return std::strerror(errno);
    held_.push_back({begin, length});
    return {};
}

void VhostMessages::release() {
    for (const auto& each : held_)
        ::munmap(each.begin, each.size);
    held_.clear();
}

/// A ring's form and length go by these.
std::string VhostMessages::check_features(int vid, const void* message) {
    const auto changed = features_of(vid) ^ payload<std::uint64_t>(message);
    other_form_ = (changed & kPackedRing) != 0;
    if ((changed & (kPackedRing | kEventIndex)) == 0) return {};
    for (std::uint16_t number = 0; number < rings_.size(); ++number) {
        if (laid_out(vring_of(vid, number)))
            return "it changes the form of " + ring_words(number) + " in use";
    }
    return {};
}

std::string VhostMessages::check_size(int vid, const void* message) {
    const auto [index, size] = payload<State>(message);
    const auto number = static_cast<std::uint16_t>(index);
    const bool packed = (features_of(vid) & kPackedRing) != 0;
    if (size == 0 || size > kRingMost || (!packed && !std::has_single_bit(size))) {
        return ring_words(number) + " cannot have " + std::to_string(size) +
               " entries: 1 to 32768 are possible" + (packed ? "" : ", a power of two");
    }
    const auto now = vring_of(vid, number);
    if (laid_out(now) && now.size != size) return "it changes the size of " + ring_words(number) + " in use";
    ring(number).sized = false;
    return {};
}

std::string VhostMessages::check_base(int vid, const void* message) {
    const auto [index, base] = payload<State>(message);
    const auto number = static_cast<std::uint16_t>(index);
    const auto now = vring_of(vid, number);
    ring(number);  // known from now on: a change of form begins it anew
    if ((features_of(vid) & kPackedRing) == 0 || !laid_out(now) || (base & 0x7fffU) < now.size) return {};
    return ring_words(number) + " begins after its end";
}

/// An area that begins in no memory is not used; one that begins there is not looked at again.
std::string VhostMessages::check_ring(int vid, std::uint16_t number, const Ring& ring,
                                      const std::vector<Region>& memory) const {
    const auto features = features_of(vid);
    const bool packed = (features & kPackedRing) != 0;
    const std::uint64_t size = vring_of(vid, number).size;
    const std::uint64_t event = (features & kEventIndex) != 0 ? 2 : 0;
    const std::array<std::pair<std::uint64_t, std::uint64_t>, 3> areas{{
        {ring.descriptors, 16 * size},
        {ring.available, packed ? 4 : 4 + 2 * size + event},
        {ring.used, packed ? 4 : 4 + 8 * size + event},
    }};
    bool found = false;
    for (const auto& [begin, length] : areas) {
        const auto in = std::find_if(memory.begin(), memory.end(), [begin = begin](const Region& region) {
            return begin >= region.begin && begin - region.begin < region.size;
        });
        if (in == memory.end()) continue;
        found = true;
        if (length > in->size - (begin - in->begin)) return ring_words(number) + " ends outside its memory";
    }
    if (!found) return {};
    if (!ring.sized || size == 0) return ring_words(number) + " has a place before it has a size";
    std::uint16_t base = 0;
    std::uint16_t used = 0;
    if (packed && rte_vhost_get_vring_base(vid, number, &base, &used) == 0 &&
        ((base & 0x7fffU) >= size || (used & 0x7fffU) >= size)) {
        return ring_words(number) + " begins after its end";
    }
    return {};
}

/// librte_vhost has checked the numbers of those that it makes.
VhostMessages::Ring& VhostMessages::ring(std::uint16_t number) {
    const auto place = static_cast<std::size_t>(number % kRingsMost);
    if (place >= rings_.size()) rings_.resize(place + 1);
    return rings_[place];
}

}  // namespace viaduct::dataplane
