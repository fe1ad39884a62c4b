#include "netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include <linux/nsfs.h>

#include "error.h"

namespace viaduct::cni {

http::Descriptor open_netns(const Environment& environment) {
    const auto refuse = [&](const std::string& why) {
        throw Error(attachment::kInvalidEnvironment, "CNI_NETNS is \"" + environment.netns + "\", " + why);
    };
    // Not blocking: it may be a pipe.
    http::Descriptor netns(::open(environment.netns.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!netns.valid()) refuse(std::string("which cannot be opened: ") + std::strerror(errno));
    if (::ioctl(netns.get(), NS_GET_NSTYPE) != CLONE_NEWNET) refuse("which is not a network namespace");
    struct stat theirs {};
    struct stat ours {};
    const bool same = ::fstat(netns.get(), &theirs) == 0 && ::stat("/proc/self/ns/net", &ours) == 0 &&
                      theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
    if (same && !environment.netns_override)
        refuse("which is the plugin's own network namespace, not a pod's");
    return netns;
}

http::Descriptor open_netns_if_there(const Environment& environment) {
    if (environment.netns.empty()) return http::Descriptor();
    try {
        return open_netns(environment);
    } catch (const Error&) {
        return http::Descriptor();
    }
}

}  // namespace viaduct::cni
