// What the dataplane is told when it starts: read from the command line and a JSON file, and checked against
// the machine before anything is touched.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane.h"

namespace viaduct::dataplane {

/// What options are checked against. Tests make their own.
struct Machine {
    std::vector<unsigned> online_cpus;   ///< sorted
    std::vector<unsigned> allowed_cpus;  ///< those that this process may run on, sorted
    std::uint64_t memory_bytes = 0;
};

/// Call before EAL narrows the affinity of the calling thread.
Machine this_machine();
/// Bytes of huge pages of all sizes that nobody has or was promised.
std::uint64_t huge_bytes_free();

enum class HugePages : std::uint8_t { automatic, on, off };

struct Options {
    std::string api_socket;
    std::vector<unsigned> worker_cpus;  ///< one worker each, in this order; never empty
    std::vector<unsigned>
        other_cpus;  ///< for everything else: the allowed CPUs without workers, or all of them
    std::uint32_t memory_mb = 0;
    HugePages huge = HugePages::automatic;
    bool huge_pages = false;  ///< what choose_huge_pages() made of it
    PollMode poll = PollMode::adaptive;
    std::uint32_t flows = 0;   ///< entries of the IPv4 flow table, two a flow
    std::uint32_t flows6 = 0;  ///< and of the IPv6 one
    std::string flow_file;     ///< "auto" until choose_flow_file(); then a path, or empty for none
    std::uint32_t packet_buffers = 0;
    std::string log_level;
    std::string dpdk_log_level;
    std::string file_prefix;
    std::vector<std::string> warnings;  ///< one sentence each, to be logged
};

/// Nothing when help or the version was printed. Throws Refused, which names the option.
std::optional<Options> read_options(int argc, const char* const* argv, const Machine& machine);

/// Decides on huge pages, with a warning when there are too few; throws Refused when they are asked for by
/// --huge on. Apart from read_options(), because a dataplane that is just ending may still have the pages.
void choose_huge_pages(Options& options, std::uint64_t bytes_free);

/// Makes a path of --flow-file auto: the file that an earlier process of this prefix left, else one in huge
/// pages when `bytes_free` of them are enough for --memory and `flow_bytes` too, else one in /dev/shm.
void choose_flow_file(Options& options, std::uint64_t bytes_free, std::uint64_t flow_bytes,
                      const std::string& huge_directory = "/dev/hugepages",
                      const std::string& shared_directory = "/dev/shm");

/// "1", "1,3", "2-5,8" to CPU numbers in the order written; nothing when it is anything else or names over
/// 4096.
std::optional<std::vector<unsigned>> parse_cpus(std::string_view text);
/// Sorted numbers as ranges: "0,2-5".
std::string cpus_text(const std::vector<unsigned>& cpus);

}  // namespace viaduct::dataplane
