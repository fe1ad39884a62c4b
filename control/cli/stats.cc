// viaduct stats: counters of all ports, drops by reason, workers, and whether the ledger balances.
#include <iostream>

#include <json/json.h>

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

std::string shown(const Json::Value& json, const char* key) {
    return std::to_string(number_of(json, key));
}

void print_ledger(const Json::Value& total) {
    std::cout << "ledger: in " << shown(total, "rx_packets") << " + copies " << shown(total, "copies")
              << " + originated " << shown(total, "originated") << " = out " << shown(total, "tx_packets")
              << " + dropped " << shown(total, "dropped") << " + consumed " << shown(total, "consumed")
              << " + held " << shown(total, "held") << ": "
              << (bool_of(total, "balanced") ? "balances" : "does not balance") << "\n";
}

int ports(Session& session) {
    session.words.done();
    const auto stats = session.ask("GET", "/v1/state/stats");
    if (session.printed(stats)) return 0;
    Table table(
        {"PORT", "LINK", "RX-PACKETS", "RX-BYTES", "RX-DROPS", "TX-PACKETS", "TX-BYTES", "TX-DROPS", "HELD"});
    for (const auto& port : stats["ports"]) {
        const auto& counters = port["counters"];
        table.add({text_of(port, "name"), text_of(port, "link"), shown(counters, "rx_packets"),
                   shown(counters, "rx_bytes"), std::to_string(sum(counters["rx_drops"])),
                   shown(counters, "tx_packets"), shown(counters, "tx_bytes"),
                   std::to_string(sum(counters["tx_drops"])), shown(counters, "held")});
    }
    std::cout << table.text();
    print_ledger(stats["total"]);
    return 0;
}

int drops(Session& session) {
    session.words.done();
    const auto stats = session.ask("GET", "/v1/state/stats");
    Json::Value list(Json::arrayValue);
    for (const auto& port : stats["ports"]) {
        for (const char* direction : {"rx", "tx"}) {
            const auto& reasons = port["counters"][std::string(direction) + "_drops"];
            if (!reasons.isObject()) continue;
            for (const auto& reason : reasons.getMemberNames()) {
                const auto count = number_of(reasons, reason.c_str());
                if (count == 0) continue;
                Json::Value one;
                one["port"] = port["name"];
                one["direction"] = direction;
                one["reason"] = reason;
                one["count"] = Json::UInt64(count);
                list.append(one);
            }
        }
    }
    if (session.printed(list)) return 0;
    Table table({"PORT", "DIRECTION", "REASON", "COUNT"});
    for (const auto& one : list) {
        table.add(
            {text_of(one, "port"), text_of(one, "direction"), text_of(one, "reason"), text_of(one, "count")});
    }
    std::cout << table.text();
    print_ledger(stats["total"]);
    return 0;
}

/// Whatever the dataplane tells of a worker: its members become the columns.
int workers(Session& session) {
    session.words.done();
    const auto list = session.ask("GET", "/v1/state/stats")["workers"];
    if (session.printed(list)) return 0;
    if (!list.isArray() || list.empty()) return 0;
    std::vector<std::string> keys;
    std::vector<std::string> heading;
    for (const auto& key : list[0].getMemberNames()) {
        if (list[0][key].isObject() || list[0][key].isArray()) continue;
        keys.push_back(key);
        heading.push_back(key);
        for (auto& c : heading.back())
            c = c == '_' ? '-' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    Table table(heading);
    for (const auto& worker : list) {
        std::vector<std::string> row;
        for (const auto& key : keys)
            row.push_back(text_of(worker, key.c_str()));
        table.add(row);
    }
    std::cout << table.text();
    return 0;
}

}  // namespace

Object stats_object() {
    return {
        "stats",
        "counters of all ports, drops by reason, workers",
        {{"ports", {"show"}, "", "each port's counters and the ledger", ports},
         {"drops", {}, "", "dropped packets by port and reason", drops},
         {"workers", {}, "", "what each worker did", workers}},
        "The ledger adds up all ports, also those since removed: every packet that came in, and every "
        "copy that\n"
        "flooding made and every one of the node's own, went out, was dropped for a named reason, was for "
        "the node\n"
        "itself, or is held in a queue.\n",
        {"viaduct stats", "viaduct stats drops", "viaduct -j stats workers"}};
}

}  // namespace viaduct::cli
