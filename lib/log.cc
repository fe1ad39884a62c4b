// spdlog set up once for a daemon.
#include "viaduct/log.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"

namespace viaduct::log {

const std::vector<std::string>& level_names() {
    static const std::vector<std::string> names = {"trace", "debug",    "info", "warning",
                                                   "error", "critical", "off"};
    return names;
}

void start(const std::string& program, const std::string& level) {
    auto logger =
        ::isatty(STDERR_FILENO) != 0 ? spdlog::stderr_color_mt(program) : spdlog::stderr_logger_mt(program);
    // systemd adds time and name of its own.
    const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
    logger->set_pattern(journal ? "%l: %v" : "%Y-%m-%dT%H:%M:%S.%e%z %n %^%l%$: %v");
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
    set_level(level);
}

void set_level(const std::string& level) {
    const auto& names = level_names();
    const auto found = std::find(names.begin(), names.end(), level);
    if (found == names.end()) {
        std::string list;
        for (const auto& name : names)
            list += (list.empty() ? "" : ", ") + name;
        throw Refused("level", "is \"" + level + "\"; it must be one of " + list);
    }
    spdlog::set_level(static_cast<spdlog::level::level_enum>(found - names.begin()));
}

std::string level() {
    return level_names()[static_cast<std::size_t>(spdlog::get_level())];
}

}  // namespace viaduct::log
