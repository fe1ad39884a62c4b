#include "forward/host.h"

#include <rte_mbuf.h>

#include "forward/checksum.h"
#include "forward/forwarder.h"

namespace viaduct::dataplane {
namespace {

constexpr std::uint16_t kEthernetHeader = 14;
constexpr std::uint16_t kIpv4 = 0x0800;
constexpr std::uint16_t kIpv6 = 0x86dd;

bool is_unicast_ip(const rte_mbuf* frame) {
    if (frame->data_len < kEthernetHeader) return false;
    const auto* header = rte_pktmbuf_mtod(frame, const std::uint8_t*);
    const auto type = read_be16(header + 12);
    return (header[0] & 1U) == 0 && (type == kIpv4 || type == kIpv6);
}

}  // namespace

void host_burst(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                std::uint16_t count) {
    std::uint16_t bridged = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        auto* frame = frames[i];
        if (is_unicast_ip(frame)) {
            forwarder.deliver({frame, from, port.host_of, kEthernetHeader, false});
        } else {
            frames[bridged++] = frame;
        }
    }
    if (bridged != 0) port.bridge->switch_burst(forwarder, from, port, frames, bridged);
}

}  // namespace viaduct::dataplane
