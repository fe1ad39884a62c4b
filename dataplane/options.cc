// Each option is read as text and checked here, because Boost's conversion takes "-1" for four thousand
// million.
#include "options.h"

#include <sched.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include <boost/program_options.hpp>

#include "viaduct/fault.h"
#include "viaduct/log.h"
#include "viaduct/model.h"
#include "viaduct/options.h"

namespace viaduct::dataplane {

namespace po = boost::program_options;

namespace {

constexpr const char* kUsage =
    "viaduct-dataplane: carries this node's network on dedicated CPUs; viaduct-control tells it what to do\n"
    "\n"
    "Usage: viaduct-dataplane [OPTION...]\n";

constexpr const char* kExamples =
    "Examples:\n"
    "  viaduct-dataplane                                 one worker, on the last CPU\n"
    "  viaduct-dataplane --lcores 2-5 --memory 1024 --packet-buffers 262144 --poll busy\n"
    "  viaduct-dataplane --config /etc/viaduct/dataplane.json\n"
    "  a file for --config: {\"lcores\": \"2-5\", \"memory\": 1024, \"poll\": \"busy\"}\n"
    "\n"
    "The API is HTTP and JSON on the API socket:\n"
    "  curl --unix-socket /run/viaduct/dataplane.sock http://viaduct/v1/info\n"
    "The same counters by DPDK's own tool:\n"
    "  echo /viaduct/stats | dpdk-telemetry.py -f viaduct\n";

constexpr std::uint64_t kMegabyte = 1U << 20U;
constexpr unsigned kCpuMost = 4096;
/// DPDK's RTE_MAX_LCORE in Debian's build, less the main thread's.
constexpr std::size_t kWorkersMost = 127;
/// A buffer with its mempool header, mbuf, headroom, 2,048 bytes of payload, and its place in the pool's
/// ring.
constexpr std::uint64_t kBufferBytes = 2368 + 16;
/// DPDK lets no buffer cross pages that might not be neighbours, so that each takes a whole small page.
constexpr std::uint64_t kBufferBytesSmallPages = 4096 + 16;
/// What has to be left beside the buffers: rings, ports' queues and what DPDK itself takes.
constexpr std::uint64_t kRestBytes = 32 * kMegabyte;

std::uint32_t number(const po::variables_map& values, const std::string& name, std::uint32_t low,
                     std::uint32_t high) {
    const auto& text = values[name].as<std::string>();
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc{} && end == text.data() + text.size() && value >= low && value <= high)
        return value;
    throw Refused("--" + name, "must be a whole number from " + std::to_string(low) + " to " +
                                   std::to_string(high) + ", not \"" + text + "\"");
}

std::size_t choice(const po::variables_map& values, const std::string& name,
                   const std::vector<std::string>& words) {
    const auto& text = values[name].as<std::string>();
    const auto found = std::find(words.begin(), words.end(), text);
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
    std::string list;
    for (const auto& word : words)
        list += (list.empty() ? "" : ", ") + word;
    throw Refused("--" + name, "is \"" + text + "\"; it must be one of " + list);
}

struct OptionText {
    const char* name;
    const char* standard;
    const char* value;
    const char* help;
};

constexpr std::array<OptionText, 12> kOptions{{
    {"api-socket", "/run/viaduct/dataplane.sock", "PATH",
     "Unix socket of the API, at most 107 bytes; its directory is made with mode 0755"},
    {"lcores", "last", "CPUS",
     "CPUs of the workers, one worker each, such as 1 or 1,3 or 2-5; \"last\" is the last one that the "
     "process may "
     "use. Everything else runs on the other CPUs that the process may use"},
    {"memory", "256", "MB",
     "most memory for packet buffers, taken at the start, and ports, as they come; in MB of 1,048,576 bytes"},
    {"huge", "auto", "WHEN", "huge pages: \"on\", \"off\", or \"auto\": when enough are free for --memory"},
    {"poll", "adaptive", "MODE",
     "\"adaptive\": idle workers sleep; \"busy\": they never do, for the least latency at a whole CPU each"},
    {"flows", "1000000", "N",
     "entries of the IPv4 flow table, two a flow; 149 bytes of memory each, besides --memory"},
    {"flows6", "250000", "N", "entries of the IPv6 flow table, two a flow; 222 bytes of memory each"},
    {"flow-file", "auto", "PATH",
     "where flows are kept for the next dataplane to take over: a file in hugetlbfs or tmpfs. \"auto\": "
     "/dev/hugepages/PREFIX-flows when huge pages are used and there are enough, else /dev/shm/PREFIX-flows; "
     "\"none\": they end with the process"},
    {"packet-buffers", "32768", "N",
     "packet buffers, of 2,048 bytes of payload and 2,384 bytes of memory each; ports reserve theirs from "
     "them"},
    {"log-level", "info", "LEVEL",
     "trace, debug, info, warning, error, critical or off; PUT /v1/log changes it at run time"},
    {"dpdk-log-level", "error", "LEVEL",
     "of DPDK's own messages: emergency, alert, critical, error, warning, notice, info or debug"},
    {"file-prefix", "viaduct", "NAME",
     "tells DPDK processes of one machine apart; dpdk-telemetry.py takes it as -f NAME"},
}};

po::options_description described() {
    po::options_description options("Options", 110, 60);
    for (const auto& option : kOptions) {
        auto* value = po::value<std::string>()->default_value(option.standard)->value_name(option.value);
        options.add_options()(option.name, value, option.help);
    }
    return options;
}

std::vector<unsigned> worker_cpus(const std::string& text, const Machine& machine) {
    const std::string where = "--lcores";
    if (text == "last") return {machine.allowed_cpus.back()};
    auto cpus = parse_cpus(text);
    if (!cpus)
        throw Refused(where, "is \"" + text.substr(0, 64) + "\"; it must be CPUs such as 1 or 1,3 or 2-5");
    if (cpus->size() > kWorkersMost) {
        throw Refused(where, "names " + std::to_string(cpus->size()) + " CPUs; there can be " +
                                 std::to_string(kWorkersMost) + " workers at most");
    }
    const auto has = [](const std::vector<unsigned>& list, unsigned cpu) {
        return std::find(list.begin(), list.end(), cpu) != list.end();
    };
    std::vector<unsigned> seen;
    for (const auto cpu : *cpus) {
        if (!has(machine.online_cpus, cpu)) {
            throw Refused(where, "names CPU " + std::to_string(cpu) + "; this machine has CPUs " +
                                     cpus_text(machine.online_cpus));
        }
        if (!has(machine.allowed_cpus, cpu)) {
            throw Refused(where, "names CPU " + std::to_string(cpu) +
                                     ", which this process may not use; it may use CPUs " +
                                     cpus_text(machine.allowed_cpus) +
                                     " (see taskset, or CPUAffinity= of the systemd unit)");
        }
        if (has(seen, cpu)) throw Refused(where, "names CPU " + std::to_string(cpu) + " twice");
        seen.push_back(cpu);
    }
    return seen;
}

std::uint64_t in_megabytes(std::uint64_t bytes) {
    return (bytes + kMegabyte - 1) / kMegabyte;
}

void check_buffers(const Options& options, bool huge_pages) {
    const auto each = huge_pages ? kBufferBytes : kBufferBytesSmallPages;
    const auto buffers = options.packet_buffers * each;
    if (buffers + kRestBytes <= options.memory_mb * kMegabyte) return;
    auto reason = std::to_string(options.packet_buffers) + " buffers need " +
                  std::to_string(options.packet_buffers) + " x " + std::to_string(each) +
                  (huge_pages ? " bytes" : " bytes (without huge pages)") + " = " +
                  std::to_string(in_megabytes(buffers)) + " MB, and everything else " +
                  std::to_string(kRestBytes / kMegabyte) + " MB: more than the " +
                  std::to_string(options.memory_mb) + " MB of --memory, which ";
    if (options.memory_mb * kMegabyte > kRestBytes) {
        const auto room = (options.memory_mb * kMegabyte - kRestBytes) / each;
        reason += "has room for " + std::to_string(room) + " buffers";
    } else {
        reason += "must be more than " + std::to_string(kRestBytes / kMegabyte);
    }
    throw Refused("--packet-buffers", reason);
}

void spread_cpus(Options& options, const Machine& machine) {
    for (const auto cpu : machine.allowed_cpus) {
        const auto& workers = options.worker_cpus;
        if (std::find(workers.begin(), workers.end(), cpu) == workers.end())
            options.other_cpus.push_back(cpu);
    }
    if (!options.other_cpus.empty()) return;
    options.other_cpus = machine.allowed_cpus;
    options.warnings.push_back("the workers have every CPU that this process may use (" +
                               cpus_text(machine.allowed_cpus) +
                               "), so the API's work delays packets now and then; leave one out of --lcores");
}

}  // namespace

