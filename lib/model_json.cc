// The JSON form of bridges and what is on them: every key, its type and its range stand here once, for both
// daemons and the command line.
#include <algorithm>
#include <array>

#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model.h"

#include "model_reading.h"
#include "uplink_json.h"

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
    read_netns(reader, tap.netns);
    set_integer(reader, "netns_inode", 1, UINT64_MAX, tap.netns_inode);
}

void read_vxlan(ObjectReader& reader, Vxlan& vxlan) {
    if (reader.member("vni") == nullptr) reader.fault("vni", "is required for a vxlan port");
    set_integer(reader, "vni", 1, kVniMost, vxlan.vni);
    if (const auto local = read_address(reader, "local", Need::required)) vxlan.local = *local;
    read_vrf(reader, vxlan.vrf);
    for (const auto& text : reader.strings("remotes").value_or(std::vector<std::string>{})) {
        if (const auto remote = IpAddress::parse(text)) {
            vxlan.remotes.push_back(*remote);
        } else {
            reader.fault("remotes", "holds \"" + text + "\", which is not an IP address");
        }
    }
    set_integer(reader, "udp_port", 1, UINT16_MAX, vxlan.udp_port);
    set_integer(reader, "ttl", 1, UINT8_MAX, vxlan.ttl);
    set_boolean(reader, "udp_checksum", vxlan.udp_checksum);
}

void read_kind(ObjectReader& reader, Port& port) {
    switch (port.kind) {
        case PortKind::vhost_user:
            return read_vhost(reader, port.vhost);
        case PortKind::tap:
            return read_tap(reader, port.tap);
        case PortKind::uplink:
            return read_uplink(reader, port.uplink);
        case PortKind::vxlan:
            return read_vxlan(reader, port.vxlan);
        case PortKind::wire:
            return;
    }
}

void write_vhost(Json::Value& json, const VhostUser& vhost) {
    json["path"] = vhost.path;
    json["mode"] = vhost.server ? "server" : "client";
    if (vhost.mode) json["socket_mode"] = octal(*vhost.mode);
    if (vhost.owner) json["socket_owner"] = *vhost.owner;
    if (vhost.group) json["socket_group"] = *vhost.group;
}

void write_tap(Json::Value& json, const Tap& tap) {
    json["ifname"] = tap.ifname;
    if (!tap.netns.empty()) json["netns"] = tap.netns;
    if (tap.netns_inode != 0) json["netns_inode"] = Json::UInt64(tap.netns_inode);
}

void write_vxlan(Json::Value& json, const Vxlan& vxlan) {
    json["vni"] = vxlan.vni;
    json["local"] = vxlan.local.to_string();
    json["vrf"] = vxlan.vrf;
    auto& remotes = json["remotes"] = Json::arrayValue;
    for (const auto& remote : vxlan.remotes)
        remotes.append(remote.to_string());
    json["udp_port"] = vxlan.udp_port;
    json["ttl"] = vxlan.ttl;
    json["udp_checksum"] = vxlan.udp_checksum;
}

/// In the order of the words that reading accepts.
constexpr std::array kKindsByWord{PortKind::vhost_user, PortKind::tap, PortKind::uplink, PortKind::vxlan};

}  // namespace

Json::Value to_json(const Bridge& bridge) {
    Json::Value json(Json::objectValue);
    json["name"] = bridge.name;
    if (bridge.wire) json["wire"] = true;
    json["vlan_filtering"] = bridge.vlan_filtering;
    json["learning"] = bridge.learning;
    json["ageing_seconds"] = bridge.ageing_seconds;
    json["fdb_size"] = bridge.fdb_size;
    return json;
}

std::optional<Bridge> bridge_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Bridge bridge;
    const auto name = read_name(reader, "name", Need::required);
    set_boolean(reader, "wire", bridge.wire);
    set_boolean(reader, "vlan_filtering", bridge.vlan_filtering);
    set_boolean(reader, "learning", bridge.learning);
    set_integer(reader, "ageing_seconds", 10, 1000000, bridge.ageing_seconds);
    set_integer(reader, "fdb_size", 64, 1048576, bridge.fdb_size);
    reader.done();
    if (!name) return std::nullopt;
    bridge.name = *name;
    return bridge;
}

