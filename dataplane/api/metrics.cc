#include "api/metrics.h"

#include <array>

#include <spdlog/fmt/fmt.h>

#include "forward/first_packets.h"
#include "neighbour_state.h"
#include "service_traffic.h"

namespace viaduct::dataplane {

namespace {

using Sum = std::uint64_t PortTotals::*;

struct Family {
    Sum sum;
    const char* name;
    const char* help;
};

constexpr std::array<Family, 10> kFamilies{{
    {&PortTotals::rx_packets, "rx_packets", "Frames received"},
    {&PortTotals::rx_bytes, "rx_bytes", "Bytes received, without the frame check sequence"},
    {&PortTotals::tx_packets, "tx_packets", "Frames sent"},
    {&PortTotals::tx_bytes, "tx_bytes", "Bytes sent, without the frame check sequence"},
    {&PortTotals::copies, "copies", "Frames that flooding added"},
    {&PortTotals::offered, "offered", "Frames chosen to leave by the port"},
    {&PortTotals::originated, "originated", "Frames that the node itself made"},
    {&PortTotals::consumed, "consumed", "Frames that were for the node itself"},
    {&PortTotals::intercepted, "intercepted",
     "Frames for others on the bridge that the router took: answers of flows that it translates"},
    {&PortTotals::not_learned, "not_learned", "Source addresses that found no room in the FDB"},
}};

class Writer {
public:
    void family(const std::string& name, const char* type, const char* help) {
        fmt::format_to(std::back_inserter(text_), "# HELP viaduct_{} {}\n# TYPE viaduct_{} {}\n", name, help,
                       name, type);
        name_ = name;
    }
    /// Labels are written as they stand: names of ours have nothing to escape (model::is_name).
    void sample(const std::string& labels, std::uint64_t value) {
        const auto* open = labels.empty() ? "" : "{";
        const auto* close = labels.empty() ? "" : "}";
        fmt::format_to(std::back_inserter(text_), "viaduct_{}{}{}{} {}\n", name_, open, labels, close, value);
    }
    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    std::string text_;
    std::string name_;
};

std::string labels_of(const PortState& port) {
    return fmt::format("port=\"{}\",bridge=\"{}\",kind=\"{}\"", port.port.name, port.port.bridge,
                       model::to_string(port.port.kind));
}

std::string labels_of_drop(std::size_t drop) {
    return fmt::format("direction=\"{}\",reason=\"{}\"", direction(drop), kDrops[drop].name);
}

void write_ports(Writer& writer, const std::vector<PortState>& ports) {
    for (const auto& family : kFamilies) {
        writer.family(fmt::format("port_{}_total", family.name), "counter", family.help);
        for (const auto& port : ports)
            writer.sample(labels_of(port), port.totals.*family.sum);
    }
    // A thousand ports times every reason would be all but empty: reasons that a port never had are left out
    // here, and are all present in the sum over ports below.
    writer.family("port_drops_total", "counter", "Frames dropped, by reason");
    for (const auto& port : ports) {
        for (std::size_t i = 0; i < kDropReasons; ++i) {
            if (port.totals.drops[i] == 0) continue;
            writer.sample(labels_of(port) + "," + labels_of_drop(i), port.totals.drops[i]);
        }
    }
    writer.family("port_link_up", "gauge", "1 when frames can pass, 0 when not");
    for (const auto& port : ports)
        writer.sample(labels_of(port), port.link_up ? 1 : 0);
    writer.family("port_held", "gauge", "Frames that wait in the port");
    for (const auto& port : ports)
        writer.sample(labels_of(port), port.held);
    writer.family("port_fdb_entries", "gauge", "FDB entries that point at the port");
    for (const auto& port : ports)
        writer.sample(labels_of(port), port.fdb_entries);
}

void write_ledger(Writer& writer, const Ledger& ledger) {
    for (const auto& family : kFamilies) {
        writer.family(fmt::format("{}_total", family.name), "counter", family.help);
        writer.sample("", ledger.total.*family.sum);
    }
    writer.family("drops_total", "counter",
                  "Frames dropped by all ports, those since removed too, by reason");
    for (std::size_t i = 0; i < kDropReasons; ++i)
        writer.sample(labels_of_drop(i), ledger.total.drops[i]);
    writer.family("held", "gauge", "Frames in hand-off rings and ports");
    writer.sample("", ledger.held);
    writer.family("ledger_balanced", "gauge",
                  "1 when received + copies + originated = sent + dropped + consumed + held, as at any rest");
    writer.sample("", ledger.balanced() ? 1 : 0);
}

void write_workers(Writer& writer, const std::vector<WorkerState>& workers) {
    struct WorkerFamily {
        std::uint64_t WorkerState::*value;
        const char* name;
        const char* type;
        const char* help;
    };
    static constexpr std::array<WorkerFamily, 5> families{{
        {&WorkerState::turns, "worker_turns_total", "counter", "Turns of the poll loop"},
        {&WorkerState::idle_turns, "worker_idle_turns_total", "counter", "Turns that found nothing"},
        {&WorkerState::sleeps, "worker_sleeps_total", "counter", "Times that the worker slept"},
        {&WorkerState::handed_off, "worker_handed_off_total", "counter", "Frames passed to other workers"},
        {&WorkerState::queues, "worker_queues", "gauge", "Receive queues that the worker owns"},
    }};
    for (const auto& family : families) {
        writer.family(family.name, family.type, family.help);
        for (std::size_t i = 0; i < workers.size(); ++i) {
            writer.sample(fmt::format("worker=\"{}\"", i), workers[i].*family.value);
        }
    }
}

void write_flows(Writer& writer, FlowTables tables) {
    const auto both = [&](const char* name, const char* type, const char* help, const auto& value) {
        writer.family(name, type, help);
        writer.sample("family=\"ipv4\"", value(*tables.v4));
        writer.sample("family=\"ipv6\"", value(*tables.v6));
    };
    both("flows", "gauge", "Flows in the table", [](const auto& table) { return table.entries() / 2; });
    both("flow_entries_capacity", "gauge", "Places in the table, two a flow",
         [](const auto& table) { return table.capacity(); });
    struct FlowFamily {
        std::uint64_t FlowTableCounters::*value;
        const char* name;
        const char* help;
    };
    static constexpr std::array<FlowFamily, 5> families{{
        {&FlowTableCounters::inserted, "flows_inserted_total", "Flows that began"},
        {&FlowTableCounters::expired, "flows_expired_total", "Flows that were idle for their timeout"},
        {&FlowTableCounters::evicted, "flows_evicted_total", "Flows that gave way to newer ones"},
        {&FlowTableCounters::refused, "flows_refused_total", "New flows for which nothing gave way"},
        {&FlowTableCounters::removed, "flows_removed_total", "Flows that were flushed, or whose rule went"},
    }};
    for (const auto& family : families) {
        both(family.name, "counter", family.help,
             [&](const auto& table) { return table.counters().*family.value; });
    }
}

void write_neighbours(Writer& writer, const NeighbourSums& sums) {
    struct NeighbourFamily {
        std::uint64_t NeighbourCounters::*value;
        const char* name;
        const char* help;
    };
    static constexpr std::array<NeighbourFamily, 6> families{{
        {&NeighbourCounters::solicitations, "neighbour_solicitations_total", "Questions for neighbours"},
        {&NeighbourCounters::failures, "neighbour_failures_total", "Neighbours that did not answer"},
        {&NeighbourCounters::evicted, "neighbour_evicted_total", "Neighbours that gave way to newer ones"},
        {&NeighbourCounters::refused, "neighbour_refused_total", "Neighbours that found no room"},
        {&NeighbourCounters::mac_changes, "neighbour_mac_changes_total", "Changed MAC addresses"},
        {&NeighbourCounters::duplicates, "neighbour_duplicates_total",
         "Messages by which somebody claimed an address of the node"},
    }};
    for (const auto& family : families) {
        writer.family(family.name, "counter", family.help);
        writer.sample("", sums.counters.*family.value);
    }
    writer.family("neighbours", "gauge", "Neighbours, in any state");
    writer.sample("", sums.entries);
    writer.family("neighbour_waiting", "gauge", "Frames that wait for a neighbour's answer");
    writer.sample("", sums.waiting);
}

/// Only what needs no walk over the flows, which a scrape is not worth. Of more services than a dashboard can
/// show only the sums are told.
constexpr std::size_t kServicesMost = 1000;

void write_services(Writer& writer, const ServiceSums& sums) {
    writer.family("services", "gauge", "Services in force, one for each port of one");
    writer.sample("", sums.services);
    writer.family("service_affinities", "gauge", "Clients whose backend is remembered");
    writer.sample("", sums.affinities);
    const auto both = [&](const char* name, const char* all_help, const char* each_help, const auto& value) {
        writer.family(fmt::format("services_{}_total", name), "counter", all_help);
        writer.sample("", value(sums));
        if (sums.each.empty()) return;
        writer.family(fmt::format("service_{}_total", name), "counter", each_help);
        for (const auto& one : sums.each)
            writer.sample(fmt::format("service=\"{}\"", one.label), value(one));
    };
    both("flows", "Flows that services in force gave a backend", "Flows that were given a backend",
         [](const auto& one) { return one.flows; });
    both("refused", "Packets that services in force had no backend for, or from clients that may not",
         "Packets without a backend, or from clients that may not",
         [](const auto& one) { return one.refused; });
}

}  // namespace

std::string metrics_text(const Identity& identity, const Dataplane& dataplane) {
    Writer writer;
    writer.family("dataplane_info", "gauge", "The running dataplane, always 1");
    writer.sample(fmt::format("version=\"{}\",instance=\"{}\"", VIADUCT_VERSION, identity.instance), 1);
    write_ports(writer, dataplane.ports());
    write_ledger(writer, dataplane.ledger());
    write_workers(writer, dataplane.workers());
    write_flows(writer, dataplane.flows());
    write_neighbours(writer, dataplane.neighbour_sums());
    write_services(writer, dataplane.service_sums(kServicesMost));
    const auto buffers = dataplane.buffers();
    writer.family("packet_buffers", "gauge", "Packet buffers in the pool");
    writer.sample("", buffers.total);
    writer.family("packet_buffers_reserved", "gauge", "Packet buffers reserved by workers and ports");
    writer.sample("", buffers.reserved);
    return writer.take();
}

}  // namespace viaduct::dataplane
