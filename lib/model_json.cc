// The model's JSON form: every key, its type and its range stand here once, for both daemons and the command
// line.
#include <algorithm>

#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model.h"

namespace viaduct::model {

namespace {

Json::Value vlan_to_json(const VlanMembership& vlan) {
    Json::Value json(Json::objectValue);
    json["untagged"] = vlan.untagged;
    json["tagged"] = Json::arrayValue;
    for (const auto& range : vlan.tagged)
        json["tagged"].append(to_string(range));
    return json;
}

std::string octal(std::uint32_t mode) {
    std::string text;
    for (; mode != 0; mode >>= 3)
        text.insert(text.begin(), static_cast<char>('0' + (mode & 7)));
    return "0" + text;
}

std::optional<std::uint32_t> octal_from(const std::string& text) {
    if (text.empty() || text.size() > 5) return std::nullopt;
    std::uint32_t mode = 0;
    for (char c : text) {
        if (c < '0' || c > '7') return std::nullopt;
        mode = mode << 3 | static_cast<std::uint32_t>(c - '0');
    }
    return mode > 0777 ? std::nullopt : std::optional(mode);
}

std::string name_rule() {
    return "must be 1 to 63 letters, digits, '_', '.' or '-', not starting with '-' or '.'";
}

std::optional<std::string> read_name(ObjectReader& reader, const char* key, bool required) {
    auto name = reader.string(key);
    if (!name) {
        if (required && reader.valid()) reader.fault(key, "is required");
        return std::nullopt;
    }
    if (is_name(*name)) return name;
    reader.fault(key, name_rule());
    return std::nullopt;
}

template <typename T>
void set_integer(ObjectReader& reader, const char* key, std::uint64_t low, std::uint64_t high, T& into) {
    if (auto value = reader.integer(key, low, high)) into = static_cast<T>(*value);
}

std::optional<MacAddress> read_mac(ObjectReader& reader, const char* key) {
    const auto text = reader.string(key);
    if (!text) return std::nullopt;
    const auto mac = MacAddress::parse(*text);
    if (!mac) {
        reader.fault(key, "is not a MAC address such as \"02:00:00:00:00:01\"");
    } else if (mac->is_multicast() || mac->is_zero()) {
        reader.fault(key, "must be a unicast MAC address that is not all zero");
    } else {
        return mac;
    }
    return std::nullopt;
}

std::optional<VlanMembership> read_vlan(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    VlanMembership vlan;
    const auto untagged = reader.integer("untagged", 0, kVlanLast);
    if (const auto tagged = reader.strings("tagged")) {
        for (const auto& text : *tagged) {
            if (const auto range = parse_vlan_range(text)) {
                vlan.tagged.push_back(*range);
            } else {
                reader.fault("tagged",
                             "holds \"" + text + "\"; VLANs are written \"10\" or \"20-29\", from 1 to 4094");
            }
        }
    }
    // A trunk has no native VLAN unless one is named; an access port has VLAN 1.
    vlan.untagged = static_cast<std::uint16_t>(untagged.value_or(vlan.tagged.empty() ? kDefaultVlan : 0));
    std::sort(vlan.tagged.begin(), vlan.tagged.end());
    for (std::size_t i = 1; i < vlan.tagged.size(); ++i) {
        if (vlan.tagged[i].first <= vlan.tagged[i - 1].last) {
            reader.fault("tagged", "has overlapping ranges " + to_string(vlan.tagged[i - 1]) + " and " +
                                       to_string(vlan.tagged[i]));
        }
    }
    if (vlan.untagged == 0 && vlan.tagged.empty())
        reader.fault("untagged", "is 0 and nothing is tagged: no frame could pass");
    reader.done();
    return vlan;
}

void read_vhost(ObjectReader& reader, VhostUser& vhost) {
    const auto path = reader.string("path");
    if (!path) {
        reader.fault("path", "is required for a vhost-user port");
    } else if (path->size() > kSocketPathMost || path->empty() || (*path)[0] != '/') {
        reader.fault(
            "path",
            "must be an absolute path of at most 107 bytes, the longest a Unix socket can have; it has " +
                std::to_string(path->size()));
    } else {
        vhost.path = *path;
    }
    vhost.server = reader.choice("mode", {"client", "server"}).value_or(0) == 1;
    if (const auto mode = reader.string("socket_mode")) {
        vhost.mode = octal_from(*mode);
        if (!vhost.mode) reader.fault("socket_mode", "must be octal permissions such as \"0660\"");
    }
    if (const auto owner = reader.integer("socket_owner", 0, UINT32_MAX - 1))
        vhost.owner = static_cast<std::uint32_t>(*owner);
    if (const auto group = reader.integer("socket_group", 0, UINT32_MAX - 1))
        vhost.group = static_cast<std::uint32_t>(*group);
    if (!vhost.server && (vhost.mode || vhost.owner || vhost.group)) {
        reader.fault("socket_mode",
                     "and socket_owner and socket_group are for mode \"server\": as client the port does "
                     "not make the socket");
    }
}

void read_tap(ObjectReader& reader, Tap& tap) {
    const auto ifname = reader.string("ifname");
    if (!ifname) {
        reader.fault("ifname", "is required for a tap port");
    } else if (!is_interface_name(*ifname)) {
        reader.fault("ifname", "must be 1 to 15 bytes, not \".\" or \"..\", without '/', ':' or white space");
    } else {
        tap.ifname = *ifname;
    }
    if (const auto netns = reader.string("netns")) {
        if (netns->empty() || (*netns)[0] != '/') {
            reader.fault("netns", "must be an absolute path such as /run/netns/pod1");
        } else {
            tap.netns = *netns;
        }
    }
    set_integer(reader, "netns_inode", 1, UINT64_MAX, tap.netns_inode);
}

std::optional<FdbEntry> read_fdb_key(ObjectReader& reader) {
    FdbEntry entry;
    const auto bridge = read_name(reader, "bridge", true);
    const auto mac = read_mac(reader, "mac");
    set_integer(reader, "vlan", 0, kVlanLast, entry.vlan);
    if (!reader.valid()) return std::nullopt;
    if (!mac) reader.fault("mac", "is required");
    if (!bridge || !mac) return std::nullopt;
    entry.bridge = *bridge;
    entry.mac = *mac;
    return entry;
}

template <typename Map, typename Read, typename Key>
void read_list(ObjectReader& reader, const char* key, Map& map, const Read& read, const Key& key_of,
               Faults& faults) {
    const auto* list = reader.array(key);
    if (list == nullptr) return;
    for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
        const auto where = reader.place(key) + "/" + std::to_string(i);
        auto object = read((*list)[i], where, faults);
        if (!object) continue;
        auto object_key = key_of(*object);
        if (!map.emplace(std::move(object_key), std::move(*object)).second) {
            faults.push_back({where, "is the second object with its name in this list"});
        }
    }
}

void read_objects(ObjectReader& reader, Config& config, Faults& faults) {
    read_list(
        reader, "bridges", config.bridges, bridge_from_json, [](const Bridge& b) { return b.name; }, faults);
    read_list(
        reader, "ports", config.ports, port_from_json, [](const Port& p) { return p.name; }, faults);
    read_list(
        reader, "fdb", config.fdb, fdb_from_json,
        [](const FdbEntry& e) { return std::make_tuple(e.bridge, e.vlan, e.mac); }, faults);
}

std::set<std::string> read_names(ObjectReader& reader, const char* key) {
    std::set<std::string> names;
    for (auto& name : reader.strings(key).value_or(std::vector<std::string>{})) {
        if (!names.insert(name).second) reader.fault(key, "names \"" + name + "\" twice");
    }
    return names;
}

void read_deletes(const Json::Value& json, const std::string& where, Change& change, Faults& faults) {
    ObjectReader reader(json, where, faults);
    change.delete_bridges = read_names(reader, "bridges");
    change.delete_ports = read_names(reader, "ports");
    if (const auto* list = reader.array("fdb")) {
        for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
            ObjectReader one((*list)[i], reader.place("fdb") + "/" + std::to_string(i), faults);
            if (const auto entry = read_fdb_key(one))
                change.delete_fdb.emplace(entry->bridge, entry->vlan, entry->mac);
            one.done();
        }
    }
    reader.done();
}

}  // namespace

