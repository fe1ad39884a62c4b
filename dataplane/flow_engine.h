// The state that flows are made of, and what resolving their first packets changes: the two flow tables, the
// ports that translations hold, neighbours, rate limits. Shared by all workers, and older and younger than
// any topology.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "flow/flow_table.h"
#include "forward/first_packets.h"
#include "tables/nat_ports.h"

namespace viaduct::dataplane {

struct FlowEngine {
    FlowEngine() = default;

    [[nodiscard]] FlowTables tables() { return {&v4, &v6}; }

    static constexpr std::uint32_t kEntries4 = 65536;
    static constexpr std::uint32_t kEntries6 = 16384;
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };
    static std::unique_ptr<std::byte, Free> zeroed(std::size_t bytes) {
        auto* memory = static_cast<std::byte*>(std::aligned_alloc(64, bytes));
        return std::unique_ptr<std::byte, Free>(std::fill_n(memory, bytes, std::byte{}) - bytes);
    }

    NatPorts nat_ports;
    std::unique_ptr<std::byte, Free> memory4 = zeroed(FlowTable<FlowKey4>::bytes(kEntries4));
    std::unique_ptr<std::byte, Free> memory6 = zeroed(FlowTable<FlowKey6>::bytes(kEntries6));
    FlowTable<FlowKey4> v4{memory4.get(), kEntries4, 0x5eed, &nat_ports};
    FlowTable<FlowKey6> v6{memory6.get(), kEntries6, 0x5eed, &nat_ports};
};

}  // namespace viaduct::dataplane
