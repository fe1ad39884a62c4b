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

/// Whether anybody on this node who opens `path` gets `ns` ("/proc/self/ns/net" gives everybody his own).
bool leads_to(const std::string& path, const Namespace& ns);
/// Mounts `ns` on the file `path`, which is made with its directory. Throws Error.
void bind_path(const Namespace& ns, const std::string& path);
/// Takes such a mount and its file away; nothing there is fine.
void release_path(const std::string& path);

}  // namespace viaduct::node
