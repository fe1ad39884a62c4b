// What Kubernetes calls a name (RFC 1035, RFC 1123 and RFC 6335 as its documentation reads them), and the
// sentence for what is none.
#pragma once

#include <string_view>

namespace viaduct::kubernetes {

/// 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit.
bool is_dns1123_label(std::string_view text);
/// The same, beginning with a letter.
bool is_dns1035_label(std::string_view text);
/// Labels with '.' between them, 253 bytes at most.
bool is_dns1123_subdomain(std::string_view text);
/// A port's name (RFC 6335 5.1): 1 to 15 of a-z, 0-9 and '-' with a letter among them, no '-' at an end or
/// beside another.
bool is_port_name(std::string_view text);
/// A label's key: an optional subdomain and '/', then 1 to 63 of letters, digits, '-', '_' and '.',
/// beginning and ending with a letter or digit.
bool is_qualified_name(std::string_view text);
/// Empty, or as the last part of a qualified name.
bool is_label_value(std::string_view text);

inline constexpr const char* kDns1123LabelWords =
    "1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends, are right";
inline constexpr const char* kDns1035LabelWords =
    "1 to 63 of a-z, 0-9 and '-', with a letter first and a letter or digit last, are right";
inline constexpr const char* kDns1123SubdomainWords =
    "1 to 253 of a-z, 0-9, '-' and '.', with a letter or digit at both ends of each part, are right";
inline constexpr const char* kPortNameWords =
    "1 to 15 of a-z, 0-9 and single '-' within, with a letter among them, are right";

}  // namespace viaduct::kubernetes
