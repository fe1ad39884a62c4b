// Endpoints that an operator has taken out of service by hand: they get no new connections, whatever
// manifests say of them. Kept in the store, until the word is taken back or the endpoint goes.
#pragma once

#include <mutex>
#include <set>
#include <utility>

#include "viaduct/address.h"

#include "kubernetes/objects.h"
#include "store/database.h"

namespace viaduct::service {

/// Endpoints by their service.
using Drained = std::set<std::pair<kubernetes::ObjectName, IpAddress>>;

/// Any thread; the table is the truth.
class Drains {
public:
    /// Reads the store. The migrations are service::migrations().
    explicit Drains(store::Database& database);

    [[nodiscard]] Drained list() const;
    /// On disk when it returns; false when it was so already. Throws store::Error.
    bool put(const kubernetes::ObjectName& service, const IpAddress& address);
    bool erase(const kubernetes::ObjectName& service, const IpAddress& address);

private:
    store::Database& database_;
    mutable std::mutex mutex_;  ///< taken inside a transaction, never around one
    Drained drained_;
};

}  // namespace viaduct::service
