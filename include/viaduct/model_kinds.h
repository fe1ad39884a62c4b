// The list of kinds of objects. Whatever is done to a configuration's objects one kind after the other
// (reading, applying, comparing, storing, leaving out) walks over this list, so that a new kind is one more
// line here and no new code there.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "viaduct/model.h"

namespace viaduct::model {

/// One kind. `Key` is a name, or a tuple of what identifies an object together.
template <typename ObjectType, typename KeyType>
struct Kind {
    using Object = ObjectType;
    using Key = KeyType;
    static constexpr std::size_t kParts = [] {
        if constexpr (std::is_same_v<Key, std::string>) {
            return std::size_t{1};
        } else {
            return std::tuple_size_v<Key>;
        }
    }();

    const char* name;  ///< key of its list in JSON, and first word of its objects' places: "routes"
    const char* noun;  ///< one of them, as people call it: "route"
    SharedMap<Key, Object> Config::*objects;
    std::set<Key> Change::*deleted;
    std::optional<Object> (*read)(const Json::Value&, const std::string& where, Faults&);
    std::array<const char*, kParts> members;  ///< JSON keys of the key's parts
    /// Others refer to objects of this kind: it is deleted only after they have been changed.
    bool referred;
};

/// In this order objects can be put one by one, and deleted in the opposite one: none refers to a later kind.
inline constexpr std::tuple kKinds{
    Kind<Bridge, std::string>{
        "bridges", "bridge", &Config::bridges, &Change::delete_bridges, bridge_from_json, {"name"}, true},
    Kind<Vrf, std::string>{"vrfs", "VRF", &Config::vrfs, &Change::delete_vrfs, vrf_from_json, {"name"}, true},
    Kind<Interface, std::string>{"interfaces",
                                 "interface",
                                 &Config::interfaces,
                                 &Change::delete_interfaces,
                                 interface_from_json,
                                 {"name"},
                                 true},
    Kind<Port, std::string>{
        "ports", "port", &Config::ports, &Change::delete_ports, port_from_json, {"name"}, false},
    Kind<FdbEntry, std::tuple<std::string, std::uint16_t, MacAddress>>{"fdb",
                                                                       "fdb entry",
                                                                       &Config::fdb,
                                                                       &Change::delete_fdb,
                                                                       fdb_from_json,
                                                                       {"bridge", "vlan", "mac"},
                                                                       false},
    Kind<Route, std::tuple<std::string, Prefix>>{"routes",
                                                 "route",
                                                 &Config::routes,
                                                 &Change::delete_routes,
                                                 route_from_json,
                                                 {"vrf", "prefix"},
                                                 false},
    Kind<Neighbour, std::tuple<std::string, IpAddress>>{"neighbours",
                                                        "neighbour",
                                                        &Config::neighbours,
                                                        &Change::delete_neighbours,
                                                        neighbour_from_json,
                                                        {"interface", "address"},
                                                        false},
    Kind<Masquerade, std::string>{"masquerades",
                                  "masquerade",
                                  &Config::masquerades,
                                  &Change::delete_masquerades,
                                  masquerade_from_json,
                                  {"name"},
                                  false},
    Kind<PortForward, std::string>{"port_forwards",
                                   "port forward",
                                   &Config::port_forwards,
                                   &Change::delete_port_forwards,
                                   port_forward_from_json,
                                   {"name"},
                                   false},
    Kind<StaticNat, std::string>{"static_nats",
                                 "static NAT",
                                 &Config::static_nats,
                                 &Change::delete_static_nats,
                                 static_nat_from_json,
                                 {"name"},
                                 false},
    Kind<Service, ServiceKey>{"services",
                              "service",
                              &Config::services,
                              &Change::delete_services,
                              service_from_json,
                              {"namespace", "name", "port"},
                              false},
};

/// Calls `visit` with each kind, in the list's order.
template <typename Visit>
void for_each_kind(const Visit& visit) {
    std::apply([&](const auto&... kind) { (visit(kind), ...); }, kKinds);
}

/// The same from the last to the first.
template <typename Visit>
void for_each_kind_backwards(const Visit& visit) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
        (visit(std::get<sizeof...(I) - 1 - I>(kKinds)), ...);
    }
    (std::make_index_sequence<std::tuple_size_v<decltype(kKinds)>>());
}

template <typename Object>
auto key_of(const Object& object) {
    if constexpr (requires { object.key(); }) {
        return std::apply([](const auto&... part) { return std::tuple(part...); }, object.key());
    } else {
        return object.name;
    }
}

