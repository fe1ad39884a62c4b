// Each of Kubernetes' names by its rule.
#include "kubernetes/names.h"

#include <algorithm>

namespace viaduct::kubernetes {

namespace {

bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_lower_or_digit(char c) {
    return is_lower(c) || is_digit(c);
}
bool is_alphanumeric(char c) {
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

/// The last part of a qualified name.
bool is_short_name(std::string_view text) {
    return !text.empty() && text.size() <= 63 && is_alphanumeric(text.front()) &&
           is_alphanumeric(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
               return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
           });
}

}  // namespace

bool is_dns1123_label(std::string_view text) {
    return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
           std::all_of(text.begin(), text.end(), [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

bool is_dns1035_label(std::string_view text) {
    return is_dns1123_label(text) && is_lower(text.front());
}

bool is_dns1123_subdomain(std::string_view text) {
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

bool is_port_name(std::string_view text) {
    return text.size() <= 15 && is_dns1123_label(text) && text.find("--") == std::string_view::npos &&
           std::any_of(text.begin(), text.end(), is_lower);
}

bool is_qualified_name(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return is_short_name(text);
    return is_dns1123_subdomain(text.substr(0, slash)) && is_short_name(text.substr(slash + 1));
}

bool is_label_value(std::string_view text) {
    return text.empty() || is_short_name(text);
}

}  // namespace viaduct::kubernetes
