// Whole configurations and changes as JSON, over the list of kinds.
#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model.h"
#include "viaduct/model_kinds.h"

#include "model_reading.h"

namespace viaduct::model {

namespace {

Json::Value part_json(const std::string& name) {
    return name;
}
Json::Value part_json(std::uint16_t vlan) {
    return vlan;
}
template <typename Address>
Json::Value part_json(const Address& address) {
    return address.to_string();
}

/// Parts of a key in a "delete" list. A VRF or VLAN that is not given is the default, as in the object
/// itself.
bool read_part(ObjectReader& reader, const char* member, std::string& name) {
    const bool is_vrf = std::string_view(member) == "vrf";
    auto read = read_name(reader, member, is_vrf ? Need::optional : Need::required);
    if (!read && is_vrf && reader.member(member) == nullptr) read = kDefaultVrf;
    if (read) name = std::move(*read);
    return read.has_value();
}
bool read_part(ObjectReader& reader, const char* member, std::uint16_t& vlan) {
    set_integer(reader, member, 0, kVlanLast, vlan);
    return true;
}
template <typename T>
bool keep(const std::optional<T>& read, T& into) {
    if (read) into = *read;
    return read.has_value();
}
bool read_part(ObjectReader& reader, const char* member, MacAddress& mac) {
    return keep(read_mac(reader, member, Need::required), mac);
}
bool read_part(ObjectReader& reader, const char* member, IpAddress& address) {
    return keep(read_address(reader, member, Need::required), address);
}
bool read_part(ObjectReader& reader, const char* member, Prefix& prefix) {
    return keep(read_network(reader, member, Need::required), prefix);
}

template <typename KindType>
void read_objects(ObjectReader& reader, const KindType& kind, Config& config, Faults& faults) {
    const auto* list = reader.array(kind.name);
    if (list == nullptr) return;
    auto& objects = config.*kind.objects;
    const auto place = reader.place(kind.name) + "/";
    for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
        const auto where = place + std::to_string(i);
        auto object = kind.read((*list)[i], where, faults);
        if (!object) continue;
        const auto key = key_of(*object);
        if (!objects.emplace(key, std::move(*object)).second)
            faults.push_back({where, "is the second of " + place_of(kind, key) + " in this list"});
    }
}

template <typename KindType>
std::optional<typename KindType::Key> read_key(const KindType& kind, const Json::Value& json,
                                               const std::string& where, Faults& faults) {
    typename KindType::Key key;
    if constexpr (KindType::kParts == 1) {
        if (json.isString() && is_name(json.asString())) return json.asString();
        faults.push_back({where, std::string("must be the name of a ") + kind.noun});
        return std::nullopt;
    } else {
        ObjectReader reader(json, where, faults);
        bool whole = reader.valid();
        std::apply(
            [&](auto&... part) {
                std::size_t i = 0;
                ((whole = read_part(reader, kind.members[i++], part) && whole), ...);
            },
            key);
        reader.done();
        return whole ? std::optional(std::move(key)) : std::nullopt;
    }
}

template <typename KindType>
void read_deletes(ObjectReader& reader, const KindType& kind, Change& change, Faults& faults) {
    const auto* list = reader.array(kind.name);
    if (list == nullptr) return;
    auto& deleted = change.*kind.deleted;
    for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
        const auto where = reader.place(kind.name) + "/" + std::to_string(i);
        const auto key = read_key(kind, (*list)[i], where, faults);
        if (key && !deleted.insert(*key).second)
            faults.push_back({where, "names " + place_of(kind, *key) + " a second time"});
    }
}

template <typename KindType>
Json::Value key_json(const KindType& kind, const typename KindType::Key& key) {
    if constexpr (KindType::kParts == 1) {
        return key;
    } else {
        Json::Value json(Json::objectValue);
        std::size_t i = 0;
        std::apply([&](const auto&... part) { ((json[kind.members[i++]] = part_json(part)), ...); }, key);
        return json;
    }
}

std::map<std::string, std::uint32_t> read_timeouts(const Json::Value& json, const std::string& where,
                                                   Faults& faults) {
    std::map<std::string, std::uint32_t> timeouts;
    ObjectReader reader(json, where, faults);
    for (const auto& timeout : kTimeouts) {
        if (const auto seconds = reader.integer(timeout.name, 1, kTimeoutMost))
            timeouts[timeout.name] = static_cast<std::uint32_t>(*seconds);
    }
    reader.done();
    return timeouts;
}

/// All that stands in {"bridges": [...], ..., "timeouts": {...}}, as a change that puts it.
void read_puts(const Json::Value& json, const std::string& where, Change& change, Faults& faults) {
    ObjectReader reader(json, where, faults);
    for_each_kind([&](const auto& kind) { read_objects(reader, kind, change.put, faults); });
    if (const auto* timeouts = reader.object("timeouts"))
        change.put_timeouts = read_timeouts(*timeouts, reader.place("timeouts"), faults);
    reader.done();
}

}  // namespace

Json::Value to_json(const FlowTimeouts& timeouts) {
    Json::Value json(Json::objectValue);
    for (const auto& timeout : kTimeouts)
        json[timeout.name] = timeouts.*timeout.seconds;
    return json;
}

Json::Value to_json(const Config& config) {
    Json::Value json(Json::objectValue);
    for_each_kind([&](const auto& kind) {
        auto& list = json[kind.name] = Json::arrayValue;
        for (const auto& [key, object] : config.*kind.objects)
            list.append(to_json(object));
    });
    json["timeouts"] = to_json(config.timeouts);
    return json;
}

Json::Value to_json(const Change& change) {
    Json::Value json(Json::objectValue);
    auto& put = json["put"] = to_json(change.put);
    auto& timeouts = put["timeouts"] = Json::objectValue;
    for (const auto& [name, seconds] : change.put_timeouts)
        timeouts[name] = seconds;
    auto& deletes = json["delete"] = Json::objectValue;
    for_each_kind([&](const auto& kind) {
        auto& list = deletes[kind.name] = Json::arrayValue;
        for (const auto& key : change.*kind.deleted)
            list.append(key_json(kind, key));
    });
    return json;
}

Config config_from_json(const Json::Value& json, const std::string& where, Faults& faults) {
    Change change;
    read_puts(json, where, change, faults);
    for (const auto& timeout : kTimeouts) {
        const auto put = change.put_timeouts.find(timeout.name);
        if (put != change.put_timeouts.end()) change.put.timeouts.*timeout.seconds = put->second;
    }
    return std::move(change.put);
}

Change change_from_json(const Json::Value& json, const std::string& where, Faults& faults,
                        const std::set<std::string>& extra) {
    Change change;
    ObjectReader reader(json, where, faults);
    if (const auto* put = reader.object("put")) read_puts(*put, reader.place("put"), change, faults);
    if (const auto* deletes = reader.object("delete")) {
        ObjectReader inner(*deletes, reader.place("delete"), faults);
        for_each_kind([&](const auto& kind) { read_deletes(inner, kind, change, faults); });
        inner.done();
    }
    for (const auto& key : extra)
        reader.member(key.c_str());
    reader.done();
    return change;
}

}  // namespace viaduct::model
