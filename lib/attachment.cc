// Attachments in JSON: between the plugin and control, and in control's store.
#include "viaduct/attachment.h"

#include <algorithm>
#include <functional>

#include <json/json.h>

#include "viaduct/json.h"

namespace viaduct::attachment {

bool is_identifier(std::string_view text) {
    const auto alphanumeric = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    if (text.empty() || !alphanumeric(text[0])) return false;
    return std::all_of(text.begin(), text.end(),
                       [&](char c) { return alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

std::string to_string(const Key& key) {
    return key.network + "/" + key.container + "/" + key.ifname;
}

std::string to_string(const Range& range) {
    return range.first.to_string() + "-" + range.last.to_string();
}

namespace {

// Reading: text that must parse as something.

template <typename T>
std::optional<T> parsed(ObjectReader& reader, const char* key, const char* example) {
    const auto text = reader.string(key);
    if (!text) return std::nullopt;
    const auto value = T::parse(*text);
    if (!value) reader.fault(key, std::string("is not of the form ") + example);
    return value;
}

std::optional<IpAddress> read_ip(ObjectReader& reader, const char* key) {
    return parsed<IpAddress>(reader, key, "10.0.0.1 or fd00::1");
}

std::optional<Prefix> read_prefix(ObjectReader& reader, const char* key) {
    return parsed<Prefix>(reader, key, "10.0.0.0/24 or fd00::/64");
}

std::optional<MacAddress> read_mac(ObjectReader& reader, const char* key) {
    const auto mac = parsed<MacAddress>(reader, key, "02:00:00:00:00:01");
    if (!mac || (!mac->is_multicast() && !mac->is_zero())) return mac;
    reader.fault(key, "must be a unicast MAC address that is not all zero");
    return std::nullopt;
}

void read_number(ObjectReader& reader, const char* key, std::optional<std::uint32_t>& into) {
    if (const auto value = reader.integer(key, 0, UINT32_MAX)) into = static_cast<std::uint32_t>(*value);
}

template <typename T>
void read_texts(ObjectReader& reader, const char* key, std::vector<T>& into) {
    for (const auto& text : reader.strings(key, kListMost).value_or(std::vector<std::string>{})) {
        if (const auto value = T::parse(text)) {
            into.push_back(*value);
        } else {
            reader.fault(key,
                         "holds \"" + text.substr(0, 64) + "\", which is not an address of the right form");
        }
    }
}

template <typename T>
void read_list(ObjectReader& reader, const char* key, Faults& faults, std::vector<T>& into,
               const std::function<T(const Json::Value&, const std::string&, Faults&)>& read,
               std::size_t most = kListMost) {
    const auto* list = reader.array(key, most);
    if (list == nullptr) return;
    for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
        into.push_back(read((*list)[i], reader.place(key) + "/" + std::to_string(i), faults));
    }
}

template <typename T>
Json::Value list_to_json(const std::vector<T>& list) {
    Json::Value json(Json::arrayValue);
    for (const auto& item : list)
        json.append(to_json(item));
    return json;
}

Json::Value texts_to_json(const std::vector<std::string>& list) {
    Json::Value json(Json::arrayValue);
    for (const auto& item : list)
        json.append(item);
    return json;
}

void put_texts(Json::Value& json, const char* key, const std::vector<std::string>& list) {
    if (!list.empty()) json[key] = texts_to_json(list);
}

template <typename T>
void put_strings(Json::Value& json, const char* key, const std::vector<T>& list) {
    if (list.empty()) return;
    json[key] = Json::arrayValue;
    for (const auto& item : list)
        json[key].append(item.to_string());
}

void put_text(Json::Value& json, const char* key, const std::string& text) {
    if (!text.empty()) json[key] = text;
}

void put_number(Json::Value& json, const char* key, const std::optional<std::uint32_t>& number) {
    if (number) json[key] = *number;
}

Range range_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Range range;
    const auto subnet = read_prefix(reader, "subnet");
    const auto first = read_ip(reader, "first");
    const auto last = read_ip(reader, "last");
    range.gateway = read_ip(reader, "gateway");
    reader.done();
    if (!subnet || !first || !last) {
        faults.push_back({where, "needs subnet, first and last"});
        return range;
    }
    range.subnet = *subnet;
    range.first = *first;
    range.last = *last;
    if (!subnet->contains(*first) || !subnet->contains(*last) || *last < *first) {
        faults.push_back({where, to_string(range) + " is not a range inside " + subnet->to_string()});
    }
    return range;
}

void read_ranges(ObjectReader& reader, Faults& faults, std::vector<RangeSet>& sets) {
    const auto* list = reader.array("ranges", kSetsMost);
    if (list == nullptr) return;
    for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
        const auto where = reader.place("ranges") + "/" + std::to_string(i);
        const auto& set = (*list)[i];
        if (!set.isArray() || set.empty() || set.size() > kRangesMost) {
            faults.push_back({where, "must be an array of 1 to " + std::to_string(kRangesMost) + " ranges"});
            continue;
        }
        RangeSet ranges;
        for (Json::ArrayIndex k = 0; k < set.size(); ++k) {
            ranges.push_back(range_from_json(set[k], where + "/" + std::to_string(k), faults));
        }
        sets.push_back(std::move(ranges));
    }
}

Json::Value to_json(const VhostUser& vhost) {
    Json::Value json(Json::objectValue);
    json["pod_listens"] = vhost.pod_listens;
    put_text(json, "directory", vhost.directory);
    put_text(json, "owner", vhost.owner);
    put_text(json, "group", vhost.group);
    put_number(json, "permissions", vhost.permissions);
    return json;
}

VhostUser vhost_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    VhostUser vhost;
    vhost.pod_listens = reader.boolean("pod_listens").value_or(true);
    vhost.directory = reader.string("directory").value_or("");
    if (!vhost.directory.empty() && vhost.directory[0] != '/')
        reader.fault("directory", "must be an absolute path");
    vhost.owner = reader.string("owner", 64).value_or("");
    vhost.group = reader.string("group", 64).value_or("");
    if (const auto mode = reader.integer("permissions", 0, 0777))
        vhost.permissions = static_cast<std::uint32_t>(*mode);
    reader.done();
    return vhost;
}

Json::Value vlan_to_json(const model::VlanMembership& vlan) {
    Json::Value json(Json::objectValue);
    json["untagged"] = vlan.untagged;
    json["tagged"] = Json::arrayValue;
    for (const auto& range : vlan.tagged)
        json["tagged"].append(model::to_string(range));
    return json;
}

model::VlanMembership vlan_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    model::VlanMembership vlan;
    vlan.untagged = static_cast<std::uint16_t>(reader.integer("untagged", 0, model::kVlanLast).value_or(0));
    for (const auto& text : reader.strings("tagged").value_or(std::vector<std::string>{})) {
        if (const auto range = model::parse_vlan_range(text)) {
            vlan.tagged.push_back(*range);
        } else {
            reader.fault("tagged",
                         "holds \"" + text.substr(0, 64) + "\"; VLANs are written \"10\" or \"20-29\"");
        }
    }
    reader.done();
    return vlan;
}

