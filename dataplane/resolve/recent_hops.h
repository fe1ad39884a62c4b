// What the packets of one burst have found out about their next hops: most of them share a few. It lives no
// longer than the burst, so that nothing in it is ever old; and whoever asked first has noted the use, so
// that a change of the MAC address is noticed as ever.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "viaduct/address.h"

#include "resolve/delivery.h"
#include "tables/neighbours.h"

namespace viaduct::dataplane {

struct RecentHop {
    NeighbourKey key;
    MacAddress mac;
    std::optional<Delivery> delivery;  ///< nothing: the bridge does not know where the MAC is
};

/// One worker's.
class RecentHops {
public:
    [[nodiscard]] const RecentHop* find(const NeighbourKey& key) const {
        const auto* end = hops_.data() + std::min<std::size_t>(added_, kMost);
        const auto* found = std::find_if(hops_.data(), end, [&](const auto& hop) { return hop.key == key; });
        return found == end ? nullptr : found;
    }
    void add(const RecentHop& hop) { hops_[added_++ % kMost] = hop; }
    void clear() { added_ = 0; }

private:
    static constexpr std::size_t kMost = 4;
    std::array<RecentHop, kMost> hops_;
    std::size_t added_ = 0;
};

}  // namespace viaduct::dataplane
