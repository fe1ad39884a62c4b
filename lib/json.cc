// Bounded JSON parsing and the reader that turns each surprise into a fault.
#include "viaduct/json.h"

#include <strings.h>

#include <algorithm>
#include <sstream>

#include <json/json.h>

namespace viaduct {

std::string to_string(const Faults& faults) {
    std::string text;
    for (const auto& fault : faults) {
        if (!text.empty()) text += "; ";
        text += fault.where.empty() ? fault.reason : fault.where + ": " + fault.reason;
    }
    return text;
}

namespace {

/// jsoncpp recurses while it parses: depth is counted before it sees the text.
unsigned nesting(std::string_view text) {
    unsigned depth = 0;
    unsigned deepest = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') ++i;
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            deepest = std::max(deepest, ++depth);
        } else if ((c == '}' || c == ']') && depth > 0) {
            --depth;
        }
    }
    return deepest;
}

/// jsoncpp's report runs over several lines and begins with "* ".
std::string one_line(const std::string& report) {
    std::string line;
    for (char c : report) {
        if (c == '*' || c == '\n') c = ' ';
        if (c == ' ' && (line.empty() || line.back() == ' ')) continue;
        line += c;
    }
    while (!line.empty() && line.back() == ' ')
        line.pop_back();
    return line;
}

/// Made once: its settings are an object of JSON themselves, dearer than most of the texts that are read.
const Json::CharReaderBuilder& strict_reader() {
    static const auto strict = [] {
        Json::CharReaderBuilder builder;
        Json::CharReaderBuilder::strictMode(&builder.settings_);
        builder["strictRoot"] = false;
        builder["allowSpecialFloats"] = false;
        return builder;
    }();
    return strict;
}

Json::StreamWriterBuilder writer_with(const char* indentation) {
    Json::StreamWriterBuilder builder;
    builder["indentation"] = indentation;
    builder["emitUTF8"] = true;
    return builder;
}

const char* type_name(const Json::Value& value) {
    switch (value.type()) {
        case Json::nullValue:
            return "null";
        case Json::intValue:
        case Json::uintValue:
        case Json::realValue:
            return "a number";
        case Json::stringValue:
            return "a string";
        case Json::booleanValue:
            return "a boolean";
        case Json::arrayValue:
            return "an array";
        case Json::objectValue:
            return "an object";
    }
    return "unknown";
}

std::string quoted(std::string_view text) {
    constexpr std::size_t longest = 64;
    std::string shown;
    for (char c : text.substr(0, longest))
        shown += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    return '"' + shown + (text.size() > longest ? "...\"" : "\"");
}

}  // namespace

Json::Value parse_json(std::string_view text, const std::string& what, const JsonLimits& limits) {
    if (text.size() > limits.bytes) {
        throw Refused(what, "is " + std::to_string(text.size()) + " bytes long; at most " +
                                std::to_string(limits.bytes) + " are accepted");
    }
    if (const auto depth = nesting(text); depth > limits.depth) {
        throw Refused(what, "is nested " + std::to_string(depth) + " deep; at most " +
                                std::to_string(limits.depth) + " levels are accepted");
    }
    // jsoncpp takes it for the end and would not look at what follows.
    if (text.find('\0') != std::string_view::npos) throw Refused(what, "is not JSON: it has a NUL byte");
    const std::unique_ptr<Json::CharReader> reader(strict_reader().newCharReader());
    Json::Value value;
    std::string report;
    bool parsed = false;
    try {
        parsed = reader->parse(text.data(), text.data() + text.size(), &value, &report);
    } catch (const Json::Exception& error) {
        report = error.what();
    }
    if (!parsed) throw Refused(what, "is not JSON: " + one_line(report));
    return value;
}

std::string to_json_text(const Json::Value& value, bool indented) {
    static const auto on_one_line = writer_with("");
    static const auto on_many_lines = writer_with("  ");
    return Json::writeString(indented ? on_many_lines : on_one_line, value);
}

Json::Value faults_to_json(const Faults& faults) {
    Json::Value json(Json::objectValue);
    json["error"] = to_string(faults);
    json["faults"] = Json::arrayValue;
    for (const auto& fault : faults) {
        Json::Value one;
        one["where"] = fault.where;
        one["reason"] = fault.reason;
        json["faults"].append(std::move(one));
    }
    return json;
}

Faults faults_from_text(std::string_view text) {
    try {
        const auto json = parse_json(text, "answer");
        Faults faults;
        if (json.isObject() && json["faults"].isArray()) {
            for (const auto& one : json["faults"]) {
                if (!one.isObject()) continue;
                faults.push_back({one.get("where", "").asString(), one.get("reason", "").asString()});
            }
        }
        if (!faults.empty()) return faults;
    } catch (const std::exception&) {
        // Not such an answer: the text itself is told below.
    }
    return {{"", std::string(text)}};
}

