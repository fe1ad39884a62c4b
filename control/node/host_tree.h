// The kernel's own account of the node's devices, as files, and what may be done to them there. Tests have a
// tree of their own and stand for the kernel.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace viaduct::node {

struct HostTree {
    std::filesystem::path sys = "/sys";
    std::filesystem::path proc = "/proc";
    /// Writes a word to a file of the kernel's, which acts on it. Throws Error with the kernel's reason.
    std::function<void(const std::filesystem::path& file, const std::string& word)> write;
    /// The interfaces of this process's network namespace, and whether each is up. The tree's own list may be
    /// of another: it is of whoever mounted it.
    std::function<std::map<std::string, bool>()> interfaces;
    /// An interface's addresses with their lengths ("192.0.2.1/24"), but link-local ones of IPv6.
    std::function<std::vector<std::string>(const std::string& interface)> addresses;
    /// Has the kernel load a module; whether it is there then is to be looked for.
    std::function<void(const std::string& module)> load_module;
};

/// This node's.
HostTree host_tree();

/// The first line of a file; empty when it cannot be read.
std::string line_of(const std::filesystem::path& file);
/// The last part of what a link points at; empty when it is none.
std::string target_name(const std::filesystem::path& link);
/// Names in a directory, sorted; none when it cannot be read.
std::vector<std::string> names_in(const std::filesystem::path& directory);

/// Why the host would miss an interface: "has 192.0.2.1/24", "carries a default route"; none: it would not.
std::vector<std::string> uses_of(const HostTree& tree, const std::string& interface);

}  // namespace viaduct::node
