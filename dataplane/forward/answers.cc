// Theory of operation: most frames are told by one bit that is not set for their two addresses. Of the
// others the flow table is asked as the routed path asks it, in two passes, so that a burst waits for memory
// once. What the fast path does not carry (fragments, errors, options) is for resolve to judge.
#include "forward/answers.h"

#include "forward/forwarder.h"
#include "forward/parse.h"
#include "forward/tcp.h"

namespace viaduct::dataplane {

namespace {

enum class Looks : std::uint8_t {
    foreign,  ///< goes on by the bridge
    flow,     ///< the flow table knows, when it is asked for the key
    unclear,  ///< for resolve to judge
};

template <typename Key>
Looks look(const BridgedPairs& pairs, const RoutedFrame& routed, Zone zone, Parsed<Key>& packet) {
    constexpr std::uint32_t addresses = Key::kWords == 2 ? 12 : 8;
    const auto* frame = routed.frame;
    if (frame->data_len < std::uint32_t{routed.l2_length} + kIpHeader<Key>) [[unlikely]]
        return frame->pkt_len == frame->data_len ? Looks::foreign : Looks::unclear;
    const auto* ip = rte_pktmbuf_mtod_offset(frame, const std::uint8_t*, routed.l2_length);
    if (!pairs.may_have<Key>(ip + addresses)) [[likely]]
        return Looks::foreign;
    return parse(routed, zone, packet) ? Looks::flow : Looks::unclear;
}

/// SYN of a connection that the client made past the router, when one through it has had these very ports:
/// resolve knows whether that one is over.
template <typename Key>
bool opens(const Parsed<Key>& packet) {
    return packet.key.protocol == kTcp && (packet.ip[kIpHeader<Key> + 13] & kTcpFlagSyn) != 0;
}

template <typename Key>
bool is_answer(Forwarder& forwarder, const Parsed<Key>& packet) {
    const auto& table = forwarder.flows().template of<Key>();
    FlowRecord<Key> record;
    const auto likely = table.candidate(packet.hash, table.likely_step());
    if (likely == kNoFlow) return false;
    if (!table.read(likely, packet.key, record) && table.find(packet.key, packet.hash, record) == kNoFlow)
        return false;
    if (!is_translated_answer(forwarder.topology(), record, packet.routed->interface)) return false;
    return !opens(packet) || forwarder.first_packets().is_answer(*packet.routed);
}

/// For one router interface on the bridge.
template <typename Key>
std::uint16_t intercept(Forwarder& forwarder, RoutedFrame like, rte_mbuf** frames, std::uint16_t count) {
    const auto& flows = forwarder.flows();
    const auto& table = flows.template of<Key>();
    const auto zone = forwarder.topology().interfaces[like.interface].zone;
    std::array<RoutedFrame, kBurst> routed;
    std::array<Parsed<Key>, kBurst> parsed;
    std::array<Looks, kBurst> looks;
    const auto step = table.likely_step();
    bool all_foreign = true;
    for (std::uint16_t i = 0; i < count; ++i) {
        routed[i] = like;
        routed[i].frame = frames[i];
        looks[i] = look(*flows.bridged, routed[i], zone, parsed[i]);
        if (looks[i] == Looks::foreign) continue;
        all_foreign = false;
        if (looks[i] == Looks::unclear) continue;
        parsed[i].hash = table.hash(parsed[i].key);
        table.prefetch(parsed[i].hash, step);
    }
    if (all_foreign) [[likely]]
        return count;
    std::uint16_t left = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        const bool answer = looks[i] == Looks::flow      ? is_answer(forwarder, parsed[i])
                            : looks[i] == Looks::unclear ? forwarder.first_packets().is_answer(routed[i])
                                                         : false;
        if (answer) {
            forwarder.deliver(routed[i]);
        } else {
            frames[left++] = frames[i];
        }
    }
    forwarder.counters(like.from).intercepted.add(static_cast<std::uint64_t>(count - left));
    return left;
}

}  // namespace

std::uint16_t intercept_answers(Forwarder& forwarder, PortIndex from, const BridgeView& bridge,
                                std::uint16_t vlan, std::uint16_t l2_length, rte_mbuf** frames,
                                std::uint16_t count) {
    const auto type =
        read_be16(rte_pktmbuf_mtod_offset(frames[0], const std::uint8_t*, l2_length - sizeof(Be16)));
    if (type != 0x0800 && type != 0x86dd) return count;
    for (const auto interface : bridge.gateways_on(vlan)) {
        if (count == 0) break;
        const RoutedFrame like{nullptr, from, interface, l2_length, false, true};
        count = type == 0x0800 ? intercept<FlowKey4>(forwarder, like, frames, count)
                               : intercept<FlowKey6>(forwarder, like, frames, count);
    }
    return count;
}

}  // namespace viaduct::dataplane
