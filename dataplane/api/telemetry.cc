// DPDK's telemetry gives its callbacks no argument of ours and cannot forget them, so one pointer of the
// process says whom they ask; it is the only mutable state of the process that nobody owns. Answers are cut
// to what fits DPDK's 16 KiB of output, by pages.
#include "api/telemetry.h"

#include <array>
#include <charconv>
#include <mutex>
#include <stdexcept>
#include <string_view>

#include <json/json.h>
#include <rte_telemetry.h>

#include "api/flow_json.h"
#include "neighbour_state.h"

namespace viaduct::dataplane {

namespace {

constexpr std::size_t kPortsShown = 200;
constexpr std::size_t kFdbShown = 64;

struct Asked {
    std::mutex mutex;  ///< held while an answer is made, so that nobody is asked after the end
    const Identity* identity = nullptr;
    const Dataplane* dataplane = nullptr;
};

Asked& asked() {
    static Asked one;
    return one;
}

using Data = rte_tel_data;

/// A JSON value into a dictionary of DPDK's.
void add(Data* dict, const std::string& name, const Json::Value& value);

/// DPDK 22.11 prints no dictionaries within arrays, so an array of objects becomes a dictionary whose keys
/// count.
Data* container(const Json::Value& value) {
    Data* data = rte_tel_data_alloc();
    if (data == nullptr) throw std::bad_alloc();
    if (value.isArray() && !value.empty() && value[0].isString()) {
        rte_tel_data_start_array(data, RTE_TEL_STRING_VAL);
        for (const auto& item : value)
            rte_tel_data_add_array_string(data, item.asCString());
        return data;
    }
    rte_tel_data_start_dict(data);
    if (value.isArray()) {
        for (Json::ArrayIndex i = 0; i < value.size(); ++i)
            add(data, std::to_string(i), value[i]);
    } else {
        for (const auto& key : value.getMemberNames())
            add(data, key, value[key]);
    }
    return data;
}

void add(Data* dict, const std::string& name, const Json::Value& value) {
    if (value.isObject() || value.isArray()) {
        rte_tel_data_add_dict_container(dict, name.c_str(), container(value), 0);
    } else if (value.isIntegral() && !value.isBool()) {
        rte_tel_data_add_dict_u64(dict, name.c_str(), value.asUInt64());
    } else {
        rte_tel_data_add_dict_string(dict, name.c_str(), value.asString().c_str());
    }
}

/// Fills DPDK's answer from an object.
int fill(Data* data, const Json::Value& object) {
    rte_tel_data_start_dict(data);
    for (const auto& key : object.getMemberNames())
        add(data, key, object[key]);
    return 0;
}

std::size_t number_or_zero(std::string_view text) {
    std::size_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

Json::Value info(const Asked& whom, std::string_view /*parameters*/) {
    return info_json(*whom.identity, *whom.dataplane);
}

Json::Value ports(const Asked& whom, std::string_view parameters) {
    const auto config = whom.dataplane->config();
    const auto from = number_or_zero(parameters);
    Json::Value json(Json::objectValue);
    json["total"] = Json::UInt64(config.ports.size());
    auto& names = json["ports"] = Json::arrayValue;
    std::size_t place = 0;
    for (const auto& [name, port] : config.ports) {
        if (place++ >= from && names.size() < kPortsShown) names.append(name);
    }
    return json;
}

Json::Value port(const Asked& whom, std::string_view parameters) {
    for (const auto& state : whom.dataplane->ports()) {
        if (state.port.name == parameters) return port_json(state);
    }
    return {};
}

Json::Value stats(const Asked& whom, std::string_view /*parameters*/) {
    auto json = ledger_json(whom.dataplane->ledger());
    json["workers"] = workers_json(*whom.identity, whom.dataplane->workers());
    return json;
}

Json::Value fdb(const Asked& whom, std::string_view parameters) {
    const auto comma = parameters.find(',');
    const auto bridge = parameters.substr(0, comma);
    const auto from = comma == std::string_view::npos ? 0 : number_or_zero(parameters.substr(comma + 1));
    FdbFilter filter;
    if (!bridge.empty()) filter.bridge = std::string(bridge);
    Json::Value json(Json::objectValue);
    auto& entries = json["fdb"] = Json::arrayValue;
    std::size_t total = 0;
    whom.dataplane->visit_fdb(filter, [&](const FdbState& state) {
        if (total++ < from || entries.size() >= kFdbShown) return;
        Json::Value one(Json::objectValue);
        one["bridge"] = state.entry.bridge;
        one["vlan"] = state.entry.vlan;
        one["mac"] = state.entry.mac.to_string();
        one["port"] = state.entry.port;
        if (!state.is_static) one["age_seconds"] = state.age_seconds;
        entries.append(std::move(one));
    });
    json["total"] = Json::UInt64(total);
    return json;
}

Json::Value flows(const Asked& whom, std::string_view /*parameters*/) {
    return flow_tables_json(whom.dataplane->flows());
}

Json::Value neighbours(const Asked& whom, std::string_view parameters) {
    const auto comma = parameters.find(',');
    const auto interface = parameters.substr(0, comma);
    const auto from = comma == std::string_view::npos ? 0 : number_or_zero(parameters.substr(comma + 1));
    NeighbourFilter filter;
    if (!interface.empty()) filter.interface = std::string(interface);
    auto json = neighbour_sums_json(whom.dataplane->neighbour_sums());
    auto& entries = json["neighbours"] = Json::arrayValue;
    std::size_t total = 0;
    whom.dataplane->visit_neighbours(filter, [&](const NeighbourEntry& entry) {
        if (total++ < from || entries.size() >= kFdbShown) return;
        Json::Value one(Json::objectValue);
        one["interface"] = entry.interface;
        one["address"] = entry.address.to_string();
        one["mac"] = entry.mac.to_string();
        one["state"] = std::string(to_string(entry.state));
        entries.append(std::move(one));
    });
    json["total"] = Json::UInt64(total);
    return json;
}

/// The C callback around one of the functions above. A negative answer makes DPDK say null.
template <Json::Value (*Make)(const Asked&, std::string_view)>
int answer(const char* /*command*/, const char* parameters, Data* data) {
    auto& whom = asked();
    const std::scoped_lock lock(whom.mutex);
    if (whom.dataplane == nullptr) return -1;
    try {
        const auto json = Make(whom, parameters == nullptr ? std::string_view{} : parameters);
        return json.isObject() ? fill(data, json) : -1;
    } catch (const std::exception&) {
        return -1;  // must not pass through DPDK's C code
    }
}

void register_once() {
    struct Command {
        const char* name;
        telemetry_cb answer;
        const char* help;
    };
    static constexpr std::array<Command, 7> commands{{
        {"/viaduct/info", answer<info>, "The dataplane: version, instance, workers, buffers. No parameters."},
        {"/viaduct/ports", answer<ports>, "Names of ports. Parameter: where in the list to begin (0)."},
        {"/viaduct/port", answer<port>, "One port: state, counters, drops by reason. Parameter: its name."},
        {"/viaduct/stats", answer<stats>, "Counters over all ports and the workers. No parameters."},
        {"/viaduct/flows", answer<flows>,
         "Both flow tables: flows, capacity, and what became of flows. No parameters."},
        {"/viaduct/fdb", answer<fdb>,
         "FDB entries: bridge, VLAN, MAC, port, age. Parameters: bridge, where to begin."},
        {"/viaduct/neighbours", answer<neighbours>,
         "Neighbours: interface, address, MAC, state, and sums. Parameters: interface, where to begin."},
    }};
    static const bool registered = [] {
        for (const auto& command : commands) {
            if (rte_telemetry_register_cmd(command.name, command.answer, command.help) != 0) {
                throw std::runtime_error(std::string("DPDK does not take the telemetry command ") +
                                         command.name);
            }
        }
        return true;
    }();
    static_cast<void>(registered);
}

}  // namespace

Telemetry::Telemetry(const Identity& identity, const Dataplane& dataplane) {
    register_once();
    auto& whom = asked();
    const std::scoped_lock lock(whom.mutex);
    if (whom.dataplane != nullptr) throw std::logic_error("a process has one telemetry");
    whom.identity = &identity;
    whom.dataplane = &dataplane;
}

Telemetry::~Telemetry() {
    auto& whom = asked();
    const std::scoped_lock lock(whom.mutex);
    whom.identity = nullptr;
    whom.dataplane = nullptr;
}

}  // namespace viaduct::dataplane
