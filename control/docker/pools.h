// Docker's address management (libnetwork's IpamDriver): pools of addresses that Docker asks for before it
// makes the network that they are for, and single addresses of them. Durable; Docker keeps the same in its
// own store.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "viaduct/address.h"

#include "ipam/leases.h"
#include "store/database.h"

namespace viaduct::docker {

const std::vector<store::Migration>& migrations();

struct Pool {
    std::string id;  ///< "SPACE/PREFIX", or "SPACE/PREFIX/RANGE"
    Prefix prefix;
    std::optional<Prefix> range;  ///< addresses that nobody named come from it
};

/// Any thread. Failures are Refused, ipam::Error or store::Error.
class Pools {
public:
    /// `free_subnet(v4, taken)` chooses a subnet where Docker names none.
    using Choose = std::function<Prefix(bool v4, const std::vector<Prefix>& taken)>;
    Pools(store::Database& database, Choose free_subnet);

    /// The same request gives the same pool; as many releases are needed as there were requests.
    Pool request(const std::string& space, const std::string& prefix, const std::string& range, bool v6);
    void release(const std::string& id);
    /// With the pool's prefix length. `address`: empty for any. `holder`: told to whoever asks for the same.
    Prefix request_address(const std::string& id, const std::string& address, const std::string& holder);
    /// One that nobody has is fine.
    void release_address(const std::string& id, const std::string& address);

private:
    static Pool find(store::Transaction& tx, const std::string& id);

    store::Database& database_;
    const Choose free_subnet_;
    ipam::Leases leases_;
    std::mutex mutex_;  ///< one request at a time
};

}  // namespace viaduct::docker