Address address_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Address address;
    if (const auto prefix = read_prefix(reader, "address")) {
        address.address = *prefix;
    } else {
        reader.fault("address", "is required");
    }
    address.gateway = read_ip(reader, "gateway");
    reader.done();
    return address;
}

Route route_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Route route;
    if (const auto prefix = read_prefix(reader, "destination")) {
        route.destination = *prefix;
    } else {
        reader.fault("destination", "is required");
    }
    route.gateway = read_ip(reader, "gateway");
    if (route.gateway && route.gateway->is_v4() != route.destination.address.is_v4()) {
        reader.fault("gateway", "is of another family than the destination");
    }
    read_number(reader, "mtu", route.mtu);
    read_number(reader, "advmss", route.advmss);
    read_number(reader, "priority", route.priority);
    read_number(reader, "table", route.table);
    read_number(reader, "scope", route.scope);
    reader.done();
    return route;
}

Dns dns_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    const std::vector<std::string> none;
    Dns dns;
    dns.nameservers = reader.strings("nameservers", kListMost).value_or(none);
    dns.domain = reader.string("domain").value_or("");
    dns.search = reader.strings("search", kListMost).value_or(none);
    dns.options = reader.strings("options", kListMost).value_or(none);
    reader.done();
    return dns;
}

void read_key(ObjectReader& reader, Key& key) {
    key.network = reader.string("network", kNetworkMost).value_or("");
    key.container = reader.string("container", kContainerMost).value_or("");
    key.ifname = reader.string("ifname").value_or("");
    if (!is_identifier(key.network))
        reader.fault("network", "must begin with a letter or digit and hold only those, '_', '.' and '-'");
    if (!is_identifier(key.container))
        reader.fault("container", "must begin with a letter or digit and hold only those, '_', '.' and '-'");
    if (!model::is_interface_name(key.ifname))
        reader.fault("ifname", "is not a name that an interface can have");
}

