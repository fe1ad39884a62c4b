// Which addresses are held, as disjoint ranges: a range half full is a few entries, and the next free address
// is found without walking over the held ones.
#pragma once

#include <map>
#include <optional>

#include "viaduct/address.h"

namespace viaduct::ipam {

class UsedAddresses {
public:
    /// False when it is held already.
    bool insert(const IpAddress& address);
    /// False when it was not held.
    bool erase(const IpAddress& address);
    [[nodiscard]] bool contains(const IpAddress& address) const;
    /// The first address from `from` on, `from` included, that is not held; nothing at the family's end.
    [[nodiscard]] std::optional<IpAddress> next_free(const IpAddress& from) const;

private:
    using Map = std::map<IpAddress, IpAddress>;  ///< first to last; neighbouring ranges are joined
    [[nodiscard]] Map::const_iterator around(const IpAddress& address) const;

    Map ranges_;
};

}  // namespace viaduct::ipam
