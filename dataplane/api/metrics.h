// The counters in Prometheus' text format (version 0.0.4), so that a node can be scraped without an exporter.
#pragma once

#include <string>

#include "api/state_json.h"

namespace viaduct::dataplane {

/// The Content-Type to answer with.
inline constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

std::string metrics_text(const Identity& identity, const Dataplane& dataplane);

}  // namespace viaduct::dataplane
