// The state that flows are made of, and what resolving their first packets changes: the two flow tables, the
// ports that translations hold, neighbours, rate limits. Shared by all workers, and older and younger than
// any topology.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "flow/flow_memory.h"
#include "flow/flow_table.h"
#include "forward/first_packets.h"
#include "resolve/shared.h"

namespace viaduct::dataplane {

class FlowEngine {
public:
    /// Takes over the flows that an earlier process left in the memory. `now`: the coarse second; `seed`: see
    /// ResolveShared. Before any worker runs.
    FlowEngine(std::shared_ptr<FlowMemory> memory, std::uint64_t seed, std::uint32_t now);

    [[nodiscard]] FlowTables tables() { return {&v4_, &v6_, &bridged_}; }
    [[nodiscard]] ResolveShared& shared() { return shared_; }
    [[nodiscard]] NatPorts& nat_ports() { return shared_.nat_ports; }
    [[nodiscard]] Zone zone(std::string_view vrf) { return memory_->zone(vrf); }
    /// VRFs that are not among these may lose their zones; see FlowMemory.
    void keep_zones(const std::set<std::string, std::less<>>& vrfs) { memory_->keep_zones(vrfs); }

private:
    std::shared_ptr<FlowMemory> memory_;
    ResolveShared shared_;
    FlowTable<FlowKey4> v4_;
    FlowTable<FlowKey6> v6_;
    BridgedPairs bridged_;
};

}  // namespace viaduct::dataplane
