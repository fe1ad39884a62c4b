// Whether a packet fits the way out: the least of the route's, the interface's and the port's MTU. IPv4
// packets that do not and allow it leave in fragments.
#include <algorithm>

#include <spdlog/fmt/fmt.h>

#include "resolve/pipeline.h"

namespace viaduct::dataplane {

Step stage_mtu(Context& context) {
    constexpr std::string_view kStage = "mtu";
    auto& mtu = context.egress.mtu;
    if (context.egress.known && mtu != UINT16_MAX) {
        constexpr std::uint32_t kEthernetHeader = 14;
        mtu = std::min(mtu, context.topology.ports[context.egress.port].frame_most - kEthernetHeader);
    }
    const auto& packet = context.packet;
    if (packet.longest <= mtu) {
        context.say(kStage, [&] { return fmt::format("{} bytes fit in {}", packet.longest, mtu); });
        return Step::go_on;
    }
    if (packet.dont_fragment) {
        context.say(kStage, [&] { return fmt::format("{} bytes are longer than {}", packet.longest, mtu); });
        return context.refuse(Drop::packet_too_big);
    }
    context.say(kStage,
                [&] { return fmt::format("{} bytes leave in fragments of {}", packet.longest, mtu); });
    return Step::go_on;
}

}  // namespace viaduct::dataplane
