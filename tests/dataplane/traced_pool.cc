// A mempool on a ring, as DPDK's own, but compiled with the test and so instrumented.
#include "traced_pool.h"

#ifdef __SANITIZE_THREAD__

#include <atomic>
#include <bit>
#include <stdexcept>
#include <string>

#include <rte_errno.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_ring.h>

namespace {

rte_ring* ring_of(const rte_mempool* pool) {
    return static_cast<rte_ring*>(pool->pool_data);
}

int allocate(rte_mempool* pool) {
    static std::atomic<unsigned> serial{0};
    const auto name = "traced" + std::to_string(serial++);
    pool->pool_data = rte_ring_create(name.c_str(), std::bit_ceil(pool->size + 1), SOCKET_ID_ANY, 0);
    return pool->pool_data == nullptr ? -rte_errno : 0;
}

void release(rte_mempool* pool) {
    rte_ring_free(ring_of(pool));
}

int put(rte_mempool* pool, void* const* objects, unsigned count) {
    return rte_ring_mp_enqueue_bulk(ring_of(pool), objects, count, nullptr) == 0 ? -ENOBUFS : 0;
}

int get(rte_mempool* pool, void** objects, unsigned count) {
    return rte_ring_mc_dequeue_bulk(ring_of(pool), objects, count, nullptr) == 0 ? -ENOBUFS : 0;
}

unsigned available(const rte_mempool* pool) {
    return rte_ring_count(ring_of(pool));
}

}  // namespace

void viaduct::test::use_traced_pools() {
    rte_mempool_ops ops{};
    std::string("traced").copy(ops.name, sizeof ops.name - 1);
    ops.alloc = allocate;
    ops.free = release;
    ops.enqueue = put;
    ops.dequeue = get;
    ops.get_count = available;
    if (rte_mempool_register_ops(&ops) < 0 || rte_mbuf_set_user_mempool_ops("traced") != 0) {
        throw std::runtime_error("the traced pools cannot be registered");
    }
}

#else

void viaduct::test::use_traced_pools() {}

#endif
