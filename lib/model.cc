// How one configuration becomes another, over the list of kinds; and the names and words of the model.
#include "viaduct/model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "viaduct/model_kinds.h"

namespace viaduct::model {

namespace {

std::string_view front_of(std::string_view text) {
    return text.substr(0, text.find('/'));
}

/// Takes off the front of `text` what `parse` makes of it.
template <typename T>
bool take(std::string_view& text, std::string_view front, std::optional<T> parsed, T& into) {
    if (!parsed) return false;
    into = std::move(*parsed);
    text.remove_prefix(std::min(text.size(), front.size() + 1));
    return true;
}

template <typename KindType>
void apply_kind(const KindType& kind, Config& config, const Change& change, Faults& faults) {
    auto& objects = config.*kind.objects;
    const auto& put = change.put.*kind.objects;
    for (const auto& key : change.*kind.deleted) {
        if (put.contains(key)) {
            faults.push_back({place_of(kind, key), "is both put and deleted; it may be only one of them"});
        } else if (objects.erase(key) == 0) {
            faults.push_back({place_of(kind, key), "does not exist, so it cannot be deleted"});
        }
    }
    for (const auto& [key, object] : put)
        objects.insert_or_assign(key, object);
}

template <typename KindType>
void difference_of(const KindType& kind, const Config& from, const Config& to, Change& change) {
    using Object = typename KindType::Object;
    using Objects = SharedMap<typename KindType::Key, Object>;
    auto& put = change.put.*kind.objects;
    auto& deleted = change.*kind.deleted;
    Objects::differences(from.*kind.objects, to.*kind.objects,
                         [&](const auto& key, const Object* /*before*/, const Object* after) {
                             if (after != nullptr) {
                                 put.insert_or_assign(key, *after);
                             } else {
                                 deleted.insert(deleted.end(), key);
                             }
                             return true;
                         });
}

}  // namespace

bool is_name(std::string_view text) {
    if (text.empty() || text.size() > kNameMost || text[0] == '-' || text[0] == '.') return false;
    return std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '.' || c == '-';
    });
}

bool is_interface_name(std::string_view text) {
    if (text.empty() || text.size() > 15 || text == "." || text == "..") return false;
    return std::none_of(text.begin(), text.end(), [](char c) {
        return c == '/' || c == ':' || c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
    });
}

std::optional<MacAddress> mac_of(const Config& config, const Port& port) {
    const auto shared = config.interfaces.find(port.host);
    if (port.mac || shared == config.interfaces.end()) return port.mac;
    return shared->second.mac ? *shared->second.mac : derived_mac(shared->first);
}

MacAddress derived_mac(std::string_view name) {
    // FNV-1a: short, the same on every machine and in every version.
    std::uint64_t hash = 0xcbf29ce484222325;
    for (char c : name)
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    // Its high bits are mixed the least for short names.
    auto mac = MacAddress::from_u64((hash ^ hash >> 32) & 0xffffffffffff);
    mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & 0xfc) | 0x02);
    return mac;
}

std::string_view to_string(PortKind kind) {
    switch (kind) {
        case PortKind::vhost_user:
            return "vhost-user";
        case PortKind::tap:
            return "tap";
        case PortKind::wire:
            return "wire";
        case PortKind::uplink:
            return "uplink";
        case PortKind::vxlan:
            return "vxlan";
    }
    return "unknown";
}

std::string_view to_string(ReversePath check) {
    switch (check) {
        case ReversePath::off:
            return "off";
        case ReversePath::loose:
            return "loose";
        case ReversePath::strict:
            return "strict";
    }
    return "unknown";
}

std::string_view to_string(RouteKind kind) {
    switch (kind) {
        case RouteKind::unicast:
            return "unicast";
        case RouteKind::blackhole:
            return "blackhole";
        case RouteKind::unreachable:
            return "unreachable";
        case RouteKind::prohibit:
            return "prohibit";
    }
    return "unknown";
}

std::string_view to_string(Transport protocol) {
    switch (protocol) {
        case Transport::tcp:
            return "tcp";
        case Transport::udp:
            return "udp";
        case Transport::sctp:
            return "sctp";
    }
    return "unknown";
}

