#include "api/state_json.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <stdexcept>

#include <json/json.h>
#include <spdlog/fmt/fmt.h>

#include "viaduct/json.h"

#include "nat_state.h"
#include "neighbour_state.h"
#include "service_traffic.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kFdbMost = 1048576;  ///< entries of one bridge, as the model accepts them
constexpr std::uint32_t kQueuesMost = 16;

Json::Value drops_json(const PortTotals& totals, bool receive_side) {
    Json::Value json(Json::objectValue);
    for (std::size_t i = 0; i < kDropReasons; ++i) {
        if (is_receive_side(static_cast<Drop>(i)) != receive_side) continue;
        json[std::string(kDrops[i].name)] = Json::UInt64(totals.drops[i]);
    }
    return json;
}

Json::Value totals_json(const PortTotals& totals, std::uint64_t held) {
    Json::Value json(Json::objectValue);
    json["rx_packets"] = Json::UInt64(totals.rx_packets);
    json["rx_bytes"] = Json::UInt64(totals.rx_bytes);
    json["tx_packets"] = Json::UInt64(totals.tx_packets);
    json["tx_bytes"] = Json::UInt64(totals.tx_bytes);
    json["copies"] = Json::UInt64(totals.copies);
    json["offered"] = Json::UInt64(totals.offered);
    json["originated"] = Json::UInt64(totals.originated);
    json["consumed"] = Json::UInt64(totals.consumed);
    json["intercepted"] = Json::UInt64(totals.intercepted);
    json["not_learned"] = Json::UInt64(totals.not_learned);
    json["dropped"] = Json::UInt64(totals.dropped());
    json["held"] = Json::UInt64(held);
    json["rx_drops"] = drops_json(totals, true);
    json["tx_drops"] = drops_json(totals, false);
    return json;
}

}  // namespace

Identity make_identity() {
    Identity identity;
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != sizeof random) {
        throw std::runtime_error("the kernel gives no random numbers");
    }
    identity.instance = fmt::format("{:016x}", random);
    const auto now = std::time(nullptr);
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    std::array<char, 32> text{};
    identity.started.assign(text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc));
    return identity;
}

Json::Value info_json(const Identity& identity, const Dataplane& dataplane) {
    const auto buffers = dataplane.buffers();
    Json::Value json(Json::objectValue);
    json["version"] = VIADUCT_VERSION;
    json["instance"] = identity.instance;
    json["revision"] = Json::UInt64(dataplane.revision());
    json["pid"] = static_cast<int>(::getpid());
    json["started"] = identity.started;
    json["workers"] = workers_json(identity, dataplane.workers());
    json["poll"] = identity.poll == PollMode::busy ? "busy" : "adaptive";
    json["huge_pages"] = identity.huge_pages;
    json["memory_bytes"] = Json::UInt64(static_cast<std::uint64_t>(identity.memory_mb) << 20U);
    json["packet_buffers"] = buffers.total;
    json["packet_buffers_reserved"] = buffers.reserved;
    json["packet_buffer_bytes"] = Json::UInt64(buffers.bytes);
    auto& limits = json["limits"] = Json::objectValue;
    limits["ports"] = kPortsMost - 1;
    limits["queues"] = kQueuesMost;
    limits["mtu"] = model::kMtuMost;
    limits["fdb_size"] = kFdbMost;
    limits["flows"] = identity.flows;
    limits["flows6"] = identity.flows6;
    return json;
}

