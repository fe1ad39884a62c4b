#include "port/interface_filter.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <linux/if_packet.h>

namespace viaduct::dataplane {

InterfaceFilter::InterfaceFilter(unsigned interface)
    : interface_(interface), socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {
    if (!socket_ || change(PACKET_ADD_MEMBERSHIP, PACKET_MR_ALLMULTI, {}) != 0)
        throw std::system_error(errno, std::generic_category());
}

void InterfaceFilter::add(const MacAddress& address) {
    if (change(PACKET_ADD_MEMBERSHIP, PACKET_MR_UNICAST, address) != 0)
        throw std::system_error(errno, std::generic_category());
}

/// Of an interface that has gone the membership has, too.
void InterfaceFilter::remove(const MacAddress& address) {
    change(PACKET_DROP_MEMBERSHIP, PACKET_MR_UNICAST, address);
}

int InterfaceFilter::change(int what, int kind, const MacAddress& address) const {
    packet_mreq request{};
    request.mr_ifindex = static_cast<int>(interface_);
    request.mr_type = static_cast<unsigned short>(kind);
    request.mr_alen = static_cast<unsigned short>(address.bytes.size());
    std::copy(address.bytes.begin(), address.bytes.end(), request.mr_address);
    return ::setsockopt(socket_.get(), SOL_PACKET, what, &request, sizeof request);
}

}  // namespace viaduct::dataplane