inline constexpr const auto& kBridgeKind = std::get<0>(kKinds);
inline constexpr const auto& kVrfKind = std::get<1>(kKinds);
inline constexpr const auto& kInterfaceKind = std::get<2>(kKinds);
inline constexpr const auto& kPortKind = std::get<3>(kKinds);

/// Calls `visit(kind, name)` for each object that this one needs, such as a port's bridge. The default VRF is
/// there without one.
template <typename Object, typename Visit>
void for_each_reference(const Object& object, const Visit& visit) {
    const auto name = [&](const auto& kind, const std::string& named) {
        if (!named.empty() && !(kind.name == kVrfKind.name && named == kDefaultVrf)) visit(kind, named);
    };
    if constexpr (requires { object.bridge; }) name(kBridgeKind, object.bridge);
    if constexpr (requires { object.vrf; }) name(kVrfKind, object.vrf);
    if constexpr (requires { object.interface; }) name(kInterfaceKind, object.interface);
    if constexpr (requires { object.port; } && std::is_same_v<Object, FdbEntry>) name(kPortKind, object.port);
    if constexpr (std::is_same_v<Object, Port>) {
        name(kInterfaceKind, object.host);
        if (object.kind == PortKind::vxlan) name(kVrfKind, object.vxlan.vrf);
    }
    if constexpr (std::is_same_v<Object, Route>) {
        for (const auto& hop : object.next_hops)
            name(kInterfaceKind, hop.interface);
    }
}

/// Parts of keys as they stand in places, and back.
std::string part_text(const std::string& name);
std::string part_text(std::uint16_t vlan);
std::string part_text(const MacAddress& mac);
std::string part_text(const IpAddress& address);
std::string part_text(const Prefix& prefix);
/// Takes what it understood off the front of `text`, up to the next '/' or the end (a prefix has a '/' in
/// it); false when it is nothing of the sort.
bool take_part(std::string_view& text, std::string& name);
bool take_part(std::string_view& text, std::uint16_t& vlan);
bool take_part(std::string_view& text, MacAddress& mac);
bool take_part(std::string_view& text, IpAddress& address);
bool take_part(std::string_view& text, Prefix& prefix);

/// The place of an object: "ports/web-1", "fdb/br0/10/02:00:00:00:00:01", "routes/default/10.0.0.0/8".
template <typename KindType>
std::string place_of(const KindType& kind, const typename KindType::Key& key) {
    std::string place = kind.name;
    if constexpr (KindType::kParts == 1) {
        place += '/' + part_text(key);
    } else {
        std::apply([&](const auto&... part) { ((place += '/' + part_text(part)), ...); }, key);
    }
    return place;
}

/// The key of the object of this kind that a place speaks of ("routes/default/10.0.0.0/8/next_hops"), nothing
/// when it speaks of another kind or of none.
template <typename KindType>
std::optional<typename KindType::Key> key_from_place(const KindType& kind, std::string_view place) {
    const std::string_view name = kind.name;
    if (!place.starts_with(name) || place.size() <= name.size() || place[name.size()] != '/')
        return std::nullopt;
    place.remove_prefix(name.size() + 1);
    typename KindType::Key key;
    bool whole = true;
    if constexpr (KindType::kParts == 1) {
        whole = take_part(place, key);
    } else {
        std::apply([&](auto&... part) { ((whole = whole && take_part(place, part)), ...); }, key);
    }
    return whole ? std::optional(std::move(key)) : std::nullopt;
}

/// Flow timeouts: one object without a name, whose keys are put one by one.
struct Timeout {
    const char* name;
    std::uint32_t FlowTimeouts::*seconds;
};
inline constexpr std::uint32_t kTimeoutMost = 4294967;
inline constexpr std::array kTimeouts{
    Timeout{"tcp_syn_sent", &FlowTimeouts::tcp_syn_sent},
    Timeout{"tcp_syn_received", &FlowTimeouts::tcp_syn_received},
    Timeout{"tcp_established", &FlowTimeouts::tcp_established},
    Timeout{"tcp_fin_wait", &FlowTimeouts::tcp_fin_wait},
    Timeout{"tcp_time_wait", &FlowTimeouts::tcp_time_wait},
    Timeout{"tcp_close", &FlowTimeouts::tcp_close},
    Timeout{"udp", &FlowTimeouts::udp},
    Timeout{"udp_replied", &FlowTimeouts::udp_replied},
    Timeout{"icmp", &FlowTimeouts::icmp},
    Timeout{"sctp", &FlowTimeouts::sctp},
    Timeout{"other", &FlowTimeouts::other},
};

}  // namespace viaduct::model
