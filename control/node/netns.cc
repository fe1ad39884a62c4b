#include "node/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>

namespace viaduct::node {

namespace {

constexpr long kNsfs = 0x6e736673;  // NSFS_MAGIC of linux/magic.h, which glibc's vfs.h does not name

std::string because(const std::string& what) {
    return what + ": " + std::strerror(errno);
}

}  // namespace

Namespace::Namespace(http::Descriptor descriptor, const std::string& name)
    : descriptor_(std::move(descriptor)) {
    struct statfs filesystem {};
    struct stat status {};
    if (::fstatfs(descriptor_.get(), &filesystem) != 0 || ::fstat(descriptor_.get(), &status) != 0) {
        throw Error(because("cannot look at " + name));
    }
    if (filesystem.f_type != kNsfs) throw Error(name + " is not a network namespace");
    inode_ = status.st_ino;
}

Namespace Namespace::open(const std::string& path) {
    // O_NONBLOCK: somebody may name a pipe.
    http::Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!descriptor.valid()) throw Error(because("cannot open the network namespace " + path));
    return {std::move(descriptor), path};
}

Namespace Namespace::adopt(http::Descriptor descriptor) {
    return {std::move(descriptor), "the descriptor that came with the request"};
}

Namespace Namespace::own() {
    return open("/proc/thread-self/ns/net");
}

Inside::Inside(const Namespace& there) : back_(Namespace::own()) {
    if (::setns(there.fd(), CLONE_NEWNET) != 0)
        throw Error(because("cannot enter the pod's network namespace"));
}

Inside::~Inside() {
    if (::setns(back_.fd(), CLONE_NEWNET) == 0) return;
    std::cerr << "cannot leave a pod's network namespace: " << std::strerror(errno) << std::endl;
    std::abort();
}

bool leads_to(const std::string& path, const Namespace& ns) {
    if (path.empty() || path[0] != '/') return false;
    try {
        return Namespace::open(path).inode() == ns.inode();
    } catch (const Error&) {
        return false;
    }
}

void bind_path(const Namespace& ns, const std::string& path) {
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    release_path(path);  // of an attachment that was half made
    const http::Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid()) throw Error(because("cannot make " + path + " to keep the pod's namespace by"));
    const auto from = "/proc/thread-self/fd/" + std::to_string(ns.fd());
    if (::mount(from.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
        const auto why = because("cannot mount the pod's namespace on " + path);
        ::unlink(path.c_str());
        throw Error(why);
    }
}

void release_path(const std::string& path) {
    ::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    ::unlink(path.c_str());
}

}  // namespace viaduct::node