Json::Value port_json(const PortState& port) {
    Json::Value json(Json::objectValue);
    json["name"] = port.port.name;
    json["kind"] = std::string(model::to_string(port.port.kind));
    if (!port.port.bridge.empty()) json["bridge"] = port.port.bridge;
    json["index"] = port.index;
    json["up"] = port.port.up;
    json["link"] = port.link_up ? "up" : "down";
    if (!port.detail.empty()) json["detail"] = port.detail;
    if (port.port.kind == model::PortKind::uplink) {
        json["promiscuous"] = port.port.uplink.promiscuous;
        for (const auto& address : port.filter)
            json["filter"].append(address.to_string());
    }
    json["mtu"] = port.port.mtu;
    json["fdb_entries"] = port.fdb_entries;
    json["packet_buffers"] = port.packet_buffers;
    auto& queues = json["queues"] = Json::arrayValue;
    for (const auto& queue : port.queues) {
        Json::Value one(Json::objectValue);
        one["queue"] = queue.queue;
        one["worker"] = queue.worker;
        queues.append(std::move(one));
    }
    json["counters"] = totals_json(port.totals, port.held);
    json["counters"]["refused"] = Json::UInt64(port.refused);
    json["counters"]["cut_short"] = Json::UInt64(port.cut_short);
    return json;
}

Json::Value ports_json(const std::vector<PortState>& ports) {
    Json::Value json(Json::arrayValue);
    for (const auto& port : ports)
        json.append(port_json(port));
    return json;
}

Json::Value ledger_json(const Ledger& ledger) {
    auto json = totals_json(ledger.total, ledger.held);
    json["balanced"] = ledger.balanced();
    return json;
}

Json::Value nat_json(const NatState& nat) {
    Json::Value json(Json::objectValue);
    auto& rules = json["rules"] = Json::arrayValue;
    for (const auto& rule : nat.rules) {
        Json::Value one(Json::objectValue);
        one["kind"] = rule.kind;
        one["name"] = rule.name;
        one["vrf"] = rule.vrf;
        one["id"] = rule.id;
        one["flows"] = Json::UInt64(rule.flows);
        one["ports"] = Json::UInt64(rule.ports);
        one["exhausted"] = Json::UInt64(rule.exhausted);
        rules.append(std::move(one));
    }
    auto& addresses = json["addresses"] = Json::arrayValue;
    for (const auto& address : nat.addresses) {
        Json::Value one(Json::objectValue);
        one["vrf"] = address.vrf;
        one["address"] = address.address.to_string();
        one["protocol"] = address.protocol;
        one["ports"] = address.ports;
        one["shared"] = address.shared;
        addresses.append(std::move(one));
    }
    json["mappings"] = nat.mappings;
    json["exhausted"] = Json::UInt64(nat.exhausted);
    return json;
}

namespace {

void write_backend(std::string& text, const model::Backend& backend, const BackendTraffic& traffic) {
    auto out = std::back_inserter(text);
    fmt::format_to(out, R"({{"address":"{}","port":{},)", backend.address.to_string(), backend.port);
    // The one text here that may be any.
    if (!backend.name.empty())
        fmt::format_to(out, R"("name":{},)", Json::valueToQuotedString(backend.name.c_str()));
    fmt::format_to(
        out,
        R"("weight":{},"local":{},"draining":{},"distant":{},"connections":{},"tx_packets":{},"tx_bytes":{},)"
        R"("rx_packets":{},"rx_bytes":{}}})",
        backend.weight, backend.local, backend.draining, backend.distant, traffic.connections,
        traffic.tx_packets, traffic.tx_bytes, traffic.rx_packets, traffic.rx_bytes);
}

void write_service(std::string& text, const ServiceTraffic& traffic) {
    const auto& service = *traffic.config;
    fmt::format_to(std::back_inserter(text),
                   R"({{"namespace":"{}","name":"{}","port":"{}","vrf":"{}","protocol":"{}","flows":{},)"
                   R"("refused":{},"backends":[)",
                   service.namespace_, service.name, service.port, service.vrf,
                   model::to_string(service.protocol), traffic.flows, traffic.refused);
    for (std::size_t i = 0; i < service.backends.size(); ++i) {
        if (i != 0) text += ',';
        write_backend(text, service.backends[i], traffic.backends[i]);
    }
    text += "]}";
}

}  // namespace

