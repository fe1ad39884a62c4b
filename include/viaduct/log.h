// Structured logs for both daemons: spdlog to standard error, one line an event, a level that can be changed
// while the process runs, and no secrets. Under systemd the journal's priority prefix is written.
#pragma once

#include <string>
#include <vector>

namespace viaduct::log {

/// "trace", "debug", "info", "warning", "error", "critical", "off".
const std::vector<std::string>& level_names();
/// Makes the process's logger with `program` as its name. Call once, before threads start.
void start(const std::string& program, const std::string& level);
/// Throws Refused when `level` is not one of level_names(). Any thread.
void set_level(const std::string& level);
std::string level();

}  // namespace viaduct::log
