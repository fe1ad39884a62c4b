#include "node/netlink.h"

#include <sys/socket.h>
#include <time.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include <libmnl/libmnl.h>
#include <linux/netlink.h>

namespace viaduct::node {

nlmsghdr* Message::start(unsigned short type, unsigned short flags) {
    auto* header = mnl_nlmsg_put_header(bytes.data());
    header->nlmsg_type = type;
    header->nlmsg_flags = static_cast<unsigned short>(NLM_F_REQUEST | NLM_F_ACK | flags);
    return header;
}

nlmsghdr* Message::header() {
    return reinterpret_cast<nlmsghdr*>(bytes.data());
}

void Netlink::Closer::operator()(mnl_socket* socket) const {
    mnl_socket_close(socket);
}

Netlink::Netlink(const Namespace& ns) {
    {
        const Inside inside(ns);
        socket_.reset(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC));
    }
    if (socket_ == nullptr || mnl_socket_bind(socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
        throw Error(std::string("cannot open netlink in the pod's namespace: ") + std::strerror(errno));
    }
    // The kernel answers within the system call; a limit all the same, so that nothing waits for ever.
    const timeval limit{5, 0};
    ::setsockopt(mnl_socket_get_fd(socket_.get()), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

int Netlink::talk(Message& message) {
    return exchange(message, [](const nlmsghdr&) {});
}

int Netlink::get(Message& message, const std::function<void(const nlmsghdr&)>& each) {
    return exchange(message, each);
}

int Netlink::dump(Message& message, const std::function<void(const nlmsghdr&)>& each) {
    message.header()->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    return exchange(message, each);
}

int Netlink::exchange(Message& message, const std::function<void(const nlmsghdr&)>& each) {
    message.header()->nlmsg_seq = ++sequence_;
    if (mnl_socket_sendto(socket_.get(), message.bytes.data(), message.header()->nlmsg_len) < 0) {
        throw Error(std::string("cannot send to netlink: ") + std::strerror(errno));
    }
    std::vector<char> buffer(32768);
    bool interrupted = false;
    for (;;) {
        const auto got = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw Error(std::string("no answer from netlink: ") + std::strerror(errno));
        auto left = static_cast<int>(got);
        for (auto* answer = reinterpret_cast<nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(answer, left);
             answer = mnl_nlmsg_next(answer, &left)) {
            if (answer->nlmsg_seq != sequence_) continue;
            interrupted = interrupted || (answer->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            if (answer->nlmsg_type == NLMSG_DONE) return interrupted ? EINTR : 0;
            if (answer->nlmsg_type == NLMSG_ERROR) {
                return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(answer))->error;
            }
            each(*answer);
        }
    }
}

}  // namespace viaduct::node
