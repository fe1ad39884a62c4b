// Pure functions over configurations; the reconciler drives them.
#include "reconcile/leave_out.h"

#include <charconv>
#include <optional>
#include <vector>

namespace viaduct::reconcile {

namespace {

using FdbKey = std::tuple<std::string, std::uint16_t, MacAddress>;

std::vector<std::string> split(const std::string& where) {
    std::vector<std::string> parts;
    std::size_t start = 0;
    while (start <= where.size()) {
        const auto end = std::min(where.find('/', start), where.size());
        parts.push_back(where.substr(start, end - start));
        start = end + 1;
    }
    return parts;
}

std::optional<FdbKey> fdb_key(const std::vector<std::string>& parts) {
    if (parts.size() < 4) return std::nullopt;
    std::uint16_t vlan = 0;
    const auto& text = parts[2];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), vlan);
    const auto mac = MacAddress::parse(parts[3]);
    if (error != std::errc() || end != text.data() + text.size() || !mac) return std::nullopt;
    return FdbKey{parts[1], vlan, *mac};
}

/// True when `target` changed.
template <typename Map, typename Key>
bool leave_out_of(Map& target, const Map& in_force, const Key& key, bool again) {
    const auto wanted = target.find(key);
    const auto present = in_force.find(key);
    if (present == in_force.end()) return wanted != target.end() && target.erase(key) > 0;
    if (wanted != target.end() && wanted->second == present->second) return again && target.erase(key) > 0;
    target.insert_or_assign(key, present->second);
    return true;
}

bool leave_out_object(model::Config& target, const model::Config& in_force, const std::string& object,
                      bool again) {
    const auto parts = split(object);
    if (parts[0] == "bridges") return leave_out_of(target.bridges, in_force.bridges, parts[1], again);
    if (parts[0] == "ports") return leave_out_of(target.ports, in_force.ports, parts[1], again);
    const auto key = fdb_key(parts);
    return key && leave_out_of(target.fdb, in_force.fdb, *key, again);
}

}  // namespace

std::string object_of(const std::string& where) {
    auto parts = split(where);
    while (!parts.empty() && (parts[0] == "put" || parts[0] == "delete" || parts[0].empty()))
        parts.erase(parts.begin());
    if (parts.size() < 2) return {};
    if (parts[0] == "bridges" || parts[0] == "ports") return parts[0] + "/" + parts[1];
    if (parts[0] != "fdb") return {};
    const auto key = fdb_key(parts);
    return key ? fdb_object(*key) : std::string();
}

std::string fdb_object(const FdbKey& key) {
    return "fdb/" + std::get<0>(key) + "/" + std::to_string(std::get<1>(key)) + "/" +
           std::get<2>(key).to_string();
}

bool leave_out(model::Config& target, const model::Config& in_force, const Faults& faults,
               LeftOut& left_out) {
    bool changed = false;
    std::map<std::string, std::string> named;  // several faults may speak of one object
    for (const auto& fault : faults) {
        const auto object = object_of(fault.where);
        if (object.empty()) continue;
        auto& reason = named[object];
        reason += (reason.empty() ? "" : "; ") + to_string(Faults{fault});
    }
    for (const auto& [object, reason] : named) {
        const bool again = left_out.contains(object);
        if (!leave_out_object(target, in_force, object, again)) continue;
        left_out[object] = reason;
        changed = true;
    }
    return changed;
}

std::vector<std::pair<std::string, model::Change>> one_by_one(const model::Change& change) {
    std::vector<std::pair<std::string, model::Change>> steps;
    const auto step = [&](const std::string& object) -> model::Change& {
        return steps.emplace_back(object, model::Change{}).second;
    };
    for (const auto& key : change.delete_fdb)
        step(fdb_object(key)).delete_fdb.insert(key);
    for (const auto& name : change.delete_ports)
        step("ports/" + name).delete_ports.insert(name);
    for (const auto& [name, bridge] : change.put.bridges)
        step("bridges/" + name).put.bridges.emplace(name, bridge);
    for (const auto& [name, port] : change.put.ports)
        step("ports/" + name).put.ports.emplace(name, port);
    for (const auto& [key, entry] : change.put.fdb)
        step(fdb_object(key)).put.fdb.emplace(key, entry);
    for (const auto& name : change.delete_bridges)
        step("bridges/" + name).delete_bridges.insert(name);
    return steps;
}

model::Change without_done(const model::Change& change, const model::Config& in_force) {
    model::Change rest = change;
    const auto equal_in = [](const auto& map) {
        return [&map](const auto& item) {
            const auto found = map.find(item.first);
            return found != map.end() && found->second == item.second;
        };
    };
    std::erase_if(rest.put.bridges, equal_in(in_force.bridges));
    std::erase_if(rest.put.ports, equal_in(in_force.ports));
    std::erase_if(rest.put.fdb, equal_in(in_force.fdb));
    std::erase_if(rest.delete_bridges, [&](const auto& key) { return !in_force.bridges.contains(key); });
    std::erase_if(rest.delete_ports, [&](const auto& key) { return !in_force.ports.contains(key); });
    std::erase_if(rest.delete_fdb, [&](const auto& key) { return !in_force.fdb.contains(key); });
    return rest;
}

}  // namespace viaduct::reconcile
