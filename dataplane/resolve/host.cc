#include "resolve/host.h"

#include <array>

#include <rte_mbuf.h>
#include <spdlog/fmt/fmt.h>

#include "forward/switch.h"
#include "resolve/delivery.h"
#include "resolve/packet.h"
#include "resolve/pipeline.h"
#include "resolve/resolver.h"

namespace viaduct::dataplane {

namespace {

constexpr std::string_view kStage = "host";
constexpr std::uint16_t kEthernetHeader = 14;

PortIndex host_port(const Topology& topology, InterfaceIndex interface) {
    return interface < topology.interfaces.size() ? topology.interfaces[interface].host_port : kNoPort;
}

MacAddress destination_of(const rte_mbuf* frame) {
    MacAddress mac;
    read_bytes(frame, 0, mac.bytes.size(), mac.bytes.data());
    return mac;
}

/// The host has no VLANs: its port is an untagged member of the interface's.
void send_up(Resolver& resolver, PortIndex port, std::uint16_t l2_length, rte_mbuf* frame) {
    if (l2_length != kEthernetHeader) pop_tag(frame);
    resolver.forwarder().stage(port, frame);
}

/// Under a tag that its bridge did not look at there may be anything: the host would take it off and believe
/// what no stage has seen.
bool is_tagged(const RoutedFrame& routed) {
    std::array<std::uint8_t, 2> type{};
    read_bytes(routed.frame, routed.l2_length - 2U, type.size(), type.data());
    const auto value = type[0] << 8 | type[1];
    return value == 0x8100 || value == 0x88a8 || value == 0x9100;
}

/// By its own routes, and to whom it says.
Step leave_as_addressed(Context& context, const MacAddress& to) {
    auto& egress = context.egress;
    egress.interface = context.packet.routed.interface;
    egress.mtu = context.tables.interfaces[egress.interface].config.mtu;
    egress.destination_mac = to;
    const auto delivery = find_delivery(context.topology, egress.interface, to);
    egress.known = delivery.has_value();
    if (delivery) {
        egress.port = delivery->port;
        egress.vlan = delivery->vlan;
        egress.tunnel = delivery->tunnel;
    }
    context.bridged = true;
    context.say(kStage, [&] {
        return fmt::format("the host sends it to {} on {} by its own routes, {}", to.to_string(),
                           context.tables.interfaces[egress.interface].config.name,
                           egress.known ? "behind a known port" : "behind no known port: flooded");
    });
    return Step::go_on;
}

}  // namespace

bool is_from_host(const Topology& topology, const RoutedFrame& routed) {
    return topology.ports[routed.from].host_of == routed.interface;
}

std::optional<MacAddress> host_next_hop(const Topology& topology, const RoutedFrame& routed) {
    if (!is_from_host(topology, routed)) return std::nullopt;
    const auto to = destination_of(routed.frame);
    return to == topology.interfaces[routed.interface].mac ? std::nullopt : std::optional(to);
}

bool leave_to_host(Context& context, InterfaceIndex interface) {
    const auto port = host_port(context.topology, interface);
    if (port == kNoPort) return false;
    auto& egress = context.egress;
    egress.interface = interface;
    egress.destination_mac = context.tables.interfaces[interface].mac;
    egress.port = port;
    egress.vlan = 0;
    // What has been put together of fragments need not be cut again.
    egress.mtu = UINT16_MAX;
    egress.known = true;
    context.bridged = true;
    context.say(kStage, [] { return std::string("for the host, which gets it as it is"); });
    return true;
}

Step stage_host(Context& context) {
    const auto to = host_next_hop(context.topology, context.packet.routed);
    return to ? leave_as_addressed(context, *to) : Step::go_on;
}

bool pass_by_host(Resolver& resolver, const RoutedFrame& routed) {
    const auto& topology = resolver.topology();
    if (routed.shared) return false;
    if (is_from_host(topology, routed)) {
        if (!host_next_hop(topology, routed)) return false;
        resolver.send(routed.from, routed.frame, routed.interface);
        return true;
    }
    const auto port = host_port(topology, routed.interface);
    if (port == kNoPort || is_tagged(routed)) return false;
    send_up(resolver, port, routed.l2_length, routed.frame);
    return true;
}

void show_to_host(Resolver& resolver, const RoutedFrame& routed) {
    const auto port = host_port(resolver.topology(), routed.interface);
    if (port == kNoPort || routed.shared || port == routed.from) return;
    auto* copy = rte_pktmbuf_copy(routed.frame, resolver.pool(), 0, UINT32_MAX);
    if (copy == nullptr) return;
    resolver.forwarder().counters(routed.from).copies.add(1);
    send_up(resolver, port, routed.l2_length, copy);
}

}  // namespace viaduct::dataplane
