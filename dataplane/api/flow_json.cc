#include "api/flow_json.h"

#include <array>
#include <charconv>

#include <json/json.h>
#include <spdlog/fmt/fmt.h>

#include "viaduct/fault.h"

namespace viaduct::dataplane {

namespace {

struct Protocol {
    std::string_view name;
    std::uint8_t number;
};
constexpr std::array<Protocol, 6> kProtocols{
    {{"icmp", 1}, {"tcp", 6}, {"udp", 17}, {"gre", 47}, {"icmpv6", 58}, {"sctp", 132}}};

std::string protocol_text(std::uint8_t number) {
    for (const auto& protocol : kProtocols) {
        if (protocol.number == number) return std::string(protocol.name);
    }
    return std::to_string(number);
}

/// Short, and nothing that would disturb a terminal.
std::string shown(std::string_view text) {
    std::string clean;
    for (const char c : text.substr(0, 64))
        clean += c < 0x20 || c == 0x7f ? '?' : c;
    return clean;
}

std::optional<std::uint32_t> number(const std::string& text, std::uint32_t most) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > most) return std::nullopt;
    return value;
}

std::optional<Prefix> prefix(const std::string& text) {
    if (const auto parsed = Prefix::parse(text)) return parsed;
    const auto address = IpAddress::parse(text);
    if (!address) return std::nullopt;
    return Prefix{*address, static_cast<std::uint8_t>(address->bits())};
}

std::optional<std::uint8_t> protocol(const std::string& text) {
    for (const auto& known : kProtocols) {
        if (known.name == text) return known.number;
    }
    const auto value = number(text, UINT8_MAX);
    return value ? std::optional(static_cast<std::uint8_t>(*value)) : std::nullopt;
}

std::optional<FlowState> state(const std::string& text) {
    for (std::size_t at = 0; at < kFlowStates; ++at) {
        if (to_string(static_cast<FlowState>(at)) == text) return static_cast<FlowState>(at);
    }
    return std::nullopt;
}

std::string states_list() {
    std::string list;
    for (std::size_t at = 0; at < kFlowStates; ++at)
        list += (at == 0 ? "" : ", ") + std::string(to_string(static_cast<FlowState>(at)));
    return list;
}

bool has_identifier(std::uint8_t protocol) {
    return protocol == 1 || protocol == 58;
}

void write_ends(std::string& text, const ListedEnds& ends, std::uint8_t protocol) {
    auto out = std::back_inserter(text);
    fmt::format_to(out, R"("source":"{}","destination":"{}")", ends.source.to_string(),
                   ends.destination.to_string());
    if (has_identifier(protocol)) {
        const bool reply = ends.source_port == kEchoPort.to_host();
        fmt::format_to(out, R"(,"id":{})", reply ? ends.destination_port : ends.source_port);
    } else if (ends.source_port != 0 || ends.destination_port != 0) {
        fmt::format_to(out, R"(,"source_port":{},"destination_port":{})", ends.source_port,
                       ends.destination_port);
    }
}

/// Names of VRFs, services, interfaces and ports have no character that JSON would have to escape
/// (model::is_name).
void write_flow(std::string& text, const ListedFlow& flow) {
    auto out = std::back_inserter(text);
    fmt::format_to(out, R"({{"vrf":"{}","protocol":"{}","state":"{}",)", flow.vrf,
                   protocol_text(flow.protocol), to_string(flow.state));
    write_ends(text, flow.sent, flow.protocol);
    if (flow.translated) {
        text += R"(,"translated":{)";
        write_ends(text, *flow.translated, flow.protocol);
        text += '}';
    }
    if (!flow.service.empty()) fmt::format_to(out, R"(,"service":"{}")", flow.service);
    if (!flow.interface.empty()) fmt::format_to(out, R"(,"interface":"{}")", flow.interface);
    if (!flow.port.empty()) fmt::format_to(out, R"(,"port":"{}")", flow.port);
    fmt::format_to(out,
                   R"(,"packets":{},"bytes":{},"reply_packets":{},"reply_bytes":{},"age_seconds":{},)"
                   R"("idle_seconds":{},"timeout_seconds":{}}})",
                   flow.packets, flow.bytes, flow.reply_packets, flow.reply_bytes, flow.age, flow.idle,
                   flow.timeout);
}

