// What a person names when a container is to get an interface: a network namespace, a process or a container
// of one of the engines that are installed. Found on this side of the API, where the person's paths and
// processes mean what he means; control gets the namespace itself.
#pragma once

#include <string>

#include "viaduct/http.h"

namespace viaduct::cli {

struct Target {
    std::string container;   ///< what its attachments are known by: an id, a namespace's name, "pid-1234"
    std::string label;       ///< its name for people; may be empty
    std::string path;        ///< of the namespace
    http::Descriptor netns;  ///< open
};

/// A path's last part, or all of it where that says nothing ("/proc/12/ns/net").
std::string name_of_path(const std::string& path);
/// Throws Failure, which says where was looked and what would help.
Target find_target(const std::string& word);

}  // namespace viaduct::cli
