// Ports to publish, as container engines write them.
#pragma once

#include <string>

namespace Json {
class Value;
}

namespace viaduct::cli {

/// "[HOSTIP:]HOST[-HOST]:CONTAINER[-CONTAINER][/tcp|udp|sctp]", IPv6 in brackets, as the API's port mapping.
/// Throws Usage, which shows the form.
Json::Value parse_publish(const std::string& text);
/// "192.0.2.1:8080-8090->80-90/tcp" of such a mapping.
std::string publish_words(const Json::Value& mapping);

}  // namespace viaduct::cli
