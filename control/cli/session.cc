// Control's API as the commands use it, and how its answers become lines for people.
#include "cli/session.h"

#include <algorithm>
#include <chrono>
#include <iostream>

#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/json.h"

namespace viaduct::cli {

namespace {

constexpr std::chrono::milliseconds kTimeout{30000};

std::vector<std::string> split(const std::string& where) {
    std::vector<std::string> parts;
    std::size_t start = 0;
    while (start <= where.size()) {
        const auto end = std::min(where.find('/', start), where.size());
        if (end > start) parts.push_back(where.substr(start, end - start));
        start = end + 1;
    }
    return parts;
}

/// How many parts of a place name its object.
std::size_t object_length(const std::vector<std::string>& parts) {
    if (parts.size() >= 2 && (parts[0] == "ports" || parts[0] == "bridges")) return 2;
    if (parts.size() >= 4 && parts[0] == "fdb") return 4;
    return 0;
}

std::string join(const std::vector<std::string>& parts, std::size_t first, std::size_t last) {
    std::string text;
    for (std::size_t i = first; i < last; ++i)
        text += (text.empty() ? "" : "/") + parts[i];
    return text;
}

std::string value_words(const Json::Value& value) {
    if (value.isNull()) return "none";
    if (value.isObject() && (value.isMember("untagged") || value.isMember("tagged")))
        return vlan_words(value);
    if (value.isString()) return value.asString();
    return to_json_text(value);
}

std::string members_words(const Json::Value& object) {
    std::string text;
    for (const auto& key : object.getMemberNames()) {
        if (key != "name") text += " " + key + " " + value_words(object[key]);
    }
    return text;
}

bool numeric(const std::string& text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

/// {put, delete} as a list of {object, before, after} for diff_text(); what a deleted object was is not told.
Json::Value by_object(const Json::Value& changes) {
    Json::Value list(Json::arrayValue);
    const auto add = [&](const std::string& object, const char* when, const Json::Value& what) {
        Json::Value one;
        one["object"] = object;
        one[when] = what;
        list.append(one);
    };
    for (const std::string kind : {"bridges", "ports"}) {
        for (const auto& object : changes["put"][kind])
            add(kind + "/" + text_of(object, "name"), "after", object);
        for (const auto& name : changes["delete"][kind])
            add(kind + "/" + name.asString(), "before", Json::objectValue);
    }
    for (const auto& [action, when] : {std::pair{"put", "after"}, std::pair{"delete", "before"}}) {
        for (const auto& entry : changes[action]["fdb"]) {
            const auto vlan = std::to_string(number_of(entry, "vlan"));
            Json::Value port(Json::objectValue);
            if (entry.isMember("port")) port["port"] = entry["port"];
            add("fdb/" + text_of(entry, "bridge") + "/" + vlan + "/" + text_of(entry, "mac"), when, port);
        }
    }
    return list;
}

}  // namespace

Json::Value Session::ask(const std::string& method, const std::string& target) const {
    return ask_text(method, target, "");
}

Json::Value Session::ask(const std::string& method, const std::string& target,
                         const Json::Value& body) const {
    return ask_text(method, target, to_json_text(body));
}

Json::Value Session::ask_text(const std::string& method, const std::string& target,
                              const std::string& body) const {
    http::Response response;
    try {
        response = http::Client(arguments.socket, kTimeout).request(method, target, body);
    } catch (const http::Unreachable& error) {
        throw Failure(
            std::string("viaduct-control does not answer: ") + error.what() +
            "; start it with \"systemctl start viaduct-control\", or name its socket with --socket");
    }
    if (response.status >= 300) throw Failure(words_of(faults_from_text(response.body)));
    return parse_json(response.body, "the answer of viaduct-control");
}

bool Session::printed(const Json::Value& json) const {
    if (!arguments.json) return false;
    std::cout << to_json_text(json, arguments.pretty) << "\n";
    return true;
}

int Session::change(const Json::Value& wanted, const std::string& method, const std::string& target) const {
    auto body = wanted;
    if (arguments.dry_run) body["dry_run"] = true;
    if (!arguments.comment.empty()) body["comment"] = arguments.comment;
    const auto outcome = ask(method, target, body);
    if (printed(outcome)) return 0;
    const auto note = text_of(outcome, "note");
    const auto& changes = outcome["changes"];
    if (arguments.dry_run) {
        const auto text = diff_text(by_object(changes));
        std::cout << (text.empty() ? "nothing would change\n" : text);
        if (!note.empty()) std::cout << "not checked by the dataplane: " << note << "\n";
        return 0;
    }
    if (!note.empty())
        std::cerr << "viaduct: accepted as generation " << number_of(outcome, "generation") << ": " << note
                  << "\n";
    return 0;
}

std::string object_words(const std::string& object) {
    const auto parts = split(object);
    if (parts.size() == 2 && parts[0] == "ports") return "port " + parts[1];
    if (parts.size() == 2 && parts[0] == "bridges") return "bridge " + parts[1];
    if (parts.size() == 4 && parts[0] == "fdb") {
        return "fdb entry " + parts[3] + (parts[2] == "0" ? "" : " vlan " + parts[2]) + " on bridge " +
               parts[1];
    }
    return object;
}

std::string words_of(const Faults& faults) {
    std::string text;
    for (const auto& fault : faults) {
        auto parts = split(fault.where);
        if (parts.size() > 1 && (parts[0] == "put" || parts[0] == "delete")) parts.erase(parts.begin());
        const auto length = object_length(parts);
        if (!text.empty()) text += "\n";
        if (length > 0) {
            text += object_words(join(parts, 0, length));
            text += length < parts.size() ? ": " + join(parts, length, parts.size()) + " " : " ";
        } else if (!fault.where.empty()) {
            text += fault.where + " ";
        }
        text += fault.reason;
    }
    return text;
}

std::string diff_text(const Json::Value& changes) {
    std::string text;
    for (const auto& change : changes) {
        const auto object = object_words(text_of(change, "object"));
        const auto& before = change["before"];
        const auto& after = change["after"];
        if (before.isNull()) {
            text += "+ " + object + members_words(after) + "\n";
        } else if (after.isNull()) {
            text += "- " + object + members_words(before) + "\n";
        } else {
            text += "~ " + object;
            auto keys = before.getMemberNames();
            for (const auto& key : after.getMemberNames()) {
                if (!before.isMember(key)) keys.push_back(key);
            }
            for (const auto& key : keys) {
                if (before[key] == after[key]) continue;
                text += " " + key + " " + value_words(before[key]) + " -> " + value_words(after[key]);
            }
            text += "\n";
        }
    }
    return text;
}

std::string text_of(const Json::Value& json, const char* key) {
    if (!json.isObject() || !json.isMember(key)) return {};
    const auto& value = json[key];
    if (value.isString() || value.isNumeric() || value.isBool()) return value.asString();
    return {};
}

std::uint64_t number_of(const Json::Value& json, const char* key) {
    if (!json.isObject() || !json.isMember(key) || !json[key].isUInt64()) return 0;
    return json[key].asUInt64();
}

bool bool_of(const Json::Value& json, const char* key, bool otherwise) {
    return json.isObject() && json.isMember(key) && json[key].isBool() ? json[key].asBool() : otherwise;
}

const Json::Value* find_named(const Json::Value& list, const std::string& name) {
    if (!list.isArray()) return nullptr;
    for (const auto& one : list) {
        if (text_of(one, "name") == name) return &one;
    }
    return nullptr;
}

std::string vlan_words(const Json::Value& vlan) {
    if (!vlan.isObject()) return "-";
    const auto untagged = number_of(vlan, "untagged");
    std::string ranges;
    for (const auto& range : vlan["tagged"])
        ranges += (ranges.empty() ? "" : ",") + range.asString();
    if (ranges.empty()) return std::to_string(untagged);
    return "trunk " + ranges + (untagged != 0 ? " native " + std::to_string(untagged) : "");
}

std::string Table::text() const {
    std::vector<std::size_t> widths;
    std::vector<bool> right;
    for (std::size_t column = 0; column < rows_[0].size(); ++column) {
        std::size_t width = 0;
        bool numbers = rows_.size() > 1;
        for (std::size_t i = 0; i < rows_.size(); ++i) {
            width = std::max(width, rows_[i][column].size());
            if (i > 0 && !numeric(rows_[i][column]) && rows_[i][column] != "-") numbers = false;
        }
        widths.push_back(width);
        right.push_back(numbers);
    }
    std::string text;
    for (const auto& row : rows_) {
        std::string line;
        for (std::size_t column = 0; column < row.size(); ++column) {
            const std::string pad(widths[column] - row[column].size(), ' ');
            line += (column == 0 ? "" : "  ") + (right[column] ? pad + row[column] : row[column] + pad);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

}  // namespace viaduct::cli
