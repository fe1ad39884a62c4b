// A measurement for people and for programs.
#pragma once

#include <string>

#include "traffic.h"

namespace Json {
class Value;
}

namespace viaduct::pktgen {

/// One line.
std::string to_text(const Measurement& measurement);

/// Rates in million frames a second, both ways added (a frame that went there and back counts twice); times
/// in microseconds; `idle` is the generator's share of time with nothing to do: near 0, it is the limit
/// itself. `sample`: addresses, ports and TTL of a frame as port 1 heard it, null if it heard none.
Json::Value to_json(const Measurement& measurement);

}  // namespace viaduct::pktgen
