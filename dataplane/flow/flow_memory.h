// The memory that flows live in: a file in hugetlbfs or in memory-backed tmpfs that the next dataplane maps
// again, with a head that says how it is laid out. A head that does not fit, of another version, size or
// build, or one that a machine's reboot left behind, is not believed: the table starts empty and says why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "flow/flow_table.h"

namespace viaduct::dataplane {

struct FlowMemoryOptions {
    /// Of the file, in hugetlbfs or tmpfs; empty: anonymous memory, which nobody takes over (tests, replay).
    std::string path;
    std::uint32_t entries4 = 1'000'000;  ///< directions of IPv4 flows that fit
    std::uint32_t entries6 = 250'000;
    bool huge = false;       ///< anonymous memory: in huge pages if there are any
    std::uint64_t seed = 0;  ///< of the hash; 0: random, or the earlier one's when taken over
};

/// Bytes of memory for tables of these sizes, the head included.
std::size_t flow_memory_bytes(std::uint32_t entries4, std::uint32_t entries6);

class FlowMemory {
public:
    /// Maps the file, all of it reserved, so that no later access can fail. Throws std::runtime_error in
    /// words: memory is short, another process has it (flock; one that is just ending is given two seconds),
    /// the path is not in memory.
    explicit FlowMemory(FlowMemoryOptions options);
    ~FlowMemory();  ///< the file stays
    FlowMemory(const FlowMemory&) = delete;
    FlowMemory& operator=(const FlowMemory&) = delete;

    [[nodiscard]] std::byte* table4() const;
    [[nodiscard]] std::byte* table6() const;
    [[nodiscard]] std::uint64_t seed() const;
    /// An earlier process's tables are here and look sound.
    [[nodiscard]] bool taken_over() const;
    /// Why not, in words, when a file was there that could not be believed.
    [[nodiscard]] const std::string& distrust() const;
    [[nodiscard]] std::size_t bytes() const;
    [[nodiscard]] std::uint32_t entries4() const;
    [[nodiscard]] std::uint32_t entries6() const;

    /// The zone of a VRF: the same for a name over restarts, never one number for two names that have flows.
    /// Main thread. Throws std::runtime_error when there are more VRFs than zones (1,024).
    Zone zone(std::string_view vrf);
    /// Names that are not among these may lose their zones, once they have no flows and zones run short.
    void keep_zones(const std::set<std::string, std::less<>>& vrfs);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace viaduct::dataplane
