#include "cli/publish.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include <json/json.h>

#include "viaduct/address.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

constexpr std::array<std::string_view, 3> kProtocols{"tcp", "udp", "sctp"};

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
    throw Usage("publish \"" + text + "\" " + why +
                "; it is written [HOSTIP:]HOSTPORT[-LAST]:PORT[-LAST][/tcp|udp|sctp], such as 8080:80 or "
                "[fd00::1]:5000-5009:5000-5009/udp");
}

/// First and last of "80" or "80-89".
std::pair<unsigned, unsigned> parse_ports(std::string_view part, const std::string& text) {
    const auto number = [&](std::string_view digits) {
        unsigned value = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || value < 1 ||
            value > UINT16_MAX) {
            refuse(text, "has \"" + std::string(digits) + "\" where a port from 1 to 65535 should be");
        }
        return value;
    };
    const auto dash = part.find('-');
    const auto first = number(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(part.substr(dash + 1));
    if (last < first) refuse(text, "has the range " + std::string(part) + ", which runs backwards");
    return {first, last};
}

/// Takes the host's address off the front of `rest`, if there is one.
std::string take_host(std::string_view& rest, const std::string& text) {
    std::string host;
    if (!rest.empty() && rest[0] == '[') {
        const auto end = rest.find("]:");
        if (end == std::string_view::npos) refuse(text, "has no \"]:\" behind its address");
        host = rest.substr(1, end - 1);
        rest.remove_prefix(end + 2);
    } else if (std::count(rest.begin(), rest.end(), ':') == 2) {
        const auto end = rest.find(':');
        host = rest.substr(0, end);
        rest.remove_prefix(end + 1);
    } else {
        return {};
    }
    if (!IpAddress::parse(host)) refuse(text, "has \"" + host + "\" where an IP address should be");
    return host;
}

}  // namespace

Json::Value parse_publish(const std::string& text) {
    std::string_view rest = text;
    Json::Value mapping(Json::objectValue);
    mapping["protocol"] = "tcp";
    if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
        const std::string protocol(rest.substr(slash + 1));
        if (std::find(kProtocols.begin(), kProtocols.end(), protocol) == kProtocols.end())
            refuse(text, "has protocol \"" + protocol + "\"");
        mapping["protocol"] = protocol;
        rest = rest.substr(0, slash);
    }
    const auto host = take_host(rest, text);
    // 0.0.0.0 and :: mean every address, as none does.
    if (!host.empty() && !IpAddress::parse(host)->is_unspecified()) mapping["host_address"] = host;
    const auto colon = rest.find(':');
    if (colon == std::string_view::npos) refuse(text, "names no port of the host");
    const auto [host_first, host_last] = parse_ports(rest.substr(0, colon), text);
    const auto [first, last] = parse_ports(rest.substr(colon + 1), text);
    if (host_last - host_first != last - first) refuse(text, "has two ranges that are not of one length");
    mapping["host_port"] = host_first;
    mapping["container_port"] = first;
    mapping["count"] = last - first + 1;
    return mapping;
}

std::string publish_words(const Json::Value& mapping) {
    const auto count = mapping.isMember("count") ? number_of(mapping, "count") : 1;
    const auto ports = [&](const char* key) {
        const auto first = number_of(mapping, key);
        return std::to_string(first) + (count > 1 ? "-" + std::to_string(first + count - 1) : "");
    };
    auto host = text_of(mapping, "host_address");
    if (host.find(':') != std::string::npos) host = "[" + host + "]";
    return (host.empty() ? "" : host + ":") + ports("host_port") + "->" + ports("container_port") + "/" +
           text_of(mapping, "protocol");
}

}  // namespace viaduct::cli
