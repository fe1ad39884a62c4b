// One recipe for every pool, so that buffers of both sizes can stand in one chain.
#include "port/packet_pool.h"

#include <atomic>
#include <stdexcept>
#include <string>

#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>

namespace viaduct::dataplane {
namespace {

/// The pool does not ask for a device's view of its memory, which is contiguous, as IOMMUs and virtual
/// devices see it by virtual address (--iova-mode=va): each buffer is told its own.
void know_own_address(rte_mempool* /*pool*/, void* /*unused*/, void* buffer, unsigned /*number*/) {
    auto* header =
        reinterpret_cast<rte_mempool_objhdr*>(static_cast<char*>(buffer) - sizeof(rte_mempool_objhdr));
    header->iova = reinterpret_cast<rte_iova_t>(buffer);
}

}  // namespace

rte_mempool* make_packet_pool(const char* name, std::uint32_t buffers, std::uint16_t payload,
                              std::uint32_t cache) {
    // The pool's name is process-wide, and tests make several dataplanes one after another.
    static std::atomic<unsigned> serial{0};
    const auto unique = name + std::to_string(serial++);
    rte_pktmbuf_pool_private layout{};
    layout.mbuf_data_room_size = static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + payload);
    const auto element = static_cast<unsigned>(sizeof(rte_mbuf)) + layout.mbuf_data_room_size;
    auto* pool = rte_mempool_create_empty(unique.c_str(), buffers, element, cache, sizeof layout,
                                          SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (pool != nullptr && rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr) == 0) {
        rte_pktmbuf_pool_init(pool, &layout);
        if (rte_mempool_populate_default(pool) >= 0) {
            rte_mempool_obj_iter(pool, know_own_address, nullptr);
            rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
            return pool;
        }
    }
    rte_mempool_free(pool);
    throw std::runtime_error("no memory for " + std::to_string(buffers) + " packet buffers of " +
                             std::to_string(payload) + " bytes; raise --memory or lower --packet-buffers");
}

}  // namespace viaduct::dataplane
