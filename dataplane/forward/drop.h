// Why frames are dropped: one list, from which the counters, their names in the API and their explanations
// come.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace viaduct::dataplane {

/// Receive-side reasons count against the port a frame came from, transmit-side ones against the port it was
/// for.
enum class Drop : std::uint8_t {
    // receive side
    runt,
    oversize,
    bad_vlan,
    bad_source,
    vlan_not_allowed,
    reserved_multicast,
    no_bridge,
    port_down,
    same_port,
    no_output,
    no_buffer,
    // transmit side
    tx_link_down,
    tx_full,
    tx_too_big,
    tx_vlan_not_allowed,
    tx_no_buffer,
    tx_handoff_full,
    tx_gone,
    count_,
};

inline constexpr std::size_t kDropReasons = static_cast<std::size_t>(Drop::count_);
inline constexpr std::size_t kRxDropReasons = static_cast<std::size_t>(Drop::tx_link_down);

struct DropReason {
    std::string_view name;
    std::string_view meaning;
};

inline constexpr std::array<DropReason, kDropReasons> kDrops{{
    {"runt", "shorter than an Ethernet header"},
    {"oversize", "longer than the port's MTU allows"},
    {"bad_vlan", "a VLAN tag that is cut short or has the reserved id 4095"},
    {"bad_source", "source MAC address is a group address or all zero"},
    {"vlan_not_allowed", "VLAN that the port is no member of"},
    {"reserved_multicast",
     "link-local group address 01-80-c2-00-00-0x, which bridges do not forward (802.1Q 8.6.3)"},
    {"no_bridge", "the port is on no bridge"},
    {"port_down", "the port is administratively down"},
    {"same_port", "the destination is on the port that the frame came from"},
    {"no_output", "nobody to flood to"},
    {"no_buffer", "no packet buffer left to rewrite the frame"},
    {"link_down", "the output port's link is down"},
    {"full", "the output queue was full: the other side does not read fast enough"},
    {"too_big", "longer than the output port's MTU allows"},
    {"vlan_not_allowed", "VLAN that the output port is no member of"},
    {"no_buffer", "no packet buffer left for a copy"},
    {"handoff_full", "the ring to the worker that owns the output queue was full"},
    {"gone", "the output port was removed meanwhile"},
}};

constexpr const DropReason& reason(Drop drop) {
    return kDrops[static_cast<std::size_t>(drop)];
}
constexpr bool is_receive_side(Drop drop) {
    return static_cast<std::size_t>(drop) < kRxDropReasons;
}

}  // namespace viaduct::dataplane