Json::Value to_json(const Bridge& bridge) {
    Json::Value json(Json::objectValue);
    json["name"] = bridge.name;
    json["vlan_filtering"] = bridge.vlan_filtering;
    json["learning"] = bridge.learning;
    json["ageing_seconds"] = bridge.ageing_seconds;
    json["fdb_size"] = bridge.fdb_size;
    return json;
}

std::optional<Bridge> bridge_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Bridge bridge;
    const auto name = read_name(reader, "name", true);
    if (const auto on = reader.boolean("vlan_filtering")) bridge.vlan_filtering = *on;
    if (const auto on = reader.boolean("learning")) bridge.learning = *on;
    set_integer(reader, "ageing_seconds", 10, 1000000, bridge.ageing_seconds);
    set_integer(reader, "fdb_size", 64, 1048576, bridge.fdb_size);
    reader.done();
    if (!name) return std::nullopt;
    bridge.name = *name;
    return bridge;
}

Json::Value to_json(const Port& port) {
    Json::Value json(Json::objectValue);
    json["name"] = port.name;
    json["kind"] = std::string(to_string(port.kind));
    if (!port.bridge.empty()) json["bridge"] = port.bridge;
    json["up"] = port.up;
    json["mtu"] = port.mtu;
    json["queues"] = port.queues;
    if (port.mac) json["mac"] = port.mac->to_string();
    if (port.vlan) json["vlan"] = vlan_to_json(*port.vlan);
    if (port.fdb_limit != 0) json["fdb_limit"] = port.fdb_limit;
    if (port.kind == PortKind::vhost_user) {
        json["path"] = port.vhost.path;
        json["mode"] = port.vhost.server ? "server" : "client";
        if (port.vhost.mode) json["socket_mode"] = octal(*port.vhost.mode);
        if (port.vhost.owner) json["socket_owner"] = *port.vhost.owner;
        if (port.vhost.group) json["socket_group"] = *port.vhost.group;
    }
    if (port.kind == PortKind::tap) {
        json["ifname"] = port.tap.ifname;
        if (!port.tap.netns.empty()) json["netns"] = port.tap.netns;
        if (port.tap.netns_inode != 0) json["netns_inode"] = Json::UInt64(port.tap.netns_inode);
    }
    return json;
}

