// What holds between the objects of a configuration, and how one configuration becomes another.
#include "viaduct/model.h"

#include <algorithm>
#include <charconv>

namespace viaduct::model {

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

std::string fdb_place(const FdbEntry& entry) {
    return "fdb/" + entry.bridge + "/" + std::to_string(entry.vlan) + "/" + entry.mac.to_string();
}

template <typename Map, typename Keys, typename Place>
void erase_named(Map& map, const Keys& keys, const Map& put, const Place& place, Faults& faults) {
    for (const auto& key : keys) {
        if (put.contains(key)) {
            faults.push_back({place(key), "is both put and deleted; it may be only one of them"});
        } else if (map.erase(key) == 0) {
            faults.push_back({place(key), "does not exist, so it cannot be deleted"});
        }
    }
}

template <typename Map>
void put_all(Map& map, const Map& put) {
    for (const auto& [key, value] : put)
        map.insert_or_assign(key, value);
}

template <typename Map, typename Keys>
void difference_of(const Map& from, const Map& to, Map& put, Keys& erased) {
    for (const auto& [key, value] : to) {
        const auto old = from.find(key);
        if (old == from.end() || !(old->second == value)) put.emplace(key, value);
    }
    for (const auto& [key, value] : from) {
        if (!to.contains(key)) erased.insert(key);
    }
}

void check_port(const Config& config, const Port& port, Faults& faults) {
    if (port.bridge.empty()) {
        if (port.vlan)
            faults.push_back({"ports/" + port.name + "/vlan", "needs a bridge, and the port has none"});
        return;
    }
    const auto bridge = config.bridges.find(port.bridge);
    if (bridge == config.bridges.end()) {
        faults.push_back(
            {"ports/" + port.name + "/bridge", "names bridge \"" + port.bridge +
                                                   "\", which does not exist; create it first or in "
                                                   "the same transaction"});
    } else if (port.vlan && !bridge->second.vlan_filtering) {
        faults.push_back(
            {"ports/" + port.name + "/vlan", "needs vlan_filtering on bridge \"" + port.bridge + "\""});
    }
}

void check_unique_places(const Config& config, Faults& faults) {
    std::map<std::string, std::string> holders;
    for (const auto& [name, port] : config.ports) {
        std::string place;
        if (port.kind == PortKind::vhost_user) place = "socket " + port.vhost.path;
        if (port.kind == PortKind::tap) {
            place = "interface " + port.tap.ifname + " in namespace " + port.tap.netns;
            // A namespace named by two ports through two paths is one namespace.
            if (port.tap.netns_inode != 0) {
                place = "interface " + port.tap.ifname + " in namespace inode " +
                        std::to_string(port.tap.netns_inode);
            }
        }
        if (place.empty()) continue;
        const auto [holder, is_new] = holders.emplace(place, name);
        if (!is_new)
            faults.push_back(
                {"ports/" + name, "uses " + place + ", which port \"" + holder->second + "\" has"});
    }
}

void check_fdb(const Config& config, const FdbEntry& entry, Faults& faults) {
    const auto bridge = config.bridges.find(entry.bridge);
    if (bridge == config.bridges.end()) {
        faults.push_back({fdb_place(entry), "names bridge \"" + entry.bridge + "\", which does not exist"});
        return;
    }
    if (bridge->second.vlan_filtering != (entry.vlan != 0)) {
        faults.push_back({fdb_place(entry),
                          bridge->second.vlan_filtering
                              ? "needs a vlan: bridge \"" + entry.bridge + "\" filters VLANs"
                              : "must have no vlan: bridge \"" + entry.bridge + "\" does not filter VLANs"});
    }
    const auto port = config.ports.find(entry.port);
    if (port == config.ports.end()) {
        faults.push_back({fdb_place(entry), "names port \"" + entry.port + "\", which does not exist"});
    } else if (port->second.bridge != entry.bridge) {
        faults.push_back({fdb_place(entry), "names port \"" + entry.port + "\", which is not on bridge \"" +
                                                entry.bridge + "\""});
    }
}

}  // namespace

Config apply(const Config& config, const Change& change, Faults& faults) {
    Config result = config;
    erase_named(
        result.fdb, change.delete_fdb, change.put.fdb,
        [](const auto& key) {
            return fdb_place({std::get<0>(key), std::get<1>(key), std::get<2>(key), ""});
        },
        faults);
    erase_named(
        result.ports, change.delete_ports, change.put.ports,
        [](const std::string& name) { return "ports/" + name; }, faults);
    erase_named(
        result.bridges, change.delete_bridges, change.put.bridges,
        [](const std::string& name) { return "bridges/" + name; }, faults);
    put_all(result.bridges, change.put.bridges);
    put_all(result.ports, change.put.ports);
    put_all(result.fdb, change.put.fdb);
    return result;
}

Change difference(const Config& from, const Config& to) {
    Change change;
    difference_of(from.bridges, to.bridges, change.put.bridges, change.delete_bridges);
    difference_of(from.ports, to.ports, change.put.ports, change.delete_ports);
    difference_of(from.fdb, to.fdb, change.put.fdb, change.delete_fdb);
    return change;
}

void check(const Config& config, Faults& faults) {
    for (const auto& [name, port] : config.ports)
        check_port(config, port, faults);
    check_unique_places(config, faults);
    std::map<std::string, std::size_t> statics;
    for (const auto& [key, entry] : config.fdb) {
        check_fdb(config, entry, faults);
        ++statics[entry.bridge];
    }
    for (const auto& [name, count] : statics) {
        const auto bridge = config.bridges.find(name);
        if (bridge != config.bridges.end() && count > bridge->second.fdb_size) {
            faults.push_back({"bridges/" + name + "/fdb_size",
                              "is " + std::to_string(bridge->second.fdb_size) + ", too small for its " +
                                  std::to_string(count) + " static entries"});
        }
    }
}

}  // namespace viaduct::model
