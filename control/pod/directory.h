// What a vhost-user pod finds on the file system: a directory for its socket with a description of its
// interface, and the device information that Kubernetes' Network Plumbing Working Group defines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "pod/record.h"

namespace viaduct::pod {

/// Numbers of a user or group given by name or number; throws Refused when there is none.
std::uint32_t user_id(const std::string& text);
std::uint32_t group_id(const std::string& text);

/// Makes record.directory with interface.json in it; what is left of an earlier attempt goes first. The
/// directory is what a pod mounts: a socket that is mounted by itself is lost when its maker restarts. Throws
/// Failure.
void make_directory(const Record& record);
/// Writes request.device_info_file (NPWG device information 1.1.0), with its directory. Throws Failure.
void write_device_info(const Record& record);
/// Both go; nothing there is fine. What cannot be removed is logged.
void remove_files(const Record& record);

}  // namespace viaduct::pod