/// "ingress_rate" (bits a second) and "ingress_burst" (bytes), or of "egress".
void put_limit(Json::Value& json, const std::string& way, const model::RateLimit& limit) {
    if (limit.rate == 0) return;
    json[way + "_rate"] = Json::UInt64(limit.rate);
    if (limit.burst != 0) json[way + "_burst"] = limit.burst;
}

void read_limit(ObjectReader& reader, const std::string& way, model::RateLimit& limit) {
    limit.rate = reader.integer((way + "_rate").c_str(), model::kRateLeast, model::kRateMost).value_or(0);
    limit.burst = static_cast<std::uint32_t>(
        reader.integer((way + "_burst").c_str(), 0, model::kBurstMost).value_or(0));
}

void put_key(Json::Value& json, const Key& key) {
    json["network"] = key.network;
    json["container"] = key.container;
    json["ifname"] = key.ifname;
}

void read_labels(ObjectReader& reader, std::map<std::string, std::string>& labels) {
    const auto* members = reader.object("labels");
    if (members == nullptr) return;
    for (const auto& name : members->getMemberNames()) {
        if ((*members)[name].isString()) labels[name] = (*members)[name].asString();
    }
}

void read_port(ObjectReader& reader, Faults& faults, Request& request) {
    const auto interface = reader.choice("interface", {"tap", "vhost-user"});
    request.interface = interface.value_or(0) == 0 ? Interface::tap : Interface::vhost_user;
    request.netns = reader.string("netns").value_or("");
    request.bridge = reader.string("bridge").value_or("");
    if (!model::is_name(request.bridge)) reader.fault("bridge", "is not a name that a bridge can have");
    if (const auto* vlan = reader.object("vlan"))
        request.vlan = vlan_from_json(*vlan, reader.place("vlan"), faults);
    request.mtu =
        static_cast<std::uint32_t>(reader.integer("mtu", model::kMtuLeast, model::kMtuMost).value_or(1500));
    request.queues = static_cast<std::uint16_t>(reader.integer("queues", 1, 16).value_or(1));
    request.up = reader.boolean("up").value_or(true);
    request.detect_duplicates = reader.boolean("detect_duplicates").value_or(false);
    request.mac = read_mac(reader, "mac");
    if (const auto* vhost = reader.object("vhost"))
        request.vhost = vhost_from_json(*vhost, reader.place("vhost"), faults);
}

}  // namespace

Json::Value to_json(const Key& key) {
    Json::Value json(Json::objectValue);
    put_key(json, key);
    return json;
}

Key key_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Key key;
    if (reader.valid()) read_key(reader, key);
    reader.done();
    return key;
}

Json::Value to_json(const Range& range) {
    Json::Value json(Json::objectValue);
    json["subnet"] = range.subnet.to_string();
    json["first"] = range.first.to_string();
    json["last"] = range.last.to_string();
    if (range.gateway) json["gateway"] = range.gateway->to_string();
    return json;
}

Json::Value to_json(const Address& address) {
    Json::Value json(Json::objectValue);
    json["address"] = address.address.to_string();
    if (address.gateway) json["gateway"] = address.gateway->to_string();
    return json;
}

Json::Value to_json(const Route& route) {
    Json::Value json(Json::objectValue);
    json["destination"] = route.destination.to_string();
    if (route.gateway) json["gateway"] = route.gateway->to_string();
    put_number(json, "mtu", route.mtu);
    put_number(json, "advmss", route.advmss);
    put_number(json, "priority", route.priority);
    put_number(json, "table", route.table);
    put_number(json, "scope", route.scope);
    return json;
}

Json::Value to_json(const Dns& dns) {
    Json::Value json(Json::objectValue);
    put_texts(json, "nameservers", dns.nameservers);
    put_text(json, "domain", dns.domain);
    put_texts(json, "search", dns.search);
    put_texts(json, "options", dns.options);
    return json;
}

