// viaduct link: ports as the dataplane sees them, in the manner of "ip link" and "ip -s link".
#include <iostream>

#include <json/json.h>

#include "viaduct/http.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

std::uint64_t sum(const Json::Value& reasons) {
    std::uint64_t total = 0;
    if (!reasons.isObject()) return 0;
    for (const auto& name : reasons.getMemberNames())
        total += number_of(reasons, name.c_str());
    return total;
}

void print_counters(const Json::Value& counters) {
    Table table({"   ", "packets", "bytes", "dropped"});
    table.add({"RX:", std::to_string(number_of(counters, "rx_packets")),
               std::to_string(number_of(counters, "rx_bytes")), std::to_string(sum(counters["rx_drops"]))});
    table.add({"TX:", std::to_string(number_of(counters, "tx_packets")),
               std::to_string(number_of(counters, "tx_bytes")), std::to_string(sum(counters["tx_drops"]))});
    std::size_t start = 0;
    const auto text = table.text();
    while (start < text.size()) {
        const auto end = text.find('\n', start);
        std::cout << "    " << text.substr(start, end - start) << "\n";
        start = end + 1;
    }
    if (const auto count = number_of(counters, "intercepted"); count != 0)
        std::cout << "    RX intercepted " << count << "\n";
    for (const char* direction : {"rx_drops", "tx_drops"}) {
        const auto& reasons = counters[direction];
        if (!reasons.isObject()) continue;
        for (const auto& reason : reasons.getMemberNames()) {
            if (const auto count = number_of(reasons, reason.c_str()); count != 0) {
                std::cout << "    " << (direction[0] == 'r' ? "RX" : "TX") << " dropped " << reason << " "
                          << count << "\n";
            }
        }
    }
}

void print_link(const Json::Value& link, bool statistics) {
    const bool carrier = text_of(link, "link") == "up";
    std::cout << number_of(link, "index") << ": " << text_of(link, "name") << ": <"
              << (bool_of(link, "up", true) ? "UP" : "DOWN") << (carrier ? ",LOWER_UP" : ",NO-CARRIER")
              << ">";
    if (link.isMember("mtu")) std::cout << " mtu " << text_of(link, "mtu");
    if (const auto bridge = text_of(link, "bridge"); !bridge.empty()) std::cout << " master " << bridge;
    if (link["vlan"].isObject()) std::cout << " vlan " << vlan_words(link["vlan"]);
    std::cout << " state " << (carrier ? "UP" : "DOWN") << " queues " << link["queues"].size() << "\n";
    std::cout << "    link/" << text_of(link, "kind");
    if (const auto mac = text_of(link, "mac"); !mac.empty()) std::cout << " " << mac;
    if (const auto path = text_of(link, "path"); !path.empty())
        std::cout << " " << text_of(link, "mode") << " " << path;
    if (const auto name = text_of(link, "ifname"); !name.empty()) std::cout << " name " << name;
    if (const auto netns = text_of(link, "netns"); !netns.empty()) std::cout << " netns " << netns;
    std::cout << "\n";
    // What an uplink stands on, and why its link is down, is nowhere else.
    if (const auto detail = text_of(link, "detail"); text_of(link, "kind") == "uplink" && !detail.empty())
        std::cout << "    " << detail << "\n";
    if (link["filter"].isArray()) {
        std::cout << "    takes frames for groups and";
        for (const auto& address : link["filter"])
            std::cout << " " << address.asString();
        std::cout << "\n";
    }
    if (statistics) print_counters(link["counters"]);
}

int show(Session& session) {
    auto wanted = session.words.take_if_any();
    if (wanted == "dev") wanted = session.words.take("a port's name");
    session.words.done();
    const auto answer =
        session.ask("GET", "/v1/state/ports" + (wanted ? "?name=" + http::encode(*wanted) : ""));
    const auto desired = session.ask("GET", "/v1/config/desired?only=ports");
    Json::Value shown(Json::arrayValue);
    for (const auto& port : answer["ports"]) {
        if (wanted && text_of(port, "name") != *wanted) continue;
        auto one = port;
        // The dataplane tells what changes; what was configured is added to it.
        if (const auto* configured = find_named(desired["ports"], text_of(port, "name"))) {
            for (const auto& key : configured->getMemberNames()) {
                if (!one.isMember(key)) one[key] = (*configured)[key];
            }
        }
        shown.append(one);
    }
    if (wanted && shown.empty()) {
        throw Failure("port " + *wanted + " is not in the dataplane; \"viaduct link\" lists those that are");
    }
    if (session.printed(shown)) return 0;
    for (const auto& link : shown)
        print_link(link, session.arguments.statistics);
    return 0;
}

}  // namespace

Object link_object() {
    return {"link",
            "ports as they are in the dataplane: state and counters",
            {{"show",
              {"list", "ls", "lst"},
              "[[dev] PORT]",
              "list ports; with -s their counters and drops",
              show}},
            "LOWER_UP: the other side is there (a guest has connected, the interface is up). State and "
            "counters are the\n"
            "dataplane's own; \"viaduct port\" shows and changes what is configured.\n",
            {"viaduct -s link show web", "viaduct link", "viaduct -j link"}};
}

}  // namespace viaduct::cli
