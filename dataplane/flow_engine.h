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
#include "tables/nat_ports.h"

namespace viaduct::dataplane {

class FlowEngine {
public:
    /// Takes over the flows that an earlier process left in the memory. `now`: the coarse second. Before any
    /// worker runs.
    FlowEngine(std::shared_ptr<FlowMemory> memory, std::uint32_t now);

    [[nodiscard]] FlowTables tables() { return {&v4_, &v6_}; }
    [[nodiscard]] Zone zone(std::string_view vrf) { return memory_->zone(vrf); }
    /// VRFs that are not among these may lose their zones; see FlowMemory.
    void keep_zones(const std::set<std::string, std::less<>>& vrfs) { memory_->keep_zones(vrfs); }
    [[nodiscard]] NatPorts& nat_ports() { return nat_ports_; }

private:
    std::shared_ptr<FlowMemory> memory_;
    NatPorts nat_ports_;
    FlowTable<FlowKey4> v4_;
    FlowTable<FlowKey6> v6_;
};

}  // namespace viaduct::dataplane