void choose_huge_pages(Options& options, std::uint64_t bytes_free) {
    options.huge_pages = false;
    if (options.huge == HugePages::off) return;
    const auto free_mb = bytes_free / kMegabyte;
    options.huge_pages = free_mb >= options.memory_mb;
    if (options.huge_pages) return;
    const auto missing = "--memory asks for " + std::to_string(options.memory_mb) + " MB and huge pages of " +
                         std::to_string(free_mb) + " MB are free";
    const auto reserve = "reserve them with: echo " + std::to_string((options.memory_mb + 1) / 2) +
                         " > /proc/sys/vm/nr_hugepages (more where others use them too)";
    if (options.huge == HugePages::on) throw Refused("--huge", "is \"on\", but " + missing + "; " + reserve);
    check_buffers(options, false);
    options.warnings.push_back(
        "running without huge pages: each packet buffer takes a page of 4,096 bytes and a TLB entry, "
        "which costs memory and throughput; " +
        missing + "; " + reserve);
}

void choose_flow_file(Options& options, std::uint64_t bytes_free, std::uint64_t flow_bytes,
                      const std::string& huge_directory, const std::string& shared_directory) {
    if (options.flow_file != "auto") return;
    const auto in_huge = huge_directory + "/" + options.file_prefix + "-flows";
    const auto in_shared = shared_directory + "/" + options.file_prefix + "-flows";
    std::error_code error;
    if (std::filesystem::exists(in_huge, error)) {
        options.flow_file = in_huge;
    } else if (std::filesystem::exists(in_shared, error)) {
        options.flow_file = in_shared;
    } else {
        const auto needed = options.memory_mb * kMegabyte + flow_bytes;
        const bool huge = options.huge_pages && bytes_free >= needed &&
                          std::filesystem::is_directory(huge_directory, error);
        options.flow_file = huge ? in_huge : in_shared;
    }
}

