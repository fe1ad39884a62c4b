// The flow that a packet belongs to, whichever direction of it, and the translation that it has. A flow that
// was resolved by an older configuration is found here, too: it goes through the stages again and keeps what
// they still agree with.
#include <spdlog/fmt/fmt.h>

#include "forward/execute.h"
#include "forward/parse.h"
#include "resolve/nat.h"
#include "resolve/packet_key.h"
#include "resolve/pipeline.h"

namespace viaduct::dataplane {

namespace {

constexpr std::string_view kStage = "connection";

template <typename Key>
IpAddress to_address(const typename Key::AddressType& address) {
    return IpAddress::from_bytes(address.bytes).value_or(IpAddress{});
}

template <typename Key>
Step look_up(Context& context) {
    const auto& packet = context.packet;
    const auto& table = context.flows.of<Key>();
    const auto key = packet_key<Key>(packet, context.zone);
    if (context.hash == 0) context.hash = table.hash(key);
    FlowRecord<Key> record;
    context.flow = table.find(key, context.hash, record);
    if (context.flow == kNoFlow) {
        context.say(kStage, [] { return std::string("none yet: this packet may start a flow"); });
        return Step::go_on;
    }
    if (packet.protocol == kTcp && opens_another(table, context.flow, record, packet.tcp_flags)) {
        forget_flow(context);
        context.say(kStage,
                    [] { return std::string("the one that was is over: this packet opens another"); });
        return Step::go_on;
    }
    context.reply = !record.has(kFlowInitiator);
    Translation kept;
    kept.source = to_address<Key>(record.new_source);
    kept.destination = to_address<Key>(record.new_destination);
    kept.source_port = record.new_source_port.to_host();
    kept.destination_port = record.new_destination_port.to_host();
    kept.rule = table.tail(context.flow).rule.load(std::memory_order_relaxed);
    kept.mapping = record.has(kFlowMapping);
    kept.counted = record.has(kFlowCounted);
    kept.holds_port = record.has(kFlowTranslate) && !record.has(kFlowStatic);
    context.kept = kept;
    context.say(kStage, [&] {
        const bool stale = record.generation != context.tables.generation;
        const auto* becomes = !stale ? ""
                              : still_holds(context.topology, record)
                                  ? ", which goes on as it is: what changed since has nothing to do with it"
                                  : ", to be resolved again";
        return fmt::format("{} direction of flow {}{}", context.reply ? "reply" : "original", context.flow,
                           becomes);
    });
    return Step::go_on;
}

}  // namespace

Step stage_connection(Context& context) {
    return for_family(context.packet.v4, [&]<typename Key>(const Key*) { return look_up<Key>(context); });
}

}  // namespace viaduct::dataplane
