// Flows in the API's words: filters as they are asked for, flows, counts and counters as they are answered.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "flow_listing.h"

namespace Json {
class Value;
}

namespace viaduct::dataplane {

inline constexpr std::uint32_t kFlowsOfAPage = 1000;  ///< unless another limit is asked for
inline constexpr std::uint32_t kFlowsOfAPageMost = 10000;

/// The value of a key as text, if it was given.
using AskedValue = std::function<std::optional<std::string>(const char* key)>;

/// Keys vrf, source, destination (address or prefix), protocol (name or number), port, state, service
/// (NAMESPACE/NAME or NAMESPACE/NAME/PORT). Throws Refused with every fault.
FlowFilter flow_filter(const AskedValue& asked);
/// Key limit, 1 to kFlowsOfAPageMost.
std::uint32_t flow_limit(const AskedValue& asked);
/// Key cursor, as a page gave it.
FlowCursor flow_cursor(const AskedValue& asked);

/// {"flows": [...], "next": cursor or null}
std::string flows_text(FlowTables tables, const FlowNames& names, const FlowFilter& filter, FlowCursor from,
                       std::uint32_t most);
Json::Value flow_count_json(const FlowCount& count);
/// Of both tables: entries, capacity and what became of flows since the start.
Json::Value flow_tables_json(FlowTables tables);

}  // namespace viaduct::dataplane
