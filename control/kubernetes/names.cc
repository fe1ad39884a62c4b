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
}  // namespace

bool is_dns1123_label(std::string_view text) {
    return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
           std::all_of(text.begin(), text.end(), [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

bool is_dns1035_label(std::string_view text) {
    return is_dns1123_label(text) && is_lower(text.front());
}

bool is_port_name(std::string_view text) {
    return text.size() <= 15 && is_dns1123_label(text) && text.find("--") == std::string_view::npos &&
           std::any_of(text.begin(), text.end(), is_lower);
}

}  // namespace viaduct::kubernetes