std::optional<std::vector<unsigned>> parse_cpus(std::string_view text) {
    std::vector<unsigned> cpus;
    const auto take = [&text]() -> std::optional<unsigned> {
        unsigned value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || value >= kCpuMost) return std::nullopt;
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        return value;
    };
    for (;;) {
        const auto first = take();
        if (!first) return std::nullopt;
        auto last = first;
        if (text.starts_with('-')) {
            text.remove_prefix(1);
            last = take();
            if (!last || *last < *first) return std::nullopt;
        }
        for (auto cpu = *first; cpu <= *last; ++cpu)
            cpus.push_back(cpu);
        if (text.empty()) return cpus;
        if (!text.starts_with(',') || cpus.size() > kCpuMost) return std::nullopt;
        text.remove_prefix(1);
    }
}

std::string cpus_text(const std::vector<unsigned>& cpus) {
    std::string text;
    for (std::size_t i = 0; i < cpus.size(); ++i) {
        std::size_t last = i;
        while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1)
            ++last;
        text += (text.empty() ? "" : ",") + std::to_string(cpus[i]);
        if (last > i) text += "-" + std::to_string(cpus[last]);
        i = last;
    }
    return text;
}

Machine this_machine() {
    Machine machine;
    std::string line;
    std::getline(std::ifstream("/sys/devices/system/cpu/online"), line);
    machine.online_cpus = parse_cpus(line).value_or(std::vector<unsigned>{});
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    ::sched_getaffinity(0, sizeof allowed, &allowed);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &allowed)) machine.allowed_cpus.push_back(cpu);
    }
    if (machine.online_cpus.empty()) machine.online_cpus = machine.allowed_cpus;
    struct sysinfo info {};
    ::sysinfo(&info);
    machine.memory_bytes = static_cast<std::uint64_t>(info.totalram) * info.mem_unit;
    return machine;
}

