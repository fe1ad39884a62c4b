// Policy routing rules (ip-rule(8)) by which a namespace's own programs reach what the router publishes at
// the namespace's own addresses.
//
// Theory of operation. The kernel asks the table "local" before any other, by the rule of priority 0: a
// packet to an own address never leaves. As long as something is published that rule stands at priority 1,
// and at 0 stands one for each published place. All of these are marked, so that they are known again.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "viaduct/model.h"

#include "node/netns.h"

namespace viaduct::node {

/// Mark of what is ours among rules, routes and addresses (rtm_protocol).
inline constexpr std::uint8_t kMark = 93;

/// Ports at an address, or network of loopback addresses.
struct PublishedPlace {
    model::Transport protocol = model::Transport::tcp;
    Prefix at;
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    friend auto operator<=>(const PublishedPlace&, const PublishedPlace&) = default;
};

/// What local programs send to these places, and nothing else of theirs, is routed by `table`. None: the
/// rules are as they are without Viaduct. Throws Error.
void set_published(const Namespace& ns, const std::vector<PublishedPlace>& places, std::uint32_t table);

}  // namespace viaduct::node
