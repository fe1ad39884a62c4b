#include "report.h"

#include <arpa/inet.h>

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

std::string address_text(rte_be32_t address) {
    std::array<char, INET_ADDRSTRLEN> text{};
    return ::inet_ntop(AF_INET, &address, text.data(), text.size());
}

Json::Value sample_json(const Sample& sample) {
    Json::Value json;
    if (!sample.taken) return json;
    const auto& frame = sample.frame;
    json["source"] = address_text(frame.ip.src_addr);
    json["source_port"] = rte_be_to_cpu_16(frame.udp.src_port);
    json["destination"] = address_text(frame.ip.dst_addr);
    json["destination_port"] = rte_be_to_cpu_16(frame.udp.dst_port);
    json["ttl"] = frame.ip.time_to_live;
    json["tunnelled"] = sample.tunnelled;
    return json;
}

Json::Value silences_json(const SeenFlows& seen) {
    Json::Value json(Json::arrayValue);
    for (const auto& silence : seen.silences) {
        auto& one = json.append(Json::objectValue);
        one["begin"] = silence.begin;
        one["end"] = silence.end;
    }
    return json;
}

Json::Value slices_json(const SeenFlows& seen) {
    if (seen.slices.empty()) return {};
    Json::Value json(Json::objectValue);
    json["begin"] = seen.slices_begin;
    for (const auto& slices : seen.slices) {
        auto& returned = json["returned"].append(Json::arrayValue);
        for (const auto frames : slices)
            returned.append(frames);
    }
    return json;
}

}  // namespace

std::string to_text(const Measurement& measurement) {
    return fmt::format(
        "{} flows: {:.3f} Mpps {}, {} of {} lost, there and back {:.1f} us (p50) {:.1f} us "
        "(p99), "
        "generator idle {:.0f} %, on its CPU {:.0f} %",
        measurement.flows, measurement.mpps(), measurement.one_way ? "one way" : "both ways added",
        measurement.lost(), measurement.counts.sent, microseconds(measurement.latency.percentile(0.5)),
        microseconds(measurement.latency.percentile(0.99)), 100 * idle_share(measurement),
        100 * measurement.on_cpu);
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
    json["moved"] = Json::UInt64(counts.moved);
    json["flood_sent"] = Json::UInt64(counts.flood_sent);
    json["flood_reached"] = Json::UInt64(counts.flood_reached);
    json["stalls"] = Json::UInt64(counts.stalls);
    json["idle"] = idle_share(measurement);
    json["on_cpu"] = measurement.on_cpu;
    json["sample"] = sample_json(measurement.sample);
    json["silences"] = silences_json(measurement.seen);
    json["slices"] = slices_json(measurement.seen);
    auto& latency = json["latency_us"] = Json::objectValue;
    constexpr std::array<std::pair<const char*, double>, 4> shares{
        {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}};
    for (const auto& [name, share] : shares)
        latency[name] = microseconds(measurement.latency.percentile(share));
    return json;
}

}  // namespace viaduct::pktgen