std::uint64_t huge_bytes_free() {
    std::uint64_t bytes = 0;
    std::error_code error;
    for (const auto& size : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", error)) {
        // hugepages-2048kB
        const auto name = size.path().filename().string();
        const auto kilobytes =
            std::strtoull(name.c_str() + std::min(name.find('-') + 1, name.size()), nullptr, 10);
        std::uint64_t free_pages = 0;
        std::uint64_t promised = 0;
        std::ifstream(size.path() / "free_hugepages") >> free_pages;
        std::ifstream(size.path() / "resv_hugepages") >> promised;
        if (free_pages > promised) bytes += (free_pages - promised) * kilobytes * 1024;
    }
    return bytes;
}

std::optional<Options> read_options(int argc, const char* const* argv, const Machine& machine) {
    po::variables_map values;
    if (!options::read(argc, argv, kUsage, kExamples, described(), values)) return std::nullopt;
    Options options;
    options.api_socket = values["api-socket"].as<std::string>();
    if (options.api_socket.empty() || options.api_socket.size() > model::kSocketPathMost) {
        throw Refused("--api-socket", "must be a path of 1 to " + std::to_string(model::kSocketPathMost) +
                                          " bytes, the longest a Unix socket can have; it has " +
                                          std::to_string(options.api_socket.size()));
    }
    options.worker_cpus = worker_cpus(values["lcores"].as<std::string>(), machine);
    options.memory_mb = number(values, "memory", 1, kMegabyte);
    options.packet_buffers = number(values, "packet-buffers", 1024, 16U << 20U);
    options.flows = number(values, "flows", 1024, 256U << 20U);
    options.flows6 = number(values, "flows6", 1024, 256U << 20U);
    options.flow_file = values["flow-file"].as<std::string>();
    if (options.flow_file.empty()) throw Refused("--flow-file", "must be a path, \"auto\" or \"none\"");
    if (options.flow_file == "none") options.flow_file.clear();
    options.poll = choice(values, "poll", {"adaptive", "busy"}) == 1 ? PollMode::busy : PollMode::adaptive;
    options.log_level = log::level_names()[choice(values, "log-level", log::level_names())];
    const std::vector<std::string> dpdk_levels = {"emergency", "alert",  "critical", "error",
                                                  "warning",   "notice", "info",     "debug"};
    options.dpdk_log_level = dpdk_levels[choice(values, "dpdk-log-level", dpdk_levels)];
    options.file_prefix = values["file-prefix"].as<std::string>();
    if (!model::is_name(options.file_prefix)) {
        throw Refused("--file-prefix",
                      "must be 1 to 63 letters, digits, '_', '.' or '-', not starting with '-' or '.'");
    }
    options.huge = static_cast<HugePages>(choice(values, "huge", {"auto", "on", "off"}));
    if (options.memory_mb > machine.memory_bytes / kMegabyte) {
        throw Refused("--memory", "is " + std::to_string(options.memory_mb) + " MB; this machine has " +
                                      std::to_string(machine.memory_bytes / kMegabyte) + " MB");
    }
    check_buffers(options, options.huge != HugePages::off);
    spread_cpus(options, machine);
    return options;
}

}  // namespace viaduct::dataplane
