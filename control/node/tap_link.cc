// The old ioctl does all that is needed for one flag.
#include "node/tap_link.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "viaduct/http.h"

#include "node/netns.h"

namespace viaduct::node {

namespace {

/// A socket belongs for ever to the namespace that it was made in.
http::Descriptor socket_in(const model::Tap& tap) {
    const auto make = [] { return http::Descriptor(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); };
    if (tap.netns.empty()) return make();
    const auto ns = Namespace::open(tap.netns);
    if (tap.netns_inode != 0 && tap.netns_inode != ns.inode()) {
        throw Error(tap.netns + " is another namespace than it was when the port was made");
    }
    const Inside inside(ns);
    return make();
}

}  // namespace

void set_link(const model::Port& port) {
    if (port.kind != model::PortKind::tap) return;
    const auto socket = socket_in(port.tap);
    ifreq request{};
    port.tap.ifname.copy(request.ifr_name, IFNAMSIZ - 1);
    bool done = socket.valid() && ::ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0;
    if (done) {
        const auto flags = static_cast<unsigned>(request.ifr_flags);
        const auto wanted = port.up ? flags | IFF_UP : flags & ~static_cast<unsigned>(IFF_UP);
        request.ifr_flags = static_cast<short>(wanted);
        done = ::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0;
    }
    if (!done) {
        throw Error("interface " + port.tap.ifname + (port.tap.netns.empty() ? "" : " in " + port.tap.netns) +
                    " cannot be brought " + (port.up ? "up: " : "down: ") + std::strerror(errno));
    }
}

}  // namespace viaduct::node
