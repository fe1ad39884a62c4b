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

/// TUN_F_USO4 and TUN_F_USO6, since Linux 6.2.
constexpr unsigned long kUso = 0x20 | 0x40;

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

/// What the kernel says of an interface that is there, before anybody attaches to it: attaching changes some
/// of it.
struct Link {
    unsigned flags = 0;           ///< with the carrier's, which SIOCGIFFLAGS lacks and reports late
    bool viaducts = false;        ///< what a dataplane leaves: a TAP with virtio-net headers that persists
    bool several_queues = false;  ///< it was made multi-queue
};

/// Calls take(type, payload, bytes) for each attribute in `bytes` bytes from `first`.
void for_each_attribute(const rtattr* first, std::size_t bytes, const auto& take) {
    auto left = static_cast<unsigned>(bytes);
    for (auto* one = first; RTA_OK(one, left); one = RTA_NEXT(one, left))
        take(one->rta_type & NLA_TYPE_MASK, RTA_DATA(one), RTA_PAYLOAD(one));
}

void read_tun(const rtattr* first, std::size_t bytes, Link& link) {
    std::array<std::uint8_t, IFLA_TUN_MAX + 1> said{};
    for_each_attribute(first, bytes, [&](int type, const void* payload, std::size_t size) {
        if (type <= IFLA_TUN_MAX && size == 1) said[type] = *static_cast<const std::uint8_t*>(payload);
    });
    link.viaducts =
        said[IFLA_TUN_TYPE] == IFF_TAP && said[IFLA_TUN_VNET_HDR] != 0 && said[IFLA_TUN_PERSIST] != 0;
    link.several_queues = said[IFLA_TUN_MULTI_QUEUE] != 0;
}

std::optional<Link> link_of(int index) {
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
    Link link;
    link.flags = question.link.ifi_flags;
    const auto first = NLMSG_ALIGN(sizeof question);
    bool is_tun = false;
    const auto info = [&](int type, const void* payload, std::size_t bytes) {
        if (type == IFLA_INFO_KIND) is_tun = bytes >= 4 && std::memcmp(payload, "tun", 4) == 0;
        if (type == IFLA_INFO_DATA && is_tun) read_tun(static_cast<const rtattr*>(payload), bytes, link);
    };
    for_each_attribute(reinterpret_cast<const rtattr*>(answer.data() + first),
                       static_cast<std::size_t>(size) - first,
                       [&](int type, const void* payload, std::size_t bytes) {
                           if (type == IFLA_LINKINFO) {
                               for_each_attribute(static_cast<const rtattr*>(payload), bytes, info);
                           }
                       });
    return link;
}

/// Hears of every change of links in the calling thread's namespace.
Descriptor link_socket() {
    Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK;
    if (socket && ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        socket.close();
    return socket;
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
        device_.control = link_socket();
        if (!device_.control) throw Refused("", "no netlink socket in " + where_.words + because());
        auto request = request_for(port_.tap.ifname);
        existed_ = ask(device_.control.get(), SIOCGIFINDEX, request);
        several_ = port_.queues > 1;
        if (existed_) wait_for_owner(request.ifr_ifindex);
    }

    /// A TAP without an owner has no carrier.
    void wait_for_owner(int index) {
        const auto end = std::chrono::steady_clock::now() + kOwnerLeaves;
        for (;;) {
            const auto link = link_of(index).value_or(Link());
            if (!link.viaducts) refuse("already exists and is not a Viaduct tap; name another interface");
            several_ = link.several_queues;
            if ((link.flags & kCarrier) == 0) return;
            if (std::chrono::steady_clock::now() > end) {
                refuse("already exists and is in use; name another interface or remove that one");
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }

    /// One more descriptor of the interface; the first makes it when it is not there. Only a port of several
    /// queues makes it multi-queue: such a TAP has 256 transmit queues in the kernel, and to give each its
    /// qdisc is most of what setting it up, and taking it away, costs. The kernel attaches only with the flag
    /// that it was made with.
    Descriptor attach() const {
        Descriptor queue(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
        if (!queue) throw Refused("", "/dev/net/tun cannot be opened" + because());
        auto request = request_for(port_.tap.ifname);
        request.ifr_flags =
            static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (several_ ? IFF_MULTI_QUEUE : 0));
        if (::ioctl(queue.get(), TUNSETIFF, &request) == 0) return queue;
        if (errno == EBUSY) refuse("is in use by another process");
        refuse("cannot be made" + because());
    }

    void set_up(const Descriptor& queue) {
        constexpr unsigned long kTcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        const int header = kTapHeader;
        if (::ioctl(queue.get(), TUNSETVNETHDRSZ, &header) != 0) refuse("cannot be set up" + because());
        device_.offloads = kOffloadChecksum | kOffloadTso4 | kOffloadTso6;
        if (::ioctl(queue.get(), TUNSETOFFLOAD, kTcp | kUso) == 0) {
            device_.offloads |= kOffloadUso4 | kOffloadUso6;
        } else if (::ioctl(queue.get(), TUNSETOFFLOAD, kTcp) != 0) {
            refuse("cannot be set up" + because());
        }
    }

    void attach_queue(bool first) {
        auto queue = attach();
        if (first && existed_ && port_.queues > 1 && !several_) {
            // It has one queue for good: as with any other change of a port's queues, it is made anew.
            ::ioctl(queue.get(), TUNSETPERSIST, 0);
            queue.close();
            existed_ = false;
            several_ = true;
            queue = attach();
        }
        set_up(queue);
        device_.queues.push_back(std::move(queue));
        if (!first) return;
        auto request = request_for(port_.tap.ifname);
        if (!ask(device_.control.get(), SIOCGIFINDEX, request)) refuse("is gone again" + because());
        device_.index = request.ifr_ifindex;
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
    bool several_ = false;  ///< the interface is multi-queue
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

std::optional<TapPlace> tap_place(const TapDevice& device) {
    const int queue = device.queues.front().get();
    TapPlace place;
    ifreq request{};
    place.handle = Descriptor(::ioctl(queue, TUNGETDEVNETNS));
    struct stat status {};
    if (!place.handle || ::fstat(place.handle.get(), &status) != 0 ||
        ::ioctl(queue, TUNGETIFF, &request) != 0) {
        return std::nullopt;
    }
    place.inode = status.st_ino;
    place.name = request.ifr_name;
    return place;
}

bool follow_tap(TapDevice& device) {
    constexpr int kTries = 100;
    for (int i = 0; i < kTries; ++i) {
        const auto place = tap_place(device);
        if (!place) return false;
        Descriptor socket;
        auto request = request_for(place->name);
        bool found = false;
        std::thread([&] {
            if (::setns(place->handle.get(), CLONE_NEWNET) != 0) return;
            socket = link_socket();
            // Opened first: what changes from here on is told.
            found = socket && ask(socket.get(), SIOCGIFINDEX, request);
        }).join();
        if (!socket) return false;
        // Else it was renamed or moved on meanwhile: whoever moves an interface does both.
        if (!found) continue;
        device.index = request.ifr_ifindex;
        return ::dup3(socket.get(), device.control.get(), O_CLOEXEC) >= 0;
    }
    return false;
}

bool set_tap_mtu(int control, int index, std::uint32_t mtu) {
    auto request = request_for(tap_name(control, index));
    if (!ask(control, SIOCGIFMTU, request)) return false;
    if (request.ifr_mtu == static_cast<int>(mtu)) return true;
    request.ifr_mtu = static_cast<int>(mtu);
    return ask(control, SIOCSIFMTU, request);
}

}  // namespace viaduct::dataplane
