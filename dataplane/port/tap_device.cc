// A TAP belongs to the namespace of the thread that opens /dev/net/tun, so a short-lived thread enters the
// namespace and leaves with descriptors; everything later goes by those, whatever becomes of the namespace's
// path.
#include "port/tap_device.h"

#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <optional>
#include <thread>

#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "viaduct/fault.h"

namespace viaduct::dataplane {
namespace {

/// How long an interface that still has an owner may take to lose it: a killed dataplane is being taken
/// apart.
constexpr auto kOwnerLeaves = std::chrono::milliseconds(500);
constexpr unsigned kCarrier = 1U << 16;  // IFF_LOWER_UP of <linux/if.h>, which does not go with <net/if.h>

std::string because(int error = errno) {
    return std::string(": ") + std::strerror(error);
}

ifreq request_for(const std::string& name) {
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    return request;
}

/// SIOC... requests work on any kind of socket, and on the namespace in which it was opened.
bool ask(int socket, unsigned long what, ifreq& request) {
    return ::ioctl(socket, what, &request) == 0;
}

/// Flags as the kernel has them now, and the carrier's, which SIOCGIFFLAGS lacks and reports late.
std::optional<unsigned> link_flags(int index) {
    const Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    struct {
        nlmsghdr header;
        ifinfomsg link;
    } question{};
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = RTM_GETLINK;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.link.ifi_index = index;
    if (!socket || ::send(socket.get(), &question, sizeof question, 0) < 0) return std::nullopt;
    alignas(nlmsghdr) std::array<char, 32768> answer{};
    const auto size = ::recv(socket.get(), answer.data(), answer.size(), 0);
    if (size < static_cast<ssize_t>(sizeof question)) return std::nullopt;
    std::memcpy(&question, answer.data(), sizeof question);
    if (question.header.nlmsg_type != RTM_NEWLINK) return std::nullopt;
    return question.link.ifi_flags;
}

/// The work of the thread inside the namespace.
class Maker {
public:
    Maker(const model::Port& port, const NetworkNamespace& where) : port_(port), where_(where) {}

    TapDevice make() {
        enter();
        open_control();
        for (std::uint16_t i = 0; i < port_.queues; ++i)
            attach_queue(i == 0);
        try {
            set_address();
            if (!set_tap_mtu(device_.control.get(), device_.index, port_.mtu)) {
                refuse("cannot be given an MTU of " + std::to_string(port_.mtu) + because());
            }
            if (::ioctl(device_.queues.front().get(), TUNSETPERSIST, 1) != 0)
                refuse("cannot be kept" + because());
        } catch (...) {
            if (!existed_) forget_tap(device_);
            throw;
        }
        return std::move(device_);
    }

private:
    [[noreturn]] void refuse(const std::string& reason) const {
        throw Refused("ifname", port_.tap.ifname + " in " + where_.words + " " + reason);
    }

    void enter() const {
        if (where_.handle && ::setns(where_.handle.get(), CLONE_NEWNET) != 0) {
            throw Refused("netns", where_.words + " cannot be entered" + because());
        }
    }

