// The memory that flows live in: a file in hugetlbfs or in memory-backed tmpfs that the next dataplane maps
// again, with a head that says how it is laid out. A head that does not fit, of another version, size or
// build, or one that a machine's reboot left behind, is not believed: the table starts empty and says why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "flow/flow_table.h"

namespace viaduct::dataplane {

struct FlowMemoryOptions {
    std::string path;  ///< of the file; empty: anonymous memory, which nobody takes over (tests, replay)
    std::uint32_t entries4 = 1'000'000;  ///< directions of IPv4 flows that fit
    std::uint32_t entries6 = 250'000;
    bool huge = false;       ///< the path is in hugetlbfs
    std::uint64_t seed = 0;  ///< of the hash; 0: random, or the earlier one's when taken over
};

class FlowMemory {
public:
    /// Maps the file, all of it reserved, so that no later access can fail. Throws std::runtime_error in
    /// words when memory is short; another process that has it mapped is refused by name (flock).
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

    /// The zone of a VRF: the same for a name over restarts, never one number for two names that have flows.
    /// Main thread. Throws std::runtime_error when there are more VRFs than zones (1,024).
    Zone zone(std::string_view vrf);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace viaduct::dataplane
