// viaduct flow: connections through the flow engine, listed page by page, so that a million flows need no
// more memory here than one page.
#include <algorithm>
#include <iostream>
#include <map>

#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/json.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

constexpr std::uint64_t kPage = 2000;
constexpr std::uint64_t kLimitMost = 1'000'000'000;

struct Wanted {
    std::map<std::string, std::string> filter;  ///< as the API takes it
    std::uint64_t limit = kLimitMost;
};

Wanted read_wanted(Words& words, bool limited) {
    static const std::map<std::string, std::string> names = {
        {"vrf", "vrf"},     {"src", "source"},     {"source", "source"},     {"dst", "destination"},
        {"port", "port"},   {"proto", "protocol"}, {"protocol", "protocol"}, {"destination", "destination"},
        {"state", "state"}, {"service", "service"}};
    std::vector<std::string_view> keys;
    for (const auto& [key, name] : names)
        keys.push_back(key);
    if (limited) keys.push_back("limit");
    Wanted wanted;
    while (!words.empty()) {
        const auto key = words.keyword(keys);
        if (key == "limit") {
            wanted.limit = words.number("limit", 1, kLimitMost);
        } else if (key == "port") {
            wanted.filter["port"] = std::to_string(words.number("port", 0, 65535));
        } else {
            wanted.filter[names.at(key)] = words.take("a value");
        }
    }
    return wanted;
}

std::string target_of(const std::string& path, const std::map<std::string, std::string>& query) {
    std::string target = path;
    char separator = '?';
    for (const auto& [key, value] : query) {
        target += separator + key + "=" + http::encode(value);
        separator = '&';
    }
    return target;
}

/// "10.0.0.2:40000", "[2001:db8::1]:53", "10.0.0.2 id 7", "10.0.0.2"
std::string end_words(const Json::Value& ends, const char* address, const char* port) {
    const auto text = text_of(ends, address);
    if (!ends.isMember(port)) return text;
    const bool v6 = text.find(':') != std::string::npos;
    return (v6 ? "[" + text + "]" : text) + ":" + text_of(ends, port);
}

std::string ends_words(const Json::Value& ends) {
    auto words = end_words(ends, "source", "source_port") + " -> " +
                 end_words(ends, "destination", "destination_port");
    if (ends.isMember("id")) words += " id " + text_of(ends, "id");
    return words;
}

std::string flow_words(const Json::Value& flow, bool statistics) {
    auto line = text_of(flow, "protocol") + " " + text_of(flow, "state") + " " + ends_words(flow);
    if (flow.isMember("translated")) line += " as " + ends_words(flow["translated"]);
    if (const auto vrf = text_of(flow, "vrf"); vrf != "default") line += " vrf " + (vrf.empty() ? "-" : vrf);
    for (const auto& [key, word] :
         {std::pair{"service", " service "}, std::pair{"interface", " in "}, std::pair{"port", " out "}}) {
        if (flow.isMember(key)) line += word + text_of(flow, key);
    }
    line += " idle " + text_of(flow, "idle_seconds") + "s of " + text_of(flow, "timeout_seconds") + "s";
    if (!statistics) return line;
    return line + "\n    sent " + text_of(flow, "packets") + " packets " + text_of(flow, "bytes") +
           " bytes, replied " + text_of(flow, "reply_packets") + " packets " + text_of(flow, "reply_bytes") +
           " bytes, age " + text_of(flow, "age_seconds") + "s";
}

/// Prints flows as their pages come. As JSON: one array over all pages.
int list(Session& session) {
    const auto wanted = read_wanted(session.words, true);
    const bool json = session.arguments.json;
    auto query = wanted.filter;
    std::uint64_t left = wanted.limit;
    bool first = true;
    if (json) std::cout << "[";
    for (bool more = true; more && left > 0;) {
        query["limit"] = std::to_string(std::min(left, kPage));
        const auto page = session.ask("GET", target_of("/v1/state/flows", query));
        for (const auto& flow : page["flows"]) {
            if (json) {
                std::cout << (first ? "" : ",") << to_json_text(flow, session.arguments.pretty);
            } else {
                std::cout << flow_words(flow, session.arguments.statistics) << "\n";
            }
            first = false;
        }
        left -= std::min<std::uint64_t>(left, page["flows"].size());
        query["cursor"] = text_of(page, "next");
        more = !query["cursor"].empty();
    }
    if (json) std::cout << "]\n";
    return 0;
}

int count(Session& session) {
    const auto wanted = read_wanted(session.words, false);
    const auto answer = session.ask("GET", target_of("/v1/state/flows/count", wanted.filter));
    if (session.printed(answer)) return 0;
    std::cout << number_of(answer, "flows") << " flows";
    const char* separator = ": ";
    for (const auto& state : answer["states"].getMemberNames()) {
        const auto flows = number_of(answer["states"], state.c_str());
        if (flows == 0) continue;
        std::cout << separator << flows << " " << state;
        separator = ", ";
    }
    std::cout << "\n";
    if (!session.arguments.statistics) return 0;
    for (const auto* family : {"ipv4", "ipv6"}) {
        const auto& table = answer["tables"][family];
        std::cout << family << ": " << number_of(table, "entries") << " of " << number_of(table, "capacity")
                  << " entries";
        for (const auto* key : {"inserted", "expired", "evicted", "refused", "removed"})
            std::cout << ", " << number_of(table, key) << " " << key;
        std::cout << "\n";
    }
    return 0;
}

int flush(Session& session) {
    if (session.arguments.dry_run)
        throw Usage("--dry-run is for changes; count with \"viaduct flow count\" first");
    const auto wanted = read_wanted(session.words, false);
    Json::Value body(Json::objectValue);
    for (const auto& [key, value] : wanted.filter) {
        if (key == "port") {
            body[key] = std::stoi(value);
        } else {
            body[key] = value;
        }
    }
    const auto answer = session.ask("POST", "/v1/state/flows/flush", body);
    if (!session.printed(answer)) std::cout << "flushed " << number_of(answer, "flushed") << " flows\n";
    return 0;
}

}  // namespace

Object flow_object() {
    const std::string filter =
        "[proto PROTOCOL] [src PREFIX] [dst PREFIX] [port PORT] [state STATE] [vrf VRF]\n"
        "          [service NAMESPACE/NAME[/PORT]]";
    return {"flow",
            "connections: their state, translation and counters",
            {{"list", {"show", "ls", "lst"}, filter + " [limit N]", "list flows; -s with counters", list},
             {"count", {}, filter, "count flows by state; -s with the tables' counters", count},
             {"flush", {}, filter, "forget flows: their next packets are resolved as first ones", flush}},
            "src: as the initiator sends. dst: as it sends, or as translated. port: any of the four.\n"
            "state: unreplied, replied, syn_sent, syn_received, established, fin_wait, time_wait, closed.\n"
            "service: to whose backends they go; of all of its ports, or of one. Keywords may be written as "
            "options, too:\n--service apps/web, --service=apps/web.\n",
            {"viaduct flow list proto tcp dst 10.0.0.0/8 port 443", "viaduct -s flow list limit 10",
             "viaduct flow list --service apps/web", "viaduct -j flow count state established",
             "viaduct flow flush src 10.1.2.3"}};
}

}  // namespace viaduct::cli
