// Whether a packet may go on for another hop: its TTL or hop limit.
#include "resolve/pipeline.h"

namespace viaduct::dataplane {

Step stage_lifetime(Context& context) {
    if (context.bridged) return Step::go_on;
    const auto ttl = context.packet.ttl;
    context.say("lifetime", [&] {
        return std::string(context.packet.v4 ? "TTL " : "hop limit ") + std::to_string(ttl) +
               (ttl <= 1 ? " has run out" : " becomes " + std::to_string(ttl - 1));
    });
    return ttl <= 1 ? context.refuse(Drop::ttl_expired) : Step::go_on;
}

}  // namespace viaduct::dataplane
