// Network namespaces of pods: held open, entered for a moment, and found again by a path after a restart.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "viaduct/http.h"

namespace viaduct::node {

/// The kernel refused something in a pod's namespace; one sentence with the object's name.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// An open network namespace. Movable; one thread at a time.
class Namespace {
public:
    /// Throws Error when the path cannot be opened or is something else than a network namespace.
    static Namespace open(const std::string& path);
    /// As open(), of a descriptor that somebody passed.
    static Namespace adopt(http::Descriptor descriptor);
    /// The calling thread's own.
    static Namespace own();

    [[nodiscard]] int fd() const { return descriptor_.get(); }
    [[nodiscard]] std::uint64_t inode() const { return inode_; }

private:
    Namespace(http::Descriptor descriptor, const std::string& name);

    http::Descriptor descriptor_;
    std::uint64_t inode_ = 0;
};

/// While it lives, the calling thread is in that namespace. Ends the process when the way back is barred: a
/// thread of control that stayed in a pod's namespace would do to the pod what is meant for the node.
class Inside {
public:
    explicit Inside(const Namespace& there);  ///< throws Error
    ~Inside();
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

private:
    Namespace back_;
};

/// A path that anybody on this node can open and that leads to `ns`: `told`, when it does so, or else a bind
/// mount `directory`/`name` that is made here (of "/proc/self/ns/net" everybody else would open his own).
/// Throws Error.
std::string lasting_path(const Namespace& ns, const std::string& told, const std::string& directory,
                         const std::string& name);
/// Takes such a bind mount away; leaves other paths alone.
void release_path(const std::string& path, const std::string& directory);

}  // namespace viaduct::node
