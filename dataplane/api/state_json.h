// The dataplane's state as JSON: one place for the names and units that people, control and monitoring see.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataplane.h"

namespace Json {
class Value;
}

namespace viaduct::dataplane {

/// What is fixed while the process runs, for GET /v1/info.
struct Identity {
    std::string instance;  ///< random per start, so that control notices a restart
    std::string started;   ///< UTC as RFC 3339 says
    bool huge_pages = false;
    std::uint32_t memory_mb = 0;
    std::uint32_t flows = 0;
    std::uint32_t flows6 = 0;
    PollMode poll = PollMode::adaptive;
    std::vector<unsigned> worker_cpus;
};

/// Sixteen random hexadecimal digits, and the present time.
Identity make_identity();

Json::Value info_json(const Identity& identity, const Dataplane& dataplane);
Json::Value port_json(const PortState& port);
Json::Value ports_json(const std::vector<PortState>& ports);
/// {"rules": [...], "addresses": [...], "mappings", "exhausted"}
Json::Value nat_json(const NatState& nat);
/// {"services": [{"namespace", "name", "port", "vrf", "protocol", "flows", "refused", "backends":
/// [{"address", "port", "name", "weight", "local", "draining", "distant", "connections", and of these what
/// went to the backend in "tx_packets" and "tx_bytes" and came from it in "rx_packets" and "rx_bytes"}]}]} as
/// text, as the FDB below. Nothing: there is none.
std::optional<std::string> services_text(const Dataplane& dataplane, const std::optional<ServiceName>& only);
Json::Value ledger_json(const Ledger& ledger);
Json::Value workers_json(const Identity& identity, const std::vector<WorkerState>& workers);
/// The reasons for drops with their meanings: {"drops": [{"direction", "name", "meaning"}]}.
Json::Value drop_reasons_json();
/// {"fdb": [...]} as text: an FDB may have a million entries, for which a tree of values would take
/// gigabytes.
std::string fdb_text(const Dataplane& dataplane, const FdbFilter& filter);

/// {"neighbours": [...], and the sums} as text, for the same reason.
std::string neighbours_text(const Dataplane& dataplane, const NeighbourFilter& filter);
/// {"entries", "waiting", "solicitations", ...}
Json::Value neighbour_sums_json(const NeighbourSums& sums);

/// "rx" or "tx": whom drops for this reason count against.
constexpr const char* direction(std::size_t drop) {
    return is_receive_side(static_cast<Drop>(drop)) ? "rx" : "tx";
}

}  // namespace viaduct::dataplane
