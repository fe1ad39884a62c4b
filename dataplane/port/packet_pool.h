// Pools of packet buffers.
#pragma once

#include <cstdint>

#include <rte_config.h>

struct rte_mempool;

namespace viaduct::dataplane {

/// Bytes of a frame in the common pool's buffers.
inline constexpr std::uint16_t kBufferPayload = 2048;
/// In a large one, which carries what of a long segment does not fit a common one.
inline constexpr std::uint16_t kLargePayload = UINT16_MAX - RTE_PKTMBUF_HEADROOM;

/// A pool of `buffers` packet buffers for `payload` bytes each besides the headroom, in virtually contiguous
/// memory: no device of ours reads it by physical address, and without huge pages buffers that must each lie
/// within one page would waste a third of it. Each thread keeps up to 1.5 * `cache` free ones. `name` is for
/// people, a number is added. Freed by rte_mempool_free. Throws std::runtime_error.
rte_mempool* make_packet_pool(const char* name, std::uint32_t buffers, std::uint16_t payload,
                              std::uint32_t cache);

}  // namespace viaduct::dataplane
