#include "port/mac_filter_port.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <rte_ether.h>
#include <rte_mbuf.h>

namespace viaduct::dataplane {
namespace {

constexpr std::uint64_t kNone = UINT64_MAX;  // no address: those have 48 bits

}  // namespace

MacFilterPort::MacFilterPort(std::unique_ptr<Port> inner) : OuterPort(std::move(inner)) {
    for (auto& address : addresses_)
        address.store(kNone, std::memory_order_relaxed);
}

void MacFilterPort::filter_by(const std::vector<MacAddress>& addresses) {
    inner().filter_by(addresses);
    std::vector<std::uint64_t> missing;
    for (const auto& address : addresses)
        missing.push_back(address.to_u64());
    for (auto& slot : addresses_) {
        const auto now = slot.load(std::memory_order_relaxed);
        if (std::erase(missing, now) == 0 && now != kNone) slot.store(kNone, std::memory_order_relaxed);
    }
    for (std::size_t i = 0; i < addresses_.size() && !missing.empty(); ++i) {
        if (addresses_[i].load(std::memory_order_relaxed) != kNone) continue;
        addresses_[i].store(missing.back(), std::memory_order_relaxed);
        missing.pop_back();
        if (i >= slots_.load(std::memory_order_relaxed)) slots_.store(i + 1, std::memory_order_release);
    }
}

/// What is too short for an address is for the forwarder to count.
bool MacFilterPort::takes(const rte_mbuf* frame) const {
    if (rte_pktmbuf_data_len(frame) < RTE_ETHER_HDR_LEN) return true;
    MacAddress to;
    std::memcpy(to.bytes.data(), rte_pktmbuf_mtod(frame, const std::uint8_t*), to.bytes.size());
    if ((to.bytes[0] & RTE_ETHER_GROUP_ADDR) != 0) return true;
    const auto wanted = to.to_u64();
    const auto slots = slots_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < slots; ++i) {
        if (addresses_[i].load(std::memory_order_relaxed) == wanted) return true;
    }
    return false;
}

std::uint16_t MacFilterPort::receive(std::uint16_t queue, rte_mbuf** frames, std::uint16_t most) {
    const auto count = inner().receive(queue, frames, most);
    std::uint16_t kept = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        if (takes(frames[i])) [[likely]] {
            frames[kept++] = frames[i];
        } else {
            rte_pktmbuf_free(frames[i]);
        }
    }
    if (kept != count) kept_back_.fetch_add(count - kept, std::memory_order_relaxed);
    return kept;
}

}  // namespace viaduct::dataplane
