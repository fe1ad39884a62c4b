// Directories are shared with pods, which may rename or replace what lies there at any moment: everything is
// done by descriptors, never twice by name.
#include "port/socket_file.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "viaduct/fault.h"

namespace viaduct::dataplane {
namespace {

constexpr mode_t kDefaultMode = 0660;
constexpr timeval kLongestWait{0, 200'000};  // peers send a message in one piece

std::string because() {
    return std::string(": ") + std::strerror(errno);
}

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

/// 0 when somebody accepts there, otherwise the error.
int try_connect(const std::string& path) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return errno;
    const auto address = address_of(path);
    const int error =
        ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
    ::close(fd);
    return error;
}

void remove_stale(const std::string& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return;
        throw Refused("path", "\"" + path + "\" cannot be looked at" + because());
    }
    if (!S_ISSOCK(status.st_mode)) {
        throw Refused("path", "\"" + path + "\" exists and is no socket; name a path that is free");
    }
    if (try_connect(path) != ECONNREFUSED) {
        throw Refused("path", "another process listens on \"" + path + "\"; stop it or name another path");
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        throw Refused("path", "the stale socket \"" + path + "\" cannot be removed" + because());
    }
}

/// Gives the socket at `path` to its owner. Follows no symbolic link and touches nothing but a socket.
void give_away(const model::VhostUser& socket) {
    const int fd = ::open(socket.path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat status {};
    if (fd < 0 || ::fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        if (fd >= 0) ::close(fd);
        throw Refused("path", "\"" + socket.path + "\" was replaced while it was made");
    }
    const auto owner = socket.owner.value_or(static_cast<uid_t>(-1));
    const auto group = socket.group.value_or(static_cast<gid_t>(-1));
    const std::string name = "/proc/self/fd/" + std::to_string(fd);
    const bool done = ::fchownat(fd, "", owner, group, AT_EMPTY_PATH) == 0 &&
                      ::chmod(name.c_str(), static_cast<mode_t>(socket.mode.value_or(kDefaultMode))) == 0;
    const std::string reason = done ? "" : because();
    ::close(fd);
    if (!done) throw Refused("path", "\"" + socket.path + "\" cannot be given its owner and mode" + reason);
}

bool is_ours(int fd, const std::string& path) {
    sockaddr_un peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sun_family != AF_UNIX)
        return false;
    peer.sun_path[sizeof peer.sun_path - 1] = '\0';
    if (path == peer.sun_path) return true;
    sockaddr_un self{};
    size = sizeof self;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&self), &size) != 0) return false;
    self.sun_path[sizeof self.sun_path - 1] = '\0';
    return path == self.sun_path;
}

}  // namespace

void prepare_socket(const model::VhostUser& socket) {
    const auto directory = std::filesystem::path(socket.path).parent_path();
    struct stat status {};
    if (::stat(directory.c_str(), &status) != 0) {
        throw Refused("path", "the socket's directory \"" + directory.string() + "\" cannot be used" +
                                  because() + "; make it first");
    }
    if (!S_ISDIR(status.st_mode)) {
        throw Refused("path", "\"" + directory.string() + "\" is no directory");
    }
    if (socket.server) remove_stale(socket.path);
}

int bind_socket(const model::VhostUser& socket, const std::function<int()>& bind) {
    int result = -1;
    // umask belongs to the whole process unless a thread leaves the others' file-system attributes.
    std::thread([&] {
        if (::unshare(CLONE_FS) != 0) return;
        ::umask(0177);
        result = bind();
    }).join();
    if (result == 0) give_away(socket);
    return result;
}

Descriptor bound_waits(const std::string& path) {
    // Descriptors are numbered from the lowest free one, so a young connection lies just below the next.
    const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (next < 0) return {};
    ::close(next);
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    int found = -1;
    for (int fd = next - 1; fd > 2 && found < 0; --fd) {
        if (is_ours(fd, path)) found = fd;
    }
    for (int fd = next + 1; fd < static_cast<int>(limit.rlim_cur) && found < 0; ++fd) {
        if (is_ours(fd, path)) found = fd;
    }
    if (found < 0 || ::setsockopt(found, SOL_SOCKET, SO_RCVTIMEO, &kLongestWait, sizeof kLongestWait) != 0 ||
        ::setsockopt(found, SOL_SOCKET, SO_SNDTIMEO, &kLongestWait, sizeof kLongestWait) != 0) {
        return {};
    }
    return Descriptor(::fcntl(found, F_DUPFD_CLOEXEC, 0));
}

}  // namespace viaduct::dataplane
