// EAL's arguments are chosen so that kill -9 leaves nothing that a restart would have to clean up or could
// trip over: no files of memory or configuration, no socket for secondary processes (only the telemetry
// socket, which the next process replaces). Starting takes 0.2 s with 256 MB, half of it DPDK's measurement
// of the TSC.
#include "eal.h"

#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string_view>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <spdlog/spdlog.h>

namespace viaduct::dataplane {

namespace {

spdlog::level::level_enum level_of(int dpdk_level) {
    if (dpdk_level <= 0) return spdlog::level::info;
    if (static_cast<unsigned>(dpdk_level) <= RTE_LOG_CRIT) return spdlog::level::critical;
    if (static_cast<unsigned>(dpdk_level) <= RTE_LOG_ERR) return spdlog::level::err;
    if (static_cast<unsigned>(dpdk_level) <= RTE_LOG_WARNING) return spdlog::level::warn;
    // The choice among DPDK's messages is --dpdk-log-level; those that it lets through are not hidden again.
    return spdlog::level::info;
}

/// DPDK's messages become lines of our log. Called by any of its threads, with whole messages.
ssize_t write_message(void* /*cookie*/, const char* data, std::size_t size) {
    const auto level = level_of(rte_log_cur_msg_loglevel());
    std::string_view text(data, size);
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        if (end > 0) spdlog::log(level, "dpdk: {}", text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return static_cast<ssize_t>(size);
}

void log_through_us() {
    cookie_io_functions_t functions{};
    functions.write = write_message;
    std::FILE* stream = ::fopencookie(nullptr, "w", functions);
    if (stream != nullptr) rte_openlog_stream(stream);
}

}  // namespace

std::vector<std::string> eal_arguments(const Options& options) {
    std::string lcores = "0@(" + cpus_text(options.other_cpus) + ")";
    for (std::size_t i = 0; i < options.worker_cpus.size(); ++i) {
        lcores += "," + std::to_string(i + 1) + "@" + std::to_string(options.worker_cpus[i]);
    }
    std::vector<std::string> arguments = {
        "viaduct-dataplane",  "--iova-mode=va", "--file-prefix=" + options.file_prefix,
        "--lcores=" + lcores, "--main-lcore=0", "--log-level=*:" + options.dpdk_log_level,
    };
    if (std::filesystem::exists("/sys/bus/pci/devices")) {
        // A PCI device is taken when a port names it and not because it is there: a list of what may be taken
        // at the start that holds nobody's address.
        arguments.emplace_back("--allow=ffff:ff:1f.7");
    } else {
        arguments.emplace_back("--no-pci");
    }
    const auto memory = std::to_string(options.memory_mb);
    if (options.huge_pages) {
        arguments.emplace_back("--in-memory");
        // A limit rather than -m: pages are cleared when they are needed, not all of them while pods wait for
        // a restart. It counts for the first NUMA node; others grow as they must.
        arguments.emplace_back("--socket-limit=" + memory);
    } else {
        // A size, because without huge pages memory cannot grow; untouched pages cost nothing.
        arguments.emplace_back("-m");
        arguments.emplace_back(memory);
        // EAL refuses --in-memory beside --no-huge; this keeps as few files.
        arguments.emplace_back("--no-huge");
        arguments.emplace_back("--no-shconf");
    }
    return arguments;
}

Eal::Eal(const Options& options) {
    log_through_us();
    auto arguments = eal_arguments(options);
    std::vector<char*> pointers;
    pointers.reserve(arguments.size());
    for (auto& argument : arguments)
        pointers.push_back(argument.data());
    if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0) {
        throw std::runtime_error(std::string("DPDK cannot start: ") + rte_strerror(rte_errno) +
                                 "; --dpdk-log-level info says more" +
                                 (options.huge_pages ? ", and --huge off does without huge pages" : ""));
    }
    for (unsigned i = 0; i < options.worker_cpus.size(); ++i)
        worker_lcores_.push_back(i + 1);
}

Eal::~Eal() {
    rte_eal_cleanup();
}

}  // namespace viaduct::dataplane
