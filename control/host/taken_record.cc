#include "host/taken_record.h"

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/json.h"

namespace viaduct::host {

namespace {

using node::Told;

std::string hex_of(const Told& told) {
    std::string text;
    for (const auto byte : told) {
        text += "0123456789abcdef"[byte >> 4U];
        text += "0123456789abcdef"[byte & 15U];
    }
    return text;
}

std::optional<Told> told_from(const std::string& text) {
    if (text.size() % 2 != 0) return std::nullopt;
    Told told;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        unsigned byte = 0;
        for (const char c : {text[i], text[i + 1]}) {
            const auto digit = std::string_view("0123456789abcdef").find(c);
            if (digit == std::string_view::npos) return std::nullopt;
            byte = byte * 16 + static_cast<unsigned>(digit);
        }
        told.push_back(static_cast<std::uint8_t>(byte));
    }
    return told;
}

Json::Value to_json(const std::vector<Told>& list) {
    Json::Value json(Json::arrayValue);
    for (const auto& told : list)
        json.append(hex_of(told));
    return json;
}

void read_told(ObjectReader& reader, const char* key, std::vector<Told>& into) {
    for (const auto& text : reader.strings(key).value_or(std::vector<std::string>())) {
        if (auto told = told_from(text)) {
            into.push_back(std::move(*told));
        } else {
            reader.fault(key, "is no hexadecimal text");
        }
    }
}

void read_prefixes(ObjectReader& reader, const char* key, std::vector<Prefix>& into) {
    for (const auto& text : reader.strings(key).value_or(std::vector<std::string>())) {
        if (const auto prefix = Prefix::parse(text)) into.push_back(*prefix);
    }
}

Json::Value to_json(const TakenInterface& row) {
    const auto& kernel = row.kernel;
    Json::Value json(Json::objectValue);
    json["deadline"] = Json::Int64(row.deadline);
    json["boot"] = row.boot;
    json["mac"] = kernel.mac.to_string();
    json["index"] = kernel.index;
    json["mtu"] = kernel.mtu;
    json["up"] = kernel.up;
    json["addresses"] = to_json(kernel.addresses);
    json["routes"] = to_json(kernel.routes);
    json["neighbours"] = to_json(kernel.neighbours);
    json["switches"] = Json::objectValue;
    for (const auto& [name, value] : kernel.switches)
        json["switches"][name] = value;
    json["prefixes"] = Json::arrayValue;
    for (const auto& prefix : kernel.prefixes)
        json["prefixes"].append(prefix.to_string());
    return json;
}

TakenInterface from_json(const Json::Value& json, Faults& faults) {
    ObjectReader reader(json, "", faults);
    TakenInterface row;
    auto& kernel = row.kernel;
    row.deadline = static_cast<std::int64_t>(reader.integer("deadline", 0, INT64_MAX).value_or(0));
    row.boot = reader.string("boot").value_or("");
    kernel.mac = MacAddress::parse(reader.string("mac").value_or("")).value_or(MacAddress{});
    kernel.mtu = static_cast<std::uint32_t>(reader.integer("mtu", 0, UINT32_MAX).value_or(0));
    kernel.index = static_cast<unsigned>(reader.integer("index", 0, UINT32_MAX).value_or(0));
    kernel.up = reader.boolean("up").value_or(false);
    read_told(reader, "addresses", kernel.addresses);
    read_told(reader, "routes", kernel.routes);
    read_told(reader, "neighbours", kernel.neighbours);
    read_prefixes(reader, "prefixes", kernel.prefixes);
    if (const auto* switches = reader.object("switches")) {
        for (const auto& name : switches->getMemberNames())
            kernel.switches[name] = (*switches)[name].asString();
    }
    reader.done();
    return row;
}

}  // namespace

const std::vector<store::Migration>& migrations() {
    static const std::vector<store::Migration> steps{{"host", 1, R"(
        CREATE TABLE taken_interface (
            name TEXT PRIMARY KEY,
            state INTEGER NOT NULL,
            record TEXT NOT NULL
        ) WITHOUT ROWID;
    )"}};
    return steps;
}

std::map<std::string, TakenInterface> load(store::Transaction& tx) {
    std::map<std::string, TakenInterface> all;
    auto rows = tx.prepare("SELECT name, state, record FROM taken_interface");
    while (rows.step()) {
        Faults faults;
        TakenInterface row;
        try {
            row = from_json(parse_json(rows.text(2), "record"), faults);
        } catch (const Refused& refused) {
            faults = refused.faults();
        }
        row.name = rows.text(0);
        row.state = static_cast<TakenInterface::State>(rows.integer(1));
        if (!faults.empty()) {
            spdlog::error("taken interface {} cannot be read from the store: {}", row.name,
                          to_string(faults));
            continue;
        }
        all.emplace(row.name, std::move(row));
    }
    return all;
}

void save(store::Transaction& tx, const TakenInterface& row) {
    tx.run("INSERT OR REPLACE INTO taken_interface (name, state, record) VALUES (?, ?, ?)", row.name,
           row.state, to_json_text(to_json(row)));
}

void erase(store::Transaction& tx, const std::string& name) {
    tx.run("DELETE FROM taken_interface WHERE name = ?", name);
}

}  // namespace viaduct::host
