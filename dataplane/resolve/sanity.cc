// Addresses that cannot be on a wire (RFC 1812 5.3.7, RFC 1122 3.2.1.3, RFC 4291 2.5 and 2.7, RFC 6890).
#include <array>
#include <optional>

#include "resolve/pipeline.h"

namespace viaduct::dataplane {

namespace {

constexpr std::string_view kStage = "sanity";

bool is_mapped_v4(const IpAddress& address) {
    constexpr std::array<std::uint8_t, 12> prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const auto bytes = address.bytes();
    for (std::size_t i = 0; i < prefix.size(); ++i) {
        if (bytes[i] != prefix[i]) return false;
    }
    return true;
}

/// By its first byte alone: of a block in which nothing can be wrong with an address, as nearly all are.
bool is_plain(const IpAddress& address) {
    const auto first = address.bytes()[0];
    return address.is_v4() ? first > 0 && first < 224 && first != 127 : first > 0 && first < 255;
}

/// What is wrong with an address at either end; empty when nothing.
std::string_view fault_at_either_end(const IpAddress& address) {
    if (is_plain(address)) return "";
    if (address.is_loopback()) return "a loopback address";
    if (!address.is_v4()) {
        if (address.is_unspecified()) return "the unspecified address";
        return is_mapped_v4(address) ? "an IPv4-mapped address" : "";
    }
    const auto first = address.bytes()[0];
    if (first == 0) return "an address of 0.0.0.0/8";
    return first >= 240 ? "an address of class E" : "";
}

bool is_group(const IpAddress& address) {
    if (is_plain(address)) return false;
    constexpr std::array<std::uint8_t, 4> broadcast{255, 255, 255, 255};
    if (address.is_multicast()) return true;
    return address.is_v4() && std::equal(broadcast.begin(), broadcast.end(), address.bytes().begin());
}

/// The host may speak as the node, to itself and by its loopback addresses: where that leads, the other
/// stages say.
Step trust_host(Context& context) {
    context.source_route = context.vrf->fib->find(context.packet.source);
    context.say(kStage, [] { return std::string("from the host, which has the node's addresses"); });
    return Step::go_on;
}

}  // namespace

Step stage_sanity(Context& context) {
    const auto& packet = context.packet;
    if (context.from_host) return trust_host(context);
    const auto refuse = [&](Drop drop, std::string_view end, std::string_view fault) {
        context.say(kStage, [&] {
            const auto& address = end == "source" ? packet.source : packet.destination;
            return std::string(end) + " " + address.to_string() + " is " + std::string(fault);
        });
        return context.refuse(drop);
    };
    if (is_group(packet.source)) return refuse(Drop::martian, "source", "a group address");
    if (const auto fault = fault_at_either_end(packet.source); !fault.empty())
        return refuse(Drop::martian, "source", fault);
    if (is_group(packet.destination)) return refuse(Drop::group_not_routed, "destination", "a group address");
    if (const auto fault = fault_at_either_end(packet.destination); !fault.empty())
        return refuse(Drop::martian, "destination", fault);
    if (packet.source == packet.destination)
        return refuse(Drop::martian, "source", "the destination, too (a land packet)");
    // Both ways of asking the FIB about the source, here and for the reverse path, are one look-up.
    context.source_route = context.vrf->fib->find(packet.source);
    if (context.source_route && context.source_route.entry->action == RouteAction::local) {
        return refuse(Drop::martian, "source",
                      context.source_route.entry->broadcast ? "a network's broadcast address"
                                                            : "an address of the node itself");
    }
    context.say(kStage, [] { return std::string("nothing is wrong with the addresses"); });
    return Step::go_on;
}

}  // namespace viaduct::dataplane
