// What time does for neighbours: questions are repeated, known ones are probed, and packets whose next hop
// does not answer end. And what the first worker does for all: own addresses that are new are announced,
// routers' advertisements are sent.
#include "resolve/announcements.h"
#include "resolve/messages.h"
#include "resolve/node.h"
#include "resolve/packet.h"
#include "resolve/resolver.h"

namespace viaduct::dataplane {

namespace {

void give_up(Resolver& resolver, const WaitingFrame& waiting) {
    if (waiting.originated) return resolver.drop_waiting(waiting, Drop::neighbour_unknown);
    const RoutedFrame routed{waiting.frame, waiting.from, waiting.interface, waiting.l2_length, false};
    Packet packet;
    const bool there = routed.interface < resolver.tables().interfaces.size() &&
                       !resolver.tables().interfaces[routed.interface].config.name.empty();
    if (there && read_packet(routed, packet) == Drop::count_)
        send_icmp_error(resolver, packet, Drop::neighbour_unknown, 0);
    resolver.drop(routed, Drop::neighbour_unknown);
}

}  // namespace

void neighbours_due(Resolver& resolver) {
    auto& neighbours = resolver.shared().neighbours;
    Neighbours::Work work;
    for (std::uint32_t shard = resolver.number(); shard < Neighbours::kShards; shard += resolver.workers())
        neighbours.due(shard, resolver.now(), resolver.topology().flows_since, work);
    for (const auto& solicitation : work.solicit) {
        const auto& interfaces = resolver.topology().interfaces;
        const auto index = solicitation.key.interface;
        if (index < interfaces.size() && interfaces[index].bridge != nullptr && interfaces[index].up)
            send_solicitation(resolver, solicitation.key, solicitation.to);
    }
    for (const auto& waiting : work.unanswered)
        give_up(resolver, waiting);
    for (const auto& waiting : work.released)
        resolver.resolve_waiting(waiting);
    if (resolver.number() == 0) resolver.announcements().due(resolver);
}

}  // namespace viaduct::dataplane
