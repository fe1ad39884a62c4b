// How many flows each backend of services with least connections has. Counts lie in one array by a hash of
// the backend: two that fall together are a little less wanted than they should be, and nothing is ever
// allocated. The flow table is the truth; after a restart they are counted anew by walking it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "flow/flow_table.h"
#include "flow/record.h"
#include "tables/nat_ports.h"

namespace viaduct::dataplane {

class BackendLoads {
public:
    BackendLoads() : counts_(std::make_unique<std::atomic<std::uint32_t>[]>(kCounts)) {}

    // --- any worker ---

    [[nodiscard]] std::uint32_t flows(Zone zone, std::uint8_t protocol, const IpAddress& address,
                                      std::uint16_t port) const {
        return counts_[place(zone, protocol, address, port)].load(std::memory_order_relaxed);
    }
    /// For a packet that a backend was chosen for, whose flow will have kFlowCounted.
    void add(Zone zone, std::uint8_t protocol, const IpAddress& address, std::uint16_t port) {
        counts_[place(zone, protocol, address, port)].fetch_add(1, std::memory_order_relaxed);
    }
    /// When that flow goes, or came to nothing.
    void remove(Zone zone, std::uint8_t protocol, const IpAddress& address, std::uint16_t port) {
        counts_[place(zone, protocol, address, port)].fetch_sub(1, std::memory_order_relaxed);
    }
    template <typename Key>
    void remove(const FlowRecord<Key>& initiator) {
        counts_[place(initiator)].fetch_sub(1, std::memory_order_relaxed);
    }

    /// Counts what an earlier process has left. Before any worker runs.
    template <typename Key>
    void rebuild(const FlowTable<Key>& flows);

private:
    static constexpr std::size_t kCounts = std::size_t{1} << 18U;

    static std::size_t place(Zone zone, std::uint8_t protocol, const IpAddress& address, std::uint16_t port);
    template <typename Key>
    static std::size_t place(const FlowRecord<Key>& record) {
        return place(record.key.zone, record.key.protocol, ip_address(record.new_destination),
                     record.new_destination_port.to_host());
    }

    std::unique_ptr<std::atomic<std::uint32_t>[]> counts_;
};

}  // namespace viaduct::dataplane
