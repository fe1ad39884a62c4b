// DPDK's net_af_packet has the kernel put IPv4 fragments together before it spreads packets over the driver's
// queues (packet(7), PACKET_FANOUT_FLAG_DEFRAG), with one queue as with many. What comes of it is longer than
// the link's MTU and than a packet buffer: whatever came in fragments was lost, for the node's own programs
// behind a taken interface as well. The router puts together what it must itself (resolve/fragments.h), and a
// fragment's hash is that of its addresses, so all of a datagram meet in one queue. DPDK 22.11 has no
// argument that says so, hence the flag is taken out on the way to the kernel: a definition in the executable
// comes before the C library's for the drivers that DPDK loads. It is linked into viaduct-dataplane alone.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include <linux/if_packet.h>

// The C library's own declaration has these names' types and throws nothing.
extern "C" int setsockopt(int socket, int level, int option, const void* value, socklen_t length) noexcept {
    constexpr unsigned kFlagsShift = 16;  // above the group's number
    std::uint32_t fanout = 0;
    if (level == SOL_PACKET && option == PACKET_FANOUT && length == sizeof fanout && value != nullptr) {
        std::memcpy(&fanout, value, sizeof fanout);
        fanout &= ~(std::uint32_t{PACKET_FANOUT_FLAG_DEFRAG} << kFlagsShift);
        value = &fanout;
    }
    return static_cast<int>(::syscall(SYS_setsockopt, socket, level, option, value, length));
}