PortMapping port_mapping_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    PortMapping mapping;
    const auto port = [&](const char* key) {
        return static_cast<std::uint16_t>(reader.integer(key, 1, UINT16_MAX).value_or(1));
    };
    const auto protocol = reader.choice("protocol", {"tcp", "udp", "sctp"}).value_or(0);
    mapping.protocol =
        std::array{model::Transport::tcp, model::Transport::udp, model::Transport::sctp}.at(protocol);
    mapping.host_address = read_ip(reader, "host_address");
    mapping.host_port = port("host_port");
    mapping.container_port = port("container_port");
    mapping.count = port("count");
    if (std::max(mapping.host_port, mapping.container_port) + mapping.count - 1 > UINT16_MAX)
        reader.fault("count", "is " + std::to_string(mapping.count) + ": the last port would be above 65535");
    reader.done();
    return mapping;
}

Json::Value to_json(const PortMapping& mapping) {
    Json::Value json(Json::objectValue);
    json["protocol"] = std::string(model::to_string(mapping.protocol));
    if (mapping.host_address) json["host_address"] = mapping.host_address->to_string();
    json["host_port"] = mapping.host_port;
    json["container_port"] = mapping.container_port;
    if (mapping.count != 1) json["count"] = mapping.count;
    return json;
}

Json::Value to_json(const Request& request) {
    Json::Value json(Json::objectValue);
    put_key(json, request.key);
    json["interface"] = request.interface == Interface::tap ? "tap" : "vhost-user";
    put_text(json, "netns", request.netns);
    json["bridge"] = request.bridge;
    if (request.vlan) json["vlan"] = vlan_to_json(*request.vlan);
    json["mtu"] = request.mtu;
    json["queues"] = request.queues;
    json["up"] = request.up;
    json["detect_duplicates"] = request.detect_duplicates;
    if (request.mac) json["mac"] = request.mac->to_string();
    if (request.interface == Interface::vhost_user) json["vhost"] = to_json(request.vhost);
    for (const auto& set : request.ranges)
        json["ranges"].append(list_to_json(set));
    put_strings(json, "exclude", request.exclude);
    put_strings(json, "requested", request.requested);
    if (!request.addresses.empty()) json["addresses"] = list_to_json(request.addresses);
    put_text(json, "token", request.token);
    if (!request.routes.empty()) json["routes"] = list_to_json(request.routes);
    if (request.gateway) json["gateway"] = true;
    if (request.default_gateway) json["default_gateway"] = true;
    if (request.masquerade) json["masquerade"] = true;
    if (request.routed) json["routed"] = true;
    if (request.handed_over) json["handed_over"] = true;
    if (request.goes_with_namespace) json["goes_with_namespace"] = true;
    for (const auto& mapping : request.port_mappings)
        json["port_mappings"].append(to_json(mapping));
    if (request.wire) json["wire"] = true;
    if (!request.guarded) json["guarded"] = false;
    if (!request.isolated) json["isolated"] = false;
    put_limit(json, "ingress", request.ingress);
    put_limit(json, "egress", request.egress);
    if (!request.dns.empty()) json["dns"] = to_json(request.dns);
    put_text(json, "device_id", request.device_id);
    put_text(json, "device_info_file", request.device_info_file);
    for (const auto& [name, value] : request.labels)
        json["labels"][name] = value;
    for (const auto& [name, value] : request.pod_labels)
        json["pod_labels"][name] = value;
    put_texts(json, "unknown_keys", request.unknown_keys);
    return json;
}

Labels pod_labels_from_json(ObjectReader& reader, const char* key) {
    Labels labels;
    const auto* members = reader.object(key);
    if (members == nullptr) return labels;
    if (members->size() > kLabelsMost) {
        reader.fault(key, "are " + std::to_string(members->size()) + " labels; at most " +
                              std::to_string(kLabelsMost) + " are possible");
        return labels;
    }
    for (const auto& name : members->getMemberNames()) {
        const auto& value = (*members)[name];
        const auto fault =
            value.isString() ? label_fault(name, value.asString()) : std::string("must be an object of text");
        if (fault.empty()) {
            labels[name] = value.asString();
        } else {
            reader.fault(key, fault);
        }
    }
    return labels;
}