std::optional<std::string> services_text(const Dataplane& dataplane, const std::optional<ServiceName>& only) {
    std::string text = "{\"services\":[";
    const auto start = text.size();
    dataplane.visit_services(only, [&](const ServiceTraffic& traffic) {
        if (text.size() != start) text += ',';
        write_service(text, traffic);
    });
    if (text.size() == start) return std::nullopt;
    return text + "]}\n";
}

Json::Value workers_json(const Identity& identity, const std::vector<WorkerState>& workers) {
    Json::Value json(Json::arrayValue);
    for (std::size_t i = 0; i < workers.size(); ++i) {
        const auto& worker = workers[i];
        Json::Value one(Json::objectValue);
        one["worker"] = Json::UInt64(i);
        one["lcore"] = worker.lcore;
        if (i < identity.worker_cpus.size()) one["cpu"] = identity.worker_cpus[i];
        one["queues"] = Json::UInt64(worker.queues);
        one["turns"] = Json::UInt64(worker.turns);
        one["idle_turns"] = Json::UInt64(worker.idle_turns);
        one["sleeps"] = Json::UInt64(worker.sleeps);
        one["handed_off"] = Json::UInt64(worker.handed_off);
        json.append(std::move(one));
    }
    return json;
}

Json::Value drop_reasons_json() {
    Json::Value json(Json::objectValue);
    auto& list = json["drops"] = Json::arrayValue;
    for (std::size_t i = 0; i < kDropReasons; ++i) {
        Json::Value one(Json::objectValue);
        one["direction"] = direction(i);
        one["name"] = std::string(kDrops[i].name);
        one["meaning"] = std::string(kDrops[i].meaning);
        list.append(std::move(one));
    }
    return json;
}

std::string fdb_text(const Dataplane& dataplane, const FdbFilter& filter) {
    std::string text = "{\"fdb\":[";
    const auto start = text.size();
    // Names of bridges and ports have no character that JSON would have to escape (model::is_name).
    dataplane.visit_fdb(filter, [&](const FdbState& state) {
        fmt::format_to(std::back_inserter(text),
                       R"({}{{"bridge":"{}","vlan":{},"mac":"{}","port":"{}","static":{},"age_seconds":{}}})",
                       text.size() == start ? "" : ",", state.entry.bridge, state.entry.vlan,
                       state.entry.mac.to_string(), state.entry.port, state.is_static, state.age_seconds);
    });
    return text + "]}\n";
}

Json::Value neighbour_sums_json(const NeighbourSums& sums) {
    Json::Value json(Json::objectValue);
    json["entries"] = sums.entries;
    json["entries_most"] = sums.entries_most;
    json["waiting"] = sums.waiting;
    json["solicitations"] = Json::UInt64(sums.counters.solicitations);
    json["failures"] = Json::UInt64(sums.counters.failures);
    json["evicted"] = Json::UInt64(sums.counters.evicted);
    json["refused"] = Json::UInt64(sums.counters.refused);
    json["mac_changes"] = Json::UInt64(sums.counters.mac_changes);
    json["duplicates"] = Json::UInt64(sums.counters.duplicates);
    return json;
}

std::string neighbours_text(const Dataplane& dataplane, const NeighbourFilter& filter) {
    std::string text = "{\"neighbours\":[";
    const auto start = text.size();
    dataplane.visit_neighbours(filter, [&](const NeighbourEntry& entry) {
        const auto mac = entry.mac.is_zero() ? "null" : "\"" + entry.mac.to_string() + "\"";
        fmt::format_to(
            std::back_inserter(text),
            R"({}{{"interface":"{}","address":"{}","mac":{},"state":"{}","confirmed_seconds":{},"waiting":{}}})",
            text.size() == start ? "" : ",", entry.interface, entry.address.to_string(), mac,
            to_string(entry.state), entry.confirmed_seconds, entry.waiting);
    });
    return text + "],\"total\":" + to_json_text(neighbour_sums_json(dataplane.neighbour_sums())) + "}\n";
}

}  // namespace viaduct::dataplane