ObjectReader::ObjectReader(const Json::Value& object, std::string where, Faults& faults, Keys keys)
    : object_(object.isObject() ? &object : nullptr), where_(std::move(where)), faults_(faults), keys_(keys) {
    if (object_ == nullptr) {
        faults_.push_back({where_, std::string("must be an object, not ") + type_name(object)});
    }
}

std::string ObjectReader::place(const char* key) const {
    return where_.empty() ? key : where_ + "/" + key;
}

void ObjectReader::fault(const char* key, std::string reason) {
    faults_.push_back({place(key), std::move(reason)});
}

const Json::Value* ObjectReader::take(const char* key) {
    if (object_ == nullptr) return nullptr;
    const Json::Value* found = nullptr;
    if (object_->isMember(key)) {
        read_.emplace_back(key);
        found = &(*object_)[key];
    }
    if (keys_ == Keys::any_case) {
        // Go takes an exact match first, then any case.
        for (auto it = object_->begin(); it != object_->end(); ++it) {
            if (strcasecmp(it.name().c_str(), key) != 0) continue;
            read_.push_back(it.name());
            if (found == nullptr) found = &*it;
        }
    }
    return found == nullptr || found->isNull() ? nullptr : found;
}

const Json::Value* ObjectReader::member(const char* key) {
    return take(key);
}

std::optional<bool> ObjectReader::boolean(const char* key) {
    const auto* value = take(key);
    if (value == nullptr) return std::nullopt;
    if (value->isBool()) return value->asBool();
    fault(key, std::string("must be true or false, not ") + type_name(*value));
    return std::nullopt;
}

std::optional<std::uint64_t> ObjectReader::integer(const char* key, std::uint64_t low, std::uint64_t high) {
    const auto* value = take(key);
    if (value == nullptr) return std::nullopt;
    const bool integral = value->type() == Json::intValue || value->type() == Json::uintValue;
    if (integral && value->isUInt64() && value->asUInt64() >= low && value->asUInt64() <= high) {
        return value->asUInt64();
    }
    fault(key, "must be an integer from " + std::to_string(low) + " to " + std::to_string(high) + ", not " +
                   (value->isNumeric() ? value->asString() : type_name(*value)));
    return std::nullopt;
}

std::optional<std::string> ObjectReader::string(const char* key, std::size_t longest) {
    const auto* value = take(key);
    if (value == nullptr) return std::nullopt;
    if (!value->isString()) {
        fault(key, std::string("must be a string, not ") + type_name(*value));
        return std::nullopt;
    }
    auto text = value->asString();
    if (text.size() > longest) {
        fault(key, "is " + std::to_string(text.size()) + " bytes long; at most " + std::to_string(longest) +
                       " are accepted");
        return std::nullopt;
    }
    if (text.find('\0') != std::string::npos) {
        fault(key, "contains a NUL character");
        return std::nullopt;
    }
    return text;
}

std::optional<std::vector<std::string>> ObjectReader::strings(const char* key, std::size_t most) {
    const auto* value = array(key, most);
    if (value == nullptr) return std::nullopt;
    std::vector<std::string> list;
    for (const auto& item : *value) {
        if (!item.isString()) {
            fault(key, std::string("must hold strings only, not ") + type_name(item));
            return std::nullopt;
        }
        list.push_back(item.asString());
    }
    return list;
}

std::optional<std::size_t> ObjectReader::choice(const char* key, const std::vector<std::string_view>& words) {
    const auto text = string(key);
    if (!text) return std::nullopt;
    const auto found = std::find(words.begin(), words.end(), *text);
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
    std::string list;
    for (const auto& word : words)
        list += (list.empty() ? "" : ", ") + std::string(word);
    fault(key, "is " + quoted(*text) + "; it must be one of " + list);
    return std::nullopt;
}

const Json::Value* ObjectReader::object(const char* key) {
    const auto* value = take(key);
    if (value == nullptr || value->isObject()) return value;
    fault(key, std::string("must be an object, not ") + type_name(*value));
    return nullptr;
}

const Json::Value* ObjectReader::array(const char* key, std::size_t most) {
    const auto* value = take(key);
    if (value == nullptr) return nullptr;
    if (!value->isArray()) {
        fault(key, std::string("must be an array, not ") + type_name(*value));
        return nullptr;
    }
    if (value->size() > most) {
        fault(key, "has " + std::to_string(value->size()) + " members; at most " + std::to_string(most) +
                       " are accepted");
        return nullptr;
    }
    return value;
}

std::vector<std::string> ObjectReader::unread() const {
    std::vector<std::string> keys;
    if (object_ == nullptr) return keys;
    for (const auto& key : object_->getMemberNames()) {
        if (std::find(read_.begin(), read_.end(), key) == read_.end()) keys.push_back(key);
    }
    return keys;
}

void ObjectReader::done() {
    for (const auto& key : unread())
        fault(quoted(key).c_str(), "is not a known key");
}

}  // namespace viaduct
