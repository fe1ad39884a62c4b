// An uplink whose TCP segments are put together as they come in (generic receive offload), so that they go on
// to pods and guests as one long segment. Put around the uplink that asks for it: others pay nothing.
#pragma once

#include <cstdint>

#include "port/outer_port.h"

struct rte_mbuf;

namespace viaduct::dataplane {

/// Puts together the segments of one connection among `count` frames, in place: what is left of them keeps
/// its order, and each long segment is marked as port/offload.h says. Returns how many frames are left. What
/// was put together can be cut again into what came in (but for IPv4's identification of packets that are
/// never fragmented); a segment with a wrong checksum is left as it is, for its receiver to see.
std::uint16_t put_together(rte_mbuf** frames, std::uint16_t count);

class GroPort final : public OuterPort {
public:
    using OuterPort::OuterPort;

    std::uint16_t receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) override {
        const auto count = inner().receive(queue, frames, most);
        return count < 2 ? count : put_together(frames, count);
    }
};

}  // namespace viaduct::dataplane
