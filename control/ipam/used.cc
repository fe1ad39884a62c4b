#include "ipam/used.h"

namespace viaduct::ipam {

UsedAddresses::Map::const_iterator UsedAddresses::around(const IpAddress& address) const {
    auto after = ranges_.upper_bound(address);
    if (after == ranges_.begin()) return ranges_.end();
    --after;
    return address <= after->second ? after : ranges_.end();
}

bool UsedAddresses::contains(const IpAddress& address) const {
    return around(address) != ranges_.end();
}

std::optional<IpAddress> UsedAddresses::next_free(const IpAddress& from) const {
    const auto range = around(from);
    return range == ranges_.end() ? std::optional(from) : range->second.plus(1);
}

bool UsedAddresses::insert(const IpAddress& address) {
    if (contains(address)) return false;
    auto last = address;
    const auto after = ranges_.upper_bound(address);
    if (after != ranges_.end() && address.plus(1) == after->first) {
        last = after->second;
        ranges_.erase(after);
    }
    auto before = ranges_.upper_bound(address);
    if (before != ranges_.begin() && (--before)->second.plus(1) == address) {
        before->second = last;
    } else {
        ranges_.emplace(address, last);
    }
    return true;
}

bool UsedAddresses::erase(const IpAddress& address) {
    const auto range = around(address);
    if (range == ranges_.end()) return false;
    const auto [first, last] = *range;
    ranges_.erase(range);
    if (address != last) ranges_.emplace(*address.plus(1), last);
    if (address == first) return true;
    // The part below ends just before the address; addresses are only ever counted upwards, so by its
    // distance.
    const auto below = address.minus(first);
    ranges_.emplace(first, *first.plus(*below - 1));
    return true;
}

}  // namespace viaduct::ipam
