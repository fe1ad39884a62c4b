// What Kubernetes calls a name (RFC 1035, RFC 1123 and RFC 6335 as its documentation reads them), and the
// sentence for what is none.
#pragma once

#include <string_view>

#include "viaduct/labels.h"

namespace viaduct::kubernetes {

/// 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit.
bool is_dns1123_label(std::string_view text);
/// The same, beginning with a letter.
bool is_dns1035_label(std::string_view text);
/// Labels with '.' between them, 253 bytes at most.
inline bool is_dns1123_subdomain(std::string_view text) {
    return is_dns_subdomain(text);
}
/// A port's name (RFC 6335 5.1): 1 to 15 of a-z, 0-9 and '-' with a letter among them, no '-' at an end or
/// beside another.
bool is_port_name(std::string_view text);
/// A label's key.
inline bool is_qualified_name(std::string_view text) {
    return is_label_key(text);
}
using viaduct::is_label_value;

inline constexpr const char* kDns1123LabelWords =
    "1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends, are right";
inline constexpr const char* kDns1035LabelWords =
    "1 to 63 of a-z, 0-9 and '-', with a letter first and a letter or digit last, are right";
inline constexpr const char* kDns1123SubdomainWords =
    "1 to 253 of a-z, 0-9, '-' and '.', with a letter or digit at both ends of each part, are right";
inline constexpr const char* kPortNameWords =
    "1 to 15 of a-z, 0-9 and single '-' within, with a letter among them, are right";

}  // namespace viaduct::kubernetes
