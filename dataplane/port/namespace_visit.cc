#include "port/namespace_visit.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include <spdlog/spdlog.h>

namespace viaduct::dataplane {

NamespaceVisit::NamespaceVisit(const Descriptor& there) {
    if (!there) return;
    back_ = Descriptor(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!back_ || ::setns(there.get(), CLONE_NEWNET) != 0) {
        back_.close();
        throw std::runtime_error(std::string("its namespace cannot be entered: ") + std::strerror(errno));
    }
}

NamespaceVisit::~NamespaceVisit() {
    if (back_ && ::setns(back_.get(), CLONE_NEWNET) != 0) {
        spdlog::critical("there is no way back from an uplink's namespace: {}", std::strerror(errno));
        std::abort();
    }
}

}  // namespace viaduct::dataplane
