// DPDK and the two virtio-user ports. Both are servers, so that the device under test is the client and may
// come, go and come back; EAL waits for its first connection.
#pragma once

#include <cstdint>

#include "options.h"

struct rte_mempool;

namespace viaduct::pktgen {

class Ports {
public:
    static constexpr std::uint16_t kNear = 0;  ///< sends, and hears what returns
    static constexpr std::uint16_t kFar = 1;   ///< reflects

    /// Makes the sockets and returns when the device has connected to both. Throws std::runtime_error, and
    /// Refused for a socket that another process listens on. The calling thread becomes DPDK's main lcore.
    explicit Ports(const Options& options);
    ~Ports();
    Ports(const Ports&) = delete;
    Ports& operator=(const Ports&) = delete;

    rte_mempool* frames() const { return frames_; }

private:
    std::vector<std::string> paths_;
    rte_mempool* frames_ = nullptr;
};

}  // namespace viaduct::pktgen
