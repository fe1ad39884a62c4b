// What all workers' resolvers share and packets change, each part bounded and safe for any worker.
#pragma once

#include <cstdint>

#include "tables/nat_ports.h"
#include "tables/neighbours.h"
#include "tables/rate_limits.h"
#include "tables/service_state.h"

namespace viaduct::dataplane {

/// Whatever a flow has held is free again when it goes: a port of a pool, its place among a backend's flows.
class FlowHoldings final : public FlowObserver<FlowKey4>, public FlowObserver<FlowKey6> {
public:
    FlowHoldings(NatPorts& ports, BackendLoads& loads) : ports_(ports), loads_(loads) {}

    void flow_removed(const FlowRecord<FlowKey4>& initiator, const FlowRecord<FlowKey4>& reply) override {
        let_go(initiator, reply);
    }
    void flow_removed(const FlowRecord<FlowKey6>& initiator, const FlowRecord<FlowKey6>& reply) override {
        let_go(initiator, reply);
    }
    void flow_may_go(const FlowRecord<FlowKey4>& either) const override { ports_.flow_may_go(either); }
    void flow_may_go(const FlowRecord<FlowKey6>& either) const override { ports_.flow_may_go(either); }

private:
    template <typename Record>
    void let_go(const Record& initiator, const Record& reply) {
        ports_.flow_removed(initiator, reply);
        if (initiator.has(kFlowCounted)) loads_.remove(initiator);
    }

    NatPorts& ports_;
    BackendLoads& loads_;
};

/// Owned by the dataplane; outlives the workers.
struct ResolveShared {
    /// `seed`: what makes hashes and times unpredictable, or repeatable in a replay.
    explicit ResolveShared(std::uint64_t seed, NatPortsOptions nat = {}, NeighbourLimits limits = {})
        : neighbours(seed, limits), nat_ports(nat), rate_limits(seed), services(seed) {}

    Neighbours neighbours;
    NatPorts nat_ports;
    RateLimits rate_limits;
    ServiceState services;
    FlowHoldings holdings{nat_ports, services.loads};
};

}  // namespace viaduct::dataplane
