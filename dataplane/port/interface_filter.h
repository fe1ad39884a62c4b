// What a kernel interface takes besides its own address, by the memberships of a packet socket (packet(7)): a
// device that can filter is given the addresses, one that cannot is made promiscuous by the kernel. They end
// with the socket, so with the process, too.
#pragma once

#include "viaduct/address.h"

#include "port/descriptor.h"

namespace viaduct::dataplane {

class InterfaceFilter {
public:
    /// Has it take all groups. `interface`: its index in the calling thread's namespace. Throws
    /// std::system_error.
    explicit InterfaceFilter(unsigned interface);

    /// Throws std::system_error.
    void add(const MacAddress& address);
    void remove(const MacAddress& address);

private:
    int change(int what, int kind, const MacAddress& address) const;

    unsigned interface_;
    Descriptor socket_;
};

}  // namespace viaduct::dataplane
