// The kernel has no list of a namespace's members; /proc tells each process's, and the mount table what is
// mounted.
#include "node/occupants.h"

#include <net/if.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace viaduct::node {

namespace {

/// Calls visit(path, inode) with each process's namespace until that says true; whether it did.
template <typename Visit>
bool any_process(const Visit& visit) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
        const auto name = entry.path().filename().string();
        if (!std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
        const auto path = (entry.path() / "ns/net").string();
        struct stat status {};
        // A zombie has left its namespaces: there is nothing to look at.
        if (::stat(path.c_str(), &status) == 0 && visit(path, std::uint64_t{status.st_ino})) return true;
    }
    return false;
}

/// Paths in the mount table have "\040" for a blank, and so on.
std::string unescaped(const std::string& text) {
    std::string path;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto digit = [&](std::size_t at) { return static_cast<unsigned>(text[i + at] - '0'); };
        if (text[i] == '\\' && i + 3 < text.size() && digit(1) < 4 && digit(2) < 8 && digit(3) < 8) {
            path += static_cast<char>(digit(1) << 6U | digit(2) << 3U | digit(3));
            i += 3;
        } else {
            path += text[i];
        }
    }
    return path;
}

bool has_mount(std::uint64_t inode, const std::string& own_mounts) {
    const auto wanted = "net:[" + std::to_string(inode) + "]";
    std::ifstream table("/proc/self/mountinfo");
    for (std::string line; std::getline(table, line);) {
        std::istringstream words(line);
        std::string id;
        std::string parent;
        std::string device;
        std::string root;
        std::string point;
        words >> id >> parent >> device >> root >> point;
        if (root == wanted && !unescaped(point).starts_with(own_mounts)) return true;
    }
    return false;
}

}  // namespace

bool is_occupied(std::uint64_t inode, const std::string& own_mounts) {
    const auto is_there = [&](const std::string&, std::uint64_t there) { return there == inode; };
    return any_process(is_there) || has_mount(inode, own_mounts);
}

std::vector<Namespace> namespaces_of_processes() {
    std::vector<Namespace> found;
    std::set<std::uint64_t> seen;
    any_process([&](const std::string& path, std::uint64_t inode) {
        if (!seen.insert(inode).second) return false;
        try {
            found.push_back(Namespace::open(path));
        } catch (const Error&) {
            seen.erase(inode);  // that process has just ended; another may be there
        }
        return false;
    });
    return found;
}

bool leads_to(const std::string& path, std::uint64_t inode) {
    struct stat status {};
    return !path.empty() && path[0] == '/' && ::stat(path.c_str(), &status) == 0 && status.st_ino == inode;
}

std::string free_interface_name(const Namespace& ns) {
    const Inside inside(ns);
    for (unsigned number = 0;; ++number) {
        auto name = "eth" + std::to_string(number);
        if (::if_nametoindex(name.c_str()) == 0) return name;
    }
}

}  // namespace viaduct::node
