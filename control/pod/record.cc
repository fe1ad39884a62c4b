#include "pod/record.h"

#include <algorithm>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/json.h"

namespace viaduct::pod {

const std::vector<store::Migration>& migrations() {
    static const std::vector<store::Migration> steps{{"pod", 1, R"(
        CREATE TABLE attachment (
            network TEXT NOT NULL,
            container TEXT NOT NULL,
            ifname TEXT NOT NULL,
            state INTEGER NOT NULL,
            record TEXT NOT NULL,
            PRIMARY KEY (network, container, ifname)
        ) WITHOUT ROWID;
        CREATE TABLE delegation (
            token TEXT PRIMARY KEY,
            owed TEXT NOT NULL
        ) WITHOUT ROWID;
    )"}};
    return steps;
}

std::string_view to_string(State state) {
    switch (state) {
        case State::adding:
            return "adding";
        case State::ready:
            return "ready";
        case State::removing:
            return "removing";
    }
    return "unknown";
}

namespace {

/// FNV-1a over the parts with their ends marked, then a finisher that spreads every bit (MurmurHash3's). Not
/// a defence: where a clash would matter it is looked for.
std::uint64_t hash(const Key& key, unsigned attempt) {
    std::uint64_t value = 0xcbf29ce484222325U;
    const auto add = [&](unsigned char byte) { value = (value ^ byte) * 0x100000001b3U; };
    for (const auto* part : {&key.network, &key.container, &key.ifname}) {
        for (char c : *part)
            add(static_cast<unsigned char>(c));
        add(0);
    }
    add(static_cast<unsigned char>(attempt));
    value = (value ^ value >> 33U) * 0xff51afd7ed558ccdU;
    value = (value ^ value >> 33U) * 0xc4ceb9fe1a85ec53U;
    return value ^ value >> 33U;
}

std::string hex(std::uint64_t value, int digits) {
    std::string text;
    for (int i = digits - 1; i >= 0; --i)
        text += "0123456789abcdef"[value >> (4 * static_cast<unsigned>(i)) & 15U];
    return text;
}

Json::Value to_json(const Record& record) {
    Json::Value json(Json::objectValue);
    json["request"] = attachment::to_json(record.request);
    json["attached"] = attachment::to_json(record.attached);
    json["ifname"] = record.ifname;
    if (!record.sandbox.empty()) json["sandbox"] = record.sandbox;
    if (record.moved) json["moved"] = true;
    json["segment"] = record.segment;
    json["netns"] = record.netns;
    json["inode"] = Json::UInt64(record.inode);
    json["bound"] = record.bound;
    json["directory"] = record.directory;
    json["boot"] = record.boot;
    json["created"] = Json::Int64(record.created);
    json["generation"] = Json::Int64(record.generation);
    return json;
}

/// Of our own writing: faults mean a damaged store, and the row is told and left alone.
Record from_json(const Json::Value& json, Faults& faults) {
    Record record;
    ObjectReader reader(json, "record", faults);
    if (const auto* request = reader.object("request")) {
        record.request = attachment::request_from_json(*request, "request", faults);
    }
    if (const auto* attached = reader.object("attached")) {
        record.attached = attachment::attached_from_json(*attached, "attached", faults);
    }
    record.ifname = reader.string("ifname").value_or(record.request.key.ifname);
    record.sandbox = reader.string("sandbox").value_or("");
    record.moved = reader.boolean("moved").value_or(false);
    record.segment = reader.string("segment").value_or("");
    record.netns = reader.string("netns").value_or("");
    record.inode = reader.integer("inode", 0, UINT64_MAX).value_or(0);
    record.bound = reader.boolean("bound").value_or(false);
    record.directory = reader.string("directory").value_or("");
    record.boot = reader.string("boot").value_or("");
    record.created = static_cast<std::int64_t>(reader.integer("created", 0, INT64_MAX).value_or(0));
    record.generation = static_cast<std::int64_t>(reader.integer("generation", 0, INT64_MAX).value_or(0));
    return record;
}

}  // namespace

namespace {

/// A socket is used by who may write to it; the directory's permission to search it means nothing for it.
void set_socket_owner(const attachment::VhostUser& from, model::VhostUser& to) {
    constexpr std::uint32_t read_and_write = 0666;
    to.mode = from.permissions.value_or(0660) & read_and_write;
    const auto number = [](const std::string& text) -> std::optional<std::uint32_t> {
        if (text.empty()) return std::nullopt;
        return static_cast<std::uint32_t>(std::stoul(text));  // resolved when the record was made
    };
    to.owner = number(from.owner);
    to.group = number(from.group);
}

}  // namespace

std::string port_name(const Key& key) {
    auto name = key.container.substr(0, 12) + "-" + key.ifname;
    std::replace_if(
        name.begin(), name.end(), [](char c) { return !model::is_name(std::string("a") + c); }, '_');
    return name + "-" + hex(hash(key, 0), 10);
}

std::string short_hash(const std::string& text) {
    return hex(hash({text, "", ""}, 0), 8);
}

MacAddress derived_mac(const Key& key, unsigned attempt) {
    auto mac = MacAddress::from_u64(hash(key, attempt + 1));
    mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & 0xfcU) | 0x02U);
    return mac;
}

std::string alias(const Key& key) {
    return "viaduct:" + port_name(key);
}