    void open_control() {
        device_.control =
            Descriptor(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
        sockaddr_nl address{};
        address.nl_family = AF_NETLINK;
        address.nl_groups = RTMGRP_LINK;
        if (!device_.control ||
            ::bind(device_.control.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            throw Refused("", "no netlink socket in " + where_.words + because());
        }
        auto request = request_for(port_.tap.ifname);
        existed_ = ask(device_.control.get(), SIOCGIFINDEX, request);
        if (existed_) wait_for_owner(request.ifr_ifindex);
    }

    /// A TAP without an owner has no carrier.
    void wait_for_owner(int index) const {
        const auto end = std::chrono::steady_clock::now() + kOwnerLeaves;
        while ((link_flags(index).value_or(0) & kCarrier) != 0) {
            if (std::chrono::steady_clock::now() > end) {
                refuse("already exists and is in use; name another interface or remove that one");
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }

    void attach_queue(bool first) {
        Descriptor queue(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
        if (!queue) throw Refused("", "/dev/net/tun cannot be opened" + because());
        auto request = request_for(port_.tap.ifname);
        // Always multi-queue: the kernel attaches only with the flag that the interface was made with, and a
        // port may come back with another number of queues.
        request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
        if (::ioctl(queue.get(), TUNSETIFF, &request) != 0) {
            const int error = errno;
            if (existed_ && error == EINVAL)
                refuse("already exists and is not a Viaduct tap; name another interface");
            if (error == EBUSY) refuse("is in use by another process");
            refuse("cannot be made" + because(error));
        }
        if (first && existed_) check_kept(queue);
        const int header = kTapHeader;
        if (::ioctl(queue.get(), TUNSETVNETHDRSZ, &header) != 0 ||
            ::ioctl(queue.get(), TUNSETOFFLOAD, 0UL) != 0) {
            refuse("cannot be set up" + because());
        }
        device_.queues.push_back(std::move(queue));
        if (!first) return;
        request = request_for(port_.tap.ifname);
        if (!ask(device_.control.get(), SIOCGIFINDEX, request)) refuse("is gone again" + because());
        device_.index = request.ifr_ifindex;
    }

    /// What a dataplane left persists; anything else is some process's own.
    void check_kept(const Descriptor& queue) const {
        ifreq request{};
        if (::ioctl(queue.get(), TUNGETIFF, &request) != 0 || (request.ifr_flags & IFF_PERSIST) == 0) {
            refuse("already exists and is not a Viaduct tap; name another interface");
        }
    }

    void set_address() const {
        if (!port_.mac) return;
        auto request = request_for(port_.tap.ifname);
        if (!ask(device_.control.get(), SIOCGIFHWADDR, request)) refuse("has no address" + because());
        auto* bytes = reinterpret_cast<std::uint8_t*>(request.ifr_hwaddr.sa_data);
        if (std::equal(port_.mac->bytes.begin(), port_.mac->bytes.end(), bytes)) return;
        request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        std::copy(port_.mac->bytes.begin(), port_.mac->bytes.end(), bytes);
        if (!ask(device_.control.get(), SIOCSIFHWADDR, request)) {
            refuse("cannot be given the address " + port_.mac->to_string() + because());
        }
    }

    const model::Port& port_;
    const NetworkNamespace& where_;
    TapDevice device_;
    bool existed_ = false;
};

}  // namespace

NetworkNamespace open_namespace(const model::Tap& tap) {
    NetworkNamespace where;
    const std::string path = tap.netns.empty() ? "/proc/self/ns/net" : tap.netns;
    where.words = tap.netns.empty() ? "the dataplane's own namespace" : "namespace " + tap.netns;
    // Nonblocking: the path may be anything, also a FIFO that nobody writes.
    Descriptor handle(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!handle || ::fstat(handle.get(), &status) != 0) {
        throw Refused("netns", where.words + " cannot be opened" + because());
    }
    where.inode = status.st_ino;
    if (tap.netns_inode != 0 && tap.netns_inode != where.inode) {
        throw Refused("netns", where.words + " is another one than was meant: its inode is " +
                                   std::to_string(where.inode) + ", not " + std::to_string(tap.netns_inode));
    }
    if (!tap.netns.empty()) where.handle = std::move(handle);
    return where;
}

TapDevice attach_tap(const model::Port& port, const NetworkNamespace& where) {
    TapDevice device;
    std::exception_ptr failure;
    std::thread([&] {
        try {
            device = Maker(port, where).make();
        } catch (...) {
            failure = std::current_exception();
        }
    }).join();
    if (failure) std::rethrow_exception(failure);
    return device;
}

void forget_tap(const TapDevice& device) {
    if (!device.queues.empty()) ::ioctl(device.queues.front().get(), TUNSETPERSIST, 0);
}

std::string tap_name(int control, int index) {
    ifreq request{};
    request.ifr_ifindex = index;
    return ask(control, SIOCGIFNAME, request) ? std::string(request.ifr_name) : std::string();
}

TapState tap_state(int control, int index) {
    const auto name = tap_name(control, index);
    auto request = request_for(name);
    if (name.empty() || !ask(control, SIOCGIFFLAGS, request)) return TapState::gone;
    return (request.ifr_flags & IFF_UP) != 0 ? TapState::up : TapState::down;
}

bool set_tap_mtu(int control, int index, std::uint32_t mtu) {
    auto request = request_for(tap_name(control, index));
    if (!ask(control, SIOCGIFMTU, request)) return false;
    if (request.ifr_mtu == static_cast<int>(mtu)) return true;
    request.ifr_mtu = static_cast<int>(mtu);
    return ask(control, SIOCSIFMTU, request);
}

}  // namespace viaduct::dataplane
