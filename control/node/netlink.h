// One rtnetlink socket (RFC 3549, rtnetlink(7)) in one namespace: requests that are acknowledged, and dumps.
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "node/netns.h"

struct mnl_socket;
struct nlmsghdr;

namespace viaduct::node {

/// One request being built: header, one fixed structure, attributes. The kernel's sizes are small.
struct Message {
    alignas(8) std::array<char, 1024> bytes{};
    /// A new message; NLM_F_REQUEST and NLM_F_ACK are added.
    nlmsghdr* start(unsigned short type, unsigned short flags);
    nlmsghdr* header();
};

class Netlink {
public:
    explicit Netlink(const Namespace& ns);  ///< throws Error
    /// Sends and waits for the acknowledgement: 0, or the kernel's errno. Throws Error when the socket itself
    /// fails.
    int talk(Message& message);
    /// Sends a dump request (NLM_F_DUMP is added) and gives each answer to `each`. Returns as talk();
    /// EINTR when objects came or went meanwhile, so that some may be missing or told twice.
    int dump(Message& message, const std::function<void(const nlmsghdr&)>& each);
    /// Sends a request that is answered by one object. Returns as talk().
    int get(Message& message, const std::function<void(const nlmsghdr&)>& each);

private:
    int exchange(Message& message, const std::function<void(const nlmsghdr&)>& each);

    struct Closer {
        void operator()(mnl_socket* socket) const;
    };
    std::unique_ptr<mnl_socket, Closer> socket_;
    unsigned sequence_ = 0;
};

}  // namespace viaduct::node