Request request_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Request request;
    if (!reader.valid()) return request;
    read_key(reader, request.key);
    read_port(reader, faults, request);
    read_ranges(reader, faults, request.ranges);
    read_texts(reader, "exclude", request.exclude);
    read_texts(reader, "requested", request.requested);
    read_list<Address>(reader, "addresses", faults, request.addresses, address_from_json);
    request.token = reader.string("token", 64).value_or("");
    read_list<Route>(reader, "routes", faults, request.routes, route_from_json);
    request.gateway = reader.boolean("gateway").value_or(false);
    request.default_gateway = reader.boolean("default_gateway").value_or(false);
    request.masquerade = reader.boolean("masquerade").value_or(false);
    request.routed = reader.boolean("routed").value_or(false);
    request.handed_over = reader.boolean("handed_over").value_or(false);
    request.goes_with_namespace = reader.boolean("goes_with_namespace").value_or(false);
    read_list<PortMapping>(reader, "port_mappings", faults, request.port_mappings, port_mapping_from_json);
    request.wire = reader.boolean("wire").value_or(false);
    request.guarded = reader.boolean("guarded").value_or(true);
    request.isolated = reader.boolean("isolated").value_or(true);
    read_limit(reader, "ingress", request.ingress);
    read_limit(reader, "egress", request.egress);
    if (const auto* dns = reader.object("dns"))
        request.dns = dns_from_json(*dns, reader.place("dns"), faults);
    request.device_id = reader.string("device_id").value_or("");
    request.device_info_file = reader.string("device_info_file").value_or("");
    if (!request.device_info_file.empty() && request.device_info_file[0] != '/') {
        reader.fault("device_info_file", "must be an absolute path");
    }
    read_labels(reader, request.labels);
    request.pod_labels = pod_labels_from_json(reader, "pod_labels");
    request.unknown_keys = reader.strings("unknown_keys").value_or(std::vector<std::string>{});
    reader.done();
    return request;
}

Json::Value to_json(const Attached& attached) {
    Json::Value json(Json::objectValue);
    json["port"] = attached.port;
    json["mac"] = attached.mac.to_string();
    json["mtu"] = attached.mtu;
    json["addresses"] = list_to_json(attached.addresses);
    put_text(json, "socket_path", attached.socket_path);
    return json;
}

Attached attached_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Attached attached;
    attached.port = reader.string("port").value_or("");
    attached.mac = read_mac(reader, "mac").value_or(MacAddress{});
    attached.mtu = static_cast<std::uint32_t>(reader.integer("mtu", 0, UINT32_MAX).value_or(0));
    read_list<Address>(reader, "addresses", faults, attached.addresses, address_from_json);
    attached.socket_path = reader.string("socket_path").value_or("");
    reader.done();
    return attached;
}

Json::Value to_json(const Expected& expected) {
    Json::Value json = to_json(expected.key);
    if (expected.mac) json["mac"] = expected.mac->to_string();
    put_strings(json, "addresses", expected.addresses);
    return json;
}

Expected expected_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Expected expected;
    if (!reader.valid()) return expected;
    read_key(reader, expected.key);
    expected.mac = read_mac(reader, "mac");
    read_texts(reader, "addresses", expected.addresses);
    reader.done();
    return expected;
}

Json::Value to_json(const Delegation& delegation) {
    Json::Value json(Json::objectValue);
    json["type"] = delegation.type;
    json["input"] = delegation.input;
    put_text(json, "netns", delegation.netns);
    put_text(json, "args", delegation.args);
    put_text(json, "path", delegation.path);
    return json;
}

Delegation delegation_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Delegation delegation;
    delegation.type = reader.string("type").value_or("");
    if (delegation.type.empty() || delegation.type.find('/') != std::string::npos) {
        reader.fault("type", "must be a plugin's name without '/'");
    }
    delegation.input = reader.string("input", 1U << 20U).value_or("");
    delegation.netns = reader.string("netns").value_or("");
    delegation.args = reader.string("args", 64U << 10U).value_or("");
    delegation.path = reader.string("path", 64U << 10U).value_or("");
    reader.done();
    return delegation;
}

Json::Value to_json(const Owed& owed) {
    Json::Value json = to_json(owed.key);
    json["token"] = owed.token;
    json["delegation"] = to_json(owed.delegation);
    return json;
}

Owed owed_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    ObjectReader reader(json, where, faults);
    Owed owed;
    if (!reader.valid()) return owed;
    read_key(reader, owed.key);
    owed.token = reader.string("token", 64).value_or("");
    if (const auto* delegation = reader.object("delegation")) {
        owed.delegation = delegation_from_json(*delegation, reader.place("delegation"), faults);
    }
    reader.done();
    return owed;
}

}  // namespace viaduct::attachment
