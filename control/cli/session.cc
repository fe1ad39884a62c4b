// Control's API as the commands use it, and how its answers become lines for people.
#include "cli/session.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <span>

#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/json.h"
#include "viaduct/model_kinds.h"

namespace viaduct::cli {

namespace {

constexpr std::chrono::milliseconds kTimeout{120000};  // a million routes take a while

std::string key_words(const char* noun, const std::string& name) {
    return std::string(noun) + " " + name;
}
std::string key_words(const char* noun, const std::tuple<std::string, std::uint16_t, MacAddress>& key) {
    const auto& [bridge, vlan, mac] = key;
    return std::string(noun) + " " + mac.to_string() + (vlan == 0 ? "" : " vlan " + std::to_string(vlan)) +
           " on bridge " + bridge;
}
std::string key_words(const char* noun, const std::tuple<std::string, Prefix>& key) {
    const auto& [vrf, prefix] = key;
    return std::string(noun) + " " + prefix.to_string() + (vrf == model::kDefaultVrf ? "" : " in VRF " + vrf);
}
std::string key_words(const char* noun, const std::tuple<std::string, IpAddress>& key) {
    return std::string(noun) + " " + std::get<1>(key).to_string() + " dev " + std::get<0>(key);
}
std::string key_words(const char* noun, const model::ServiceKey& key) {
    const auto& [space, name, port] = key;
    return std::string(noun) + " " + space + "/" + name + " port " + port;
}

/// The object that a place speaks of in words, and what of the place lies behind it; no words when it speaks
/// of none.
std::pair<std::string, std::string> place_words(std::string_view place) {
    std::pair<std::string, std::string> words;
    model::for_each_kind([&](const auto& kind) {
        const auto key = model::key_from_place(kind, place);
        if (!key) return;
        words.first = key_words(kind.noun, *key);
        const auto object = model::place_of(kind, *key);
        if (place.size() > object.size()) words.second = place.substr(object.size() + 1);
    });
    return words;
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

}  // namespace

Json::Value Session::ask(const std::string& method, const std::string& target) const {
    return ask_text(method, target, "");
}

Json::Value Session::ask(const std::string& method, const std::string& target, const Json::Value& body,
                         int descriptor) const {
    return ask_text(method, target, to_json_text(body), descriptor);
}

Json::Value Session::ask_text(const std::string& method, const std::string& target, const std::string& body,
                              int descriptor) const {
    http::Response response;
    const std::span<const int> descriptors(&descriptor, descriptor < 0 ? 0U : 1U);
    try {
        const auto timeout = kTimeout + std::chrono::seconds(arguments.wait_seconds);
        response = http::Client(arguments.socket, timeout).request(method, target, body, descriptors);
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
    for (const auto& more : outcome["notes"])
        std::cerr << "viaduct: note: " << more.asString() << "\n";
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
    const auto words = place_words(object).first;
    return words.empty() ? object : words;
}

std::string words_of(const Faults& faults) {
    std::string text;
    for (const auto& fault : faults) {
        std::string_view place = fault.where;
        for (const std::string_view front : {"put/", "delete/"}) {
            if (place.starts_with(front)) place.remove_prefix(front.size());
        }
        const auto [object, rest] = place_words(place);
        if (!text.empty()) text += "\n";
        if (!object.empty()) {
            text += object + (rest.empty() ? " " : ": " + rest + " ");
        } else if (!fault.where.empty()) {
            text += fault.where + " ";
        }
        text += fault.reason;
    }
    return text;
}

std::string place_in(const std::string& list, const Json::Value& object) {
    auto place = list;
    model::for_each_kind([&](const auto& kind) {
        if (kind.name != list) return;
        for (const std::string_view member : kind.members) {
            auto part = object.isString() ? object.asString() : text_of(object, member.data());
            if (part.empty() && member == "vlan") part = "0";
            if (part.empty() && member == "vrf") part = model::kDefaultVrf;
            place += "/" + part;
        }
    });
    return place;
}

Json::Value by_object(const Json::Value& changes) {
    Json::Value list(Json::arrayValue);
    const auto add = [&](const std::string& object, const char* when, Json::Value what) {
        Json::Value one;
        one["object"] = object;
        one[when] = std::move(what);
        list.append(std::move(one));
    };
    model::for_each_kind([&](const auto& kind) {
        for (const auto& object : changes["put"][kind.name]) {
            auto rest = object;
            for (const char* member : kind.members)
                rest.removeMember(member);
            add(place_in(kind.name, object), "after", std::move(rest));
        }
        for (const auto& key : changes["delete"][kind.name])
            add(place_in(kind.name, key), "before", Json::objectValue);
    });
    const auto& timeouts = changes["put"]["timeouts"];
    if (timeouts.isObject() && !timeouts.empty()) add("timeouts", "after", timeouts);
    return list;
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
