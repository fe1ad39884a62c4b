// /v1/uplinks: devices become uplinks and are given back.
#pragma once

#include "api/router.h"
#include "uplink/uplinks.h"

namespace viaduct::uplink {

/// References must outlive the router.
///   GET  /v1/uplinks/devices uplinks with their devices, and what was taken from the host
///   POST /v1/uplinks         {"sources": [...], "driver", "force", "port": {...}, "dry_run", "comment"}
///   POST /v1/uplinks/delete  {"name", "dry_run", "comment"}
void add_routes(api::Router& router, Uplinks& uplinks, store::Database& database);

}  // namespace viaduct::uplink
