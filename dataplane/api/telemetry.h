// The same counters through DPDK's own telemetry socket, for `dpdk-telemetry.py -f PREFIX`:
//
//   /viaduct/info                 version, instance, workers, buffers
//   /viaduct/ports[,FROM]         names of ports, 200 at most from the FROM-th on
//   /viaduct/port,NAME            one port's state, counters and drops
//   /viaduct/stats                the ledger over all ports, and the workers
//   /viaduct/fdb[,BRIDGE[,FROM]]  FDB entries, 64 at most from the FROM-th on
#pragma once

#include "api/state_json.h"

namespace viaduct::dataplane {

/// Answers as long as it lives. One at a time in a process. After EAL has started; the dataplane outlives it.
class Telemetry {
public:
    Telemetry(const Identity& identity, const Dataplane& dataplane);
    ~Telemetry();
    Telemetry(const Telemetry&) = delete;
    Telemetry& operator=(const Telemetry&) = delete;
};

}  // namespace viaduct::dataplane
