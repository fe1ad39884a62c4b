#include "service/drains.h"

#include <spdlog/spdlog.h>

namespace viaduct::service {

Drains::Drains(store::Database& database) : database_(database) {
    store::Transaction tx(database_);
    auto rows = tx.prepare("SELECT namespace, name, address FROM service_drain");
    while (rows.step()) {
        if (const auto address = IpAddress::parse(rows.text(2))) {
            drained_.insert({{rows.text(0), rows.text(1)}, *address});
        } else {
            spdlog::error("the store says that {} is drained, which is no address", rows.text(2));
        }
    }
}

Drained Drains::list() const {
    const std::scoped_lock lock(mutex_);
    return drained_;
}

bool Drains::put(const kubernetes::ObjectName& service, const IpAddress& address) {
    store::Transaction tx(database_);
    if (tx.run("INSERT OR IGNORE INTO service_drain (namespace, name, address) VALUES (?, ?, ?)",
               service.namespace_, service.name, address.to_string()) == 0)
        return false;
    const std::scoped_lock lock(mutex_);
    tx.commit();
    drained_.insert({service, address});
    return true;
}

bool Drains::erase(const kubernetes::ObjectName& service, const IpAddress& address) {
    store::Transaction tx(database_);
    if (tx.run("DELETE FROM service_drain WHERE namespace = ? AND name = ? AND address = ?",
               service.namespace_, service.name, address.to_string()) == 0)
        return false;
    const std::scoped_lock lock(mutex_);
    tx.commit();
    drained_.erase({service, address});
    return true;
}

}  // namespace viaduct::service
