#include "report.h"

#include <array>
#include <utility>

#include <json/json.h>
#include <rte_cycles.h>
#include <spdlog/fmt/fmt.h>

namespace viaduct::pktgen {

namespace {

double microseconds(std::uint64_t cycles) {
    return static_cast<double>(cycles) * 1e6 / static_cast<double>(rte_get_tsc_hz());
}

double idle_share(const Measurement& measurement) {
    return static_cast<double>(measurement.idle_cycles) /
           (measurement.seconds * static_cast<double>(rte_get_tsc_hz()));
}

}  // namespace

std::string to_text(const Measurement& measurement) {
    return fmt::format(
        "{} flows: {:.3f} Mpps both ways added, {} of {} lost, there and back {:.1f} us (p50) {:.1f} us "
        "(p99), "
        "generator idle {:.0f} %, on its CPU {:.0f} %",
        measurement.flows, measurement.mpps(), measurement.lost(), measurement.counts.sent,
        microseconds(measurement.latency.percentile(0.5)), microseconds(measurement.latency.percentile(0.99)),
        100 * idle_share(measurement), 100 * measurement.on_cpu);
}

Json::Value to_json(const Measurement& measurement) {
    const auto& counts = measurement.counts;
    Json::Value json(Json::objectValue);
    json["flows"] = measurement.flows;
    json["seconds"] = measurement.seconds;
    json["mpps"] = measurement.mpps();
    auto& seconds = json["second_mpps"] = Json::arrayValue;
    for (const auto mpps : measurement.second_mpps)
        seconds.append(mpps);
    json["sent"] = Json::UInt64(counts.sent);
    json["reached_far"] = Json::UInt64(counts.reached_far);
    json["returned"] = Json::UInt64(counts.returned);
    json["lost"] = Json::UInt64(measurement.lost());
    json["far_dropped"] = Json::UInt64(counts.far_dropped);
    json["foreign"] = Json::UInt64(counts.foreign);
    json["stalls"] = Json::UInt64(counts.stalls);
    json["idle"] = idle_share(measurement);
    json["on_cpu"] = measurement.on_cpu;
    auto& latency = json["latency_us"] = Json::objectValue;
    constexpr std::array<std::pair<const char*, double>, 4> shares{
        {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}};
    for (const auto& [name, share] : shares)
        latency[name] = microseconds(measurement.latency.percentile(share));
    return json;
}

}  // namespace viaduct::pktgen
