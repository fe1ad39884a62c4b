// Kubernetes' rules of labels, and reading them.
#include "viaduct/labels.h"

#include <algorithm>

namespace viaduct {

namespace {

constexpr std::size_t kShownMost = 80;  ///< bytes of what was written that a sentence repeats

bool is_lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_alphanumeric(char c) {
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

/// The last part of a key.
bool is_short_name(std::string_view text) {
    return !text.empty() && text.size() <= 63 && is_alphanumeric(text.front()) &&
           is_alphanumeric(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
               return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
           });
}

/// For a sentence: bounded, printable.
std::string shown(std::string_view text) {
    std::string clean;
    for (const char c : text.substr(0, kShownMost))
        clean += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return '"' + clean + (text.size() > kShownMost ? "...\"" : "\"");
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view space = " \t\r\n";
    const auto first = text.find_first_not_of(space);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(space) - first + 1);
}

std::string too_many() {
    return "are more than " + std::to_string(kLabelsMost) + " labels, which is the most that a pod can have";
}

}  // namespace

bool is_dns_subdomain(std::string_view text) {
    if (text.size() > 253) return false;
    while (true) {
        const auto dot = text.find('.');
        const auto part = text.substr(0, dot);
        // A part may be longer than a label: the API holds only the whole to a length.
        if (part.empty() || part.front() == '-' || part.back() == '-' ||
            !std::all_of(part.begin(), part.end(), [](char c) { return is_lower_or_digit(c) || c == '-'; }))
            return false;
        if (dot == std::string_view::npos) return true;
        text.remove_prefix(dot + 1);
    }
}

bool is_label_key(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return is_short_name(text);
    return is_dns_subdomain(text.substr(0, slash)) && is_short_name(text.substr(slash + 1));
}

bool is_label_value(std::string_view text) {
    return text.empty() || is_short_name(text);
}

std::string label_fault(std::string_view key, std::string_view value) {
    constexpr const char* right =
        "1 to 63 letters, digits, '-', '_' and '.' with a letter or digit at both ends";
    if (!is_label_key(key))
        return "has the key " + shown(key) + ", and a label's key is " + right +
               ", after a domain and '/' if there is one";
    if (!is_label_value(value))
        return "has the value " + shown(value) + " for " + std::string(key) +
               ", and a label's value is empty, or " + right;
    return {};
}

Labels parse_labels(std::string_view text, const std::string& where, Faults& faults) {
    Labels labels;
    if (text.size() > kLabelsBytesMost) {
        faults.push_back({where, "is longer than " + std::to_string(kLabelsBytesMost) + " bytes"});
        return labels;
    }
    for (std::size_t at = 0; at <= text.size();) {
        const auto end = std::min(text.find(',', at), text.size());
        const auto one = trimmed(text.substr(at, end - at));
        at = end + 1;
        if (one.empty()) continue;
        const auto equals = one.find('=');
        if (equals == std::string_view::npos) {
            faults.push_back({where, "has " + shown(one) + ", which is not KEY=VALUE such as app=web"});
            continue;
        }
        const auto key = trimmed(one.substr(0, equals));
        const auto value = trimmed(one.substr(equals + 1));
        if (auto fault = label_fault(key, value); !fault.empty()) {
            faults.push_back({where, std::move(fault)});
        } else if (!labels.emplace(key, value).second) {
            faults.push_back({where, "has the key " + shown(key) + " twice"});
        }
    }
    if (labels.size() > kLabelsMost) faults.push_back({where, too_many()});
    return labels;
}

std::string to_string(const Labels& labels) {
    std::string text;
    for (const auto& [key, value] : labels)
        text += (text.empty() ? "" : ",") + key + "=" + value;
    return text;
}

LabelChange parse_label_change(const std::vector<std::string>& words) {
    LabelChange change;
    Faults faults;
    for (const std::string_view word : words) {
        const auto equals = word.find('=');
        const bool removes = equals == std::string_view::npos && word.ends_with('-');
        if (equals == std::string_view::npos && !removes) {
            faults.push_back(
                {"", shown(word) + " is no label: KEY=VALUE such as app=web sets one, KEY- removes it"});
            continue;
        }
        const std::string key(removes ? word.substr(0, word.size() - 1) : word.substr(0, equals));
        const std::string value(removes ? std::string_view() : word.substr(equals + 1));
        if (const auto fault = label_fault(key, value); !fault.empty()) {
            faults.push_back({"", shown(word) + " " + fault});
        } else if (change.set.contains(key) || change.remove.contains(key)) {
            faults.push_back({"", "the label " + key + " is there twice; say once what is to become of it"});
        } else if (removes) {
            change.remove.insert(key);
        } else {
            change.set.emplace(key, value);
        }
    }
    if (!faults.empty()) throw Refused(faults);
    return change;
}

bool apply(const LabelChange& change, Labels& labels) {
    auto after = labels;
    Faults faults;
    for (const auto& [key, value] : change.set) {
        const auto [there, is_new] = after.emplace(key, value);
        if (is_new || there->second == value) continue;
        if (!change.overwrite)
            faults.push_back({"", "the label " + key + " is \"" + there->second +
                                      "\" already; --overwrite makes it \"" + value + "\""});
        there->second = value;
    }
    for (const auto& key : change.remove)
        after.erase(key);
    if (after.size() > kLabelsMost) faults.push_back({"labels", too_many()});
    if (!faults.empty()) throw Refused(faults);
    const bool changed = after != labels;
    labels = std::move(after);
    return changed;
}

}  // namespace viaduct
