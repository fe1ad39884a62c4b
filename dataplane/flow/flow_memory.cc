// The file is believed only if its head was finished last and agrees in every number that decides where
// things lie; what is inside the tables is looked at by FlowTable::take_over.
#include "flow/flow_memory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <random>
#include <stdexcept>
#include <thread>

#include <linux/magic.h>

namespace viaduct::dataplane {

namespace {

constexpr std::uint64_t kMagic = 0x0a574f4c46414956U;  // "VIAFLOW\n"
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kZonesMost = 1024;
constexpr std::size_t kNameBytes = 64;
constexpr std::chrono::seconds kPatience{2};

using Name = std::array<char, kNameBytes>;

/// What has to be equal for a file to be taken over.
struct Layout {
    std::uint32_t version = kVersion;
    std::uint32_t table = kFlowLayout;
    std::uint32_t bucket = sizeof(FlowBucket);
    std::uint32_t entry4 = sizeof(FlowEntry<FlowKey4>);
    std::uint32_t entry6 = sizeof(FlowEntry<FlowKey6>);
    std::uint32_t entries4 = 0;
    std::uint32_t entries6 = 0;
    friend bool operator==(const Layout&, const Layout&) = default;
};

struct Head {
    std::uint64_t magic;  ///< written last
    Layout layout;
    std::uint64_t seed;
    Name boot;                           ///< the kernel's boot_id
    std::array<Name, kZonesMost> zones;  ///< by zone; empty: free. The first character is written last
};

constexpr std::size_t round_up(std::size_t bytes, std::size_t to) {
    return (bytes + to - 1) / to * to;
}
constexpr std::size_t kPage = 4096;
constexpr std::size_t kHeadBytes = round_up(sizeof(Head), kPage);

std::size_t table4_bytes(std::uint32_t entries) {
    return round_up(FlowTable<FlowKey4>::bytes(entries), kPage);
}

std::string boot_id() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string text;
    std::getline(file, text);
    return text.substr(0, kNameBytes - 1);
}

std::string_view text_of(const Name& name) {
    return {name.data(), ::strnlen(name.data(), name.size())};
}

[[noreturn]] void fail(const std::string& path, const std::string& what) {
    throw std::runtime_error("the flow table's memory " + (path.empty() ? "" : path + " ") + what);
}

std::string megabytes(std::size_t bytes) {
    return std::to_string((bytes + (1U << 20U) - 1) >> 20U) + " MB";
}

std::string why_not(const Head& head, const Layout& layout) {
    if (head.magic != kMagic) return "is no flow table, or one that was not finished";
    if (head.layout.version != layout.version || head.layout.table != layout.table)
        return "is of another version of Viaduct";
    if (head.layout.entries4 != layout.entries4 || head.layout.entries6 != layout.entries6) {
        return "is for " + std::to_string(head.layout.entries4) + " IPv4 and " +
               std::to_string(head.layout.entries6) + " IPv6 entries, not for " +
               std::to_string(layout.entries4) + " and " + std::to_string(layout.entries6);
    }
    if (!(head.layout == layout)) return "is laid out by another build of Viaduct";
    if (text_of(head.boot) != boot_id()) return "is from before the machine's last start";
    return {};
}

}  // namespace

std::size_t flow_memory_bytes(std::uint32_t entries4, std::uint32_t entries6) {
    return kHeadBytes + table4_bytes(entries4) + round_up(FlowTable<FlowKey6>::bytes(entries6), kPage);
}

struct FlowMemory::State {
    FlowMemoryOptions options;
    int descriptor = -1;
    std::byte* memory = nullptr;
    std::size_t bytes = 0;
    bool taken_over = false;
    std::string distrust;
    std::set<std::string, std::less<>> kept;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        if (memory != nullptr) ::munmap(memory, bytes);
        if (descriptor >= 0) ::close(descriptor);
    }

    [[nodiscard]] Head& head() const { return *reinterpret_cast<Head*>(memory); }
    [[nodiscard]] Layout layout() const {
        return {.entries4 = options.entries4, .entries6 = options.entries6};
    }
    void open();
    void lock() const;
    void reserve(bool believed) const;
    void map(int flags);
    void map_file();
    void map_anonymous();
    void begin();
    [[nodiscard]] std::string read_head() const;
    [[nodiscard]] std::array<bool, kZonesMost> zones_of_flows() const;
    void free_zones();
};