std::string segment(const std::string& bridge, const std::optional<model::VlanMembership>& vlan) {
    return bridge + "/" + std::to_string(vlan ? vlan->untagged : model::kDefaultVlan);
}

/// A pod without addresses of ours may have any, but one MAC address.
static model::Guard guard_of(const Record& record) {
    model::Guard guard;
    guard.macs.push_back(record.attached.mac);
    for (const auto& address : record.attached.addresses) {
        const auto& own = address.address.address;
        guard.addresses.push_back({own, static_cast<std::uint8_t>(own.bits())});
    }
    return guard;
}

model::Port port_of(const Record& record) {
    const auto& request = record.request;
    model::Port port;
    port.name = record.attached.port;
    port.kind =
        request.interface == attachment::Interface::tap ? model::PortKind::tap : model::PortKind::vhost_user;
    port.bridge = request.bridge;
    port.mtu = request.mtu;
    port.queues = request.queues;
    port.mac = record.attached.mac;
    port.vlan = request.vlan;
    if (request.guarded) port.guard = guard_of(record);
    port.rx_limit = request.egress;
    port.tx_limit = request.ingress;
    if (port.kind == model::PortKind::tap) {
        port.tap = {record.ifname, record.netns, record.inode};
    } else {
        port.vhost.path = record.attached.socket_path;
        port.vhost.server = !request.vhost.pod_listens;
        if (port.vhost.server) set_socket_owner(request.vhost, port.vhost);
    }
    return port;
}

Json::Value describe(const Record& record) {
    const auto& request = record.request;
    auto json = attachment::to_json(request.key);
    json["interface"] = request.interface == attachment::Interface::tap ? "tap" : "vhost-user";
    json["state"] = std::string(to_string(record.state));
    json["port"] = record.attached.port;
    json["bridge"] = request.bridge;
    json["mac"] = record.attached.mac.to_string();
    json["mtu"] = request.mtu;
    if (request.ingress.rate != 0) json["ingress_rate"] = Json::UInt64(request.ingress.rate);
    if (request.egress.rate != 0) json["egress_rate"] = Json::UInt64(request.egress.rate);
    json["addresses"] = Json::arrayValue;
    for (const auto& address : own_addresses(record))
        json["addresses"].append(attachment::to_json(address));
    json["routes"] = Json::arrayValue;
    for (const auto& route : request.routes)
        json["routes"].append(attachment::to_json(route));
    for (const auto& mapping : request.port_mappings)
        json["port_mappings"].append(attachment::to_json(mapping));
    if (!record.netns.empty()) json["netns"] = record.netns;
    if (!record.attached.socket_path.empty()) {
        json["socket_path"] = record.attached.socket_path;
        json["mode"] = request.vhost.pod_listens ? "server" : "client";
    }
    for (const auto& [name, value] : request.labels)
        json["labels"][name] = value;
    json["pod"] = to_string(pod_of(record));
    for (const auto& [name, value] : request.pod_labels)
        json["pod_labels"][name] = value;
    json["ipam"] = !request.token.empty() ? "delegated" : request.ranges.empty() ? "none" : "viaduct";
    json["created"] = Json::Int64(record.created);
    json["generation"] = Json::Int64(record.generation);
    return json;
}

std::string history_text(const Record& record) {
    return to_json_text(describe(record));
}

std::vector<attachment::Address> own_addresses(const Record& record) {
    auto addresses = record.attached.addresses;
    if (!record.request.routed) return addresses;
    for (auto& [address, gateway] : addresses)
        address.length = static_cast<std::uint8_t>(address.address.bits());
    return addresses;
}

std::string words_for(const Record& record) {
    const auto key = attachment::to_string(record.request.key);
    for (const char* label : {"name", "K8S_POD_NAME"}) {
        const auto found = record.request.labels.find(label);
        if (found != record.request.labels.end()) return found->second + " (" + key + ")";
    }
    return key;
}

Records load(store::Transaction& tx) {
    Records records;
    auto rows = tx.prepare("SELECT network, container, ifname, state, record FROM attachment");
    while (rows.step()) {
        Faults faults;
        Record record;
        try {
            record = from_json(parse_json(rows.text(4), "record"), faults);
        } catch (const Refused& refused) {
            faults = refused.faults();
        }
        const Key key{rows.text(0), rows.text(1), rows.text(2)};
        if (!faults.empty() || record.request.key != key) {
            spdlog::error("attachment {} cannot be read from the store: {}", attachment::to_string(key),
                          viaduct::to_string(faults));
            continue;
        }
        record.state = static_cast<State>(rows.integer(3));
        record.in_dataplane = record.state != State::removing;  // those are not contributed
        records.emplace(key, std::move(record));
    }
    return records;
}

void save(store::Transaction& tx, const Record& record) {
    const auto& key = record.request.key;
    tx.run(
        "INSERT OR REPLACE INTO attachment (network, container, ifname, state, record) VALUES (?, ?, ?, ?, "
        "?)",
        key.network, key.container, key.ifname, record.state, to_json_text(to_json(record)));
}

void set_state(store::Transaction& tx, const Key& key, State state) {
    tx.run("UPDATE attachment SET state = ? WHERE network = ? AND container = ? AND ifname = ?", state,
           key.network, key.container, key.ifname);
}

void erase(store::Transaction& tx, const Key& key) {
    tx.run("DELETE FROM attachment WHERE network = ? AND container = ? AND ifname = ?", key.network,
           key.container, key.ifname);
}

}  // namespace viaduct::pod