std::optional<Port> port_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    const auto faults_before = faults.size();
    ObjectReader reader(json, where, faults);
    Port port;
    const auto name = read_name(reader, "name", true);
    const auto kind = reader.choice("kind", {"vhost-user", "tap"});
    if (reader.valid() && !kind && faults.size() == faults_before)
        reader.fault("kind", "is required: \"vhost-user\" or \"tap\"");
    if (const auto bridge = read_name(reader, "bridge", false)) port.bridge = *bridge;
    if (const auto up = reader.boolean("up")) port.up = *up;
    set_integer(reader, "mtu", kMtuLeast, kMtuMost, port.mtu);
    set_integer(reader, "queues", 1, 16, port.queues);
    port.mac = read_mac(reader, "mac");
    if (const auto* vlan = reader.object("vlan")) port.vlan = read_vlan(*vlan, reader.place("vlan"), faults);
    set_integer(reader, "fdb_limit", 0, 1048576, port.fdb_limit);
    if (kind) {
        port.kind = *kind == 0 ? PortKind::vhost_user : PortKind::tap;
        if (port.kind == PortKind::vhost_user) read_vhost(reader, port.vhost);
        if (port.kind == PortKind::tap) read_tap(reader, port.tap);
        reader.done();
    }
    if (!name || !kind) return std::nullopt;
    port.name = *name;
    return port;
}

Json::Value to_json(const FdbEntry& entry) {
    Json::Value json(Json::objectValue);
    json["bridge"] = entry.bridge;
    if (entry.vlan != 0) json["vlan"] = entry.vlan;
    json["mac"] = entry.mac.to_string();
    json["port"] = entry.port;
    return json;
}

std::optional<FdbEntry> fdb_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    auto entry = read_fdb_key(reader);
    const auto port = read_name(reader, "port", true);
    reader.done();
    if (!entry || !port) return std::nullopt;
    entry->port = *port;
    return entry;
}

Json::Value to_json(const Config& config) {
    Json::Value json(Json::objectValue);
    json["bridges"] = Json::arrayValue;
    json["ports"] = Json::arrayValue;
    json["fdb"] = Json::arrayValue;
    for (const auto& [name, bridge] : config.bridges)
        json["bridges"].append(to_json(bridge));
    for (const auto& [name, port] : config.ports)
        json["ports"].append(to_json(port));
    for (const auto& [key, entry] : config.fdb)
        json["fdb"].append(to_json(entry));
    return json;
}

Json::Value to_json(const Change& change) {
    Json::Value json(Json::objectValue);
    json["put"] = to_json(change.put);
    auto& deletes = json["delete"] = Json::objectValue;
    deletes["bridges"] = Json::arrayValue;
    deletes["ports"] = Json::arrayValue;
    deletes["fdb"] = Json::arrayValue;
    for (const auto& name : change.delete_bridges)
        deletes["bridges"].append(name);
    for (const auto& name : change.delete_ports)
        deletes["ports"].append(name);
    for (const auto& [bridge, vlan, mac] : change.delete_fdb) {
        auto entry = to_json(FdbEntry{bridge, vlan, mac, ""});
        entry.removeMember("port");
        deletes["fdb"].append(std::move(entry));
    }
    return json;
}

Config config_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    Config config;
    ObjectReader reader(json, where, faults);
    read_objects(reader, config, faults);
    reader.done();
    return config;
}

Change change_from_json(const Json::Value& json, const std::string& where, Faults& faults,
                        const std::set<std::string>& extra) {
    Change change;
    ObjectReader reader(json, where, faults);
    if (const auto* put = reader.object("put"))
        change.put = config_from_json(*put, reader.place("put"), faults);
    if (const auto* deletes = reader.object("delete"))
        read_deletes(*deletes, reader.place("delete"), change, faults);
    for (const auto& key : extra)
        reader.member(key.c_str());
    reader.done();
    return change;
}

}  // namespace viaduct::model
