// A trace's first half: what the bridge does with a frame (forward/switch.cc, in words), and to whom it
// delivers it. The second half is resolve's own.
#include <algorithm>
#include <cstring>

#include <rte_mbuf.h>
#include <spdlog/fmt/fmt.h>

#include "dataplane_state.h"
#include "forward/guard.h"
#include "forward/switch.h"
#include "resolve/bridged_answer.h"
#include "trace.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kEthernetHeader = 14;
constexpr std::uint32_t kTag = 4;

/// A frame that is in no pool: it is only read.
rte_mbuf read_only(std::vector<std::uint8_t>& bytes) {
    rte_mbuf frame{};
    frame.buf_addr = bytes.data();
    frame.buf_len = static_cast<std::uint16_t>(bytes.size());
    frame.data_len = static_cast<std::uint16_t>(bytes.size());
    frame.pkt_len = static_cast<std::uint32_t>(bytes.size());
    frame.nb_segs = 1;
    rte_mbuf_refcnt_set(&frame, 1);
    return frame;
}

MacAddress mac_at(const std::vector<std::uint8_t>& bytes, std::size_t at) {
    MacAddress mac;
    std::memcpy(mac.bytes.data(), &bytes[at], mac.bytes.size());
    return mac;
}

TraceAnswer dropped(TraceAnswer answer, Drop why, const std::string& text) {
    answer.decision = "dropped";
    answer.reason = why;
    answer.why.push_back({"bridge", text});
    answer.why.push_back({"drop", fmt::format("{}: {}", reason(why).name, reason(why).meaning)});
    return answer;
}

/// Where the frame is on the bridge.
struct Place {
    std::uint16_t vlan = 0;
    std::uint16_t l2_length = kEthernetHeader;
    Drop refused = Drop::count_;
};

/// 802.1Q 6.9.1, as classify_vlan() in forward/switch.cc does it.
Place place_of(const PortView& port, const std::vector<std::uint8_t>& bytes, bool filtering) {
    Place place;
    const bool tagged = bytes[12] == 0x81 && bytes[13] == 0x00;
    if (tagged && bytes.size() >= kEthernetHeader + kTag && filtering)
        place.l2_length = kEthernetHeader + kTag;
    if (!filtering) return place;
    place.vlan = port.untagged_vlan;
    if (tagged) {
        if (bytes.size() < kEthernetHeader + kTag) return {0, kEthernetHeader, Drop::bad_vlan};
        const auto id = static_cast<std::uint16_t>((bytes[14] << 8 | bytes[15]) & 0xfff);
        if (id == 0xfff) return {0, kEthernetHeader, Drop::bad_vlan};
        if (id != 0) place.vlan = id;
        if (id != 0 && id != port.untagged_vlan && !port.carries_tagged(id))
            place.refused = Drop::vlan_not_allowed;
    }
    if (place.vlan == 0) place.refused = Drop::vlan_not_allowed;
    return place;
}

/// The first router interface that is up on a bridge's VLAN; null: there is none.
const InterfaceView* gateway_of(const Topology& topology, const BridgeView& bridge, std::uint16_t vlan) {
    for (const auto& interface : topology.interfaces) {
        if (interface.bridge == &bridge && interface.vlan == vlan && interface.up) return &interface;
    }
    return nullptr;
}

/// What is wrong with a frame whatever it is for.
Drop check_frame(const PortView& port, const std::vector<std::uint8_t>& bytes) {
    if (bytes.size() < kEthernetHeader) return Drop::runt;
    const auto source = mac_at(bytes, 6);
    if (source.is_multicast() || source.is_zero()) return Drop::bad_source;
    if ((mac_at(bytes, 0).to_u64() & ~std::uint64_t{0xf}) == 0x0180c2000000) return Drop::reserved_multicast;
    const std::uint32_t tag = bytes[12] == 0x81 && bytes[13] == 0x00 ? kTag : 0;
    return bytes.size() > port.frame_most + tag ? Drop::oversize : Drop::count_;
}

/// As host_burst() in forward/host.cc tells them apart.
bool is_from_host_program(const PortView& port, const std::vector<std::uint8_t>& bytes) {
    const auto type = bytes[12] << 8 | bytes[13];
    return port.host_of != kNoInterface && !mac_at(bytes, 0).is_multicast() &&
           (type == 0x0800 || type == 0x86dd);
}