namespace {

Json::Value guard_to_json(const Guard& guard) {
    Json::Value json(Json::objectValue);
    for (const auto& mac : guard.macs)
        json["macs"].append(mac.to_string());
    for (const auto& prefix : guard.addresses)
        json["addresses"].append(prefix.to_string());
    return json;
}

Guard read_guard(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Guard guard;
    for (const auto& text : reader.strings("macs", kGuardMost).value_or(std::vector<std::string>())) {
        const auto mac = MacAddress::parse(text);
        if (mac && !mac->is_multicast() && !mac->is_zero()) {
            guard.macs.push_back(*mac);
        } else {
            reader.fault("macs", "has \"" + text + "\", which is no unicast MAC address");
        }
    }
    for (const auto& text : reader.strings("addresses", kGuardMost).value_or(std::vector<std::string>())) {
        if (const auto prefix = network_from(reader, "addresses", text)) guard.addresses.push_back(*prefix);
    }
    if (reader.valid() && guard.macs.empty())
        reader.fault("macs", "is required: the MAC addresses from which alone the port may send");
    reader.done();
    return guard;
}

void write_limit(Json::Value& json, const std::string& way, const RateLimit& limit) {
    if (limit.rate == 0) return;
    json[way + "_rate"] = Json::UInt64(limit.rate);
    if (limit.burst != 0) json[way + "_burst"] = limit.burst;
}

/// "rx_rate" (bits a second, 0: none) and "rx_burst" (bytes), or of "tx".
void read_limit(ObjectReader& reader, const std::string& way, RateLimit& limit) {
    const auto rate = way + "_rate";
    limit.rate = reader.integer(rate.c_str(), 0, kRateMost).value_or(0);
    if (limit.rate != 0 && limit.rate < kRateLeast)
        reader.fault(rate.c_str(), "is " + std::to_string(limit.rate) + " bits a second; the least is " +
                                       std::to_string(kRateLeast) + ", and 0 is no limit");
    set_integer(reader, (way + "_burst").c_str(), 0, kBurstMost, limit.burst);
    if (limit.rate == 0) limit.burst = 0;
}

}  // namespace

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
    if (port.guard) json["guard"] = guard_to_json(*port.guard);
    if (!port.host.empty()) json["host"] = port.host;
    write_limit(json, "rx", port.rx_limit);
    write_limit(json, "tx", port.tx_limit);
    if (port.kind == PortKind::vhost_user) write_vhost(json, port.vhost);
    if (port.kind == PortKind::tap) write_tap(json, port.tap);
    if (port.kind == PortKind::uplink) write_uplink(json, port.uplink);
    if (port.kind == PortKind::vxlan) write_vxlan(json, port.vxlan);
    return json;
}

std::optional<Port> port_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    const auto faults_before = faults.size();
    ObjectReader reader(json, where, faults);
    Port port;
    const auto name = read_name(reader, "name", Need::required);
    const auto kind = reader.choice("kind", {"vhost-user", "tap", "uplink", "vxlan"});
    if (reader.valid() && !kind && faults.size() == faults_before)
        reader.fault("kind", "is required: \"vhost-user\", \"tap\", \"uplink\" or \"vxlan\"");
    if (const auto bridge = read_name(reader, "bridge", Need::optional)) port.bridge = *bridge;
    set_boolean(reader, "up", port.up);
    set_integer(reader, "mtu", kMtuLeast, kMtuMost, port.mtu);
    set_integer(reader, "queues", 1, 16, port.queues);
    port.mac = read_mac(reader, "mac", Need::optional);
    if (const auto* vlan = reader.object("vlan")) port.vlan = read_vlan(*vlan, reader.place("vlan"), faults);
    set_integer(reader, "fdb_limit", 0, 1048576, port.fdb_limit);
    if (const auto* guard = reader.object("guard"))
        port.guard = read_guard(*guard, reader.place("guard"), faults);
    read_limit(reader, "rx", port.rx_limit);
    read_limit(reader, "tx", port.tx_limit);
    if (kind) {
        port.kind = kKindsByWord.at(*kind);
        if (port.kind == PortKind::tap) {
            if (const auto host = read_name(reader, "host", Need::optional)) port.host = *host;
        }
        if (port.kind == PortKind::vxlan && (port.rx_limit.rate != 0 || port.tx_limit.rate != 0))
            reader.fault(port.rx_limit.rate != 0 ? "rx_rate" : "tx_rate",
                         "is not for a tunnel's end; limit the port that its packets leave by");
        read_kind(reader, port);
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
    if (entry.remote) json["remote"] = entry.remote->to_string();
    return json;
}

std::optional<FdbEntry> fdb_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    FdbEntry entry;
    const auto bridge = read_name(reader, "bridge", Need::required);
    const auto mac = read_mac(reader, "mac", Need::required);
    set_integer(reader, "vlan", 0, kVlanLast, entry.vlan);
    const auto port = read_name(reader, "port", Need::required);
    entry.remote = read_address(reader, "remote", Need::optional);
    reader.done();
    if (!bridge || !mac || !port) return std::nullopt;
    entry.bridge = *bridge;
    entry.mac = *mac;
    entry.port = *port;
    return entry;
}

}  // namespace viaduct::model