void FlowMemory::State::open() {
    descriptor = ::open(options.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0) fail(options.path, std::string("cannot be opened: ") + std::strerror(errno));
    struct stat file {};
    struct statfs system {};
    if (::fstat(descriptor, &file) != 0 || ::fstatfs(descriptor, &system) != 0)
        fail(options.path, std::string("cannot be looked at: ") + std::strerror(errno));
    const auto kind = static_cast<unsigned long>(system.f_type);
    if (kind != HUGETLBFS_MAGIC && kind != TMPFS_MAGIC) {
        if (file.st_size == 0) ::unlink(options.path.c_str());
        fail(options.path, "is not in memory; it must be in hugetlbfs (/dev/hugepages) or tmpfs (/dev/shm)");
    }
    if (!S_ISREG(file.st_mode)) fail(options.path, "is not a plain file");
    if (file.st_uid != ::geteuid() || (file.st_mode & 022) != 0)
        fail(options.path, "can be written by another user; remove it");
    bytes = round_up(bytes, std::max(kPage, static_cast<std::size_t>(system.f_bsize)));
}

void FlowMemory::State::lock() const {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            fail(options.path, std::string("cannot be locked: ") + std::strerror(errno));
        if (std::chrono::steady_clock::now() > deadline) {
            fail(options.path,
                 "is another process's; stop that one, or give this one a --flow-file of its own");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
}

/// The reason not to believe the file; empty when it can be. Maps just the head: a huge page cannot be read
/// by read(2) everywhere, and a page beyond the end of a short file would be a fault.
std::string FlowMemory::State::read_head() const {
    struct stat file {};
    ::fstat(descriptor, &file);
    if (static_cast<std::size_t>(file.st_size) != bytes) {
        return "is " + std::to_string(file.st_size) + " bytes long, not " + std::to_string(bytes);
    }
    auto* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED) return std::string("cannot be mapped: ") + std::strerror(errno);
    auto reason = why_not(*static_cast<const Head*>(mapped), layout());
    ::munmap(mapped, bytes);
    return reason;
}

/// A file that is not believed begins anew, zeroed; in one that is, what is missing is filled in.
void FlowMemory::State::reserve(bool believed) const {
    if (!believed && ::ftruncate(descriptor, 0) != 0)
        fail(options.path, std::string("cannot be emptied: ") + std::strerror(errno));
    if (::fallocate(descriptor, 0, 0, static_cast<off_t>(bytes)) == 0) return;
    const auto error = errno;
    if (!believed) {
        // Nothing is held that the next one would need.
        ::ftruncate(descriptor, 0);
        ::unlink(options.path.c_str());
    }
    fail(options.path, "needs " + megabytes(bytes) + ", which cannot be had: " + std::strerror(error) +
                           "; --flows and --flows6 ask for less, --flow-file for another place");
}

void FlowMemory::State::map(int flags) {
    auto* const mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    if (mapped == MAP_FAILED) return;
    memory = static_cast<std::byte*>(mapped);
    ::madvise(memory, bytes, MADV_HUGEPAGE);
    ::madvise(memory, bytes, MADV_DONTDUMP);
}

void FlowMemory::State::map_file() {
    open();
    lock();
    struct stat file {};
    ::fstat(descriptor, &file);
    auto reason = read_head();
    taken_over = reason.empty();
    if (file.st_size != 0) distrust = reason;
    reserve(taken_over);
    map(MAP_SHARED | MAP_POPULATE);
    if (memory == nullptr)
        fail(options.path, "(" + megabytes(bytes) + ") cannot be mapped: " + std::strerror(errno));
}

void FlowMemory::State::map_anonymous() {
    constexpr std::size_t kHugePage = 2U << 20U;
    const auto wanted = bytes;
    if (options.huge) {
        bytes = round_up(wanted, kHugePage);
        map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
    }
    if (memory != nullptr) return;
    bytes = wanted;
    map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    if (memory == nullptr) fail("", "(" + megabytes(bytes) + ") cannot be had: " + std::strerror(errno));
}

