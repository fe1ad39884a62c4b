// POST /v1/trace: a question in words or as a frame, and its answer.
#pragma once

#include "trace.h"

namespace Json {
class Value;
}

namespace viaduct::dataplane {

/// {"port", "frame": "hexadecimal"} or {"port", "src", "dst", "proto"?, "sport"?, "dport"?, "ttl"?, "size"?,
/// "mac"?, "source_mac"?, "vlan"?, "tcp_flags"?}. `size`: bytes of the IP packet. Without "mac" the frame is
/// for the router interface there. Throws Refused.
TraceRequest trace_request_from_json(const Json::Value& json);
/// {"decision", "reason"?, "stages": [{"stage", "text"}], "port"?, "interface"?, "next_hop"?, "flow"?, ...}
Json::Value to_json(const TraceAnswer& answer);

}  // namespace viaduct::dataplane