std::optional<VlanRange> parse_vlan_range(std::string_view text) {
    const auto number = [](std::string_view digits) -> std::optional<std::uint16_t> {
        std::uint16_t id = 0;
        auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
        if (error != std::errc() || end != digits.data() + digits.size() || digits.empty())
            return std::nullopt;
        if (id < kVlanFirst || id > kVlanLast) return std::nullopt;
        return id;
    };
    const auto dash = text.find('-');
    const auto first = number(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(text.substr(dash + 1));
    if (!first || !last || *last < *first) return std::nullopt;
    return VlanRange{*first, *last};
}

std::string to_string(const VlanRange& range) {
    auto text = std::to_string(range.first);
    if (range.last != range.first) text += "-" + std::to_string(range.last);
    return text;
}

namespace {

/// A decimal number and one of the units; nothing when it is neither, negative or beyond 64 bits.
std::optional<std::uint64_t> parse_quantity(std::string_view text,
                                            const std::map<std::string_view, double>& units) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
    const auto unit = units.find(text.substr(static_cast<std::size_t>(end - text.data())));
    if (unit == units.end() || number * unit->second >= 1e19) return std::nullopt;
    return static_cast<std::uint64_t>(std::llround(number * unit->second));
}

}  // namespace

std::optional<std::uint64_t> parse_rate(std::string_view text) {
    return parse_quantity(text, {{"", 1}, {"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}});
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    return parse_quantity(text,
                          {{"", 1}, {"b", 1}, {"k", 1024}, {"kb", 1024}, {"m", 1048576}, {"mb", 1048576}});
}

std::optional<AddressRange> parse_address_range(std::string_view text) {
    const auto dash = text.find('-');
    const auto first = IpAddress::parse(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : IpAddress::parse(text.substr(dash + 1));
    if (!first || !last || first->is_v4() != last->is_v4() || *last < *first) return std::nullopt;
    return AddressRange{*first, *last};
}

std::string to_string(const AddressRange& range) {
    return range.first.to_string() + (range.first == range.last ? "" : "-" + range.last.to_string());
}

std::string part_text(const std::string& name) {
    return name;
}
std::string part_text(std::uint16_t vlan) {
    return std::to_string(vlan);
}
std::string part_text(const MacAddress& mac) {
    return mac.to_string();
}
std::string part_text(const IpAddress& address) {
    return address.to_string();
}
std::string part_text(const Prefix& prefix) {
    return prefix.to_string();
}

bool take_part(std::string_view& text, std::string& name) {
    const auto front = front_of(text);
    return take(text, front, front.empty() ? std::nullopt : std::optional(std::string(front)), name);
}

bool take_part(std::string_view& text, std::uint16_t& vlan) {
    const auto front = front_of(text);
    std::uint16_t number = 0;
    const auto [end, error] = std::from_chars(front.data(), front.data() + front.size(), number);
    const bool whole = error == std::errc() && !front.empty() && end == front.data() + front.size();
    return take(text, front, whole ? std::optional(number) : std::nullopt, vlan);
}

bool take_part(std::string_view& text, MacAddress& mac) {
    const auto front = front_of(text);
    return take(text, front, MacAddress::parse(front), mac);
}

bool take_part(std::string_view& text, IpAddress& address) {
    const auto front = front_of(text);
    return take(text, front, IpAddress::parse(front), address);
}

bool take_part(std::string_view& text, Prefix& prefix) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return false;
    const auto front = text.substr(0, slash + 1 + front_of(text.substr(slash + 1)).size());
    return take(text, front, Prefix::parse(front), prefix);
}

bool Change::empty() const {
    bool nothing = put_timeouts.empty();
    for_each_kind([&](const auto& kind) {
        nothing = nothing && (put.*kind.objects).empty() && (this->*kind.deleted).empty();
    });
    return nothing;
}

void apply_to(Config& config, const Change& change, Faults& faults) {
    for_each_kind([&](const auto& kind) { apply_kind(kind, config, change, faults); });
    for (const auto& timeout : kTimeouts) {
        const auto put = change.put_timeouts.find(timeout.name);
        if (put != change.put_timeouts.end()) config.timeouts.*timeout.seconds = put->second;
    }
}

Config apply(const Config& config, const Change& change, Faults& faults) {
    Config result = config;
    apply_to(result, change, faults);
    return result;
}

Change difference(const Config& from, const Config& to) {
    Change change;
    for_each_kind([&](const auto& kind) { difference_of(kind, from, to, change); });
    for (const auto& timeout : kTimeouts) {
        const auto wanted = to.timeouts.*timeout.seconds;
        if (from.timeouts.*timeout.seconds != wanted) change.put_timeouts[timeout.name] = wanted;
    }
    return change;
}

}  // namespace viaduct::model