void FlowMemory::State::begin() {
    auto& fresh = head();
    fresh.layout = layout();
    fresh.seed = options.seed;
    while (fresh.seed == 0) {
        std::random_device random;
        fresh.seed = std::uint64_t{random()} << 32 | random();
    }
    const auto boot = boot_id();
    std::copy(boot.begin(), boot.end(), fresh.boot.begin());
    __atomic_store_n(&fresh.magic, kMagic, __ATOMIC_RELEASE);
}

FlowMemory::FlowMemory(FlowMemoryOptions options) : state_(std::make_unique<State>()) {
    state_->options = std::move(options);
    state_->bytes = flow_memory_bytes(state_->options.entries4, state_->options.entries6);
    if (state_->options.path.empty()) {
        state_->map_anonymous();
    } else {
        state_->map_file();
    }
    if (!state_->taken_over) state_->begin();
}

FlowMemory::~FlowMemory() = default;

std::byte* FlowMemory::table4() const {
    return state_->memory + kHeadBytes;
}
std::byte* FlowMemory::table6() const {
    return table4() + table4_bytes(state_->options.entries4);
}
std::uint64_t FlowMemory::seed() const {
    return state_->head().seed;
}
bool FlowMemory::taken_over() const {
    return state_->taken_over;
}
const std::string& FlowMemory::distrust() const {
    return state_->distrust;
}
std::size_t FlowMemory::bytes() const {
    return state_->bytes;
}
std::uint32_t FlowMemory::entries4() const {
    return state_->options.entries4;
}
std::uint32_t FlowMemory::entries6() const {
    return state_->options.entries6;
}

Zone FlowMemory::zone(std::string_view vrf) {
    if (vrf.empty() || vrf.size() >= kNameBytes)
        throw std::runtime_error("a VRF's name is 1 to 63 bytes long");
    auto& zones = state_->head().zones;
    const auto named =
        std::find_if(zones.begin(), zones.end(), [&](const Name& name) { return text_of(name) == vrf; });
    state_->kept.emplace(vrf);
    if (named != zones.end()) return static_cast<Zone>(named - zones.begin());
    const auto free_one = [&] {
        return std::find_if(zones.begin(), zones.end(), [](const Name& name) { return name[0] == 0; });
    };
    auto free = free_one();
    if (free == zones.end()) {
        state_->free_zones();
        free = free_one();
    }
    if (free == zones.end()) {
        throw std::runtime_error("there are more than " + std::to_string(kZonesMost) +
                                 " VRFs that are configured or have flows");
    }
    // A kill in between leaves the place free.
    std::fill(free->begin(), free->end(), '\0');
    std::copy(vrf.begin() + 1, vrf.end(), free->begin() + 1);
    __atomic_store_n(free->data(), vrf[0], __ATOMIC_RELEASE);
    return static_cast<Zone>(free - zones.begin());
}

void FlowMemory::keep_zones(const std::set<std::string, std::less<>>& vrfs) {
    state_->kept = vrfs;
}

/// Of both families. Rare: only when all zones have names.
std::array<bool, kZonesMost> FlowMemory::State::zones_of_flows() const {
    std::array<bool, kZonesMost> used{};
    const auto look = [&]<typename Key>(std::byte* at, std::uint32_t entries, const Key&) {
        const FlowTable<Key> table(at, entries, head().seed, nullptr);
        table.visit(0, table.buckets(), [&](const auto& flow) {
            for (const auto zone : {flow.forward.key.zone, flow.reverse.key.zone}) {
                if (zone < kZonesMost) used[zone] = true;
            }
            return true;
        });
    };
    look(memory + kHeadBytes, options.entries4, FlowKey4{});
    look(memory + kHeadBytes + table4_bytes(options.entries4), options.entries6, FlowKey6{});
    return used;
}

void FlowMemory::State::free_zones() {
    const auto used = zones_of_flows();
    for (std::size_t zone = 0; zone < kZonesMost; ++zone) {
        auto& name = head().zones[zone];
        if (!used[zone] && kept.find(text_of(name)) == kept.end())
            __atomic_store_n(name.data(), '\0', __ATOMIC_RELEASE);
    }
}

}  // namespace viaduct::dataplane
