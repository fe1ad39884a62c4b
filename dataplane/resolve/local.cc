// What is for the node itself: its host's, where one shares the interface; else an echo request is answered,
// and everything else finds nobody who listens.
#include <cstring>

#include <rte_mbuf.h>

#include "resolve/cut.h"
#include "resolve/host.h"
#include "resolve/node.h"
#include "resolve/packet.h"
#include "resolve/pipeline.h"
#include "resolve/resolver.h"

namespace viaduct::dataplane {

namespace {

constexpr std::string_view kStage = "local";
constexpr std::uint32_t kEthernetHeader = 14;
constexpr std::uint8_t kAnswerTtl = 64;

/// RFC 1624: the checksum that fits when a 16-bit word that it covers changes.
void adjust(std::uint8_t* checksum, std::uint16_t before, std::uint16_t after) {
    const auto old = static_cast<std::uint16_t>(checksum[0] << 8 | checksum[1]);
    std::uint32_t sum = static_cast<std::uint16_t>(~old);
    sum += static_cast<std::uint16_t>(~before);
    sum += after;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    const auto fitting = static_cast<std::uint16_t>(~sum);
    checksum[0] = static_cast<std::uint8_t>(fitting >> 8);
    checksum[1] = static_cast<std::uint8_t>(fitting);
}

/// Exchanges the ends of a packet, which no sum notices.
void exchange(std::uint8_t* addresses, std::size_t length) {
    std::array<std::uint8_t, 16> source;
    std::memcpy(source.data(), addresses, length);
    std::memcpy(addresses, addresses + length, length);
    std::memcpy(addresses + length, source.data(), length);
}

/// An IP header of the node's own: the ends exchanged, a TTL as if it had just been sent.
void turn_header(std::uint8_t* ip, bool v4) {
    if (!v4) {
        ip[7] = kAnswerTtl;
        return exchange(ip + 8, 16);
    }
    adjust(ip + 10, static_cast<std::uint16_t>(ip[8] << 8 | ip[9]),
           static_cast<std::uint16_t>(kAnswerTtl << 8 | ip[9]));
    ip[8] = kAnswerTtl;
    exchange(ip + 12, 4);
}

/// The request itself, turned round: it goes back by the way that it came (see icmp_error.cc).
void answer_echo(Resolver& resolver, const Packet& packet) {
    const auto& routed = packet.routed;
    auto* answer = rte_pktmbuf_copy(routed.frame, resolver.pool(), 0, UINT32_MAX);
    if (answer == nullptr) return;
    const auto tag = static_cast<std::uint32_t>(packet.l3_offset) - kEthernetHeader;
    const auto headers = packet.l4_offset + 8U;
    if (answer->data_len < headers) return rte_pktmbuf_free(answer);
    auto* old = rte_pktmbuf_mtod(answer, std::uint8_t*);
    std::array<std::uint8_t, 6> sender;
    std::memcpy(sender.data(), old + 6, sender.size());
    auto* frame = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_adj(answer, static_cast<std::uint16_t>(tag)));
    std::memcpy(frame, sender.data(), sender.size());
    std::memcpy(frame + 6, resolver.tables().interfaces[routed.interface].mac.bytes.data(), 6);
    turn_header(frame + kEthernetHeader, packet.v4);
    auto* icmp = frame + packet.l4_offset - tag;
    const std::uint8_t reply = packet.v4 ? 0 : 129;
    adjust(icmp + 2, static_cast<std::uint16_t>(icmp[0] << 8 | icmp[1]),
           static_cast<std::uint16_t>(reply << 8 | icmp[1]));
    icmp[0] = reply;
    // Padding of the frame is no part of the answer.
    const auto length = kEthernetHeader + packet.length;
    if (answer->pkt_len > length)
        rte_pktmbuf_trim(answer, static_cast<std::uint16_t>(answer->pkt_len - length));
    const auto mtu = resolver.tables().interfaces[routed.interface].config.mtu;
    if (packet.length <= mtu) return resolver.originate(answer, routed.interface);
    // A request that came in fragments and was put together: the answer leaves in fragments too.
    for (auto* fragment : cut_packet(answer, kEthernetHeader, mtu, resolver.pool()))
        resolver.originate(fragment, routed.interface);
    rte_pktmbuf_free(answer);
}

bool is_echo_request(const Packet& packet) {
    if (packet.icmp_code != 0 || packet.l4_offset == 0) return false;
    return packet.v4 ? packet.protocol == 1 && packet.icmp_type == 8
                     : packet.protocol == 58 && packet.icmp_type == 128;
}

}  // namespace

Step stage_local(Context& context) {
    const auto& packet = context.packet;
    if (!context.route || context.route.entry->action != RouteAction::local) return Step::go_on;
    if (leave_to_host(context, context.egress.interface)) return Step::go_on;
    if (packet.fragment) {
        context.say(kStage, [] { return std::string("a fragment for the node itself"); });
        return context.refuse(Drop::fragment);
    }
    if (!is_echo_request(packet)) {
        context.say(kStage, [] { return std::string("nothing listens for it here"); });
        return context.refuse(Drop::no_listener);
    }
    context.say(kStage, [] { return std::string("an echo request, which is answered"); });
    if (!context.dry) answer_echo(*context.resolver, packet);
    return Step::consumed;
}

}  // namespace viaduct::dataplane