std::string vlan_text(std::uint16_t vlan) {
    return vlan == 0 ? std::string() : fmt::format(" VLAN {}", vlan);
}

/// Whether it would not come in at all: the port is an uplink that is not promiscuous, and the frame for
/// another station than the router.
bool is_kept_back(const model::Config& config, const model::Port& port,
                  const std::vector<std::uint8_t>& frame) {
    if (port.kind != model::PortKind::uplink || port.uplink.promiscuous) return false;
    MacAddress to;
    std::copy_n(frame.begin(), to.bytes.size(), to.bytes.begin());
    const auto taken = model::filter_of(config, port);
    return !to.is_multicast() && std::find(taken.begin(), taken.end(), to) == taken.end();
}

}  // namespace

std::string Dataplane::State::port_name(PortIndex index) const {
    for (const auto& [name, slot] : ports) {
        if (slot->index == index) return name;
    }
    return {};
}

TraceAnswer Dataplane::trace(TraceRequest request) const {
    const std::scoped_lock lock(state_->mutex);
    auto& s = *state_;
    const auto slot = s.ports.find(request.port);
    if (slot == s.ports.end()) throw Refused("port", "\"" + request.port + "\" does not exist");
    if (request.frame.size() > UINT16_MAX) throw Refused("frame", "must have at most 65535 bytes");
    const auto from = slot->second->index;
    const auto& topology = *s.topology;
    const auto& port = topology.ports[from];
    TraceAnswer answer;
    if (!port.admin_up) return dropped(std::move(answer), Drop::port_down, request.port + " is down");
    if (port.bridge == nullptr)
        return dropped(std::move(answer), Drop::no_bridge, request.port + " is on no bridge");
    const auto& bridge = *port.bridge;
    auto& bytes = request.frame;
    if (bytes.size() < kEthernetHeader)
        return dropped(std::move(answer), Drop::runt, fmt::format("{} bytes", bytes.size()));
    const auto config = s.bridges.find(bridge.name);
    const bool filtering = config != s.bridges.end() && config->second.config.vlan_filtering;
    const auto place = place_of(port, bytes, filtering);
    if (request.from_port && port.guard != nullptr) {
        const auto own = port.guard->mac();
        std::memcpy(bytes.data() + own.bytes.size(), own.bytes.data(), own.bytes.size());
    }
    if (request.to_gateway && bridge.switch_burst != switch_burst_wire) {
        const auto* gateway = gateway_of(topology, bridge, place.vlan);
        if (gateway == nullptr) {
            throw Refused("mac", "is needed: no router interface is up on bridge " + bridge.name +
                                     vlan_text(place.vlan));
        }
        std::memcpy(bytes.data(), gateway->mac.bytes.data(), gateway->mac.bytes.size());
    }
    if (is_kept_back(s.config, slot->second->config, bytes)) {
        answer.decision = "dropped";
        answer.why.push_back({"filter", request.port +
                                            " is not promiscuous, and takes what is for groups and for "
                                            "the router's interfaces on " +
                                            bridge.name});
        return answer;
    }
    const auto refused = check_frame(port, bytes);
    if (refused == Drop::reserved_multicast && port.link_end != kNoPort && bytes[5] != 1) {
        answer.decision = "bridged";
        answer.port = s.port_name(port.link_end);
        answer.why.push_back({"bridge", "stays on the link, of which " + answer.port + " is the other end"});
        return answer;
    }
    if (refused != Drop::count_)
        return dropped(std::move(answer), refused,
                       fmt::format("{} bytes from {}", bytes.size(), request.port));
    if (port.guard != nullptr) {
        const auto frame = read_only(bytes);
        if (const auto forged = port.guard->check(&frame); forged != Drop::count_)
            return dropped(std::move(answer), forged, "what " + request.port + " may not send");
        answer.why.push_back({"guard", request.port + " may send this"});
    }
    if (place.refused != Drop::count_) {
        return dropped(std::move(answer), place.refused,
                       fmt::format("bridge {}{}", bridge.name, vlan_text(place.vlan)));
    }
    return s.trace_bridged(std::move(request), from, place.vlan, place.l2_length, std::move(answer));
}