template <typename Key>
Json::Value table_json(const FlowTable<Key>& table) {
    const auto counters = table.counters();
    Json::Value json(Json::objectValue);
    json["flows"] = table.entries() / 2;
    json["entries"] = table.entries();
    json["capacity"] = table.capacity();
    json["inserted"] = Json::UInt64(counters.inserted);
    json["expired"] = Json::UInt64(counters.expired);
    json["evicted"] = Json::UInt64(counters.evicted);
    json["refused"] = Json::UInt64(counters.refused);
    json["removed"] = Json::UInt64(counters.removed);
    return json;
}

}  // namespace

FlowFilter flow_filter(const AskedValue& asked) {
    FlowFilter filter;
    Faults faults;
    const auto take = [&](const char* key, auto& into, const auto& parse, const std::string& wanted) {
        const auto text = asked(key);
        if (!text) return;
        const auto value = parse(*text);
        if (value) {
            into = *value;
        } else {
            faults.push_back({key, "must be " + wanted + ", not \"" + shown(*text) + "\""});
        }
    };
    filter.vrf = asked("vrf");
    take("source", filter.source, prefix, "an address or a prefix such as 10.0.0.0/8");
    take("destination", filter.destination, prefix, "an address or a prefix such as 10.0.0.0/8");
    take("protocol", filter.protocol, protocol, "tcp, udp, icmp, icmpv6, sctp, gre or a number up to 255");
    take(
        "port", filter.port, [](const std::string& text) { return number(text, UINT16_MAX); },
        "a number from 0 to 65535");
    take("state", filter.state, state, "one of " + states_list());
    take("service", filter.service, service_name, "NAMESPACE/NAME or NAMESPACE/NAME/PORT");
    if (!faults.empty()) throw Refused(std::move(faults));
    return filter;
}

std::uint32_t flow_limit(const AskedValue& asked) {
    const auto text = asked("limit");
    if (!text) return kFlowsOfAPage;
    const auto value = number(*text, kFlowsOfAPageMost);
    if (value && *value > 0) return *value;
    throw Refused("limit", "must be a number from 1 to " + std::to_string(kFlowsOfAPageMost) + ", not \"" +
                               shown(*text) + "\"");
}

FlowCursor flow_cursor(const AskedValue& asked) {
    const auto text = asked("cursor");
    if (!text) return {};
    if (text->starts_with("4.") || text->starts_with("6.")) {
        if (const auto index = number(text->substr(2), kNoFlow - 1)) return {text->front() == '6', *index};
    }
    throw Refused("cursor", "must be the \"next\" of an earlier page, not \"" + shown(*text) + "\"");
}

std::string flows_text(FlowTables tables, const FlowNames& names, const FlowFilter& filter, FlowCursor from,
                       std::uint32_t most) {
    std::string text = R"({"flows":[)";
    bool first = true;
    const auto next = list_flows(tables, names, filter, from, most, [&](const ListedFlow& flow) {
        if (!first) text += ',';
        first = false;
        write_flow(text, flow);
    });
    text += R"(],"next":)";
    text += next ? fmt::format(R"("{}.{}")", next->v6 ? 6 : 4, next->index) : "null";
    return text + "}\n";
}

Json::Value flow_count_json(const FlowCount& count) {
    Json::Value json(Json::objectValue);
    json["flows"] = Json::UInt64(count.flows);
    auto& states = json["states"] = Json::objectValue;
    for (std::size_t at = 0; at < kFlowStates; ++at)
        states[std::string(to_string(static_cast<FlowState>(at)))] = Json::UInt64(count.states[at]);
    return json;
}

Json::Value flow_tables_json(FlowTables tables) {
    Json::Value json(Json::objectValue);
    json["ipv4"] = table_json(*tables.v4);
    json["ipv6"] = table_json(*tables.v6);
    return json;
}

}  // namespace viaduct::dataplane