/// As intercept_answers() in forward/answers.cc finds it.
InterfaceIndex Dataplane::State::router_of_answer(TraceRequest& request, RoutedFrame bridged,
                                                  std::uint16_t vlan) {
    if (mac_at(request.frame, 0).is_multicast()) return kNoInterface;
    auto frame = read_only(request.frame);
    bridged.frame = &frame;
    for (const auto interface : topology->ports[bridged.from].bridge->gateways_on(vlan)) {
        bridged.interface = interface;
        if (is_bridged_answer(bridged, *topology, flows.tables(), true)) return interface;
    }
    return kNoInterface;
}

TraceAnswer Dataplane::State::trace_bridged(TraceRequest request, PortIndex from, std::uint16_t vlan,
                                            std::uint16_t l2_length, TraceAnswer answer) {
    const auto& bridge = *topology->ports[from].bridge;
    if (bridge.switch_burst == switch_burst_wire) {
        const auto end = topology->ports[from].link_end;
        if (end == kNoPort)
            return dropped(std::move(answer), Drop::no_output, "wire " + bridge.name + " has no other end");
        answer.port = port_name(end);
        answer.decision = "bridged";
        answer.why.push_back(
            {"bridge", fmt::format("wire {}: by its other end, {}", bridge.name, answer.port)});
        return answer;
    }
    const auto destination = mac_at(request.frame, 0);
    if (is_from_host_program(topology->ports[from], request.frame)) {
        const auto interface = topology->ports[from].host_of;
        answer.why.push_back({"bridge", fmt::format("the host's, on bridge {}", bridge.name)});
        return trace_at_interface(std::move(request), {nullptr, from, interface, l2_length, false},
                                  std::move(answer));
    }
    const auto key = fdb_key(destination.to_u64(), vlan);
    auto found = bridge.fdb->find(key, bridge.fdb->hash(key));
    const auto where =
        fmt::format("{} on bridge {}{}", destination.to_string(), bridge.name, vlan_text(vlan));
    if (destination.is_multicast() && !found.is_static()) found = {};
    if (!found.present() || found.port() < kGatewayFirst) {
        RoutedFrame bridged{nullptr, from, kNoInterface, l2_length, false, true};
        bridged.interface = router_of_answer(request, bridged, vlan);
        if (bridged.interface != kNoInterface) {
            answer.why.push_back(
                {"bridge", where + ": taken by the router, for it answers a flow that it translates"});
            return trace_at_interface(std::move(request), bridged, std::move(answer));
        }
    }
    if (!found.present()) {
        answer.decision = "flooded";
        answer.why.push_back({"bridge", where + (destination.is_multicast() ? " is a group: flooded"
                                                                            : " is not known: flooded")});
        return answer;
    }
    if (found.port() < kGatewayFirst) {
        if (found.port() == from) return dropped(std::move(answer), Drop::same_port, where);
        answer.port = port_name(found.port());
        answer.decision = "bridged";
        answer.why.push_back({"bridge", fmt::format("{} is behind port {}", where, answer.port)});
        return answer;
    }
    const auto interface = static_cast<InterfaceIndex>(found.port() - kGatewayFirst);
    const auto& interfaces = topology->tables->interfaces;
    const auto name = interface < interfaces.size() ? interfaces[interface].config.name : std::string();
    answer.why.push_back({"bridge", fmt::format("{} is router interface {}", where, name)});
    return trace_at_interface(std::move(request), {nullptr, from, interface, l2_length, false},
                              std::move(answer));
}

TraceAnswer Dataplane::State::trace_at_interface(TraceRequest request, RoutedFrame routed,
                                                 TraceAnswer answer) {
    const auto& interfaces = topology->tables->interfaces;
    auto frame = read_only(request.frame);
    routed.frame = &frame;
    answer.routed = trace_routed(routed, *topology, flows.tables(), flows.shared(), crew.now);
    auto& why = answer.routed.why;
    answer.why.insert(answer.why.end(), std::make_move_iterator(why.begin()),
                      std::make_move_iterator(why.end()));
    answer.decision = to_string(answer.routed.decision);
    answer.reason = answer.routed.reason;
    if (answer.routed.egress) {
        const auto at = answer.routed.egress->interface;
        if (at < interfaces.size()) answer.interface = interfaces[at].config.name;
        if (answer.routed.egress->known) answer.port = port_name(answer.routed.egress->port);
    }
    return answer;
}

}  // namespace viaduct::dataplane
